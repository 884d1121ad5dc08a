"""The backward half: one pass of autograd whose gradients hooks note at nodes and edges; then each operation alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from chainrule.introspection.graph.elementwise import ELEMENTWISE
from chainrule.introspection.graph.record import MAX_NUMBERS, Node, norm_of
from chainrule.introspection.graph.tape import Tape


def differentiate(tape: Tape, outputs: list[Tensor], seeds: list[Tensor]) -> None:
    """Fills in the gradient that arrives at every node and goes along every edge, and the local derivatives."""
    # One backward pass. The tape's hooks fill in the gradients at results of operations and along edges.
    leaves = list(tape.leaves.items())
    tape.in_backward = True
    try:
        found = torch.autograd.grad(
            outputs, [tensor for _, tensor in leaves], seeds, retain_graph=True, allow_unused=True
        )
    except RuntimeError as error:
        error.add_note("in the graph: the forward pass ended well; this came up on the way back")
        raise
    finally:
        tape.in_backward = False
    # Leaves have no hook: their gradients are what the pass gives.
    for (index, _), gradient in zip(leaves, found, strict=True):
        if gradient is not None:
            node = tape.nodes[index]
            node.gradient_norm = norm_of(gradient)
            if gradient.numel() <= MAX_NUMBERS and gradient.layout is torch.strided:
                node.gradient = gradient.detach().clone()
    # Local derivatives, operation by operation. Of one with several results they are not to be had: the results hang on
    # each other.
    siblings = {e.source for node in tape.nodes if node.differentiable for e in node.edges if e.sibling}
    for node in tape.nodes:
        if node.kind == "operation" and node.gradient_norm is not None and node.index not in siblings:
            _local_derivatives(tape, node)


def _local_derivatives(tape: Tape, node: Node) -> None:
    """dy/dv of one operation for each argument v, by autograd from y back to v alone: no chain takes part in it."""
    y = node.value
    if y is None:  # too large
        return
    for place, edge in enumerate(node.edges):
        handle = tape.argument_edges.get((node.index, place))
        source = tape.nodes[edge.source]
        if handle is None:
            continue
        edge.elementwise = node.op in ELEMENTWISE and node.shape == source.shape
        if not edge.elementwise and y.numel() * torch.Size(source.shape).numel() > MAX_NUMBERS:
            continue
        edge.local = _local(tape.gradient_edges[node.index], handle, y, source, edge.elementwise)
        if y.is_complex() and edge.local is not None:
            edge.local_imaginary = _local(tape.gradient_edges[node.index], handle, y, source, edge.elementwise, unit=1j)


def _local(
    here: GradientEdge, handle: GradientEdge, y: Tensor, source: Node, elementwise: bool, unit: complex = 1
) -> Tensor | None:
    if elementwise:
        # Element by element the Jacobian is diagonal: ones^T J is its diagonal, of y's shape.
        return _vector_jacobian_product(here, handle, unit * torch.ones_like(y))
    # A unit vector for each number of y gives a row of the Jacobian, of v's shape.
    units = unit * torch.eye(y.numel(), dtype=y.dtype, device=y.device).view(y.numel(), *y.shape)
    rows = [_vector_jacobian_product(here, handle, row) for row in units]
    if any(row is None for row in rows):
        return None
    jacobian = (
        torch.stack([row for row in rows if row is not None]) if rows else y.new_zeros(0)
    )  # (y's numbers, *v's shape)
    return jacobian.reshape(tuple(y.shape) + source.shape)  # (*y's shape, *v's shape)


def _vector_jacobian_product(here: GradientEdge, handle: GradientEdge, gradient: Tensor) -> Tensor | None:
    """A gradient at the operation's value, taken back to one of its arguments."""
    (found,) = torch.autograd.grad([here], [handle], [gradient], retain_graph=True, allow_unused=True)
    return found.detach() if found is not None else None
