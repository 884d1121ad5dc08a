"""The receptive fields of all layers of a network, found by following its operations from the image up.

Every operation of one forward pass is seen as PyTorch's core operators have it, so functional calls, slices and
branches count like layers. Convolutions and poolings widen the field; elementwise operations join those of their
arguments; a sum over places sees them all. Of an operation that is not known every result is taken to depend on every
number, so a field is never too small; it is the hull of all channels, and a weight that is zero still counts.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from chainrule.core.course import Topic
from chainrule.introspection.attribution.receptive_field.arithmetic import ReceptiveField
from chainrule.introspection.attribution.target import image_leaf
from chainrule.introspection.layers import evaluating
from chainrule.introspection.tensors import first_tensor, tensors
from chainrule.nn.normalization.local_response_norm import LocalResponseNorm

Fields = tuple[ReceptiveField, ReceptiveField]  # vertical, horizontal
_ACROSS_CHANNELS = (nn.LocalResponseNorm, LocalResponseNorm)  # they lay all places in a row, which mixes none


def receptive_fields(module: nn.Module, x: Tensor) -> dict[str, Fields]:
    """The receptive field of each layer that gives maps, vertical and horizontal, in the order in which calls end.

    Args:
        module: a network that takes images.
        x: one or more, (B, C, H, W); their size matters where a layer sees whole maps.

    Returns:
        by name of the layer. Its size may exceed the image: it is that of the same network on a larger one. A field
        with jump 0 is seen by all units alike.

    Raises:
        UserError: x is no images.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 5), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3))
    >>> receptive_fields(net, torch.zeros(1, 1, 12, 12))["2"][0]
    ReceptiveField(size=10, jump=2, start=0)
    """
    x = image_leaf(x).detach()
    follow = _Follow()
    follow.mark(x, (_Axis(2, ReceptiveField()), _Axis(3, ReceptiveField())))
    found: dict[str, Fields] = {}

    def noting(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...], output: object) -> None:
            tensor = first_tensor(output)
            if isinstance(layer, _ACROSS_CHANNELS) and tensor is not None and id(args[0]) in follow.axes:
                follow.mark(tensor, follow.axes[id(args[0])])
            axes = follow.axes.get(id(tensor))
            if axes is not None and tensor is not None and tensor.dim() == 4:
                found.pop(name, None)
                found[name] = _upright(axes[0], 2, tensor), _upright(axes[1], 3, tensor)

        return hook

    with contextlib.ExitStack() as hooks, torch.no_grad(), evaluating(module), follow:
        for name, layer in module.named_modules():
            if name:
                hooks.enter_context(layer.register_forward_hook(noting(name)))
        module(x)
    return found


def _upright(axis: _Axis, dim: int, tensor: Tensor) -> ReceptiveField:
    """The field of a side that lies where rows or columns do; of one that lies elsewhere, what all units see."""
    return axis.field if axis.dim == dim else axis.whole(tensor).field


@dataclass(frozen=True)
class _Axis:
    """Along which dimension of a tensor a side of the image lies; None where every number sees the same field."""

    dim: int | None
    field: ReceptiveField

    def still(self) -> ReceptiveField:
        return replace(self.field, jump=0)

    def whole(self, tensor: Tensor) -> _Axis:
        return self if self.dim is None else _Axis(None, self.field.whole(tensor.shape[self.dim]))


Axes = tuple[_Axis, _Axis]


class _Follow(TorchDispatchMode):
    """Remembers for each tensor how its dimensions lie in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.axes: dict[int, Axes] = {}
        self.alive: list[Tensor] = []  # as long as they live, no other tensor gets their id

    def mark(self, tensor: Tensor, axes: Axes) -> None:
        self.alive.append(tensor)
        self.axes[id(tensor)] = axes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sources = [t for t in tensors((args, kwargs or {})) if id(t) in self.axes]
        name = func.overloadpacket.__name__
        if not sources or name in _OF_THE_SHAPE_ALONE:
            return result
        for output in tensors(result):
            vertical, horizontal = (
                self._axis(side, func, name, args, kwargs or {}, sources, output) for side in (0, 1)
            )
            self.mark(output, (vertical, horizontal))
            base = output._base
            if name.endswith("_") and base is not None:  # what was written through a view lies in what it views
                self.mark(base, (self._hull(0, [*sources, base]), self._hull(1, [*sources, base])))
        return result

    def _axis(
        self, side: int, func: Any, name: str, args: Any, kwargs: Any, sources: list[Tensor], output: Tensor
    ) -> _Axis:
        """How one side of the image lies in an output."""
        first, axis = sources[0], self.axes[id(sources[0])][side]
        if args and args[0] is first and len(sources) == 1:
            found = _through(axis, name, args, first, output)
            if found is not None:
                return found
        if name == "cat":
            dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % output.dim()
            if all(self.axes[id(t)][side].dim != dim for t in sources):
                return self._joined(side, sources, output)
        elif torch.Tag.pointwise in func.tags or name in _IN_PLACE_OF_POINTWISE:
            return self._joined(side, sources, output)
        return self._hull(side, sources)

    def _joined(self, side: int, sources: list[Tensor], output: Tensor) -> _Axis:
        """Elementwise, with broadcasting: the union where all lie alike, else the hull of all."""
        axes = []
        for tensor in sources:
            axis = self.axes[id(tensor)][side]
            if axis.dim is None:
                axes.append(axis)
                continue
            dim = axis.dim + output.dim() - tensor.dim()
            if tensor.shape[axis.dim] == 1 and output.shape[dim] > 1:
                axes.append(_Axis(None, axis.still()))
            else:
                axes.append(_Axis(dim, axis.field))
        if len({(axis.dim, axis.field.jump) for axis in axes}) > 1:
            return self._hull(side, sources)
        field = axes[0].field
        for axis in axes[1:]:
            field = field.joined(axis.field)
        return _Axis(axes[0].dim, field)

    def _hull(self, side: int, sources: list[Tensor]) -> _Axis:
        field = None
        for tensor in sources:
            if id(tensor) in self.axes:
                seen = self.axes[id(tensor)][side].whole(tensor).still()
                field = seen if field is None else field.joined(seen)
        assert field is not None
        return _Axis(None, field)


_OF_THE_SHAPE_ALONE = {
    f"{start}{kind}{end}" for start, end in (("new_", ""), ("", "_like")) for kind in ("zeros", "ones", "full", "empty")
} | {"new_empty_strided", "rand_like", "randn_like"}
_IN_PLACE_OF_POINTWISE = {"copy_", "clone", "_to_copy", "detach", "alias", "lift_fresh", "native_dropout"}
_WINDOWS = {"max_pool2d_with_indices": 2, "avg_pool2d": 2, "max_pool3d_with_indices": 3, "avg_pool3d": 3}
_VIEWS = {"view", "_unsafe_view", "unsqueeze", "squeeze", "reshape", "flatten", "_reshape_alias"}
_REDUCTIONS = {"mean", "sum", "amax", "amin"}


def _through(axis: _Axis, name: str, args: Any, x: Tensor, output: Tensor) -> _Axis | None:
    """One side after an operation of one tensor; None where this does not know the operation."""
    dim = axis.dim
    if "batch_norm" in name:
        return axis
    if dim is None:
        return axis  # every number sees the same, so every result does
    if name == "convolution":
        return _convolved(axis, dim, args)
    if name in _WINDOWS:
        return _pooled(axis, dim, _WINDOWS[name], args, x)
    if name == "constant_pad_nd":
        before = 2 * (x.dim() - 1 - dim)
        return _Axis(dim, axis.field.sliced(-args[1][before], 1)) if before < len(args[1]) else axis
    if name == "slice":
        return _sliced(axis, dim, args, x)
    if name == "select":
        along = args[1] % x.dim()
        if along == dim:
            return _Axis(None, replace(axis.field.sliced(args[2] % x.shape[dim], 1), jump=0))
        return _Axis(dim - (along < dim), axis.field)
    if name in ("permute", "transpose", "t"):
        return _Axis(_permutation(name, args, x).index(dim), axis.field)
    if name in _VIEWS:
        return _viewed(axis, dim, x, output)
    if name == "expand":
        moved = dim + output.dim() - x.dim()
        return _Axis(None, axis.still()) if x.shape[dim] != output.shape[moved] else _Axis(moved, axis.field)
    if name in _REDUCTIONS and len(args) > 1:
        over = {d % x.dim() for d in (args[1] or range(x.dim()))}
        if dim in over:
            return axis.whole(x)
        keeps = output.dim() == x.dim()
        return axis if keeps else _Axis(dim - sum(d < dim for d in over), axis.field)
    if name == "_softmax" and args[1] % x.dim() != dim:
        return axis
    if name == "_adaptive_avg_pool2d" and x.shape[dim] % output.shape[dim] == 0:
        window = x.shape[dim] // output.shape[dim]
        return _Axis(dim, axis.field.through(window, window))
    if name == "upsample_nearest2d" and output.shape[dim] % x.shape[dim] == 0:
        times = output.shape[dim] // x.shape[dim]
        return _Axis(dim, axis.field.through_transposed(times, times))
    return None


def _convolved(axis: _Axis, dim: int, args: Any) -> _Axis | None:
    if dim < 2:
        return None
    kernel_size = args[1].shape[dim]
    stride, padding, dilation = (_at(pair, dim - 2) for pair in args[3:6])
    through = axis.field.through_transposed if args[6] else axis.field.through
    return _Axis(dim, through(kernel_size, stride, padding, dilation))


def _pooled(axis: _Axis, dim: int, dims: int, args: Any, x: Tensor) -> _Axis:
    spatial = dim - (x.dim() - dims)
    if spatial < 0:
        return axis
    kernel = args[1]
    stride = args[2] if len(args) > 2 and args[2] else kernel
    padding = args[3] if len(args) > 3 else 0
    return _Axis(dim, axis.field.through(*(_at(pair, spatial) for pair in (kernel, stride, padding))))


def _sliced(axis: _Axis, dim: int, args: Any, x: Tensor) -> _Axis:
    along, start, _, step = (args[place] if len(args) > place else usual for place, usual in enumerate((0, 0, 0, 1), 1))
    if along % x.dim() != dim:
        return axis
    first = start or 0
    return _Axis(dim, axis.field.sliced(first + x.shape[dim] if first < 0 else first, step))


def _viewed(axis: _Axis, dim: int, x: Tensor, output: Tensor) -> _Axis | None:
    """A dimension is the same after a change of shape if it is as long and as many numbers lie before it."""
    before = x.shape[:dim].numel()
    for moved in range(output.dim()):
        if output.shape[moved] == x.shape[dim] and output.shape[:moved].numel() == before:
            return _Axis(moved, axis.field)
    return None


def _permutation(name: str, args: Any, x: Tensor) -> list[int]:
    if name == "permute":
        return [d % x.dim() for d in args[1]]
    order = list(range(x.dim()))
    a, b = (args[1] % x.dim(), args[2] % x.dim()) if name == "transpose" else (0, x.dim() - 1)
    order[a], order[b] = order[b], order[a]
    return order


def _at(pair: Any, place: int) -> int:
    """The number for one side, of a pair or of one number for both."""
    if isinstance(pair, int):
        return pair
    return pair[place] if len(pair) > 1 else pair[0]


TOPICS = (
    Topic(
        "Receptive field, by arithmetic and by gradients",
        "感受野：算术计算和按梯度测量",
        lectures=(2, 3, 4),
        code=("receptive_fields",),
        command="chainrule explain RUN INPUT",
    ),
)
