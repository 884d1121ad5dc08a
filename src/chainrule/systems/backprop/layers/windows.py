"""Where the windows of a convolution or a pooling lie, in any number of dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import UserError

Sizes = int | tuple[int, ...]


def each(value: Sizes, dimensions: int, what: str, least: int) -> tuple[int, ...]:
    """One whole number per dimension; UserError where one is missing or below `least`.

    >>> each(3, 2, "kernel_size", 1)
    (3, 3)
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * dimensions
    if len(values) != dimensions or any(not isinstance(v, int) or v < least for v in values):
        raise UserError(
            f"{what} is wrong", expected=f"a whole number of at least {least}, or {dimensions} of them", found=value
        )
    return values


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int = 1, ceil_mode: bool = False) -> int:
    """How many windows fit along an axis: floor((n + 2p - d (k - 1) - 1) / s) + 1.

    With `ceil_mode` a last window may hang over the end, but one that would begin beyond the input and its first padding
    is left out, as in Caffe and PyTorch.

    >>> [output_size(6, 3, 2, 0, ceil_mode=mode) for mode in (False, True)], output_size(2, 3, 2, 0, ceil_mode=True)
    ([2, 3], 1)
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1  # below 0: the one window hangs over, if less than a stride
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    if count < 1:
        raise UserError(
            "the window is larger than the input",
            expected=f"at least {dilation * (kernel - 1) + 1 - 2 * padding}",
            found=f"an axis of {size}",
            cure="a smaller kernel, or more padding",
        )
    return count


def padded(
    x: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    out: tuple[int, ...],
    value: float = 0.0,
) -> Tensor:
    """x (B, C, *size) with `value` around it, along each axis exactly as long as `out` windows reach."""
    widths: list[int] = []
    for size, k, s, p, d, n in zip(x.shape[2:], kernel, stride, padding, dilation, out, strict=True):
        reach = (n - 1) * s + d * (k - 1) + 1  # from the first cell of the first window to the last cell of the last
        widths = [p, reach - size - p, *widths]  # the last axis comes first; a negative width cuts what no window sees
    return torch.nn.functional.pad(x, widths, value=value) if any(widths) else x


def cells(
    kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...], out: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """For each cell of the kernel: its place there, and the index into the padded input of what all windows see in it.

    >>> [at[-1].indices(5) for _, at in cells((2,), (2,), (1,), (2,))]
    [(0, 3, 2), (1, 4, 2)]
    """
    for place in itertools.product(*map(range, kernel)):
        axes = zip(place, stride, dilation, out, strict=True)
        # Cell i of window m lies at m s + i d: a slice with n entries, s apart.
        yield place, (..., *(slice(i * d, i * d + (n - 1) * s + 1, s) for i, s, d, n in axes))


def unpadded(total: Tensor, size: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """Cuts the padding off again: last axes as long as `padded` made them become `size`."""
    widths: list[int] = []
    for length, n, p in zip(total.shape[-len(size) :], size, padding, strict=True):
        widths = [-p, n + p - length, *widths]
    return torch.nn.functional.pad(total, widths) if any(widths) else total
