"""The backward half: one pass of autograd that every node and edge listens to, then each operation by itself."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from chainrule.introspection.graph.record import MOST_NUMBERS, Node, norm_of
from chainrule.introspection.graph.rules import RULES
from chainrule.introspection.graph.tape import Tape


def differentiate(tape: Tape, outputs: list[Tensor], seeds: list[Tensor]) -> None:
    """Fills in the gradient that arrives at every node and goes along every edge, and the local derivatives."""
    leaves = list(tape.leaves.items())
    tape.listening = True
    try:
        found = torch.autograd.grad(
            outputs, [tensor for _, tensor in leaves], seeds, retain_graph=True, allow_unused=True
        )
    except RuntimeError as error:
        error.add_note("in the graph: the forward pass ended well; this came up on the way back")
        raise
    finally:
        tape.listening = False
    for (index, _), gradient in zip(leaves, found, strict=True):
        if gradient is not None:
            node = tape.nodes[index]
            node.gradient_norm = norm_of(gradient)
            if gradient.numel() <= MOST_NUMBERS and gradient.layout is torch.strided:
                node.gradient = gradient.detach().clone()
    siblings = {e.source for node in tape.nodes if node.differentiable for e in node.edges if e.sibling}
    for node in tape.nodes:
        if node.kind == "operation" and node.gradient_norm is not None and node.index not in siblings:
            _local_derivatives(tape, node)


def _local_derivatives(tape: Tape, node: Node) -> None:
    """The derivative of one operation's value by each argument, where both are small: no chain takes part in it."""
    here = tape.arriving[node.index]
    size = _size(node)
    for place, edge in enumerate(node.edges):
        handle = tape.handed.get((node.index, place))
        source = tape.nodes[edge.source]
        if handle is None or size > MOST_NUMBERS:
            continue
        if node.op in RULES and node.shape == source.shape:
            edge.local, edge.elementwise = _pulled(here, handle, node, torch.ones), True
        elif size * _size(source) <= MOST_NUMBERS:
            rows = [_pulled(here, handle, node, torch.zeros, number) for number in range(size)]
            if all(row is not None for row in rows):
                edge.local = torch.stack([row for row in rows if row is not None]).reshape(node.shape + source.shape)


def _size(node: Node) -> int:
    return int(torch.Size(node.shape).numel())


def _pulled(
    here: GradientEdge, handle: GradientEdge, node: Node, start: object, number: int | None = None
) -> Tensor | None:
    """A gradient at the operation's value, pulled back to one of its arguments."""
    value = node.value
    assert value is not None
    gradient = torch.ones_like(value) if start is torch.ones else torch.zeros_like(value)
    if number is not None:
        gradient.view(-1)[number] = 1
    (found,) = torch.autograd.grad([here], [handle], [gradient], retain_graph=True, allow_unused=True)
    return found.detach() if found is not None else None
