"""Inception-ResNet-v1: inception modules as residuals, in the form that embeds faces.

Shapes: B batch, C input channels, E numbers of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.nn.image_size import at_least

Scale = Callable[[int], int]  # published channels to those of this network


class Shift(nn.Module):
    """Batch normalisation that shifts and does not scale: (x - mean) / sqrt(var + 0.001) + bias, (B, C) or (B, C, H, W)."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, None, self.bias, self.training, momentum=0.005, eps=0.001
        )


class ConvBN(nn.Sequential):
    """A convolution without bias, batch normalisation without scale, ReLU, which needs none."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        super().__init__(conv, Shift(out_channels), nn.ReLU(inplace=True))
        _begin(conv)


class Residual(nn.Module):
    """x + scale * (the branches side by side, brought back to x's channels by 1 x 1), then ReLU if asked for."""

    def __init__(self, channels: int, branches: list[nn.Module], joined: int, scale: float, relu: bool = True) -> None:
        super().__init__()
        self.branches, self.scale, self.relu = nn.ModuleList(branches), scale, relu
        self.up = nn.Conv2d(joined, channels, 1)
        _begin(self.up)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> the same
        x = x + self.scale * self.up(torch.cat([branch(x) for branch in self.branches], 1))
        return nn.functional.relu(x, inplace=True) if self.relu else x


class SideBySide(nn.Module):
    """The outputs of the branches, joined by channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def block35(n: Scale) -> Residual:
    """Inception-ResNet-A, on 256 maps; named by their side in the paper, 35."""
    c, w = n(256), n(32)
    return Residual(
        c,
        [
            ConvBN(c, w, 1),
            nn.Sequential(ConvBN(c, w, 1), ConvBN(w, w, 3, padding=1)),
            nn.Sequential(ConvBN(c, w, 1), ConvBN(w, w, 3, padding=1), ConvBN(w, w, 3, padding=1)),
        ],
        3 * w,
        scale=0.17,
    )


def block17(n: Scale) -> Residual:
    """Inception-ResNet-B, on 896 maps."""
    c, w = 2 * n(256) + n(384), n(128)
    return Residual(
        c,
        [
            ConvBN(c, w, 1),
            nn.Sequential(ConvBN(c, w, 1), ConvBN(w, w, (1, 7), padding=(0, 3)), ConvBN(w, w, (7, 1), padding=(3, 0))),
        ],
        2 * w,
        scale=0.10,
    )


def block8(n: Scale, scale: float = 0.20, relu: bool = True) -> Residual:
    """Inception-ResNet-C, on 1792 maps."""
    c, w = 4 * n(256) + 2 * n(384), n(192)
    return Residual(
        c,
        [
            ConvBN(c, w, 1),
            nn.Sequential(ConvBN(c, w, 1), ConvBN(w, w, (1, 3), padding=(0, 1)), ConvBN(w, w, (3, 1), padding=(1, 0))),
        ],
        2 * w,
        scale=scale,
        relu=relu,
    )


class InceptionResNetV1(nn.Module):
    """Inception-ResNet-v1; embeddings (B, E), of length 1, of normalised images from 75 x 75 on.

    Args:
        embedding: E.
        in_channels: C.
        dropout: of the averaged maps.
        width: every layer but the last has this many times the published channels.
        blocks: how many blocks A, B and C there are; one more C, without ReLU, comes last.

    Raises:
        UserError: when called, where the images are smaller than 75 x 75.

    >>> with torch.device("meta"):
    ...     [sum(p.numel() for p in InceptionResNetV1(size).parameters()) for size in (128, 512)]
    [22779312, 23467824]
    """

    def __init__(
        self,
        embedding: int = 128,
        in_channels: int = 3,
        dropout: float = 0.2,
        width: float = 1.0,
        blocks: tuple[int, int, int] = (5, 10, 5),
    ) -> None:
        super().__init__()

        def n(channels: int) -> int:
            return max(1, round(channels * width))

        c32, c64, c80, c192, c256, c384 = map(n, (32, 64, 80, 192, 256, 384))
        self.stem = nn.Sequential(
            ConvBN(in_channels, c32, 3, stride=2),
            ConvBN(c32, c32, 3),
            ConvBN(c32, c64, 3, padding=1),
            nn.MaxPool2d(3, stride=2),
            ConvBN(c64, c80, 1),
            ConvBN(c80, c192, 3),
            ConvBN(c192, c256, 3, stride=2),
        )
        self.blocks35 = nn.Sequential(*(block35(n) for _ in range(blocks[0])))
        self.reduce_a = SideBySide(
            ConvBN(c256, c384, 3, stride=2),
            nn.Sequential(ConvBN(c256, c192, 1), ConvBN(c192, c192, 3, padding=1), ConvBN(c192, c256, 3, stride=2)),
            nn.MaxPool2d(3, stride=2),
        )
        self.blocks17 = nn.Sequential(*(block17(n) for _ in range(blocks[1])))
        c896 = 2 * c256 + c384
        self.reduce_b = SideBySide(
            nn.Sequential(ConvBN(c896, c256, 1), ConvBN(c256, c384, 3, stride=2)),
            nn.Sequential(ConvBN(c896, c256, 1), ConvBN(c256, c256, 3, stride=2)),
            nn.Sequential(ConvBN(c896, c256, 1), ConvBN(c256, c256, 3, padding=1), ConvBN(c256, c256, 3, stride=2)),
            nn.MaxPool2d(3, stride=2),
        )
        self.blocks8 = nn.Sequential(*(block8(n) for _ in range(blocks[2])), block8(n, scale=1.0, relu=False))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(c896 + c384 + 2 * c256, embedding, bias=False)
        self.bn = Shift(embedding)
        _begin(self.fc)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 160, 160) -> (B, E)
        at_least(x, 75, "Inception-ResNet-v1")
        x = self.blocks35(self.stem(x))  # (B, 256, 17, 17)
        x = self.blocks17(self.reduce_a(x))  # (B, 896, 8, 8)
        x = self.blocks8(self.reduce_b(x))  # (B, 1792, 3, 3)
        return nn.functional.normalize(self.bn(self.fc(self.dropout(x.mean((2, 3))))))


def _begin(layer: nn.Conv2d | nn.Linear) -> None:
    """Weights of a normal distribution of deviation 0.1, cut at two deviations; biases 0."""
    nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


INCEPTION_RESNET_V1 = Card(
    name="inception-resnet-v1",
    source="Szegedy, Ioffe, Vanhoucke, Alemi: Inception-v4, Inception-ResNet, 2017, figures 10 to 15; Sandberg: facenet, 2018",
    build=InceptionResNetV1,
    example=images(160),
    parameters=22_779_312,
    deviations=(
        "As in Sandberg's facenet: batch normalisation does not scale, and a last block without ReLU stands before pooling.",
        "Images are 160 x 160, as there; the paper's are 299 x 299.",
    ),
    tiny={"width": 1 / 16, "blocks": (1, 1, 1), "embedding": 8},
    tiny_example=images(75),
    skip={"overfit": "answers are points of a sphere, not scores of classes: cross entropy of them cannot fall so far"},
)
