"""A graph on the terminal."""

from __future__ import annotations

from chainrule.introspection.graph.drawing.fold import view
from chainrule.introspection.graph.drawing.numbers import brief, shape_of, short
from chainrule.introspection.graph.drawing.steps import amount, arriving_line, forward_line, handing_lines
from chainrule.introspection.graph.record import Graph

TOLD_WHOLE = 40  # a computation of no more nodes without modules is told node by node


def to_text(graph: Graph) -> str:
    """The graph as text, which `explain` prints. Node by node with the local rules, where it is a small function; else a table, a line a box."""
    head = [f"{graph.title}: L is {graph.objective}"]
    if len(graph.nodes) <= TOLD_WHOLE and len(graph.calls) == 1 and not graph.calls[0].kind:
        body = _told(graph)
    else:
        body = _table(graph)
    return "\n".join([*head, *body, *(f"note: {note}" for note in graph.notes)])


def _told(graph: Graph) -> list[str]:
    lines = ["forward", *(f"  {forward_line(node)}" for node in graph.nodes), "backward"]
    for node in reversed(graph.nodes):
        if node.kind == "constant":
            continue
        lines.append(
            f"  {arriving_line(graph, node)}"
            if node.gradient_norm is not None
            else f"  {node.name}: {arriving_line(graph, node)}"
        )
        if node.gradient_norm is not None:
            lines += [f"    {line}" for line in handing_lines(graph, node)]
    return lines


def _table(graph: Graph) -> list[str]:
    rows = [("", "", "shape", "value", "zeros", "|gradient|")]
    for box in view(graph).boxes:
        node = graph.nodes[box.exit]
        s = node.statistics
        zeros = f"{100 * s.zeros:.0f} %" if s is not None and s.zeros == s.zeros else ""
        gradient = amount(node).removeprefix("norm ") if node.gradient_norm is not None else "none"
        if node.gradient_norm is not None and node.number is None:
            gradient = short(node.gradient_norm)
        rows.append(
            (box.title[:40], box.subtitle[:40], shape_of(node), brief(node).partition(" ·")[0], zeros, gradient)
        )
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return [
        "  " + "  ".join(c.rjust(w) if i > 3 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
