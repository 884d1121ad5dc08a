"""A graph as a figure: boxes with the value that went forward and the gradient that came back."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from chainrule.introspection.graph.drawing.fold import Arrow, Box, View, view
from chainrule.introspection.graph.drawing.layout import LONG, arrange
from chainrule.introspection.graph.drawing.numbers import brief, listed, shape_of, short
from chainrule.introspection.graph.record import Graph

WIDE = 14  # a figure of more layers goes down the page instead of across
LINE = 16

STYLE = """
.computation { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.computation text { fill: var(--ink, #0f172a); text-anchor: middle; }
.computation .title { font-weight: 600; font-size: 13px; } .computation .sub { fill: var(--soft, #566176); font-size: 10.5px; }
.computation .v { fill: var(--good, #047857); font-variant-numeric: tabular-nums; }
.computation .g { fill: var(--bad, #b91c1c); font-variant-numeric: tabular-nums; }
.computation rect { fill: var(--card, #fff); stroke: var(--accent, #2563eb); stroke-width: 1.2; }
.computation .input rect { fill: var(--mark, #eff6ff); } .computation .parameter rect { fill: var(--mark, #eff6ff); stroke-dasharray: 5 3; }
.computation .constant rect, .computation .hidden rect, .computation .port rect { stroke: var(--soft, #566176); stroke-dasharray: 2 3; }
.computation .repeat rect, .computation .module rect { stroke-width: 2.2; } .computation .output rect { stroke-width: 2.6; }
.computation path.edge { fill: none; stroke: var(--soft, #566176); stroke-width: 1.3; } .computation marker path { fill: var(--soft, #566176); }
.computation path.still { stroke-dasharray: 2 4; }
.computation .plate { fill: var(--card, #fff); fill-opacity: .85; stroke: none; }
"""


def to_svg(graph: Graph, unfold: bool | Sequence[str] = ()) -> str:
    """The figure of a graph, alone in a file or in a page. `unfold`: the names of boxes to open, or True for all.

    Raises:
        UserError: there is no box of that name.
    """
    return draw(graph, view(graph, unfold))


def draw(graph: Graph, shown: View, inside_page: bool = False) -> str:
    """The SVG of one view; for a page without its own style, which the page has once."""
    texts = [_lines(graph, box) for box in shown.boxes]
    widths = [max(50.0, *(_width(kind, text) for kind, text in lines)) + 18 for lines in texts]
    heights = [LINE * len(lines) + 14.0 for lines in texts]
    arrows = [(a.source, a.target) for a in shown.arrows]
    flat = arrange(widths, heights, arrows, 54)
    down = max(flat.layers, default=0) >= WIDE
    if down:
        flat = arrange(heights, widths, arrows, 34)
    turn = (lambda p: (p[1] + 12, p[0] + 10)) if down else (lambda p: (p[0] + 12, p[1] + 10))
    size = (flat.size[1], flat.size[0]) if down else flat.size
    parts = []
    drawn: dict[int, int] = {}  # how many points of a box's common way are there already
    for arrow, route in zip(shown.arrows, flat.routes, strict=True):
        begun = 0
        if len(route) - 2 > LONG:
            begun, drawn[arrow.source] = drawn.get(arrow.source, 0), max(len(route) - 1, drawn.get(arrow.source, 0))
            begun = min(begun, len(route) - 1)
        way = [turn(p) for p in route[max(begun - 1, 0) :]]
        parts.append(_arrow(graph, arrow, way, (widths, heights), (down, _head(graph, shown)), branches=begun > 1))
    for place, (box, lines) in enumerate(zip(shown.boxes, texts, strict=True)):
        x, y = turn(flat.centres[place])
        parts.append(_box(graph, place, box, lines, (x, y, widths[place], heights[place])))
    wide, tall = size[0] + 24, size[1] + 20
    head = _head(graph, shown)
    name = html.escape(f"computational graph of {shown.name or graph.title}")
    tip = (
        f'<defs><marker id="{head}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0 L8 4 L0 8z"/></marker></defs>'
    )
    style = "" if inside_page else f"<style>{STYLE}</style>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="computation" role="img" aria-label="{name}" width="{wide:.0f}" '
        f'height="{tall:.0f}" viewBox="0 0 {wide:.0f} {tall:.0f}">{style}{tip}{"".join(parts)}</svg>'
    )


def _head(graph: Graph, shown: View) -> str:
    """A name for the arrow head that no other figure of a page has."""
    return "head-" + "".join(f"{ord(c):x}" for c in f"{graph.title}/{shown.name}")


def _lines(graph: Graph, box: Box) -> list[tuple[str, str]]:
    """The lines of text in a box, each with its style."""
    node = graph.nodes[box.exit]
    lines = [("title", _cut(box.title, 34))]
    if box.subtitle:
        lines.append(("sub", _cut(box.subtitle, 42)))
    if node.number is None:
        lines.append(("sub", shape_of(node)))
    if box.kind != "port":
        lines += [("v", text) for text in brief(node).split(" · ")]
        if node.gradient_norm is not None:
            one = node.gradient is not None and node.gradient.numel() == 1
            lines.append(("g", f"∂ {_number(node.gradient)}" if one else f"|∂| {short(node.gradient_norm)}"))
    return lines


def _number(value: Tensor | None) -> str:
    return listed(value.reshape(())) if value is not None else ""


def _width(kind: str, text: str) -> float:
    return len(text) * {"title": 8.1, "sub": 5.7}.get(kind, 6.7)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _box(
    graph: Graph, place: int, box: Box, lines: list[tuple[str, str]], where: tuple[float, float, float, float]
) -> str:
    x, y, width, height = where
    rows = "".join(
        f'<text class="{kind}" x="{x:.1f}" y="{y - height / 2 + 18 + LINE * number:.1f}">{html.escape(text)}</text>'
        for number, (kind, text) in enumerate(lines)
    )
    output = " output" if box.exit in graph.outputs and box.kind != "port" else ""
    behind = ""
    if box.kind == "repeat":  # a stack of cards
        behind = "".join(
            f'<rect x="{x - width / 2 + shift:.1f}" y="{y - height / 2 + shift:.1f}" width="{width:.1f}" height="{height:.1f}" rx="7"/>'
            for shift in (6, 3)
        )
    return (
        f'<g class="box {box.kind}{output}" data-box="{place}">{behind}'
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="7"/>{rows}</g>'
    )


def _arrow(
    graph: Graph,
    arrow: Arrow,
    route: list[tuple[float, float]],
    sizes: tuple[list[float], list[float]],
    how: tuple[bool, str],
    branches: bool = False,
) -> str:
    """A smooth line from the edge of one box to the edge of the other; on scalars with the gradient that came back."""
    (widths, heights), (down, head) = sizes, how
    (sx, sy), (tx, ty) = route[0], route[-1]
    start = (sx, sy + heights[arrow.source] / 2) if down else (sx + widths[arrow.source] / 2, sy)
    if branches:  # it leaves the way of another arrow of this box
        start = route[0]
    end = (tx, ty - heights[arrow.target] / 2 - 2) if down else (tx - widths[arrow.target] / 2 - 2, ty)
    points = [start, *route[1:-1], end]
    path = f"M{start[0]:.1f} {start[1]:.1f}"
    for (ax, ay), (bx, by) in pairwise(points):
        if down:
            half = (ay + by) / 2
            path += f" C{ax:.1f} {half:.1f} {bx:.1f} {half:.1f} {bx:.1f} {by:.1f}"
        else:
            half = (ax + bx) / 2
            path += f" C{half:.1f} {ay:.1f} {half:.1f} {by:.1f} {bx:.1f} {by:.1f}"
    uses = [graph.nodes[index].edges[number] for index, number in arrow.uses]
    flows = any(edge.passed_norm is not None or edge.sibling for edge in uses)
    known = [edge.passed for edge in uses if edge.passed is not None and edge.passed.numel() == 1]
    label = ""
    if known:
        text = ", ".join(map(_number, known))
        x, y = (points[0][0] + points[1][0]) / 2, (points[0][1] + points[1][1]) / 2 - 5
        wide = len(text) * 6.4 + 4
        label = f'<rect class="plate" x="{x - wide / 2:.1f}" y="{y - 11:.1f}" width="{wide:.1f}" height="14"/><text class="g" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
    return (
        f'<g class="arrow" data-from="{arrow.source}" data-to="{arrow.target}">'
        f'<path class="edge{"" if flows else " still"}" marker-end="url(#{head})" d="{path}"/>{label}</g>'
    )
