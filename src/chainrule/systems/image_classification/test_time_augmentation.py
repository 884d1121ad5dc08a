"""Answers that are means over several views of an image: what is done at test time, with a network that is learnt."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FlipAverage(nn.Module):
    """The mean of a network's logits for images (B, C, H, W) and for their mirror images.

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
    """The mean of a network's logits for an image, moved and not, each of these both ways: six views.

    Half of the weight has the image in its place, a quarter each the image moved by one pixel up and left, and by one
    down and right; at the border the next row and column but one are repeated, as a mirror would.

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
        self.both = FlipAverage(network)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = F.pad(x, (1, 1, 1, 1), "reflect")
        moved = self.both(padded[:, :, :height, :width]) + self.both(padded[:, :, 2:, 2:])
        return self.both(x) / 2 + moved / 4
