"""Test-time augmentation: the logits of a trained network, averaged over flipped and shifted copies of an image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FlipAverage(nn.Module):
    """Horizontal flips: the mean of a network's logits for images (B, C, H, W) and for their mirror images.

    >>> import torch
    >>> FlipAverage(nn.Flatten())(torch.tensor([[[[1.0, 3.0]]]])).tolist()
    [[2.0, 2.0]]
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return (self.network(x) + self.network(x.flip(3))) / 2


class FlipShiftAverage(nn.Module):
    """Flips and shifts: the weighted mean of a network's logits for an image and two shifted copies, each of them flipped too.

    The image in its place weighs 1/2; the image shifted by one pixel to the lower right, and by one to the upper left,
    1/4 each. What comes in at the border is padded by reflection.

    Source: Jordan: 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024, section 3.5 (arXiv 2404.00498).

    >>> import torch
    >>> class Corner(nn.Module):
    ...     def forward(self, x):
    ...         return x[:, 0, 0]
    >>> FlipShiftAverage(Corner())(torch.tensor([[[[0.0, 8.0], [80.0, 88.0]]]])).tolist()
    [[44.0, 44.0]]
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.flips = FlipAverage(network)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = F.pad(x, (1, 1, 1, 1), "reflect")
        moved = self.flips(padded[:, :, :height, :width]) + self.flips(padded[:, :, 2:, 2:])
        return self.flips(x) / 2 + moved / 4
