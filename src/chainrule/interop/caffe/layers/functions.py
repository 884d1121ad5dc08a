"""Caffe's layers without weights, as functions of their bottoms. Blobs are (N, C, H, W) as a rule; N samples.

Source: Caffe, src/caffe/layers: the file of each layer's name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional.pooling import caffe_avg_pool2d, caffe_max_pool2d
from chainrule.interop.caffe.layers.settings import Shapes


class Function(nn.Module):
    """A layer that is a function with fixed settings; `as_layer` makes it."""

    def __init__(self, function: Callable[..., Any], settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.function, self.settings = function, dict(settings)

    def forward(self, *bottoms: Tensor) -> Any:
        return self.function(*bottoms, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join([self.function.__name__, *(f"{name}={value}" for name, value in self.settings.items())])


Build = Callable[[Any, Shapes], nn.Module]  # a layer's message and the shapes of its bottoms, to its module


def simple(function: Callable[..., Any], field: str = "", *names: str) -> Build:
    """A builder for a function whose settings have the names of the fields."""

    def build(layer: Any, shapes: Shapes) -> nn.Module:
        settings = getattr(layer, field) if field else None
        return as_layer(function, **{name: getattr(settings, name) for name in names})

    return build


def as_layer(function: Callable[..., Any], **settings: Any) -> Function:
    """The function as a module.

    >>> as_layer(power, power=2.0, shift=1.0)(torch.tensor([2.0]))
    tensor([9.])
    """
    return Function(function, settings)


def power(x: Tensor, power: float = 1.0, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """(shift + scale x)^power."""
    inside = shift + scale * x
    return inside if power == 1.0 else inside**power


def exponential(x: Tensor, base: float = -1.0, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """base^(shift + scale x); a base of -1 is e."""
    inside = shift + scale * x
    return inside.exp() if base == -1.0 else (inside * math.log(base)).exp()


def logarithm(x: Tensor, base: float = -1.0, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """log(shift + scale x) to the base; a base of -1 is e.

    >>> logarithm(torch.tensor([3.0]), base=2.0, shift=1.0)
    tensor([2.])
    """
    result = (shift + scale * x).log()
    return result if base == -1.0 else result / math.log(base)


def bnll(x: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return torch.logaddexp(x, torch.zeros_like(x))


def threshold(x: Tensor, threshold: float = 0.0) -> Tensor:
    """1 where x > threshold, else 0."""
    return (x > threshold).to(x.dtype)


def swish(x: Tensor, beta: float = 1.0) -> Tensor:
    """x sigmoid(beta x)."""
    return x * torch.sigmoid(beta * x)


def eltwise(*bottoms: Tensor, operation: str = "SUM", coeff: Sequence[float] = ()) -> Tensor:
    """The product, the sum (weighted by `coeff`, if there is any) or the maximum of blobs of one shape.

    Of equal maxima one has the gradient, as in Caffe: of the first two blobs the second, of others the earlier.

    >>> eltwise(torch.tensor([1.0]), torch.tensor([3.0]), coeff=(1.0, -1.0))
    tensor([-2.])
    """
    result = bottoms[0] * coeff[0] if coeff else bottoms[0]
    for index, x in enumerate(bottoms[1:], 1):
        if x.shape != result.shape:
            raise UserError("the blobs must have one shape", expected=tuple(bottoms[0].shape), found=tuple(x.shape))
        if operation == "SUM":
            result = result + (x * coeff[index] if coeff else x)
        elif operation == "PROD":
            result = result * x
        else:
            result = torch.where(result > x if index == 1 else result >= x, result, x)
    return result


def concat(*bottoms: Tensor, axis: int = 1) -> Tensor:
    """One blob behind the other along an axis."""
    return torch.cat(bottoms, axis)


def slice_blob(x: Tensor, axis: int, points: Sequence[int], parts: int) -> tuple[Tensor, ...]:
    """The blob cut along an axis: at the points, or into equal parts where there are none.

    >>> [part.tolist() for part in slice_blob(torch.arange(5), 0, [2, 3], 3)]
    [[0, 1], [2], [3, 4]]
    """
    size = x.shape[axis]
    if not points:
        if size % parts:
            raise UserError("the blob cannot be cut into equal parts", expected=f"a multiple of {parts}", found=size)
        return x.split(size // parts, axis)
    edges = [0, *points, size]
    if len(edges) != parts + 1 or any(b <= a for a, b in itertools.pairwise(edges)):
        raise UserError(
            "the points do not cut the blob",
            expected=f"{parts - 1} rising numbers between 0 and {size}",
            found=", ".join(map(str, points)),
        )
    return tuple(x.narrow(axis, a, b - a) for a, b in itertools.pairwise(edges))


def split(x: Tensor, tops: int) -> Any:
    """The same blob under several names."""
    return x if tops == 1 else (x,) * tops


def silence(*bottoms: Tensor) -> tuple[Tensor, ...]:
    """Nothing: it takes blobs that nobody reads."""
    return ()


def flatten(x: Tensor, axis: int = 1, end_axis: int = -1) -> Tensor:
    """The axes from one to another made one."""
    return x.flatten(axis, end_axis)


def reshape(x: Tensor, dims: Sequence[int], axis: int = 0, num_axes: int = -1) -> Tensor:
    """Other axes for the same numbers: 0 keeps the size that stood at its place, -1 takes what is left.

    Args:
        x: any shape.
        dims: sizes that replace those of `num_axes` axes from `axis` on (-1: of all that follow).

    >>> reshape(torch.zeros(2, 8), [0, -1, 4]).shape, reshape(torch.zeros(2, 8), [1], axis=1, num_axes=0).shape
    (torch.Size([2, 2, 4]), torch.Size([2, 1, 8]))
    """
    start = axis if axis >= 0 else x.dim() + axis + 1
    end = x.dim() if num_axes < 0 else start + num_axes
    if not 0 <= start <= end <= x.dim() or any(d == 0 and start + i >= x.dim() for i, d in enumerate(dims)):
        raise UserError("the axes to reshape are not there", expected=f"a blob of {end} axes", found=tuple(x.shape))
    sizes = [x.shape[start + i] if d == 0 else d for i, d in enumerate(dims)]
    shape = [*x.shape[:start], *sizes, *x.shape[end:]]
    count, known = x.numel(), math.prod(size for size in shape if size != -1)
    if shape.count(-1) > 1 or (count % max(known, 1) if -1 in shape else count != known):
        raise UserError(
            "the blob does not fit into the shape", expected=f"as many numbers as {tuple(shape)}", found=tuple(x.shape)
        )
    return x.reshape(shape)


def crop(x: Tensor, reference: Tensor, axis: int = 2, offset: Sequence[int] = ()) -> Tensor:
    """As much of x, from `axis` on, as the reference is large.

    >>> crop(torch.arange(6).view(1, 1, 2, 3), torch.zeros(1, 1, 1, 2), offset=[1]).tolist()
    [[[[4, 5]]]]
    """
    axis = axis % x.dim()
    cropped = range(axis, x.dim())
    if len(offset) not in (0, 1, len(cropped)):
        raise UserError("the offsets do not match the axes", expected=f"1 or {len(cropped)}", found=len(offset))
    offsets = [offset[0] if len(offset) == 1 else 0] * len(cropped) if len(offset) < 2 else offset
    for at, begin in zip(cropped, offsets, strict=True):
        if begin + reference.shape[at] > x.shape[at]:
            raise UserError(
                "the blob is too small to be cropped",
                expected=f"axis {at} of {begin + reference.shape[at]} or more",
                found=tuple(x.shape),
            )
        x = x.narrow(at, begin, reference.shape[at])
    return x


def argmax(x: Tensor, out_max_val: bool = False, top_k: int = 1, axis: int | None = None) -> Tensor:
    """The indices of the largest numbers, the largest first; as floating-point numbers, as every blob.

    Without an axis over all of a sample: (N, 1, top_k), or (N, 2, top_k) with the numbers themselves behind. With an
    axis, along it: the indices, or the numbers themselves where `out_max_val` is set.

    >>> argmax(torch.tensor([[1.0, 5.0, 3.0]]), out_max_val=True, top_k=2).tolist()
    [[[1.0, 2.0], [5.0, 3.0]]]
    """
    if axis is not None:
        values, indices = x.topk(top_k, dim=axis)
        return values if out_max_val else indices.to(x.dtype)
    values, indices = x.flatten(1).topk(top_k, dim=1)
    parts = [indices.to(x.dtype), values] if out_max_val else [indices.to(x.dtype)]
    result = torch.stack(parts, 1)
    return result.view(*result.shape, *[1] * (x.dim() - 3))


def reduction(x: Tensor, operation: str = "SUM", axis: int = 0, coeff: float = 1.0) -> Tensor:
    """Sum, sum of absolute values, sum of squares or mean over all axes from one on, times `coeff`."""
    axis = axis % x.dim() if x.dim() else 0
    rows = x.reshape(*x.shape[:axis], -1)
    if operation == "MEAN":
        return coeff * rows.mean(-1)
    of = {"SUM": lambda: rows, "ASUM": rows.abs, "SUMSQ": rows.square}[operation]
    return coeff * of().sum(-1)


def tile(x: Tensor, axis: int = 1, tiles: int = 1) -> Tensor:
    """The blob several times behind itself along an axis."""
    copies = [1] * x.dim()
    copies[axis] = tiles
    return x.repeat(copies)


def mean_variance(
    x: Tensor, normalize_variance: bool = True, across_channels: bool = False, eps: float = 1e-9
) -> Tensor:
    """(x - m) / (s + eps), mean and deviation of each map, or of each sample where it goes across channels.

    A map of equal numbers becomes 0, and its gradient is that of (x - m) / eps.
    """
    rows = x.reshape(*x.shape[: 1 if across_channels else 2], -1)
    centred = rows - rows.mean(-1, keepdim=True)
    if normalize_variance:
        variance = centred.square().mean(-1, keepdim=True)
        # The slope of the root is infinite at 0, where Caffe's own backward pass has none.
        deviation = torch.where(variance > 0, torch.where(variance > 0, variance, 1).sqrt(), 0)
        centred = centred / (deviation + eps)
    return centred.reshape(x.shape)


def global_pool(x: Tensor, operation: str = "MAX") -> Tensor:
    """Maximum or mean of each map: (N, C, H, W) to (N, C, 1, 1). Of equal maxima the first has the gradient."""
    return F.max_pool2d(x, x.shape[2:]) if operation == "MAX" else x.mean((2, 3), keepdim=True)


def pyramid_pool(x: Tensor, levels: int, operation: str = "MAX") -> Tensor:
    """Caffe's SPP: maps pooled in 1, 2 x 2, 4 x 4, ... windows, all in one row; one level stays a map of 1 x 1.

    Source: Caffe, spp_layer.cpp; He et al. 2014, spatial pyramid pooling.

    >>> pyramid_pool(torch.arange(4.0).view(1, 1, 2, 2), 2).tolist()
    [[3.0, 0.0, 1.0, 2.0, 3.0]]
    """
    pool = caffe_max_pool2d if operation == "MAX" else caffe_avg_pool2d
    parts = []
    for bins in (2**level for level in range(levels)):
        kernel = [-(-side // bins) for side in x.shape[2:]]
        padding = [(k * bins - side + 1) // 2 for k, side in zip(kernel, x.shape[2:], strict=True)]
        parts.append(pool(x, tuple(kernel), tuple(kernel), tuple(padding)))
    return parts[0] if levels == 1 else torch.cat([part.flatten(1) for part in parts], 1)


def filter_items(*bottoms: Tensor) -> Any:
    """Caffe's Filter: of each blob the samples for which the last blob, the selector (N, 1, ...), is not 0.

    >>> filter_items(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 0.0, 2.0])).tolist()
    [[1.0], [3.0]]
    """
    *blobs, selector = bottoms
    if selector.is_meta:  # how many there are is not known: at most all
        kept = [blob.clone() for blob in blobs]
    else:
        index = selector.reshape(len(selector)).nonzero().flatten()
        kept = [blob[index] for blob in blobs]
    return kept[0] if len(kept) == 1 else tuple(kept)


def batch_reindex(x: Tensor, index: Tensor) -> Tensor:
    """The samples that the second blob numbers, in its order; one may come several times.

    >>> batch_reindex(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 1.0, 0.0])).flatten().tolist()
    [2.0, 2.0, 1.0]
    """
    return x[index.reshape(-1).long()]


def floor_pool(
    x: Tensor, operation: str, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Pooling with sizes rounded down, Caffe's `round_mode: FLOOR`; padding counts in means, and never is the maximum."""
    (kh, kw), (ph, pw) = kernel_size, padding
    if ph >= kh or pw >= kw:
        raise UserError("the padding is as large as the window", expected=f"below {kh}, {kw}", found=f"{ph}, {pw}")
    fill = -math.inf if operation == "MAX" else 0.0
    padded = F.pad(x, (pw, pw, ph, ph), value=fill) if ph or pw else x
    pool = F.max_pool2d if operation == "MAX" else F.avg_pool2d
    return pool(padded, kernel_size, stride)
