"""The page that steps through a graph: figures and sentences are made here, the browser only shows and hides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainrule.core.language.translation import translate
from chainrule.core.version import __version__
from chainrule.introspection.graph.diagnose import diagnose_graph
from chainrule.introspection.graph.drawing.fold import Box, View, view
from chainrule.introspection.graph.drawing.numbers import brief, shape_of, short
from chainrule.introspection.graph.drawing.steps import arriving_line, forward_line, handing_lines
from chainrule.introspection.graph.drawing.svg import STYLE, draw
from chainrule.introspection.graph.record import Graph, Node
from chainrule.reporting import page

MAX_LINES = 40  # sentences for one step; a module with more operations is opened to see them


def write_page(graph: Graph, out: str | Path) -> Path:
    """Writes one HTML file, offline, that steps forward and backward through the graph; `out` may be a folder."""
    place = Path(out)
    return page.write_page(
        "graph.html.j2",
        place / f"graph-{graph.title}.html" if place.is_dir() else place,
        version=__version__,
        title=graph.title,
        shown=section(graph),
        findings=diagnose_graph(graph),
        graph_style=STYLE,
    )


def section(graph: Graph) -> dict[str, Any]:
    """What the template needs of one graph."""
    views = list(_views(view(graph)))
    return {
        "title": graph.title,
        "objective": graph.objective,
        "notes": graph.notes,
        "operations": sum(node.kind == "operation" for node in graph.nodes),
        "views": [
            {"name": v.name, "svg": draw(graph, v, inside_page=True), "around": around, "steps": _steps(graph, v)}
            for v, around in views
        ],
    }


def _views(whole: View, around: str | None = None) -> Iterator[tuple[View, str | None]]:
    yield whole, around
    for box in whole.boxes:
        if box.inside is not None:
            yield from _views(box.inside, whole.name)


def _steps(graph: Graph, shown: View) -> dict[str, Any]:
    """Forward through the boxes, then backward through those that a gradient reaches."""
    boxes = [(place, box) for place, box in enumerate(shown.boxes) if box.kind != "port"]
    back = [(p, b) for p, b in reversed(boxes) if graph.nodes[b.exit].gradient_norm is not None]
    return {
        "forward": [
            {"box": place, "title": box.title, "lines": [*map(translate, _forward(graph, box))]} for place, box in boxes
        ],
        "backward": [
            {"box": place, "title": box.title, "lines": [*map(translate, _backward(graph, box))]} for place, box in back
        ],
        "inside": {place: box.inside.name for place, box in boxes if box.inside is not None},
    }


def _operations(graph: Graph, box: Box) -> list[Node]:
    return [graph.nodes[n] for n in box.nodes if graph.nodes[n].kind in ("operation", "hidden")]


def _forward(graph: Graph, box: Box) -> list[str]:
    inside = _operations(graph, box)
    node = graph.nodes[box.exit]
    if box.inside is not None:
        count = f"{len(inside)} operations" if inside else f"{len(box.nodes)} values"
        count += ", seen when it is opened."
        return [count, f"It gives {shape_of(node)}: {brief(node)}."]
    lines = [forward_line(n) for n in inside[:MAX_LINES]] or [forward_line(node)]
    for n in box.nodes:
        if graph.nodes[n].kind in ("parameter", "constant") and graph.nodes[n] is not node:
            part = graph.nodes[n]
            lines.append(f"{part.kind} {part.name}: {shape_of(part)}, {brief(part)}")
    return lines


def _backward(graph: Graph, box: Box) -> list[str]:
    node = graph.nodes[box.exit]
    lines = [arriving_line(graph, node)]
    inside = _operations(graph, box)
    if box.inside is None:
        for n in reversed(inside[:MAX_LINES]):
            lines += handing_lines(graph, n)
        return lines
    within = set(box.nodes)
    entering = [e for n in inside for e in n.edges if e.source not in within and e.passed_norm is not None]
    if entering:
        total = sum((e.passed_norm or 0.0) ** 2 for e in entering) ** 0.5
        lines.append(
            f"It hands back a gradient of norm {short(total)}, over {len(entering)} use{'s' * (len(entering) > 1)} of what came in."
        )
    parameters = [graph.nodes[n] for n in box.nodes if graph.nodes[n].kind == "parameter"]
    for p in parameters[:MAX_LINES]:
        reached = p.gradient_norm
        lines.append(f"{p.name}: " + (f"gradient of norm {short(reached)}" if reached is not None else "no gradient"))
    return lines
