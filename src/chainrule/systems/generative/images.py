"""Images of a generator: floats in [-1, 1] and bytes, grids of samples, the training images nearest to a sample."""

from __future__ import annotations

from math import isqrt

import torch
from PIL import Image
from torch import Tensor, nn

from chainrule.data.images.spec import ImageSpec

GRID_BYTES = 100_000  # of a grid's pixels, about the size of its file


class ToPixels(nn.Module):
    """A generator whose images are floats in [0, 255]."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, noise: Tensor) -> Tensor:
        return (self.generator(noise) + 1) * 127.5


def from_bytes(x: Tensor) -> Tensor:
    """Bytes (B, C, S, S) to [-1, 1], the range of tanh, in channels-last memory as the networks are."""
    return (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def to_bytes(x: Tensor) -> Tensor:
    """[-1, 1] to bytes, rounded; what lies outside is clamped."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def nearest(image: Tensor, images: Tensor, count: int) -> Tensor:
    """Indices of the `count` images (N, C, H, W) at the least Euclidean distance from one (C, H, W)."""
    one = image.flatten().float()  # (C H W,)
    distance = torch.cat([(chunk.flatten(1).float() - one).square().sum(1) for chunk in images.split(4096)])
    return distance.topk(min(count, len(images)), largest=False).indices


def grid_columns(spec: ImageSpec) -> int:
    """Columns of a square grid of samples: 8, fewer where the images are large, 4 at least."""
    return max(4, min(8, isqrt(GRID_BYTES // (spec.channels * spec.size**2))))


def to_image(image: Tensor) -> Image.Image:
    """Bytes (C, H, W) as an image."""
    pixels = image.permute(1, 2, 0).contiguous().numpy()  # (C, H, W) -> (H, W, C)
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def grid(images: Tensor) -> Image.Image:
    """Byte images (N, C, H, W) side by side, in about as many rows as columns, with two pixels between."""
    count, channels, height, width = images.shape
    columns = isqrt(count - 1) + 1
    canvas = torch.full(
        (channels, -(-count // columns) * (height + 2) + 2, columns * (width + 2) + 2), 96, dtype=torch.uint8
    )
    for number, image in enumerate(images):
        top, left = 2 + number // columns * (height + 2), 2 + number % columns * (width + 2)
        canvas[:, top : top + height, left : left + width] = image
    return to_image(canvas)
