"""Augmentation of batches of faces: rotation, translation, scale, brightness, contrast and mirroring, within bounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def face_jitter(
    x: Tensor, *, degrees: float = 10.0, shift: float = 0.05, zoom: float = 0.1, light: float = 0.2, mirror: bool = True
) -> Tensor:
    """Each image rotated, translated and scaled about its middle, its contrast and brightness changed, half of them mirrored.

    All draws are uniform between minus and plus the bound; what comes in from outside repeats the edge.

    Args:
        x: bytes (B, C, H, W).
        degrees: of the rotation.
        shift: of the translation in either direction, in sides of the image.
        zoom: of the scale's distance from 1.
        light: of the contrast's distance from 1, and of the brightness in parts of 255.
        mirror: whether half of them are mirrored.

    Gives bytes of the same shape. Draws from torch's global generator of x's device.

    >>> x = torch.randint(0, 256, (2, 1, 4, 4), dtype=torch.uint8)
    >>> torch.equal(face_jitter(x, degrees=0, shift=0, zoom=0, light=0, mirror=False), x)
    True
    """

    def draw(bound: float) -> Tensor:
        return (torch.rand(len(x), device=x.device) * 2 - 1) * bound

    if not x.numel():
        return x
    angle, scale = draw(degrees) * (math.pi / 180), 1 + draw(zoom)
    across, down = draw(2 * shift), draw(2 * shift)  # the grid reaches from -1 to 1, two units a side
    flip = torch.where(torch.rand(len(x), device=x.device) < (0.5 if mirror else 0.0), -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    matrix = torch.stack([flip * cos, -sin, across, flip * sin, cos, down], 1).view(-1, 2, 3)  # (B, 6) -> (B, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)  # (B, H, W, 2)
    moved = F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
    contrast, brightness = (1 + draw(light)).view(-1, 1, 1, 1), (255 * draw(light)).view(-1, 1, 1, 1)
    middle = moved.mean((1, 2, 3), keepdim=True)
    return ((moved - middle) * contrast + middle + brightness).round().clamp(0, 255).to(torch.uint8)
