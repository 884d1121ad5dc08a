"""The residual networks that He et al. trained on CIFAR-10: 6n+2 layers, shortcuts without parameters.

Shapes: B batch, C input channels, K classes; three stages of n blocks with 16, 32 and 64 channels.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.errors import UserError
from chainrule.models.card import Card

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, and their input added before the last ReLU.

    Where the block halves the picture and adds channels, the shortcut is option A: every second pixel of every second
    row, and zeros for the new channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, out_channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', H/stride, W/stride)
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(residual + self.shortcut(x), inplace=True)

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and not self.new_channels:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class ResNetCifar(nn.Module):
    """ResNet for small pictures, 6n+2 layers deep (20, 32, 44, 56, 110); logits (B, K) of normalised images.

    Args:
        depth: layers with weights, 6n+2 for n blocks a stage.
        num_classes: K.
        in_channels: C.

    Raises:
        UserError: where depth is not 6n+2.

    >>> sum(p.numel() for p in ResNetCifar(20).parameters())
    269722
    """

    def __init__(self, depth: int = 20, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise UserError("this network has no such depth", expected="6n+2: 8, 14, 20, 32, 44, 56, 110", found=depth)
        self.conv = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        self.stage1 = _stage(blocks, WIDTHS[0], WIDTHS[0], stride=1)
        self.stage2 = _stage(blocks, WIDTHS[0], WIDTHS[1], stride=2)
        self.stage3 = _stage(blocks, WIDTHS[1], WIDTHS[2], stride=2)
        self.fc = nn.Linear(WIDTHS[2], num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W), 32 x 32 in the paper
        x = F.relu(self.bn(self.conv(x)), inplace=True)  # (B, 16, H, W)
        x = self.stage1(x)  # (B, 16, H, W)
        x = self.stage2(x)  # (B, 32, H/2, W/2)
        x = self.stage3(x)  # (B, 64, H/4, W/4)
        return self.fc(x.mean((2, 3)))


def _stage(blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = Block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(Block(out_channels, out_channels, 1) for _ in range(blocks - 1)))


def _images(batch_size: int) -> tuple[Tensor]:
    return (torch.randn(batch_size, 3, 32, 32),)


def _card(depth: int, parameters: int) -> Card:
    return Card(
        name=f"resnet{depth}",
        source="He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2016, section 4.2 and table 6",
        build=partial(ResNetCifar, depth=depth),
        example=_images,
        parameters=parameters,
        tiny={"depth": 8},
        deviations=(
            "The paper does not say where option A puts the zero channels; here they come after the others.",
            "In training, the border that a moved picture leaves is black; the paper pads after subtracting the mean.",
            "Inputs are normalised by the mean and deviation of each colour; the paper subtracts the mean of each pixel.",
        ),
    )


RESNET20 = _card(20, 269_722)
RESNET32 = _card(32, 464_154)
RESNET44 = _card(44, 658_586)
RESNET56 = _card(56, 853_018)
RESNET110 = _card(110, 1_727_962)
