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

What is written through a view, `x[0].mul_(2)`, is what autograd makes of it, said in two nodes: r = x[0] * 2, and the
value of x from now on, `as_strided_scatter(x, r)`. A view that was taken before is then looked at anew.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils.weak import TensorWeakRef

from chainrule.introspection.graph.elementwise import ELEMENTWISE, operands_of
from chainrule.introspection.graph.record import Edge, Node
from chainrule.introspection.graph.rules import WORDS, dead_share, plain_name, saturated_share
from chainrule.introspection.graph.tracing.calls import Calls
from chainrule.introspection.graph.tracing.own_functions import intercepted, unseen
from chainrule.introspection.graph.tracing.values import Values, function_of, version_of

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
# In place, and of another shape afterwards: nothing is written.
_RESHAPES = {"t", "transpose", "swapaxes", "swapdims", "squeeze", "unsqueeze", "as_strided", "detach", "resize", "set"}


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


class Tape(Values, TorchFunctionMode):
    """While it is entered, records operations of PyTorch as nodes.

    Args:
        calls: which module is being called.
        names: names for tensors that are known beforehand, by id.

    Attributes:
        argument_edges: for each (node, place of an edge) the same edge in the autograd graph.
        exits, exit_nodes: ways in which numbers left the graph, and the nodes that they left from.
        branches: nodes whose value decided a branch.
    """

    def __init__(self, calls: Calls, names: dict[int, str]) -> None:
        TorchFunctionMode.__init__(self)
        Values.__init__(self, calls, names)
        self.argument_edges: dict[tuple[int, int], GradientEdge] = {}
        self.exits: list[str] = []
        self.exit_nodes: list[int] = []
        self.branches: list[int] = []
        self._at_work = False  # an operation is being called: what it calls in turn is its own affair
        self._open = contextlib.ExitStack()
        self._renewed: dict[
            int, tuple[TensorWeakRef, int, Tensor]
        ] = {}  # id of a view -> itself, version, its value now

    def __enter__(self) -> Any:
        self._open.enter_context(intercepted(self._own_function))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._open.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self._working():
            return self._call(func, args, kwargs or {})

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        before, self._at_work = self._at_work, True
        try:
            yield
        finally:
            self._at_work = before

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
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
        return self._operation(func, args, kwargs, op, swapped, in_place or _asks_in_place(func, args, kwargs))

    def _own_function(self, function: type, apply: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A `torch.autograd.Function`: one node, whatever it does inside, for its own backward decides."""
        if self._at_work:
            return apply(*args, **kwargs)
        name = function.__name__
        name = f"{name}.apply" if name in ELEMENTWISE or name in WORDS or plain_name(name)[0] != name else name
        with self._working(), torch._C.DisableTorchFunction():
            return self._operation(unseen(apply), args, kwargs, name, own_backward=True)

    def _note_exit(self, name: str, args: Any) -> None:
        """A value that decides a branch (`if x > 0`), or becomes a plain number (`x.item()`)."""
        if args and isinstance(args[0], Tensor) and (found := self.known(args[0])) is not None:
            if name == "__bool__":
                self.branches.append(found[0])
            elif name in _EXITS and self.nodes[found[0]].differentiable:
                self.exits.append(name.strip("_"))
                self.exit_nodes.append(found[0])

    # -- operations -------------------------------------------------------------------------------------------------

    def _operation(
        self,
        func: Any,
        args: Any,
        kwargs: Any,
        op: str,
        swapped: bool = False,
        in_place: bool = False,
        own_backward: bool = False,
    ) -> Any:
        """Calls the operation and records it; gives its result."""
        asked = _tensors_in((args, kwargs))
        if any(is_functorch_wrapped_tensor(tensor) for tensor in asked):
            return func(*args, **kwargs)  # within vmap or torch.func.grad there are no values to be had
        target = asked[0] if in_place and asked else None
        through = target is not None and op not in _RESHAPES and _writes_through(target, asked)
        # Steps 1 and 2: nodes for the arguments, a view of each. An element-wise operation has an edge for each use,
        # as x * x has two with a rule each; any other has one for each tensor.
        given = [t if t is target and not through else self.as_it_is_now(t) for t in asked]
        written = None if through else target
        followed = kwargs.get("sparse") is not True  # a sparse gradient goes through no view
        arguments = self._as_views(given, written, separately=op in ELEMENTWISE, followed=followed)
        if own_backward:  # it may write over what it is given, and must not reach the user's tensor by that
            arguments.views = [view.clone() for view in arguments.views]
        elif through:
            arguments.views[0] = arguments.views[0].clone()
        options: dict[str, Any] = {}
        labels: list[int | str] = []  # each argument as its edge, or as what it is written as: 2, dim=1
        named = operands_of(op, args, kwargs, arguments.places)
        args, kwargs = _replace((args, kwargs), iter(arguments.views), iter(arguments.places), labels)
        if named is not None:
            labels, options = named
        versions = [version_of(view) for view in arguments.views]
        result = func(*args, **kwargs)
        if target is None and isinstance(result, (tuple, list)):
            result = _separate(result)
        # What is given back as it was handed in is no new value, and must be the user's own object.
        own = {id(view): place for place, view in enumerate(arguments.views)}
        returned = own.get(id(result)) if isinstance(result, Tensor) and target is None else None
        if returned is not None:
            if not own_backward or version_of(result) == versions[returned]:
                return asked[returned]  # nothing was done: dropout in eval mode, `to` the same type
            target, through = asked[returned], True  # a function that writes over its argument
        # Step 3: nodes for the results, if they come from an input or a gradient can reach them. The rest is constant.
        outputs = [t for t in _tensors_in(result) if id(t) not in own]
        if target is not None:
            outputs = [arguments.views[returned or 0] if through else target]
        known = any(self.nodes[e.source].kind in ("input", "operation", "hidden") for e in arguments.edges)
        if outputs and (known or any(t.requires_grad for t in outputs)):
            node = self._outcome(outputs, arguments, labels[::-1] if swapped else labels, op, target is not None)
            node.options, node.own_backward = options, own_backward
            node.saturated = saturated_share(op, outputs[0], options)
            if through and target is not None:
                self._write(target, outputs[0], node.index)
                return target if isinstance(result, Tensor) else result
        elif through and target is not None:
            target.copy_(outputs[0])
            return target if isinstance(result, Tensor) else result
        return result

    def _as_views(self, given: list[Tensor], target: Tensor | None, separately: bool, followed: bool) -> _Arguments:
        """A view for each argument, or one for each tensor where `separately` is false."""
        arguments = _Arguments()
        at: dict[int, int] = {}
        for number, tensor in enumerate(given):
            key = number if separately else id(tensor)
            if key not in at:
                at[key] = len(arguments.edges)
                arguments.edges.append(Edge(self.node_of(tensor)))
                arguments.handles.append(None)
                arguments.distinct.append(tensor)
            arguments.places.append(at[key])
        # What is written over comes last: the others are what they were before.
        order = sorted(range(len(arguments.edges)), key=lambda place: arguments.distinct[place] is target)
        for place in order if followed else ():
            tensor, edge = arguments.distinct[place], arguments.edges[place]
            view, handle = self._view(tensor, tensor is target)
            if handle is not None:
                view.register_hook(functools.partial(self.passes, edge))
                if target is not None and tensor is not target and tensor._base is target:
                    view = view.clone()  # a view of what is written over would follow it
            arguments.handles[place], arguments.distinct[place] = handle, view
        arguments.views = [arguments.distinct[place] for place in arguments.places]
        return arguments

    def _view(self, tensor: Tensor, written: bool) -> tuple[Tensor, GradientEdge | None]:
        """A tensor that stands for this use alone, and its edge in the autograd graph; None where there is none."""
        if not (tensor.requires_grad and torch.is_grad_enabled()):
            return tensor, None
        if not written:
            view = tensor.view_as(tensor)  # of the same shape, on the same numbers
            return (view, get_gradient_edge(view)) if view.requires_grad else (tensor, None)  # not so within torch.func
        if tensor.grad_fn is None or tensor._is_view():  # of a view's own history nothing can be listened to
            return tensor, None
        tensor.mul_(1)  # the same numbers, and a place in the autograd graph that only this use has
        return tensor, get_gradient_edge(tensor)

    def _outcome(
        self, outputs: list[Tensor], arguments: _Arguments, labels: list[int | str], op: str, in_place: bool
    ) -> Node:
        """Nodes for what an operation gave: the first has the edges, further results hang on it."""
        if in_place and op in _RESHAPES:  # PyTorch leaves the hooks of the former value in place here
            outputs[0]._backward_hooks = None
        first = self.add(outputs[0], "operation", op)
        first.edges, first.arguments, first.in_place = arguments.edges, labels, in_place
        if in_place:
            self.writers[outputs[0].untyped_storage().data_ptr()] = first.index
        # By these the local derivative dy/dv is found later: from the result back to one view.
        for place, handle in enumerate(arguments.handles):
            if handle is not None and outputs[0].requires_grad:
                self.argument_edges[first.index, place] = handle
        first.dead = dead_share(op, outputs[0], self._channels_second(first))
        # Further results (an LSTM's state, the indices of max) belong to the same operation.
        for number, tensor in enumerate(outputs[1:], start=2):
            node = self.add(tensor, "operation", op)
            node.edges, node.arguments = [Edge(first.index, sibling=True)], [0, f"result {number}"]
        return first

    def _channels_second(self, node: Node, far: int = 6) -> bool:
        """Whether the units of this value stand along dimension 1, (B, C, H, W), because a convolution gave it."""
        while far and node.edges:
            node, far = self.nodes[node.edges[0].source], far - 1
            if node.op.startswith("conv"):
                return True
            if node.op in ("linear", "matmul", "addmm"):
                return False
        return len(node.shape) >= 4

    # -- what is written through a view -------------------------------------------------------------------------------

    def _write(self, target: Tensor, result: Tensor, node: int) -> None:
        """Writes the result of an operation over its argument; a node for the tensor that the argument is a view of."""
        base = target._base
        known = self.known(base) if base is not None else None
        if base is None or known is None:  # nobody can use the base: the argument is the result from now on
            target.copy_(result.view_as(result))
            self.mark(target, node)
            return
        arguments = _Arguments()
        if target.numel() < base.numel() or target.dtype != base.dtype:  # of the former value something is left
            arguments = self._as_views([base], base, separately=False, followed=True)
        into = self._as_views([result], None, separately=False, followed=True)
        target.copy_(into.views[0])
        arguments.edges += into.edges
        arguments.handles += into.handles
        self._outcome([base], arguments, list(range(len(arguments.edges))), "as_strided_scatter", True)

    def as_it_is_now(self, tensor: Tensor) -> Tensor:
        """The tensor; for a view whose base was written to since, a new view of what the base has become."""
        found = self.known(tensor)
        if (found is not None and found[1]) or not tensor._is_view() or function_of(tensor) is None:
            return tensor
        base = tensor._base
        now = self.known(base) if base is not None else None
        plain = base is not None and base.dtype == tensor.dtype and not (tensor.is_conj() or tensor.is_neg())
        if base is None or now is None or not now[1] or not plain:
            return tensor
        kept = self._renewed.get(id(tensor))
        if kept is None or kept[0]() is not tensor or kept[1] != version_of(tensor):
            where = (tensor.size(), tensor.stride(), tensor.storage_offset())
            new = self._operation(torch.as_strided, (base, *where), {}, "as_strided")
            kept = self._renewed[id(tensor)] = TensorWeakRef(tensor), version_of(tensor), new
        return kept[2]


def _writes_through(target: Tensor, given: list[Tensor]) -> bool:
    """Whether the operation in place writes a gradient's way into the tensor that its first argument is a view of."""
    if not (torch.is_grad_enabled() and target._is_view() and target.layout is torch.strided):
        return False
    return any(tensor.requires_grad for tensor in given) or (target._base is not None and target._base.requires_grad)


def _asks_in_place(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a function of `torch.nn.functional` is told to write over its argument; dropout does so in training alone."""
    if kwargs.get("inplace") is not True and not any(value is True for value in args):
        return False
    if not isinstance(func, types.FunctionType):
        return kwargs.get("inplace") is True
    told = dict(zip(inspect.signature(func).parameters, args, strict=False)) | kwargs
    return told.get("inplace") is True and not ("dropout" in func.__name__ and told.get("training") is False)


def _tensors_in(tree: Any) -> list[Tensor]:
    """The tensors that `_replace` replaces, in its order."""
    if isinstance(tree, Tensor):
        return [tree]
    if type(tree) is dict:
        return [tensor for item in tree.values() for tensor in _tensors_in(item)]
    if isinstance(tree, (tuple, list)) and type(tree) is not torch.Size:
        return [tensor for item in tree for tensor in _tensors_in(item)]
    return []


def _separate(results: Any) -> Any:
    """Each of several results as a tensor of its own: what arrives there then comes from outside the operation alone.

    In an LSTM cell h is computed from c. Of what arrives at c itself a part comes from h, within the operation.
    """
    parts = [
        (t.view_as(t) if t._is_view() else t.clone()) if isinstance(t, Tensor) and t.requires_grad else t
        for t in results
    ]
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
