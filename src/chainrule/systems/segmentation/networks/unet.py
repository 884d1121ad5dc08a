"""U-Net: four poolings down, four up-convolutions back, and at each size the maps of the way down beside.

Shapes: B batch, C input channels, H x W pixels, K classes.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.systems.segmentation.networks.borders import mirror_pad, window

BORDER = 92  # pixels that the paper's form loses on each side
CHANNELS = (64, 128, 256, 512, 1024)  # of the five sizes


class UNet(nn.Module):
    """Two 3 x 3 convolutions at each of five sizes, down and up; logits of each pixel.

    Args:
        num_classes: K.
        in_channels: C.
        width: every layer but the scores has this many times the published maps.
        form: `padded`: convolutions keep the size, batch normalisation follows each, and any image gives as many answers as
            it has pixels. `paper`: convolutions lose their border and have no normalisation, so that 572 x 572 pixels give
            388 x 388 answers, those of the middle; each pooling must meet an even size.
        dropout: at the end of the way down; 0.5 in the paper's form, 0 in the other, unless given.

    Raises:
        UserError: there is no such form; when called in the paper's form, a size that a pooling would cut.

    Source: Ronneberger, Fischer, Brox: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015.

    >>> with torch.device("meta"):
    ...     UNet(2, 1, form="paper")(torch.zeros(1, 1, 572, 572)).shape, UNet(width=1 / 16)(torch.zeros(1, 3, 51, 70)).shape
    (torch.Size([1, 2, 388, 388]), torch.Size([1, 21, 51, 70]))
    """

    class_layers = ("score",)

    def __init__(
        self,
        num_classes: int = 21,
        in_channels: int = 3,
        width: float = 1.0,
        form: Literal["padded", "paper"] = "padded",
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        if form not in ("padded", "paper"):
            raise unknown("there is no form of U-Net", form, ("padded", "paper"))
        self.form = form
        channels = [max(1, round(n * width)) for n in CHANNELS]
        self.down = nn.ModuleList(_pair(a, b, form) for a, b in itertools.pairwise([in_channels, *channels]))
        self.pool = nn.MaxPool2d(2, ceil_mode=form == "padded")
        self.drop = nn.Dropout((0.5 if form == "paper" else 0.0) if dropout is None else dropout)
        upward = list(itertools.pairwise(reversed(channels)))  # 1024 to 512, ..., 128 to 64
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in upward)
        self.join = nn.ModuleList(_pair(2 * b, b, form) for _, b in upward)
        self.score = nn.Conv2d(channels[0], num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                fan_in = layer.weight[0].numel() if isinstance(layer, nn.Conv2d) else layer.in_channels
                nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)  # each place of an up-convolution sees one place
                nn.init.constant_(layer.get_parameter("bias"), 0.0)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W), or in the paper's form 184 pixels less
        # 1. Down: the maps of each size are kept.
        kept: list[Tensor] = []
        for pair in self.down:
            if kept:
                x = self.pool(self._even(kept[-1]))
            x = pair(x)
            kept.append(x)
        x = self.drop(kept.pop())
        # 2. Up: enlarged, beside what was kept at this size, cropped to each other.
        for up, join in zip(self.up, self.join, strict=True):
            x, skip = up(x), kept.pop()
            if self.form == "padded":
                x = window(x, 0, 0, *skip.shape[-2:])  # the poolings rounded up
            else:
                skip = _middle(skip, x.shape[-2], x.shape[-1])
            x = join(torch.cat([skip, x], 1))
        return self.score(x)

    def _even(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.form == "paper" and (height % 2 or width % 2 or min(height, width) < 6):
            raise UserError(
                "the paper's U-Net cannot pool maps of this size",
                expected="even sizes at every pooling: images of 16 n + 124 pixels, n from 4 on, such as 188 or 572",
                found=f"maps of {height} x {width}",
                cure="form=padded, which takes any size",
            )
        return x


class Mirrored(nn.Module):
    """The paper's form with as many answers as the image has pixels: what lies beyond the border is mirrored.

    >>> with torch.device("meta"):
    ...     Mirrored(UNet(2, 1, 1 / 16, "paper"))(torch.zeros(1, 1, 50, 71)).shape
    torch.Size([1, 2, 50, 71])
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W)
        height, width = x.shape[-2:]
        below, right = (paper_size(n) - n - BORDER for n in (height, width))
        return window(self.unet(mirror_pad(x, BORDER, right, BORDER, below)), 0, 0, height, width)


def paper_size(wanted: int) -> int:
    """The least size of an image for which the paper's form answers `wanted` pixels or more: 16 n + 124.

    >>> paper_size(388), paper_size(1), paper_size(389)
    (572, 188, 588)
    """
    return 16 * max(4, (wanted + 75) // 16) + 124  # no division of a negative number, which ONNX rounds up


def _middle(x: Tensor, height: int, width: int) -> Tensor:
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return window(x, top, left, height, width)


def _pair(in_channels: int, out_channels: int, form: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(nn.Conv2d(channels, out_channels, 3, padding=1 if form == "padded" else 0))
        layers += [nn.BatchNorm2d(out_channels)] if form == "padded" else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


UNET = Card(
    name="unet",
    source="Ronneberger, Fischer, Brox: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015",
    build=UNet,
    example=images(256),
    parameters=31_044_821,
    answers="pixels",
    deviations=(
        "The usual form: padded convolutions with batch normalisation, no dropout; form=paper has none of the three.",
    ),
    tiny={"width": 1 / 16, "num_classes": 3},
    tiny_example=images(21),
)

TOPICS = (Topic("U-Net", "U-Net", lectures=(4,), code=("UNet",), command="chainrule train unet --data DIR"),)
