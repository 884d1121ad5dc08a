"""The values that a computation has shown so far: which tensor is which node, and where its gradient will arrive."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.weak import TensorWeakRef

from chainrule.introspection.graph.record import MAX_NUMBERS, WRITTEN, Edge, Node, norm_of, statistics
from chainrule.introspection.graph.tracing.calls import Calls


class Values:
    """Nodes for tensors, in the order in which they were met.

    Args:
        calls: which module is being called.
        names: names for tensors that are known beforehand, by id.

    Attributes:
        nodes: the nodes.
        gradient_edges: for each node that can have a gradient, where it arrives in the autograd graph.
        leaves: leaf nodes that a gradient can reach.
        in_backward: the hooks note gradients only then.
        writers: the node that wrote last into a storage, by the storage's address.
    """

    def __init__(self, calls: Calls, names: dict[int, str]) -> None:
        self.calls = calls
        self.nodes: list[Node] = []
        self.gradient_edges: dict[int, GradientEdge] = {}
        self.leaves: dict[int, Tensor] = {}
        self.in_backward = False
        self.writers: dict[int, int] = {}
        self._names = names
        self._node_of_output: dict[tuple[int, int], int] = {}  # a function of autograd and which of its outputs -> node
        self._origin: dict[int, tuple[TensorWeakRef, int, int]] = {}  # id of a tensor -> itself, node, version

    def add(self, tensor: Tensor, kind: str, op: str = "", name: str = "") -> Node:
        """A new node for this tensor, that from now on is where the tensor comes from."""
        # Under no_grad, x.T claims to need a gradient and has no place where one could arrive.
        function = function_of(tensor)
        follows = tensor.requires_grad and not (kind == "operation" and function is None and tensor._is_view())
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
        self.mark(tensor, node.index)
        # Where its gradient will arrive. A leaf has no grad_fn and is differentiated by name; the rest has a hook.
        if follows:
            with torch.enable_grad():  # a parameter may first be met where the network records nothing
                self.gradient_edges[node.index] = get_gradient_edge(tensor)
            if function is None:
                self.leaves[node.index] = tensor
            else:
                tensor.register_hook(functools.partial(self._arrives, node))
        return node

    def mark(self, tensor: Tensor, index: int) -> None:
        """Notes that the tensor, as it is now, is the value of that node."""
        self._origin[id(tensor)] = TensorWeakRef(tensor), index, version_of(tensor)
        function = function_of(tensor)
        if function is not None:
            self._node_of_output[id(function), tensor.output_nr] = index

    def _arrives(self, node: Node, gradient: Tensor | None) -> None:
        if self.in_backward and gradient is not None:
            node.gradient_norm = norm_of(gradient)
            if gradient.numel() <= MAX_NUMBERS and gradient.layout is torch.strided:
                node.gradient = gradient.detach().clone()

    def passes(self, edge: Edge, gradient: Tensor | None) -> None:
        """The hook of one use of a value."""
        if self.in_backward and gradient is not None:
            edge.passed_norm = norm_of(gradient)
            if gradient.numel() <= MAX_NUMBERS and gradient.layout is torch.strided:
                edge.passed = gradient.detach().clone()

    def known(self, tensor: Tensor) -> tuple[int, bool] | None:
        """The node that this very object was last seen as, and whether nobody wrote into it since; None of a new one."""
        found = self._origin.get(id(tensor))
        if found is None or found[0]() is not tensor:
            return None
        return found[1], found[2] == version_of(tensor)

    def node_of(self, tensor: Tensor) -> int:
        """The node that a tensor comes from; one is made for a tensor that was not seen before."""
        found = self.known(tensor)
        function = function_of(tensor)
        if found is not None:
            index, current = found
            if current:
                return index
            if function is not None:  # written in a way that autograd alone knows of
                return self._hidden(tensor, WRITTEN)
            if self.nodes[index].kind != "constant":
                return index
        # A new object: with a history that this trace has not seen, a parameter, or a constant.
        if function is not None:
            return self._hidden(tensor, type(function).__name__.partition("Backward")[0])
        kind = "parameter" if isinstance(tensor, nn.Parameter) or tensor.requires_grad else "constant"
        return self.add(tensor, kind, name=self._names.get(id(tensor)) or self.calls.name_of(tensor)).index

    def _hidden(self, tensor: Tensor, what: str) -> int:
        """A node for what autograd knows and this trace did not see: what C++ or another thread computed."""
        # Back through autograd's own graph, as far as the outputs that are nodes here and the leaves.
        sources: dict[int, None] = {}  # an ordered set
        stack: list[tuple[Any, int]] = [(tensor.grad_fn, tensor.output_nr)]
        seen: set[tuple[int, int]] = set()
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
        writer = self.writers.get(tensor.untyped_storage().data_ptr())
        if what == WRITTEN and writer is not None:
            sources[writer] = None
        node = self.add(tensor, "hidden", what)
        node.edges = [Edge(source) for source in sorted(sources)]
        node.arguments = list(range(len(node.edges)))
        return node.index


def function_of(tensor: Tensor) -> Any:
    """Its function in the autograd graph; None where it has none, also of a view whose base has moved on without it."""
    try:
        return tensor.grad_fn
    except RuntimeError:  # a view that no_grad made, and its base was written to afterwards
        return None


def version_of(tensor: Tensor) -> int:
    """How often was written into its numbers."""
    return 0 if tensor.is_inference() else tensor._version
