"""Maps made larger or smaller at their border: by what a mirror would show there, or cut to a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mirrored(count: int, before: int, after: int, device: torch.device | None = None) -> Tensor:
    """Where each place of a padded line of `count` numbers comes from: (before + count + after,).

    The edge itself is not repeated; beyond the other edge it is mirrored again.

    >>> mirrored(4, 3, 2).tolist(), mirrored(2, 3, 3).tolist()
    ([3, 2, 1, 0, 1, 2, 3, 2, 1], [1, 0, 1, 0, 1, 0, 1, 0])
    """
    places = torch.arange(-before, count + after, device=device)
    if count == 1:
        return torch.zeros_like(places)
    period = torch.full((1,), 2 * (count - 1), device=device)  # a tensor: ONNX divides by no size of an image
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def mirror_pad(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Maps (..., H, W) with what a mirror shows around them: (..., top + H + bottom, left + W + right).

    >>> x = torch.arange(12.0).view(1, 1, 3, 4)
    >>> torch.equal(mirror_pad(x, 1, 2, 2, 0), torch.nn.functional.pad(x, (1, 2, 2, 0), "reflect"))
    True
    """
    height, width = x.shape[-2:]
    if left or right:
        x = x.index_select(-1, mirrored(width, left, right, x.device))
    if top or bottom:
        x = x.index_select(-2, mirrored(height, top, bottom, x.device))
    return x


def at_least(x: Tensor, size: tuple[int, int]) -> tuple[Tensor, int, int]:
    """Maps (..., H, W) mirrored on all sides where they are smaller than `size`, and where they begin: above, left.

    >>> maps, top, left = at_least(torch.zeros(1, 3, 5), (6, 4))
    >>> maps.shape, top, left
    (torch.Size([1, 6, 5]), 1, 0)
    """
    height, width = (max(0, wanted - there) for wanted, there in zip(size, x.shape[-2:], strict=True))
    top, left = height // 2, width // 2
    return mirror_pad(x, left, width - left, top, height - top), top, left


def window(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """The part of maps (..., H, W) that begins at `top` and `left`: (..., height, width).

    A padding by less than nothing, which a program of any image size can say where it cannot say a slice.

    >>> window(torch.arange(12.0).view(1, 1, 3, 4), 1, 2, 2, 1).flatten().tolist()
    [6.0, 10.0]
    """
    return F.pad(x, (-left, left + width - x.shape[-1], -top, top + height - x.shape[-2]))
