"""Follows one computation: which operation gave which value out of which, as the user wrote it, with autograd intact.

Every differentiable argument of an operation is handed over as a view of its own. In the autograd graph each use of a
value is then an edge by itself, so that the gradient along it and the local derivative can be asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils.weak import TensorWeakRef

from chainrule.introspection.graph.calls import Calls
from chainrule.introspection.graph.record import MOST_NUMBERS, Edge, Node, norm_of, statistics
from chainrule.introspection.graph.rules import RULES, dead_share, plain_name, saturated_share
from chainrule.introspection.tensors import tensors

WRITTEN = "written through a view"
# Properties that give a new tensor; the others only look.
_PROPERTIES = {"T", "mT", "H", "mH", "real", "imag", "data"}
# What must see the tensor itself, and gives nothing that autograd follows.
_UNTOUCHED = {
    "__set__",
    "backward",
    "register_hook",
    "register_post_accumulate_grad_hook",
    "requires_grad_",
    "retain_grad",
    "grad",
    "size",
    "dim",
    "numel",
    "stride",
    "data_ptr",
    "is_floating_point",
    "is_complex",
    "__len__",
    "__bool__",
    "__repr__",
    "__hash__",
    "__format__",
    "__contains__",
    "_set_grad_enabled",
    "storage_offset",
    "is_contiguous",
    "nelement",
    "ndimension",
    "element_size",
    "__dir__",
    "__reduce_ex__",
    "__deepcopy__",
    "untyped_storage",
    "get_device",
    "type",
    "__str__",
}
# What takes a number out of the graph.
_LEAVING = {"item", "__float__", "__int__", "__index__", "tolist", "numpy", "__array__", "__complex__"}


@dataclass
class _Handed:
    """What an operation is handed: a view for each argument; and once for each edge its autograd place."""

    views: list[Tensor] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    handles: list[GradientEdge | None] = field(default_factory=list)
    distinct: list[Tensor] = field(default_factory=list)


class Tape(TorchFunctionMode):
    """While it is entered, records operations of PyTorch as nodes.

    Args:
        calls: which module is being called.
        names: names for tensors that are known beforehand, by id.
    """

    def __init__(self, calls: Calls, names: dict[int, str]) -> None:
        super().__init__()
        self.calls = calls
        self.nodes: list[Node] = []
        self.arriving: dict[int, GradientEdge] = {}  # node -> where its gradient arrives in the autograd graph
        self.handed: dict[tuple[int, int], GradientEdge] = {}  # (node, place of the edge) -> the view handed over
        self.leaves: dict[int, Tensor] = {}  # leaf nodes that a gradient can reach
        self.left: list[str] = []  # ways in which numbers left the graph
        self.leaving: list[int] = []  # and the nodes that they left from
        self.branches: list[int] = []  # nodes whose value decided a branch
        self.listening = False
        self._names = names
        self._writers: dict[int, int] = {}  # address of a storage -> the node that wrote into it last
        self._known: dict[tuple[int, int], int] = {}  # a function of autograd and which of its outputs -> node
        self._origin: dict[int, tuple[TensorWeakRef, int, int]] = {}  # id of a tensor -> itself, node, version

    # -- nodes ------------------------------------------------------------------------------------------------------

    def add(self, tensor: Tensor, kind: str, op: str = "", name: str = "") -> Node:
        """A new node for this tensor, that from now on is where the tensor comes from."""
        # Under no_grad, x.T claims to need a gradient and has no place where one could arrive.
        follows = tensor.requires_grad and not (kind == "operation" and tensor.grad_fn is None and tensor._is_view())
        dense = tensor.layout is torch.strided and not tensor.is_nested
        small = dense and tensor.numel() <= MOST_NUMBERS
        node = Node(
            len(self.nodes),
            kind,
            op,
            tuple(tensor.shape) if not tensor.is_nested else (),
            str(tensor.dtype).removeprefix("torch."),
            self.calls.current,
            tensor.detach().clone() if small else None,
            statistics(tensor) if dense else None,
            follows,
            name,
        )
        self.nodes.append(node)
        self._mark(tensor, node.index)
        if follows:
            with torch.enable_grad():  # a parameter may first be met where the network records nothing
                self.arriving[node.index] = get_gradient_edge(tensor)
            if tensor.grad_fn is None:
                self.leaves[node.index] = tensor
            else:
                tensor.register_hook(functools.partial(self._arrives, node))
        return node

    def _mark(self, tensor: Tensor, index: int) -> None:
        self._origin[id(tensor)] = TensorWeakRef(tensor), index, _version(tensor)
        if tensor.grad_fn is not None:
            self._known[id(tensor.grad_fn), tensor.output_nr] = index

    def _arrives(self, node: Node, gradient: Tensor | None) -> None:
        if self.listening and gradient is not None:
            node.gradient_norm = norm_of(gradient)
            if gradient.numel() <= MOST_NUMBERS and gradient.layout is torch.strided:
                node.gradient = gradient.detach().clone()

    def _passes(self, edge: Edge, gradient: Tensor | None) -> None:
        if self.listening and gradient is not None:
            edge.passed_norm = norm_of(gradient)
            if gradient.numel() <= MOST_NUMBERS and gradient.layout is torch.strided:
                edge.passed = gradient.detach().clone()

    def node_of(self, tensor: Tensor) -> int:
        """The node that a tensor comes from; one is made for a tensor that was not seen before."""
        found = self._origin.get(id(tensor))
        if found is not None and found[0]() is tensor:
            if found[2] == _version(tensor):
                return found[1]
            if tensor.grad_fn is not None:  # written through a view of it
                return self._hidden(tensor, WRITTEN)
            if self.nodes[found[1]].kind != "constant":
                return found[1]
        if tensor.grad_fn is not None:
            return self._hidden(tensor, type(tensor.grad_fn).__name__.partition("Backward")[0])
        kind = "parameter" if isinstance(tensor, nn.Parameter) or tensor.requires_grad else "constant"
        return self.add(tensor, kind, name=self._names.get(id(tensor)) or self.calls.name_of(tensor)).index

    def _hidden(self, tensor: Tensor, what: str) -> int:
        """A node for what autograd knows and this trace did not see: a function with a backward of its own, a view."""
        sources: dict[int, None] = {}
        stack, seen = [(tensor.grad_fn, tensor.output_nr)], set()
        while stack:
            function, number = stack.pop()
            if function is None or (id(function), number) in seen:
                continue
            seen.add((id(function), number))
            if (id(function), number) in self._known:
                sources[self._known[id(function), number]] = None
            elif hasattr(function, "variable"):
                sources[self.node_of(function.variable)] = None
            else:
                stack.extend(reversed(function.next_functions))
        writer = self._writers.get(tensor.untyped_storage().data_ptr())
        if what == WRITTEN and writer is not None:
            sources[writer] = None
        node = self.add(tensor, "hidden", what)
        node.edges = [Edge(source) for source in sorted(sources)]
        node.arguments = list(range(len(node.edges)))
        return node.index

    # -- operations -------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = func.__self__.__name__
            if name not in _PROPERTIES:
                return func(*args, **kwargs)
        if name in _LEAVING or name in _UNTOUCHED:
            self._note_leaving(name, args)
            return func(*args, **kwargs)
        op, swapped, in_place = plain_name(name)
        in_place = in_place or kwargs.get("inplace") is True
        return self._operation(func, args, kwargs, op, swapped, in_place)

    def _note_leaving(self, name: str, args: Any) -> None:
        if args and isinstance(args[0], Tensor):
            found = self._origin.get(id(args[0]))
            if found is not None and found[0]() is args[0] and name == "__bool__":
                self.branches.append(found[1])
            elif name in _LEAVING and found is not None and self.nodes[found[1]].differentiable:
                self.left.append(name.strip("_"))
                self.leaving.append(found[1])

    def _operation(self, func: Any, args: Any, kwargs: Any, op: str, swapped: bool, in_place: bool) -> Any:
        given = list(tensors((args, kwargs)))
        if any(is_functorch_wrapped_tensor(tensor) for tensor in given):
            return func(*args, **kwargs)  # within vmap or torch.func.grad there are no values to be had
        target = given[0] if in_place and given else None
        followed = kwargs.get("sparse") is not True  # a sparse gradient goes through no view
        handed = self._hand_over(given, target, separately=op in RULES, followed=followed)
        words: list[int | str] = []
        args, kwargs = _replace((args, kwargs), iter(handed.views), iter(handed.places), words)
        result = func(*args, **kwargs)
        if target is None and isinstance(result, (tuple, list)):
            result = _apart(result)
        own = {id(view): tensor for view, tensor in zip(handed.views, given, strict=True)}
        if target is None and isinstance(result, Tensor) and id(result) in own:
            return own[id(result)]  # nothing was done: dropout in eval mode, `to` the same type
        outputs = [target] if target is not None else [t for t in tensors(result) if id(t) not in own]
        known = any(self.nodes[e.source].kind in ("input", "operation", "hidden") for e in handed.edges)
        if outputs and (known or any(t.requires_grad for t in outputs)):
            self._outcome(outputs, handed, words[::-1] if swapped else words, op, in_place)
        return result

    def _hand_over(self, given: list[Tensor], target: Tensor | None, separately: bool, followed: bool) -> _Handed:
        """A view for each argument, or one for each tensor where `separately` is false."""
        handed = _Handed()
        at: dict[int, int] = {}
        for number, tensor in enumerate(given):
            key = number if separately else id(tensor)
            if key not in at:
                at[key] = len(handed.edges)
                edge = Edge(self.node_of(tensor))
                view, handle = self._view(tensor, tensor is target) if followed else (tensor, None)
                if handle is not None:
                    view.register_hook(functools.partial(self._passes, edge))
                handed.edges.append(edge)
                handed.handles.append(handle)
                handed.distinct.append(view)
            handed.views.append(handed.distinct[at[key]])
            handed.places.append(at[key])
        return handed

    def _view(self, tensor: Tensor, written: bool) -> tuple[Tensor, GradientEdge | None]:
        if not (tensor.requires_grad and torch.is_grad_enabled()):
            return tensor, None
        if not written:
            view = tensor.view_as(tensor)
            return view, get_gradient_edge(view)
        if tensor.grad_fn is None or tensor._is_view():  # of a view's own history nothing can be listened to
            return tensor, None
        tensor.mul_(1)  # the same numbers, and a place in the autograd graph that only this use has
        return tensor, get_gradient_edge(tensor)

    def _outcome(self, outputs: list[Tensor], handed: _Handed, words: list[int | str], op: str, in_place: bool) -> None:
        """Nodes for what an operation gave: the first has the edges, further results hang on it."""
        first = self.add(outputs[0], "operation", op)
        first.edges, first.arguments, first.in_place = handed.edges, words, in_place
        if in_place:
            self._writers[outputs[0].untyped_storage().data_ptr()] = first.index
        for place, handle in enumerate(handed.handles):
            if handle is not None and outputs[0].requires_grad:
                self.handed[first.index, place] = handle
        first.dead = dead_share(op, outputs[0], self._channels_second(first))
        first.saturated = saturated_share(op, outputs[0])
        for number, tensor in enumerate(outputs[1:], start=2):
            node = self.add(tensor, "operation", op)
            node.edges, node.arguments = [Edge(first.index, sibling=True)], [0, f"result {number}"]

    def _channels_second(self, node: Node, far: int = 6) -> bool:
        """Whether the units of this value stand along dimension 1, because a convolution gave it."""
        while far and node.edges:
            node, far = self.nodes[node.edges[0].source], far - 1
            if node.op.startswith("conv"):
                return True
            if node.op in ("linear", "matmul", "addmm"):
                return False
        return len(node.shape) >= 4


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _apart(results: Any) -> Any:
    """Each of several results as a view of its own: what arrives there then comes from outside the operation alone.

    In an LSTM cell h is computed from c. Of what arrives at c itself a part comes from h, within the operation.
    """
    parts = [t.view_as(t) if isinstance(t, Tensor) and t.requires_grad else t for t in results]
    return results._make(parts) if hasattr(results, "_make") else type(results)(parts)


def _replace(tree: Any, views: Iterator[Tensor], places: Iterator[int], words: list[int | str], key: str = "") -> Any:
    """The same arguments with the views in place of the tensors; `words` gets what each is."""
    if isinstance(tree, Tensor):
        words.append(next(places))
        return next(views)
    if type(tree) is dict:
        return {name: _replace(item, views, places, words, f"{name}=") for name, item in tree.items()}
    if isinstance(tree, (tuple, list)) and type(tree) is not torch.Size:
        parts = [_replace(item, views, places, words) for item in tree]
        return tree._make(parts) if hasattr(tree, "_make") else type(tree)(parts)
    if tree is not None:
        words.append(key + (f"{tree:g}" if isinstance(tree, float) else str(tree)))
    return tree
