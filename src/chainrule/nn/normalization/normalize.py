"""Normalisation of pixels by the mean and deviation of each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic


class Normalize(nn.Module):
    """(x / 255 - mean) / std a channel, in one multiplication and one addition.

    Args:
        mean, std: of pixels in [0, 1], a channel.
        contiguous: whether what it gives lies in memory as its shape says, whatever the memory format of what it is given,
            for networks that call `view`.

    Takes (B, C, H, W), bytes or floats in [0, 255]; gives float32 of the same shape.

    >>> Normalize([0.5], [0.25])(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten().round(decimals=3).tolist()
    [-2.0, 2.0]
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: list[float], std: list[float], contiguous: bool = False) -> None:
        super().__init__()
        self.contiguous = contiguous
        m, s = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)
        self.register_buffer("scale", 1 / (255 * s), persistent=False)
        self.register_buffer("shift", -m / s, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.addcmul(self.shift, x.to(torch.float32), self.scale)
        if not self.contiguous:
            return z
        return z.flatten(1).unflatten(
            1, z.shape[1:]
        )  # (B, C H W), then (B, C, H, W): strides are told apart where C is 1


TOPICS = (Topic("Scaling, standardising and whitening inputs", code=("Normalize",)),)
