"""DCGAN: a generator and a discriminator made of strided convolutions, without pooling or hidden dense layers.

Both double or halve the image at each layer. With w the width, a 64-pixel image takes four doublings:

    generator      z -> 8w x 4 x 4 -> 4w x 8 x 8 -> 2w x 16 x 16 -> w x 32 x 32 -> C x 64 x 64
    discriminator  C x 64 x 64 -> w x 32 x 32 -> 2w x 16 x 16 -> 4w x 8 x 8 -> 8w x 4 x 4 -> one logit

and w = 128 is the network of the paper's figure 1. 32 pixels take three doublings from 4 x 4, and 28 two from 7 x 7.

Shapes: B batch, Z noise, C colours, S side of an image.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from chainrule.core.card import Card
from chainrule.core.course import Topic

# Side of an image -> (side of the smallest maps, how often it is doubled).
DOUBLINGS = {28: (7, 2), 32: (4, 3), 64: (4, 4)}


def _padding(kernel_size: int) -> tuple[int, int]:
    """(padding, output_padding) with which stride 2 halves an even side exactly, and its transpose doubles it."""
    return (2, 1) if kernel_size == 5 else (1, 0)


def init_dcgan(module: nn.Module) -> None:
    """Section 4: weights drawn from N(0, 0.02); gains of batch norm from N(1, 0.02), as in the authors' code."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
            nn.init.zeros_(layer.bias)


class Generator(nn.Module):
    """Noise (B, Z) to images (B, C, S, S) in [-1, 1].

    Args:
        size: side S of an image, in pixels.
        channels: colours C, 1 or 3.
        width: maps before the last layer; twice as many a halving of the side.
        noise_size: Z.
        kernel_size: of the strided convolutions.

    >>> Generator(size=28, channels=1, width=4)(torch.zeros(2, 100)).shape
    torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        size: Literal[28, 32, 64] = 64,
        channels: int = 3,
        width: int = 128,
        noise_size: int = 100,
        kernel_size: Literal[4, 5] = 5,
    ) -> None:
        super().__init__()
        side, doublings = DOUBLINGS[size]
        padding, output_padding = _padding(kernel_size)
        maps = [width * 2**i for i in reversed(range(doublings))]
        # A transposed convolution of a 1 x 1 map is the linear "project and reshape" of figure 1.
        layers = [nn.ConvTranspose2d(noise_size, maps[0], side, bias=False), nn.BatchNorm2d(maps[0]), nn.ReLU()]
        for before, after in pairwise(maps):
            double = nn.ConvTranspose2d(before, after, kernel_size, 2, padding, output_padding, bias=False)
            layers += [double, nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.ConvTranspose2d(maps[-1], channels, kernel_size, 2, padding, output_padding, bias=False)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.noise_size = noise_size
        init_dcgan(self)

    def forward(self, z: Tensor) -> Tensor:  # (B, Z) -> (B, C, S, S)
        return self.layers(z[:, :, None, None])  # (B, Z) -> (B, Z, 1, 1) -> (B, C, S, S)


class Discriminator(nn.Module):
    """Images (B, C, S, S) in [-1, 1] to the logit (B,) of their being real.

    >>> Discriminator(size=28, channels=1, width=4)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2])
    """

    def __init__(
        self, size: Literal[28, 32, 64] = 64, channels: int = 3, width: int = 128, kernel_size: Literal[4, 5] = 5
    ) -> None:
        super().__init__()
        side, doublings = DOUBLINGS[size]
        padding, _ = _padding(kernel_size)
        maps = [width * 2**i for i in range(doublings)]
        layers = [nn.Conv2d(channels, maps[0], kernel_size, 2, padding, bias=False), nn.LeakyReLU(0.2)]
        for before, after in pairwise(maps):
            halve = nn.Conv2d(before, after, kernel_size, 2, padding, bias=False)
            layers += [halve, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.logit = nn.Linear(maps[-1] * side * side, 1, bias=False)
        init_dcgan(self)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, S, S) -> (B,)
        return self.logit(self.layers(x).flatten(1))[:, 0]  # (B, maps * side * side) -> (B, 1) -> (B,)


_SOURCE = (
    "Radford, Metz, Chintala: Unsupervised representation learning with deep convolutional generative adversarial "
    "networks, ICLR 2016 (arXiv 1511.06434), section 3, section 4, figure 1"
)
_DEVIATIONS = (
    "The recipe's defaults suit 28 pixels on a CPU, where they get further in the same time than the paper's: kernels "
    "of 4 x 4 (every output pixel has equally many inputs, 16/25 of the cost), batches of 64, a rate of 5e-4. The paper: "
    "5 x 5 in figure 1, 128, 2e-4.",
    "No layer has a bias, as in the authors' code; the paper does not say.",
    "The noise is projected by a transposed convolution and normalised a map, where the authors' code normalises a unit.",
    "28 and 32 pixels are not in the paper: fewer doublings, and smaller widths in the recipe.",
    "No target: the paper measures no samples, and no figure is published with the features that score them here.",
)
GENERATOR = Card(
    name="dcgan-generator",
    source=_SOURCE,
    build=Generator,
    example=lambda batch_size: (torch.rand(batch_size, 100) * 2 - 1,),
    deviations=_DEVIATIONS,
    tiny={"size": 28, "channels": 1, "width": 4, "noise_size": 8},
    tiny_example=lambda batch_size: (torch.rand(batch_size, 8) * 2 - 1,),
    topics=(
        Topic("Transposed convolution", "转置卷积（微步卷积）", lectures=(2, 3, 4), command="chainrule show dcgan"),
        Topic("DCGAN"),
    ),
)
DISCRIMINATOR = Card(
    name="dcgan-discriminator",
    source=_SOURCE,
    build=Discriminator,
    example=lambda batch_size: (torch.rand(batch_size, 3, 64, 64) * 2 - 1,),
    deviations=_DEVIATIONS,
    tiny={"size": 28, "channels": 1, "width": 4},
    tiny_example=lambda batch_size: (torch.rand(batch_size, 1, 28, 28) * 2 - 1,),
    topics=(Topic("DCGAN"),),
)
