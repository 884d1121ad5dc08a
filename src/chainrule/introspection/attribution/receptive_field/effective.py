"""What a unit really looks at: its gradient with respect to the image, averaged over images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.attribution.target import (
    Unit,
    eval_with_grad,
    forward_with_activations,
    image_leaf,
    target_score,
)
from chainrule.introspection.layers import evaluating

SHARE = 1 - 0.9545  # of the largest gradient; two deviations of a normal curve


def effective_field(module: nn.Module, x: Tensor, layer: str, channel: int | None = None) -> Tensor:
    """The mean absolute gradient of the unit in the middle of a layer with respect to each pixel, largest channel.

    It is 0 outside the theoretical receptive field; within it is mostly large in the middle alone.

    Args:
        module: the network.
        x: images to average over, (B, C, H, W): random ones for the network, real ones for what it does with them.
        layer: a layer with maps, by name.
        channel: of which map; all maps of the layer together where it is None, each with the same weight.

    Returns:
        (H, W).

    Raises:
        UserError: x is no images; no such layer or map; a layer without maps; no gradient.

    Source: Luo, Li, Urtasun, Zemel: Understanding the effective receptive field in deep convolutional neural networks,
    2016 (arXiv 1701.04128), section 3.1.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, (1, 3), padding=(0, 1)))
    >>> (effective_field(net, torch.randn(2, 1, 1, 5), "0") > 0).tolist()
    [[False, True, True, True, False]]
    """
    leaf = image_leaf(x)
    with torch.no_grad(), evaluating(module):
        maps = forward_with_activations(module, leaf, [layer])[1][layer]
    if maps.dim() != 4:
        raise UserError("the layer gives no maps", where=layer, expected="(B, C, h, w)", found=tuple(maps.shape))
    row, column = maps.shape[2] // 2, maps.shape[3] // 2
    with eval_with_grad(module):
        if channel is None:
            middle = forward_with_activations(module, leaf, [layer])[1][layer][:, :, row, column]
            if not middle.requires_grad:
                raise UserError("no gradient reaches the image", where=layer)
        else:
            middle = target_score(module, leaf, Unit(layer, channel, row, column)).values
        (gradient,) = torch.autograd.grad(middle.sum(), leaf, allow_unused=True)
    if gradient is None:
        return torch.zeros(leaf.shape[2:], dtype=leaf.dtype, device=leaf.device)
    return gradient.abs().amax(1).mean(0)


def effective_size(field: Tensor, share: float = SHARE) -> float:
    """The side of a square of as many pixels as have more than `share` of the largest gradient.

    Args:
        field: (H, W), from `effective_field`.
        share: 4.55 % as in the source, which compares with the pixel in the middle where this takes the largest.

    Source: Luo et al. 2016, section 3.1.

    >>> effective_size(torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))
    2.0
    """
    most = field.max()
    return float((field > share * most).sum()) ** 0.5


TOPICS = (Topic("Receptive field, by arithmetic and by gradients", code=("effective_field",)),)
