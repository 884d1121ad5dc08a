"""Networks rebuilt without learning anew: a dense layer as a convolution, strides replaced by dilation."""

from __future__ import annotations

import torch
from torch import nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def as_convolution(linear: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    """The convolution that computes at each place what a dense layer computes of maps (channels, height, width).

        y_k = b_k + sum_(c,i,j) W_(k, (c h + i) w + j) x_(c,i,j)

    is a kernel W_k of the maps' own size, which fits in one place. On larger maps it slides, and gives a map of answers.

    Args:
        linear: of `channels * height * width` features, in the order of `x.flatten(1)`.
        channels, height, width: of the maps that it was given.

    Returns:
        A convolution with the dense layer's own numbers: the tensors are shared, nothing is copied.

    Raises:
        UserError: the layer takes another number of features.

    Source: Long, Shelhamer, Darrell: Fully convolutional networks for semantic segmentation, CVPR 2015, section 3.1.

    >>> dense = nn.Linear(2 * 3 * 3, 5).double()
    >>> x = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    >>> bool(torch.allclose(as_convolution(dense, 2, 3, 3)(x).flatten(1), dense(x.flatten(1)), rtol=1e-12))
    True
    """
    if linear.in_features != channels * height * width:
        raise UserError(
            "the dense layer is not one of such maps",
            expected=f"{linear.in_features} features",
            found=f"{channels} x {height} x {width} = {channels * height * width}",
        )
    with torch.device("meta"):  # so that nothing is drawn, as the weights are given below
        conv = nn.Conv2d(channels, linear.out_features, (height, width), bias=linear.bias is not None)
    weight = linear.weight.detach().view(linear.out_features, channels, height, width)
    conv.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach(), requires_grad=linear.bias.requires_grad)
    return conv


def dilate(stage: nn.Module, first: int, rest: int) -> None:
    """Keeps the size of the maps in a stage of residual blocks: strides become 1, and 3 x 3 kernels reach further.

    Args:
        stage: blocks in a row, whose convolutions it changes in place; weights stay.
        first: the dilation of the first block, that of the stage before.
        rest: of all others.

    Source: Yu, Koltun: Multi-scale context aggregation by dilated convolutions, ICLR 2016; as torchvision has it.

    >>> stage = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.Conv2d(1, 1, 3, padding=1))
    >>> dilate(stage, 1, 2)
    >>> stage(torch.zeros(1, 1, 9, 9)).shape
    torch.Size([1, 1, 9, 9])
    """
    for block, dilation in zip(stage.children(), (first, *(rest,) * (len(list(stage.children())) - 1)), strict=True):
        for conv in block.modules():
            if isinstance(conv, nn.Conv2d):
                conv.stride = (1, 1)
                if conv.kernel_size == (3, 3):
                    conv.dilation = conv.padding = (dilation, dilation)


TOPICS = (
    Topic(
        "Fully connected layers as convolutions",
        "全连接层即卷积层",
        lectures=(4,),
        code=("as_convolution",),
        command="chainrule show fcn32s",
    ),
)
