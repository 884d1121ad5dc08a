"""The networks that He et al. trained on CIFAR-10: 6n+2 layers, with shortcuts and without.

Shapes: B batch, C input channels, K classes; three stages of n blocks with 16, 32 and 64 channels.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown

WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, and their input added before the last ReLU.

    Where the block halves the image and adds channels, the shortcut is option A: every second pixel of every second
    row, and zeros for the new channels; or option B: a 1 x 1 convolution of those pixels, with batch normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str = "A") -> None:
        super().__init__()
        self.stride, self.new_channels, self.adds = stride, out_channels - in_channels, shortcut != "none"
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.changes = stride != 1 or self.new_channels != 0
        self.projection = None
        if shortcut == "B" and self.changes:
            projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.projection = nn.Sequential(projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', H/stride, W/stride)
        found = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(found + self.shortcut(x) if self.adds else found, inplace=True)

    def shortcut(self, x: Tensor) -> Tensor:
        if self.projection is not None:
            return self.projection(x)
        if not self.changes:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class ResNetCifar(nn.Module):
    """ResNet for small images, 6n+2 layers deep (20, 32, 44, 56, 110); logits (B, K) of normalised images.

    Args:
        depth: layers with weights, 6n+2 for n blocks a stage.
        num_classes: K.
        in_channels: C.
        shortcut: `A`, without parameters, as the paper has it; `B`, a projection where shapes change; `none`: the plain
            network that the paper compares with.

    Raises:
        UserError: where depth is not 6n+2, or there is no such shortcut.

    >>> [sum(p.numel() for p in ResNetCifar(20, shortcut=kind).parameters()) for kind in ("A", "B", "none")]
    [269722, 272474, 269722]
    """

    class_layers = ("fc",)

    def __init__(
        self, depth: int = 20, num_classes: int = 10, in_channels: int = 3, shortcut: Literal["A", "B", "none"] = "A"
    ) -> None:
        super().__init__()
        if shortcut not in ("A", "B", "none"):
            raise unknown("there is no shortcut", shortcut, ("A", "B", "none"))
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise UserError("this network has no such depth", expected="6n+2: 8, 14, 20, 32, 44, 56, 110", found=depth)
        self.conv = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        self.stage1 = _stage(blocks, WIDTHS[0], WIDTHS[0], 1, shortcut)
        self.stage2 = _stage(blocks, WIDTHS[0], WIDTHS[1], 2, shortcut)
        self.stage3 = _stage(blocks, WIDTHS[1], WIDTHS[2], 2, shortcut)
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


def _stage(blocks: int, in_channels: int, out_channels: int, stride: int, shortcut: str) -> nn.Sequential:
    first = Block(in_channels, out_channels, stride, shortcut)
    return nn.Sequential(first, *(Block(out_channels, out_channels, 1, shortcut) for _ in range(blocks - 1)))


# Parameters by depth: of the plain network and of option A, and with the projections of option B.
PARAMETERS = {
    20: (269_722, 272_474), 32: (464_154, 466_906), 44: (658_586, 661_338), 56: (853_018, 855_770),
    110: (1_727_962, 1_730_714),
}  # fmt: skip


def _card(depth: int, shortcut: Literal["A", "B", "none"] = "A") -> Card:
    form = {"A": "resnet{}", "B": "resnet{}-b", "none": "plain{}"}[shortcut]
    padding = "The paper does not say where option A puts the zero channels; here they come after the others."
    return Card(
        name=form.format(depth),
        source="He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2016, section 4.2 and table 6",
        build=partial(ResNetCifar, depth=depth, shortcut=shortcut),
        example=images(32),
        parameters=PARAMETERS[depth][shortcut == "B"],
        tiny={"depth": 8},
        tested_as=None if depth == 20 else form.format(20),
        deviations=(
            *((padding,) if shortcut == "A" else ()),
            "In training, the border that a moved image leaves is black; the paper pads after subtracting the mean.",
            "Inputs are normalised by the mean and deviation of each colour; the paper subtracts the mean of each pixel.",
        ),
    )


RESNET20, RESNET20_B, PLAIN20 = _card(20), _card(20, "B"), _card(20, "none")
RESNET32, RESNET32_B, PLAIN32 = _card(32), _card(32, "B"), _card(32, "none")
RESNET44, RESNET44_B, PLAIN44 = _card(44), _card(44, "B"), _card(44, "none")
RESNET56, RESNET56_B, PLAIN56 = _card(56), _card(56, "B"), _card(56, "none")
RESNET110, RESNET110_B, PLAIN110 = _card(110), _card(110, "B"), _card(110, "none")


TOPICS = (
    Topic(
        "Residual networks, and their twins without shortcuts",
        "残差网络及其无捷径的对照",
        lectures=(2, 3, 4),
        code=("ResNetCifar",),
        command="chainrule train resnet20",
    ),
)
