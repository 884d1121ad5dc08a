"""Convolution and correlation of two signals or two images, as mathematics has them; layers correlate and say convolve."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown

Mode = Literal["full", "same", "valid"]
MODES = ("full", "same", "valid")
_CONVOLUTIONS = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d}


def convolve(x: Any, kernel: Any, mode: Mode = "full") -> Any:
    """The convolution of a signal (n,) or an image (H, W) with a kernel of as many axes.

    y_t = sum_i w_i x_(t - i) in one dimension, and in two

        H(x, y) = sum_m sum_n I(m, n) K(x - m, y - n)

    Either may be turned by 180 degrees and laid over the other: convolution commutes, correlation does not.

    Args:
        x: numbers (n,) or (H, W): a list, an array or a tensor.
        kernel: likewise, (k,) or (k, l).
        mode: `full`, wherever the two overlap, n + k - 1 values; `valid`, where the smaller lies wholly in the larger,
            |n - k| + 1; `same`, as many as x has, from the middle of `full`.

    Returns:
        a tensor where one of the two is a tensor, else an array, of their common type; gradients flow through tensors.

    Raises:
        UserError: an unknown mode; none or unequal numbers of axes, or more than two; an empty one; `valid` where neither
            fits into the other.

    Source: Dumoulin and Visin: A guide to convolution arithmetic for deep learning, 2016 (arXiv 1603.07285);
    `scipy.signal.convolve`.

    >>> convolve([1, 2, 3, 4, 5], [1.0, 0.5, 0.25], mode="valid").tolist()  # x_t + x_(t-1) / 2 + x_(t-2) / 4
    [4.25, 6.0, 7.75]
    >>> convolve(torch.eye(2), torch.tensor([[1.0, 2.0]]))
    tensor([[1., 2., 0.],
            [0., 1., 2.]])
    """
    first, second, is_tensor = _pair(x, kernel, mode)
    return _given(_slide(first, second.flip(*range(second.dim())), mode), is_tensor)


def correlate(x: Any, kernel: Any, mode: Mode = "full") -> Any:
    """The correlation: y_t = sum_i x_(t + i) w_i, the kernel laid over the signal as it is, from its first overlap on.

    It is `convolve` with the kernel turned by 180 degrees (and conjugated, where it is complex): what the layers of networks
    compute under the name of a convolution.

    Args, returns, errors: as `convolve`.

    Source: `scipy.signal.correlate`.

    >>> correlate([1, 2, 3, 4, 5], [1.0, 0.5, 0.25], mode="valid").tolist()
    [2.75, 4.5, 6.25]
    """
    first, second, is_tensor = _pair(x, kernel, mode)
    return _given(_slide(first, second.conj(), mode), is_tensor)


def _slide(x: Tensor, kernel: Tensor, mode: Mode) -> Tensor:
    """sum_i x_(t + i) w_i at all places t of the mode."""
    dims = x.dim()
    sizes, lengths = x.shape, kernel.shape
    smaller = all(k <= n for k, n in zip(lengths, sizes, strict=True))
    if mode == "valid" and not smaller and not all(k >= n for k, n in zip(lengths, sizes, strict=True)):
        raise UserError(
            "neither fits into the other, so that no place is valid",
            expected="one that is at least as long as the other along each axis",
            found=f"{tuple(sizes)} and {tuple(lengths)}",
            cure="mode=full or same",
        )
    common = torch.promote_types(x.dtype, kernel.dtype)
    whole = not (common.is_floating_point or common.is_complex)
    exact = torch.int64 if whole else common
    # x (1, 1, *sizes) with k - 1 zeros around it: (n + k - 1) places, of which the mode takes a part.
    widths = [width for k in reversed(lengths) for width in (k - 1, k - 1)]
    wide = torch.nn.functional.pad(x.to(exact), widths)[None, None]
    if whole:  # layers multiply no integers; sums of products in 64 bits lose no digit
        for axis, k in enumerate(lengths):
            wide = wide.unfold(2 + axis, k, 1)  # in the end (1, 1, *places, *kernel)
        full = (wide[0, 0] * kernel.to(exact)).flatten(dims).sum(dims)
    else:
        full = _CONVOLUTIONS[dims](wide, kernel.to(exact)[None, None])[0, 0]
    for axis, (n, k) in enumerate(zip(sizes, lengths, strict=True)):
        if mode == "same":
            full = full.narrow(axis, (k - 1) // 2, n)
        elif mode == "valid":
            full = full.narrow(axis, min(n, k) - 1, abs(n - k) + 1)
    return full if exact == common else full.to(common)


def _pair(x: Any, kernel: Any, mode: str) -> tuple[Tensor, Tensor, bool]:
    """Both as tensors on one device, and whether one was given as such."""
    if mode not in MODES:
        raise unknown("there is no mode", mode, MODES)
    tensors = [given for given in (x, kernel) if isinstance(given, Tensor)]
    device = tensors[0].device if tensors else "cpu"
    first, second = (given if isinstance(given, Tensor) else _numbers(given).to(device) for given in (x, kernel))
    if not tensors:  # two arrays have the common type that NumPy gives them
        both = torch.from_numpy(np.zeros(0, np.result_type(first.numpy(), second.numpy()))).dtype
        first, second = first.to(both), second.to(both)
    first, second = (value.to_dense() if value.is_sparse else value for value in (first, second))
    if first.dim() != second.dim() or first.dim() not in _CONVOLUTIONS or not first.numel() or not second.numel():
        raise UserError(
            "these two cannot be convolved",
            expected="two signals (n,) and (k,), or two images (H, W) and (k, l), with at least a value each",
            found=f"{tuple(first.shape)} and {tuple(second.shape)}",
            cure="a channel or a sample at a time; for batches, torch.nn.functional.conv2d (which correlates)",
        )
    return first, second, bool(tensors)


def _numbers(given: Any) -> Tensor:
    """A list or an array as a tensor; UserError where it holds none but numbers of one kind."""
    try:
        return torch.as_tensor(np.array(given))
    except (TypeError, ValueError) as error:
        raise UserError(
            "this is no signal and no image", expected="a list or an array of numbers", found=error
        ) from None


def _given(found: Tensor, is_tensor: bool) -> Any:
    return found if is_tensor else found.resolve_conj().numpy()


TOPICS = (
    Topic(
        "Convolution and correlation as mathematics has them",
        "数学意义上的卷积与互相关",
        lectures=(1, 2),
        code=("convolve", "correlate"),
        command="chainrule train lenet-backprop",
    ),
)
