"""Follows one computation: which operation gave which value out of which, as the user wrote it, with autograd intact.

A tape as in reverse-mode differentiation (Linnainmaa 1970; Griewank and Walther 2008, section 3.2), beside autograd's
own, which forgets values and names. For each call of PyTorch, `__torch_function__`:

1. finds for each tensor argument v the node that it comes from, or makes one;
2. calls the operation with a view of v instead of v. In the autograd graph each use of a value is then an edge by
   itself, v -> view -> operation, so that what one use contributes to dL/dv, and the local derivative along it, can be
   asked for: without the view autograd has only their sum;
3. makes a node for each result, with an edge to each argument.

During the backward pass hooks on the results note the gradient that arrives at a node, dL/dy, and hooks on the views
what is passed along an edge, dL/dy dy/dv. `gradients.differentiate` runs that pass.
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
from chainrule.introspection.graph.record import MAX_NUMBERS, Edge, Node, norm_of, statistics
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
_EXITS = {"item", "__float__", "__int__", "__index__", "tolist", "numpy", "__array__", "__complex__"}


@dataclass
class _Arguments:
    """What an operation is called with.

    Attributes:
        views: for each tensor argument, what is given in its place.
        places: for each tensor argument, which of the edges is its.
        edges, handles, distinct: for each edge its record, the same edge in the autograd graph, and its view.
    """

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
        self.gradient_edges: dict[int, GradientEdge] = {}  # node -> where its gradient arrives in the autograd graph
        self.argument_edges: dict[tuple[int, int], GradientEdge] = {}  # (node, edge) -> its view
        self.leaves: dict[int, Tensor] = {}  # leaf nodes that a gradient can reach
        self.exits: list[str] = []  # ways in which numbers left the graph
        self.exit_nodes: list[int] = []  # and the nodes that they left from
        self.branches: list[int] = []  # nodes whose value decided a branch
        self.in_backward = False  # the hooks note gradients only then
        self._names = names
        self._writers: dict[int, int] = {}  # address of a storage -> the node that wrote into it last
        self._node_of_output: dict[tuple[int, int], int] = {}  # a function of autograd and which of its outputs -> node
        self._origin: dict[int, tuple[TensorWeakRef, int, int]] = {}  # id of a tensor -> itself, node, version

    # -- nodes ------------------------------------------------------------------------------------------------------

    def add(self, tensor: Tensor, kind: str, op: str = "", name: str = "") -> Node:
        """A new node for this tensor, that from now on is where the tensor comes from."""
        # Under no_grad, x.T claims to need a gradient and has no place where one could arrive.
        follows = tensor.requires_grad and not (kind == "operation" and tensor.grad_fn is None and tensor._is_view())
        dense = tensor.layout is torch.strided and not tensor.is_nested
        small = dense and tensor.numel() <= MAX_NUMBERS
        # What is known of the value now; name, expression and rules come when the whole graph is known.
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
        # Where its gradient will arrive. A leaf has no grad_fn and is differentiated by name; the rest has a hook.
        if follows:
            with torch.enable_grad():  # a parameter may first be met where the network records nothing
                self.gradient_edges[node.index] = get_gradient_edge(tensor)
            if tensor.grad_fn is None:
                self.leaves[node.index] = tensor
            else:
                tensor.register_hook(functools.partial(self._arrives, node))
        return node

    def _mark(self, tensor: Tensor, index: int) -> None:
        """Notes that the tensor, as it is now, is the value of that node."""
        self._origin[id(tensor)] = TensorWeakRef(tensor), index, _version(tensor)
        if tensor.grad_fn is not None:
            self._node_of_output[id(tensor.grad_fn), tensor.output_nr] = index

    def _arrives(self, node: Node, gradient: Tensor | None) -> None:
        if self.in_backward and gradient is not None:
            node.gradient_norm = norm_of(gradient)
            if gradient.numel() <= MAX_NUMBERS and gradient.layout is torch.strided:
                node.gradient = gradient.detach().clone()

    def _passes(self, edge: Edge, gradient: Tensor | None) -> None:
        if self.in_backward and gradient is not None:
            edge.passed_norm = norm_of(gradient)
            if gradient.numel() <= MAX_NUMBERS and gradient.layout is torch.strided:
                edge.passed = gradient.detach().clone()

    def node_of(self, tensor: Tensor) -> int:
        """The node that a tensor comes from; one is made for a tensor that was not seen before."""
        # The very same object is known, and not written to since (its version counter stands): its node.
        found = self._origin.get(id(tensor))
        if found is not None and found[0]() is tensor:
            if found[2] == _version(tensor):
                return found[1]
            if tensor.grad_fn is not None:  # written through a view of it
                return self._hidden(tensor, WRITTEN)
            if self.nodes[found[1]].kind != "constant":
                return found[1]
        # A new object: with a history that this trace has not seen, a parameter, or a constant.
        if tensor.grad_fn is not None:
            return self._hidden(tensor, type(tensor.grad_fn).__name__.partition("Backward")[0])
        kind = "parameter" if isinstance(tensor, nn.Parameter) or tensor.requires_grad else "constant"
        return self.add(tensor, kind, name=self._names.get(id(tensor)) or self.calls.name_of(tensor)).index

    def _hidden(self, tensor: Tensor, what: str) -> int:
        """A node for what autograd knows and this trace did not see: a function with a backward of its own, a view."""
        # Back through autograd's own graph, as far as the outputs that are nodes here and the leaves.
        sources: dict[int, None] = {}  # an ordered set
        stack, seen = [(tensor.grad_fn, tensor.output_nr)], set()
        while stack:
            function, number = stack.pop()
            if function is None or (id(function), number) in seen:
                continue
            seen.add((id(function), number))
            if (id(function), number) in self._node_of_output:
                sources[self._node_of_output[id(function), number]] = None
            elif hasattr(function, "variable"):
                sources[self.node_of(function.variable)] = None
            else:
                stack.extend(reversed(function.next_functions))
        # Of a value that was written through a view, autograd's graph does not lead to whoever wrote it.
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
        # Most properties look at a tensor (shape, dtype, grad); a few give a new one (T, real).
        if name == "__get__":
            name = func.__self__.__name__
            if name not in _PROPERTIES:
                return func(*args, **kwargs)
        if name in _EXITS or name in _UNTOUCHED:
            self._note_exit(name, args)
            return func(*args, **kwargs)
        # `__rsub__` is sub with its arguments swapped, `add_` is add in place.
        op, swapped, in_place = plain_name(name)
        in_place = in_place or kwargs.get("inplace") is True
        return self._operation(func, args, kwargs, op, swapped, in_place)

    def _note_exit(self, name: str, args: Any) -> None:
        """A value that decides a branch (`if x > 0`), or becomes a plain number (`x.item()`)."""
        if args and isinstance(args[0], Tensor):
            found = self._origin.get(id(args[0]))
            if found is not None and found[0]() is args[0] and name == "__bool__":
                self.branches.append(found[1])
            elif name in _EXITS and found is not None and self.nodes[found[1]].differentiable:
                self.exits.append(name.strip("_"))
                self.exit_nodes.append(found[1])

    def _operation(self, func: Any, args: Any, kwargs: Any, op: str, swapped: bool, in_place: bool) -> Any:
        """Calls the operation and records it; gives its result."""
        given = list(tensors((args, kwargs)))
        if any(is_functorch_wrapped_tensor(tensor) for tensor in given):
            return func(*args, **kwargs)  # within vmap or torch.func.grad there are no values to be had
        # Steps 1 and 2: nodes for the arguments, a view of each. An element-wise operation has an edge for each use,
        # as x * x has two with a rule each; any other has one for each tensor.
        target = given[0] if in_place and given else None
        followed = kwargs.get("sparse") is not True  # a sparse gradient goes through no view
        arguments = self._as_views(given, target, separately=op in RULES, followed=followed)
        labels: list[int | str] = []  # each argument as its edge, or as what it is written as: 2, dim=1
        args, kwargs = _replace((args, kwargs), iter(arguments.views), iter(arguments.places), labels)
        result = func(*args, **kwargs)
        if target is None and isinstance(result, (tuple, list)):
            result = _separate(result)
        # What is given back as it was handed in is no new value, and must be the user's own object.
        own = {id(view): tensor for view, tensor in zip(arguments.views, given, strict=True)}
        if target is None and isinstance(result, Tensor) and id(result) in own:
            return own[id(result)]  # nothing was done: dropout in eval mode, `to` the same type
        # Step 3: nodes for the results, if they come from an input or a gradient can reach them. The rest is constant.
        outputs = [target] if target is not None else [t for t in tensors(result) if id(t) not in own]
        known = any(self.nodes[e.source].kind in ("input", "operation", "hidden") for e in arguments.edges)
        if outputs and (known or any(t.requires_grad for t in outputs)):
            self._outcome(outputs, arguments, labels[::-1] if swapped else labels, op, in_place)
        return result

    def _as_views(self, given: list[Tensor], target: Tensor | None, separately: bool, followed: bool) -> _Arguments:
        """A view for each argument, or one for each tensor where `separately` is false."""
        arguments = _Arguments()
        at: dict[int, int] = {}
        for number, tensor in enumerate(given):
            key = number if separately else id(tensor)
            if key not in at:
                at[key] = len(arguments.edges)
                edge = Edge(self.node_of(tensor))
                view, handle = self._view(tensor, tensor is target) if followed else (tensor, None)
                if handle is not None:
                    view.register_hook(functools.partial(self._passes, edge))
                arguments.edges.append(edge)
                arguments.handles.append(handle)
                arguments.distinct.append(view)
            arguments.views.append(arguments.distinct[at[key]])
            arguments.places.append(at[key])
        return arguments

    def _view(self, tensor: Tensor, written: bool) -> tuple[Tensor, GradientEdge | None]:
        """A tensor that stands for this use alone, and its edge in the autograd graph; None where there is none."""
        if not (tensor.requires_grad and torch.is_grad_enabled()):
            return tensor, None
        if not written:
            view = tensor.view_as(tensor)  # of the same shape, on the same numbers
            return view, get_gradient_edge(view)
        if tensor.grad_fn is None or tensor._is_view():  # of a view's own history nothing can be listened to
            return tensor, None
        tensor.mul_(1)  # the same numbers, and a place in the autograd graph that only this use has
        return tensor, get_gradient_edge(tensor)

    def _outcome(
        self, outputs: list[Tensor], arguments: _Arguments, labels: list[int | str], op: str, in_place: bool
    ) -> None:
        """Nodes for what an operation gave: the first has the edges, further results hang on it."""
        first = self.add(outputs[0], "operation", op)
        first.edges, first.arguments, first.in_place = arguments.edges, labels, in_place
        if in_place:
            self._writers[outputs[0].untyped_storage().data_ptr()] = first.index
        # By these the local derivative dy/dv is found later: from the result back to one view.
        for place, handle in enumerate(arguments.handles):
            if handle is not None and outputs[0].requires_grad:
                self.argument_edges[first.index, place] = handle
        first.dead = dead_share(op, outputs[0], self._channels_second(first))
        first.saturated = saturated_share(op, outputs[0])
        # Further results (an LSTM's state, the indices of max) belong to the same operation.
        for number, tensor in enumerate(outputs[1:], start=2):
            node = self.add(tensor, "operation", op)
            node.edges, node.arguments = [Edge(first.index, sibling=True)], [0, f"result {number}"]

    def _channels_second(self, node: Node, far: int = 6) -> bool:
        """Whether the units of this value stand along dimension 1, (B, C, H, W), because a convolution gave it."""
        while far and node.edges:
            node, far = self.nodes[node.edges[0].source], far - 1
            if node.op.startswith("conv"):
                return True
            if node.op in ("linear", "matmul", "addmm"):
                return False
        return len(node.shape) >= 4


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _separate(results: Any) -> Any:
    """Each of several results as a view of its own: what arrives there then comes from outside the operation alone.

    In an LSTM cell h is computed from c. Of what arrives at c itself a part comes from h, within the operation.
    """
    parts = [t.view_as(t) if isinstance(t, Tensor) and t.requires_grad else t for t in results]
    return results._make(parts) if hasattr(results, "_make") else type(results)(parts)


def _replace(tree: Any, views: Iterator[Tensor], places: Iterator[int], labels: list[int | str], key: str = "") -> Any:
    """The same arguments with the views in place of the tensors; `labels` gets what each is."""
    if isinstance(tree, Tensor):
        labels.append(next(places))
        return next(views)
    if type(tree) is dict:
        return {name: _replace(item, views, places, labels, f"{name}=") for name, item in tree.items()}
    if isinstance(tree, (tuple, list)) and type(tree) is not torch.Size:
        parts = [_replace(item, views, places, labels) for item in tree]
        return tree._make(parts) if hasattr(tree, "_make") else type(tree)(parts)
    if tree is not None:
        labels.append(key + (f"{tree:g}" if isinstance(tree, float) else str(tree)))
    return tree
