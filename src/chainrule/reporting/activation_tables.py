"""The activation functions side by side: a table, and a figure of each with its derivative."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.core.task import Figure
from chainrule.core.version import __version__
from chainrule.functional.activations import (
    ACTIVATIONS,
    Saturation,
    crelu,
    derivative,
    derivative_of,
    maxout,
    saturation,
)
from chainrule.reporting.page import write_page
from chainrule.reporting.plots import COLOURS, drawing, new_figure, tidy_axes, to_png, to_svg

EXTENT = 5.0  # of x in a panel
LEVELS = (-2.4, 3.4)  # of y, the same in all panels, so that they compare


@dataclass(frozen=True)
class Fact:
    """What is told of a function and not computed."""

    equation: str
    range: str
    source: str


FACTS = {
    "linear": Fact("x", "(-inf, inf)", "identity"),
    "ramp": Fact("clip(x, -1, 1)", "[-1, 1]", "classical"),
    "step": Fact("1 if x >= 0 else 0", "{0, 1}", "McCulloch, Pitts 1943"),
    "sign": Fact("-1, 0 or 1", "{-1, 0, 1}", "classical"),
    "sigmoid": Fact("1 / (1 + exp(-x))", "(0, 1)", "logistic"),
    "tanh": Fact("2 sigmoid(2x) - 1", "(-1, 1)", "classical"),
    "scaled_tanh": Fact("1.7159 tanh(2x/3)", "(-1.7159, 1.7159)", "LeCun et al. 1998"),
    "hard_sigmoid": Fact("clip(x/6 + 1/2, 0, 1)", "[0, 1]", "torch"),
    "hard_tanh": Fact("clip(x, -1, 1)", "[-1, 1]", "torch"),
    "relu": Fact("max(0, x)", "[0, inf)", "Nair, Hinton 2010"),
    "leaky_relu": Fact("x if x > 0 else 0.01 x", "(-inf, inf)", "Maas et al. 2013"),
    "prelu": Fact("x if x > 0 else w x; w learns", "(-inf, inf)", "He et al. 2015"),
    "rrelu": Fact("x if x > 0 else a x; a ~ U(1/8, 1/3)", "(-inf, inf)", "Xu et al. 2015"),
    "elu": Fact("x if x > 0 else exp(x) - 1", "(-1, inf)", "Clevert et al. 2016"),
    "mpelu": Fact("x if x > 0 else a (exp(b x) - 1); a, b learn", "(-1, inf)", "Li et al. 2016"),
    "softplus": Fact("log(1 + exp(x))", "(0, inf)", "Dugas et al. 2001"),
    "noisy": Fact("1.15 clip(x, -1, 1) - 0.15 x + noise; p learns", "(-inf, inf)", "Gulcehre et al. 2016"),
    "square": Fact("x^2", "[0, inf)", "classical"),
    "maxout": Fact("max of k channels", "(-inf, inf)", "Goodfellow et al. 2013"),
    "crelu": Fact("max(0, x), max(0, -x)", "[0, inf)", "Shang et al. 2016"),
}
LEGEND = (
    "hard: the derivative is exactly zero beyond that point. soft: it tends to zero. none: it does not.",
    "f'(0) at a corner: the one that training takes, of those on its left | right. Both are computed from the functions,",
    "with their default settings; prelu and mpelu with the parameters they start from, rrelu and noisy outside training.",
)
_SEVERAL = ("maxout", "crelu")  # of several channels, so no derivative by one x
_RANDOM = ("rrelu", "noisy")


def activation_rows() -> list[tuple[str, ...]]:
    """The table of all activations, a header first. The derivative at 0 and the saturations are computed.

    >>> activation_rows()[10]
    ('relu', 'max(0, x)', '[0, inf)', '0 of 0|1', 'hard below 0', 'none', 'Nair, Hinton 2010')
    """
    rows: list[tuple[str, ...]] = [("name", "f(x)", "range", "f'(0)", "left", "right", "source")]
    for name in ACTIVATIONS:
        fact = FACTS[name]
        found = ("-", "-", "-") if name in _SEVERAL else (_at_zero(name), *sides(saturation(name)))
        rows.append((name, fact.equation, fact.range, *found, fact.source))
    return rows


def sides(found: Saturation) -> tuple[str, str]:
    """The saturation on the left and on the right, in words.

    >>> sides(saturation("hard_tanh")), sides(saturation("elu"))
    (('hard below -1', 'hard above 1'), ('soft', 'none'))
    """
    left = f"hard below {found.left_point:g}" if found.left == "hard" else found.left
    right = f"hard above {found.right_point:g}" if found.right == "hard" else found.right
    return left, right


def _at_zero(name: str) -> str:
    x = torch.tensor([-1e-9, 0.0, 1e-9], dtype=torch.float64)
    value, slope = ACTIVATIONS[name](x), derivative(name)(x)
    before, at, after = (round(s, 4) + 0.0 for s in slope.tolist())
    if abs(value[2] - value[0]) > 1e-6:
        return f"{at:g}, jump"
    return f"{at:g}" if before == after else f"{at:g} of {before:g}|{after:g}"


def activation_canvas() -> Any:
    """All activations as small panels, the derivative dashed; a Matplotlib figure."""
    columns = 4
    with drawing("activations"):
        rows = -(-len(ACTIVATIONS) // columns)
        canvas = new_figure(11, 2.35 * rows + 0.4)
        canvas.set_layout_engine(None)  # to make room for twenty panels by trial takes seconds; the room is known
        canvas.subplots_adjust(left=0.03, right=0.99, bottom=0.025, top=0.95, wspace=0.06, hspace=0.17)
        panels = canvas.subplots(rows, columns, sharex=True, sharey=True).flat
        for panel, name in zip(panels, ACTIVATIONS, strict=False):
            tidy_axes(panel)
            panel.set_title(name, loc="left", fontsize=10, fontweight="bold", color="#111827")
            for value, slope, colour in _lines(name):
                panel.plot(*_broken(value), color=COLOURS[colour], linewidth=1.8)
                panel.plot(*_broken(slope), color=COLOURS[colour + 1], linewidth=1.3, linestyle=(0, (4, 2)))
            panel.set_title(_note(panel, name), loc="right", fontsize=7.5, color="#4b5563")
            panel.set_xlim(-EXTENT, EXTENT)
            panel.set_ylim(*LEVELS)
        for panel in list(panels)[len(ACTIVATIONS) :]:
            panel.set_visible(False)
        handles = canvas.axes[0].lines[:2]
        canvas.legend(handles, ["f(x)", "its derivative"], loc="upper right", ncols=2, frameon=False)
    return canvas


def _note(panel: Any, name: str) -> str:
    """Shades where the function is saturated hard, scatters what it draws in training; gives the words beside its name."""
    if name in _RANDOM:
        with torch.random.fork_rng(devices=[]):  # a figure moves nobody's random numbers
            torch.manual_seed(0)
            x = torch.linspace(-EXTENT, EXTENT, 700)
            drawn = ACTIVATIONS[name](x, training=True)
        panel.scatter(x, drawn, s=3, color="#9ca3af", linewidths=0, zorder=1)
        return "dots: drawn in training"
    if name in _SEVERAL:
        return {"maxout": "of three lines", "crelu": "two channels"}[name]
    found = saturation(name)
    if found.left_point is not None:
        panel.axvspan(-EXTENT, found.left_point, color="#fee2e2", linewidth=0)
    if found.right_point is not None:
        panel.axvspan(found.right_point, EXTENT, color="#fee2e2", linewidth=0)
    return _short(found)


def _short(found: Saturation) -> str:
    """The saturation in few words.

    >>> [_short(saturation(name)) for name in ("hard_tanh", "relu", "square")]
    ['hard outside -1 to 1', 'hard below 0', 'saturates nowhere']
    """
    left, right = sides(found)
    if found.left == found.right == "hard":
        points = dict.fromkeys((found.left_point, found.right_point))  # a jump has one, at which both sides begin
        return "hard outside " + " to ".join(f"{point:g}" for point in points)
    if found.left == found.right:
        return "soft on both sides" if found.left == "soft" else "saturates nowhere"
    return ", ".join(
        f"soft on the {side}" if word == "soft" else word
        for side, word in (("left", left), ("right", right))
        if word != "none"
    )


def _lines(name: str) -> list[tuple[Tensor, Tensor, int]]:
    """Values and slopes over the extent, with a colour, of each channel that a panel shows."""
    x = torch.linspace(-EXTENT, EXTENT, 801, dtype=torch.float64)

    def lines(x: Tensor) -> Tensor:
        return maxout(torch.stack([-0.5 * x - 0.5, 0.2 * x + 0.2, x - 1.0], 1), 3)[:, 0]

    if name == "maxout":
        return [(lines(x), derivative_of(lines)(x), 0)]
    if name == "crelu":
        halves = [lambda x, c=c: crelu(x[:, None])[:, c] for c in (0, 1)]
        return [(half(x), derivative_of(half)(x), 2 * c) for c, half in enumerate(halves)]
    return [(ACTIVATIONS[name](x), derivative(name)(x), 0)]


def _broken(y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The points of a line that is interrupted where it jumps."""
    x, values = np.linspace(-EXTENT, EXTENT, len(y)), y.numpy()
    jumps = np.flatnonzero(np.abs(np.diff(values)) > 0.08) + 1
    return np.insert(x, jumps, np.nan), np.insert(values, jumps, np.nan)


def write_activations(out: str | Path) -> Path:
    """Writes the figures of all activations to a file: .html (with the table), .svg or .png."""
    caption = (
        "The same axes in all panels. Shaded: saturated hard, the derivative is exactly zero. At a corner the derivative "
        "is the subgradient that training takes."
    )
    table = [list(row) for row in activation_rows()]
    return write_topic(
        out, "Activation functions", activation_canvas(), "Each with its derivative", caption, table, " ".join(LEGEND)
    )


def write_topic(
    out: str | Path, title: str, canvas: Any, heading: str, caption: str, table: list[list[str]], legend: str = ""
) -> Path:
    """Writes a topic's drawing to a file: .svg or .png alone, or .html with the table below it.

    Errors: a UserError for another ending.
    """
    place = Path(out)
    if place.suffix not in (".html", ".svg", ".png"):
        raise UserError(
            "the ending of the file is not known",
            where=place,
            expected=".html, .svg or .png",
            found=place.suffix or "none",
        )
    if place.suffix == ".html":
        figures = [Figure(heading, caption, svg=to_svg(canvas, heading)), Figure("Table", legend, table=table)]
        return write_page("functions.html.j2", place, title=title, figures=figures, version=__version__)
    with atomic.explain_os_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(place, to_png(canvas) if place.suffix == ".png" else to_svg(canvas, heading).encode())
    return place
