"""Pictures as networks with published weights saw them: resampled by their shorter side, the middle cut out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from chainrule.errors import UserError


def resize_and_crop(pixels: Tensor, resize: int, size: int) -> Tensor:
    """The middle `size` x `size` of pictures whose shorter side was resampled to `resize` pixels.

    Bilinear, with the smoothing that keeps fine patterns from turning into coarse ones; the longer side is rounded down.

    Args:
        pixels: bytes or floats (B, C, H, W).
        resize: the shorter side, in pixels; at least `size`.
        size: of the cut, in pixels.

    Returns:
        (B, C, size, size), of the same type.

    Raises:
        UserError: pictures of another number of dimensions or without a pixel, or resize < size.

    Source: torchvision, the transforms of its ImageNet weights (resize 256, crop 224).

    >>> resize_and_crop(torch.zeros(1, 3, 480, 640, dtype=torch.uint8), resize=256, size=224).shape
    torch.Size([1, 3, 224, 224])
    """
    if pixels.dim() != 4 or min(pixels.shape[-2:]) < 1:
        raise UserError("pixels must be pictures", expected="(B, C, H, W)", found=tuple(pixels.shape))
    if not 1 <= size <= resize:
        raise UserError("the cut is larger than the picture", expected=f"size from 1 to {resize}", found=size)
    height, width = pixels.shape[-2:]
    short = min(height, width)
    scaled = (resize * height // short, resize * width // short)
    if scaled != (height, width):
        wide = F.interpolate(pixels.to(torch.float32), scaled, mode="bilinear", antialias=True)
        pixels = wide.to(pixels.dtype) if pixels.is_floating_point() else wide.round().clamp(0, 255).to(pixels.dtype)
    top, left = (round((side - size) / 2) for side in scaled)
    return pixels[..., top : top + size, left : left + size]
