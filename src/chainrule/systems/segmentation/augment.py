"""Random changes to parts: an image and its mask are moved by one draw, masks by nearest neighbour.

Shapes: B parts, C channels, h x w pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.systems.segmentation.parts import Parts

GRID = 3  # displacements of U-Net's elastic deformation are drawn on so many points a side


@dataclass(frozen=True)
class Augmentation:
    """What is done to each part, by draws of its own from torch's global generator.

    Attributes:
        flips: `no`, `horizontal`, or `both`.
        jitter: j: enlarged by a factor between 1 / (1 + j) and 1 + j, evenly in its logarithm; what is beyond is mirrored.
        elastic: deviation, in pixels, of displacements drawn on a coarse grid and interpolated by cubic splines.
        colour: c: brightness and contrast change by up to a share c.
    """

    flips: Literal["no", "horizontal", "both"] = "horizontal"
    jitter: float = 0.0
    elastic: float = 0.0
    colour: float = 0.0

    def __call__(self, parts: Parts) -> Parts:
        """The same parts changed; images become floats where they were moved or coloured."""
        parts = self._flipped(parts)
        if self.jitter or self.elastic:
            parts = moved(parts, self.flow(len(parts.index), parts.images))
        return replace(parts, images=coloured(parts.images, self.colour)) if self.colour else parts

    def _flipped(self, parts: Parts) -> Parts:
        for axis in {"no": (), "horizontal": (-1,), "both": (-1, -2)}[self.flips]:
            turned = torch.rand(len(parts.index), device=parts.images.device) < 0.5

            def flip(x: Tensor, axis: int = axis, turned: Tensor = turned) -> Tensor:
                return torch.where(turned.view(-1, *(1,) * (x.dim() - 1)), x.flip(axis), x)

            parts = _mapped(parts, flip, flip)
        return parts

    def flow(self, count: int, images: Tensor) -> Tensor:
        """Where each pixel of the changed parts comes from (B, h, w, 2), x before y, from -1 to 1 between the edges."""
        h, w = images.shape[-2:]
        device = images.device
        # 1. Enlarged by z about a point, so that the window of 1 / z lies anywhere in the part.
        bound = torch.tensor(1 + self.jitter).log().to(device)
        z = ((torch.rand(count, device=device) * 2 - 1) * bound).exp()
        centre = (torch.rand(count, 2, device=device) * 2 - 1) * (1 - 1 / z).clamp_min(0)[:, None]  # (B, 2)
        zero = torch.zeros_like(z)
        theta = torch.stack(
            [torch.stack([1 / z, zero, centre[:, 0]], 1), torch.stack([zero, 1 / z, centre[:, 1]], 1)], 1
        )  # (B, 2, 3)
        flow = F.affine_grid(theta, [count, 1, h, w], align_corners=False)
        # 2. Displaced: normal draws on a grid of 3 x 3, cubic between them.
        if self.elastic:
            coarse = torch.randn(count, 2, GRID, GRID, device=device) * self.elastic
            fine = F.interpolate(coarse, (h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
            flow = flow + fine * torch.tensor([2 / w, 2 / h], device=device)  # pixels to shares of the half width
        return flow


def moved(parts: Parts, flow: Tensor) -> Parts:
    """Parts sampled where `flow` (B, h, w, 2) says: images between pixels, masks at the nearest, mirrored at the border."""

    def image(x: Tensor) -> Tensor:
        return F.grid_sample(x.float(), flow, mode="bilinear", padding_mode="reflection", align_corners=False)

    def mask(x: Tensor) -> Tensor:
        found = F.grid_sample(x[:, None].float(), flow, mode="nearest", padding_mode="reflection", align_corners=False)
        return found[:, 0].to(x.dtype)

    return _mapped(parts, image, mask)


def coloured(images: Tensor, share: float) -> Tensor:
    """Pixels (B, C, h, w) from 0 to 255 with another contrast about their mean, and lighter or darker: floats.

    x' = m + (1 + c)(x - m) + 255 b,    c and b even in [-share, share] and [-share, share] / 2, one each a part
    """
    count = len(images)
    contrast, light = ((torch.rand(2, count, 1, 1, 1, device=images.device) * 2 - 1) * share).unbind(0)
    x = images.float()
    mean = x.mean((1, 2, 3), keepdim=True)
    return (mean + (1 + contrast) * (x - mean) + 255 * light / 2).clamp(0, 255)


def _mapped(parts: Parts, image: Callable[[Tensor], Tensor], mask: Callable[[Tensor], Tensor]) -> Parts:
    return replace(
        parts,
        images=image(parts.images),
        masks=mask(parts.masks),
        weights=None if parts.weights is None else mask(parts.weights),
    )


TOPICS = (
    Topic(
        "Elastic deformation of images and masks",
        "图像与掩码的弹性形变",
        code=("Augmentation", "moved"),
        command="chainrule train unet elastic=10",
    ),
)
