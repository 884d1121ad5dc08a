"""Lines over a quantity, with both axes named: what studies draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chainrule.core.task import Figure
from chainrule.reporting.plots import COLOURS, drawing, new_figure, tidy_axes, to_svg

Scale = Literal["linear", "log", "symlog"]
Style = Literal["-", "--", ":", "o"]
SOLID: Style = "-"
DASHED: Style = "--"


@dataclass(frozen=True)
class Line:
    """A curve: where, what, and how it is drawn. Lines of one `hue` share a colour."""

    x: Sequence[float]
    y: Sequence[float]
    hue: int
    style: Style = "-"


def lines(
    series: Mapping[str, Line],
    title: str,
    caption: str,
    *,
    xlabel: str,
    ylabel: str,
    xscale: Scale = "linear",
    yscale: Scale = "linear",
    marks: Mapping[str, float] | None = None,
    top: float | None = None,
    bottom: float | None = None,
    linear_to: float = 1.0,
    ticks: Sequence[float] = (),
) -> Figure:
    """Draws the lines; on a logarithmic axis what is not positive is left out.

    Args:
        series: by name, in the order of the legend.
        title, caption: of the figure.
        xlabel, ylabel: with the unit.
        xscale, yscale: of the axes.
        marks: named places on the x axis, drawn as a dashed vertical line.
        top, bottom: ends of the y axis, where the curves alone would choose badly.
        linear_to: where a "symlog" x axis turns from linear to logarithmic.
        ticks: places that are named on the x axis; chosen by themselves where there are none.
    """
    with drawing(title):
        canvas = new_figure(6.2, 3.5)
        axes = canvas.add_subplot()
        for name, line in series.items():
            x, y = np.asarray(line.x, dtype=np.float64), np.asarray(line.y, dtype=np.float64)
            if yscale == "log":
                y = np.where(y > 0, y, np.nan)
            dots = line.style == "o"
            axes.plot(
                x,
                y,
                label=name,
                color=COLOURS[line.hue % len(COLOURS)],
                linestyle="none" if dots else line.style,
                marker="o" if dots or (line.style != ":" and 2 < len(x) < 30) else None,
                markersize=5 if dots else 3,
                markerfacecolor="white" if dots else None,
                linewidth=1.6,
            )
        axes.set_xscale(xscale, **({"linthresh": linear_to, "linscale": 2} if xscale == "symlog" else {}))
        if yscale == "log" and not any(y > 0 for line in series.values() for y in line.y):
            yscale = "linear"  # there is nothing that a logarithmic axis could show
        if yscale == "log" and bottom is not None and bottom <= 0:
            bottom = None
        axes.set_yscale(yscale)
        axes.set_ylim(bottom=bottom, top=top)
        _name_ticks(axes, ticks or sorted({x for line in series.values() for x in line.x}), xscale)
        for name, place in (marks or {}).items():
            axes.axvline(place, color="#9ca3af", linestyle="--", linewidth=1)
            axes.annotate(
                name,
                (place, 0.98),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                va="top",
                fontsize=8,
                color="#4b5563",
            )
        if not any(np.isfinite(np.asarray(line.y, dtype=np.float64)).any() for line in series.values()):
            axes.text(0.5, 0.5, "no point", transform=axes.transAxes, ha="center", va="center", color="#4b5563")
            axes.set_yticks([])
            axes.set_yticks([], minor=True)
        tidy_axes(axes)
        axes.set_xlabel(xlabel, color="#4b5563")
        axes.set_ylabel(ylabel, color="#4b5563")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.2)
        return Figure(title, caption, svg=to_svg(canvas, title))


def _name_ticks(axes: object, places: Sequence[float], scale: Scale) -> None:
    """On a logarithmic axis of few whole numbers these are named, not powers of ten."""
    if scale != "linear" and len(places) <= 12 and all(float(p).is_integer() for p in places):
        axes.set_xticks(places, [f"{p:g}" for p in places])  # type: ignore[attr-defined]
        axes.set_xticks([], minor=True)  # type: ignore[attr-defined]
