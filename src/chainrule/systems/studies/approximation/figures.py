"""Figures of approximation: bumps and towers beside their function, errors against size, sawteeth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import COLOURS, drawing, new_figure, tidy_axes, to_png, to_svg

GREY, BLACK = "#4b5563", "#111827"
Row = Mapping[str, Any]


def bump_figure(x: Tensor, truth: Tensor, nets: Mapping[str, Tensor], title: str) -> Figure:
    """A function and nets of few bumps that approximate it, one for each sharpness."""
    with drawing(title):
        canvas = new_figure(6.4, 3.4)
        axes = canvas.add_subplot()
        axes.plot(x, truth, color=BLACK, linewidth=1.8, label="the function")
        for index, (name, y) in enumerate(nets.items()):
            axes.plot(x, y, color=COLOURS[index % len(COLOURS)], linewidth=1.3, label=name)
        _labels(axes, "x", "value")
        caption = "Sharpness: the width of a bump in units of the sigmoid's axis. Blunt bumps run into each other."
        return Figure(title, caption, svg=to_svg(canvas, title))


def error_figure(rows: Sequence[Row], title: str) -> Figure:
    """The largest error over the number of bumps: built with each sharpness, the bound dashed, and trained."""
    built = [r for r in rows if r["what"] == "built"]
    with drawing(title):
        canvas = new_figure(6.4, 3.7)
        axes = canvas.add_subplot()
        for index, sharpness in enumerate(dict.fromkeys(r["sharpness"] for r in built)):
            some = [r for r in built if r["sharpness"] == sharpness]
            colour, counts = COLOURS[index % len(COLOURS)], [r["count"] for r in some]
            axes.plot(
                counts,
                [r["sup_error"] for r in some],
                color=colour,
                marker="o",
                markersize=3,
                label=f"built, sharpness {sharpness:g}",
            )
            axes.plot(counts, [r["bound"] for r in some], color=colour, linewidth=1, linestyle=(0, (4, 2)))
        for start, marker, told in (
            ("random", "s", "trained from random weights"),
            ("built", "^", "trained from the bumps"),
        ):
            some = [r for r in rows if r["what"] == "trained" and r["start"] == start]
            axes.plot(
                [r["count"] for r in some],
                [r["sup_error"] for r in some],
                color=BLACK,
                marker=marker,
                markersize=4,
                linewidth=0.9,
                linestyle=":" if start == "random" else "-",
                label=told,
            )
        _log_log(axes)
        _labels(axes, "bumps (half the hidden units)", "largest error", columns=2)
        return Figure(title, "Dashed: what the error cannot be above.", svg=to_svg(canvas, title))


def tower_figure(side: Tensor, truth: Tensor, net: Tensor, title: str) -> Figure:
    """A function of the square, its net of towers, and their difference."""
    with drawing(title):
        canvas = new_figure(8.4, 2.9)
        panels = canvas.subplots(1, 3)
        extent = [float(side[0]), float(side[-1])] * 2
        low, high = float(min(truth.min(), net.min())), float(max(truth.max(), net.max()))
        gap = net - truth
        most = float(gap.abs().max()) or 1.0
        shown = (
            ("the function", truth, low, high, "viridis"),
            ("the net", net, low, high, "viridis"),
            ("net less function", gap, -most, most, "RdBu"),
        )
        for panel, (name, values, least, largest, colours) in zip(panels, shown, strict=True):
            image = panel.imshow(
                values.T.numpy(), origin="lower", extent=extent, vmin=least, vmax=largest, cmap=colours
            )
            panel.set_title(name, loc="left", fontsize=9, color=BLACK)
            panel.set_xlabel("x", color=GREY)
            panel.tick_params(colors=GREY, labelsize=7.5, length=2)
            canvas.colorbar(image, ax=panel, shrink=0.8)
        panels[0].set_ylabel("y", color=GREY)
        return Figure(title, "Two hidden layers: an edge a unit, then a quarter plane a unit.", png=to_png(canvas))


def built_figure(rows: Sequence[Row]) -> Figure:
    """Parameters over the pieces of the sawtooth, deep and shallow."""
    title = "Parameters that the sawtooth needs, by construction"
    with drawing(title):
        canvas = new_figure(6.4, 3.3)
        axes = canvas.add_subplot()
        pieces = [r["pieces"] for r in rows]
        axes.plot(
            pieces,
            [r["shallow_parameters"] for r in rows],
            color=COLOURS[1],
            marker="o",
            markersize=3,
            label="one hidden layer",
        )
        axes.plot(
            pieces,
            [r["parameters"] for r in rows],
            color=COLOURS[0],
            marker="o",
            markersize=3,
            label="two units a layer, deep",
        )
        _log_log(axes)
        _labels(axes, "straight pieces, counted", "parameters")
        return Figure(title, "Both nets compute the same function.", svg=to_svg(canvas, title))


def trained_figure(widths: Sequence[Row], depths: Sequence[Row], parameters: int) -> Figure:
    """Error and pieces of trained nets: against the width of one hidden layer, and against depth at equal size."""
    title = "Trained on the sawtooth: wider against deeper"
    with drawing(title):
        canvas = new_figure(8.4, 4.6)
        panels = canvas.subplots(2, 2, sharey="row", sharex="col")
        columns = (
            (widths, "width", "width of the only hidden layer"),
            (depths, "depth", f"hidden layers, about {parameters} parameters"),
        )
        for column, (rows, key, told) in enumerate(columns):
            for line, (value, name) in enumerate((("rms_error", "rms error"), ("pieces", "straight pieces"))):
                panel = panels[line][column]
                sizes = list(dict.fromkeys(r[key] for r in rows))
                means = [np.mean([r[value] for r in rows if r[key] == size]) for size in sizes]
                panel.plot(sizes, means, color=COLOURS[column], linewidth=1.5)
                panel.plot(
                    [r[key] for r in rows],
                    [r[value] for r in rows],
                    color=COLOURS[column],
                    marker="o",
                    markersize=3,
                    linestyle="",
                )
                if key == "width":
                    panel.set_xscale("log", base=2)
                else:
                    panel.set_xticks(sizes)
                tidy_axes(panel)
                if line:
                    panel.set_xlabel(told, color=GREY)
                if not column:
                    panel.set_ylabel(name, color=GREY)
        return Figure(
            title, "A point is a net from its own random start, the line their mean.", svg=to_svg(canvas, title)
        )


def sawtooth_figure(x: Tensor, truth: Tensor, curves: Mapping[str, Sequence[float]], title: str) -> Figure:
    """The sawtooth in grey, and a panel for each net that learnt it."""
    with drawing(title):
        canvas = new_figure(8.4, 1.5 * len(curves) + 0.4)
        panels = canvas.subplots(len(curves), 1, squeeze=False, sharex=True)[:, 0]
        for index, (panel, (name, y)) in enumerate(zip(panels, curves.items(), strict=True)):
            panel.plot(x, truth, color="#cbd5e1", linewidth=2.5)
            panel.plot(x, y, color=COLOURS[index % len(COLOURS)], linewidth=1.3)
            panel.set_title(name, loc="left", fontsize=9, color=BLACK)
            tidy_axes(panel)
        panels[-1].set_xlabel("x", color=GREY)
        return Figure(title, "Grey: the sawtooth. Of each depth the best of its starts.", svg=to_svg(canvas, title))


def _log_log(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")


def _labels(axes: Any, x: str, y: str, columns: int = 3) -> None:
    tidy_axes(axes)
    axes.set_xlabel(x, color=GREY)
    axes.set_ylabel(y, color=GREY)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2)
