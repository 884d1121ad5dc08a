"""What happens at one node, in words and numbers: forward what is computed, backward what is handed on and why."""

from __future__ import annotations

from chainrule.introspection.graph.drawing.numbers import brief, listed, shape_of, short
from chainrule.introspection.graph.elementwise import ELEMENTWISE
from chainrule.introspection.graph.record import Edge, Graph, Node


def forward_line(node: Node) -> str:
    """How the value came about, and what it is."""
    made = f" = {node.expression}" if node.expression else ""
    over = ", written over its first argument" if node.in_place else ""
    return (
        f"{node.name}{made}{over} = {brief(node)}"
        if node.number is not None
        else f"{node.name}{made}{over}: {shape_of(node)}, {brief(node)}"
    )


def arriving_line(graph: Graph, node: Node) -> str:
    """The gradient that arrives, and the uses that it is the sum of."""
    if node.gradient_norm is None:
        return "no gradient arrives" + ("" if node.differentiable else ": this value is not differentiated")
    what = f"∂L/∂{node.name} = {amount(node)}"
    uses = [(user, edge) for user, edge in graph.uses.get(node.index, []) if not edge.sibling]
    parts = [(user.name, edge.passed) for user, edge in uses if edge.passed is not None]
    if node.seed is not None and not uses:
        return f"{what}, where the way back begins"
    if node.gradient is not None and node.gradient.numel() <= 4 and len(parts) == len(uses) and len(parts) > 1:
        begins = f"{listed(node.seed)} begun here + " if node.seed is not None else ""
        return f"{what} = {begins}" + " + ".join(f"{_summand(value)} from {name}" for name, value in parts)
    if len(uses) > 1:
        names = ", ".join(dict.fromkeys(user.name for user, _ in uses))
        return f"{what}, the sum of {len(uses)} uses: {names}"
    return f"{what}, from {uses[0][0].name}" if uses else what


def _summand(value: object) -> str:
    text = listed(value)  # type: ignore[arg-type]
    return f"({text})" if text.startswith("-") else text


def amount(node: Node) -> str:
    """A node's gradient: its numbers where they are few, else its norm."""
    if node.gradient is not None and node.gradient.numel() <= 4:
        return listed(node.gradient)
    return f"norm {short(node.gradient_norm)}" if node.gradient_norm is not None else "none"


def handing_lines(graph: Graph, node: Node) -> list[str]:
    """For each argument of the operation: arriving gradient times local derivative, with the rule that it follows."""
    lines = []
    for edge in node.edges:
        source = graph.nodes[edge.source]
        if edge.sibling:
            lines.append(f"to {source.name}: together with the other results of this operation")
        elif edge.passed_norm is None:
            why = "no gradient" if source.differentiable else "nothing: it is not differentiated"
            lines.append(f"to {source.name}: {why}")
        else:
            lines.append(f"to {source.name}: {_product(node, edge, source)}")
    return lines


def _product(node: Node, edge: Edge, source: Node) -> str:
    small = edge.local is not None and edge.local.numel() <= 4 and node.gradient is not None
    real = edge.local_imaginary is None
    if (
        small
        and real
        and edge.local is not None
        and edge.passed is not None
        and (edge.elementwise or edge.local.numel() == 1)
    ):
        local = listed(edge.local)
        rule = f" = {edge.rule}" if edge.rule and edge.rule != local and not edge.rule.startswith("g ") else ""
        arrives = listed(node.gradient) if node.gradient is not None else ""
        own = f", by the backward of {node.op}" if node.own_backward else ""
        return f"{arrives} × (∂{node.name}/∂{source.name}{rule} = {local}{own}) = {listed(edge.passed)}"
    size = f"norm {short(edge.passed_norm)}"
    if edge.passed is not None and edge.passed.numel() <= 4:
        size = listed(edge.passed)
    if not edge.rule:
        return f"{size}, by {'the backward of ' + node.op if node.own_backward else f'autograd of {node.op} alone'}"
    return f"{_factor(node, edge, source)}; {size}"


def _factor(node: Node, edge: Edge, source: Node) -> str:
    """What is done to the arriving gradient g. Of a complex result autograd takes the conjugate of the derivative."""
    if node.op not in ELEMENTWISE:
        return edge.rule
    if not node.dtype.startswith("complex"):
        return f"g × ({edge.rule})"
    product = f"g × conj({edge.rule})"
    return product if source.dtype.startswith("complex") else f"Re({product})"
