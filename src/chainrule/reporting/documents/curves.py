"""The curve of a training as a small SVG, from what the ledger keeps of it."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.reporting.ledger_page import Row

CURVES = "curves"  # the folder beside the pages
_WIDTH, _HEIGHT, _EDGE = 300, 72, 6


@dataclass(frozen=True)
class Curve:
    """A curve as a file: its name and its SVG."""

    metric: str
    file: str
    svg: str


def curve_of(row: Row) -> Curve | None:
    """Of the first run of a row that has one: its metric against the step, with the first and the last value."""
    for entry in row.entries:
        kept = entry.get("curve")
        if kept and len(kept["values"]) > 1:
            name = f"{row.recipe}-{row.data}.svg".lower()
            return Curve(kept["metric"], name, sparkline(kept["steps"], kept["values"]))
    return None


def sparkline(steps: list[float], values: list[float]) -> str:
    """A line through the points, with the first and the last value written beside it.

    >>> "polyline" in sparkline([0, 10, 20], [1.0, 0.5, 0.25])
    True
    """
    low, high = min(values), max(values)
    across, up = (steps[-1] - steps[0]) or 1, (high - low) or 1
    inner_width, inner_height = _WIDTH - 2 * _EDGE - 110, _HEIGHT - 2 * _EDGE
    points = [
        (55 + _EDGE + (s - steps[0]) / across * inner_width, _EDGE + (high - v) / up * inner_height)
        for s, v in zip(steps, values, strict=True)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    text = 'font-family="sans-serif" font-size="11" fill="#555"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
        f'<polyline points="{line}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>'
        f'<text x="{50 + _EDGE}" y="{points[0][1] + 4:.1f}" text-anchor="end" {text}>{values[0]:.4g}</text>'
        f'<text x="{_WIDTH - 50 - _EDGE}" y="{points[-1][1] + 4:.1f}" {text}>{values[-1]:.4g}</text>'
        "</svg>\n"
    )
