"""Figures of descent: paths on contour lines, steps over rates and distances, contraction, error over epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import COLOURS, drawing, new_figure, tidy_axes, to_svg

GREY = "#4b5563"
Steps = float | None
Row = Mapping[str, Any]


def path_figure(
    surface: Callable[[Tensor], Tensor],
    paths: Mapping[str, tuple[Sequence[Sequence[float]], Steps]],
    title: str,
    place: Mapping[str, Sequence[float]],
) -> Figure:
    """A panel a rule: its path on the contour lines of the surface, with the steps that it took in the title.

    Args:
        surface: (N, 2) to heights.
        paths: of each rule the points of its path and after how many steps it was done, None for never.
        title: of the figure.
        place: `window` (left, right, low, high) and `end`, the place of interest.
    """
    left, right, low, high = place["window"]
    x, y = np.meshgrid(np.linspace(left, right, 120), np.linspace(low, high, 120))
    grid = torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1))
    height = surface(grid).numpy().reshape(x.shape)
    # Lines at equal distances of the root: close where it is steep, and some near the place of interest.
    level = np.sign(height) * np.sqrt(np.abs(height))
    with drawing(title):
        columns = 3
        rows = -(-len(paths) // columns)
        canvas = new_figure(8.4, 2.6 * rows)
        canvas.set_layout_engine(None)  # which would set every panel's text twice
        canvas.subplots_adjust(left=0.08, right=0.99, bottom=0.2 / rows, top=1 - 0.12 / rows, wspace=0.08, hspace=0.16)
        panels = canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for index, (panel, (name, (path, steps))) in enumerate(zip(panels.flat, paths.items(), strict=False)):
            panel.contour(x, y, level, levels=14, colors="#cbd5e1", linewidths=0.7, linestyles="solid")
            points = np.asarray(path)
            panel.plot(*points.T, color=COLOURS[index % len(COLOURS)], linewidth=1.1, marker=".", markersize=2.5)
            panel.plot(*points[0], marker="o", color="#111827", markersize=4)
            panel.plot(*place["end"], marker="+", color="#111827", markersize=8)
            told = "never" if steps is None else f"{steps:,g} steps"
            panel.set_title(f"{name}: {told}", loc="left", fontsize=9, color="#111827")
            panel.set_xlim(left, right)
            panel.set_ylim(low, high)
            panel.tick_params(colors=GREY, labelsize=7.5, length=2)
            panel.spines[:].set_color("#9ca3af")
            if index // columns == rows - 1:
                panel.set_xlabel("x", color=GREY)
            if index % columns == 0:
                panel.set_ylabel("y", color=GREY)
        for panel in list(panels.flat)[len(paths) :]:
            panel.set_visible(False)
        caption = "Each point is a step, beginning at the dot; long paths are cut off. The cross is the stationary point. Grey: lines of equal height."
        return Figure(title, caption, svg=to_svg(canvas, title))


def steps_over_rates(series: Mapping[str, tuple[Sequence[float], Sequence[Steps]]], title: str, limit: str) -> Figure:
    """Steps to the minimum over the learning rate of each rule, both logarithmic; a gap where it was not reached."""
    with drawing(title):
        canvas = new_figure(6.4, 3.5)
        axes = canvas.add_subplot()
        for index, (name, (rates, steps)) in enumerate(series.items()):
            _steps_line(axes, rates, steps, name, COLOURS[index])
        _finish(
            axes, "learning rate", max((s for _, steps in series.values() for s in steps if s is not None), default=1.0)
        )
        caption = f"No point: not within {limit}, or diverged. Rules with momentum at the best momentum for each rate."
        return Figure(title, caption, svg=to_svg(canvas, title))


def escape_figure(
    distances: Sequence[float], series: Mapping[str, Sequence[Steps]], theory: Mapping[str, Sequence[float]], title: str
) -> Figure:
    """Steps out of a saddle over the distance at the start; theory dashed. The axis of distances goes down."""
    with drawing(title):
        canvas = new_figure(6.4, 3.5)
        axes = canvas.add_subplot()
        drawn = {name: steps for name, steps in series.items() if any(s is not None for s in steps)}
        for index, (name, steps) in enumerate(drawn.items()):
            _steps_line(axes, distances, steps, name, COLOURS[index])
        for index, (name, steps) in enumerate(theory.items()):
            axes.plot(distances, steps, color="#111827", linestyle=((0, (4, 2)), ":")[index], linewidth=1.2, label=name)
        axes.invert_xaxis()
        _finish(
            axes,
            "distance from the saddle at the start",
            max((s for steps in drawn.values() for s in steps if s is not None), default=1.0),
        )
        never = [name for name in series if name not in drawn]
        caption = f"Never left, from any distance: {', '.join(never)}." if never else ""
        return Figure(title, caption, svg=to_svg(canvas, title))


def contraction_figure(rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Distance to the minimum over steps, and dashed the line of the predicted contraction."""
    title = "Contraction at the best tuning: measured, and predicted (dashed)"
    with drawing(title):
        canvas = new_figure(6.4, 3.3)
        axes = canvas.add_subplot()
        for index, (name, row) in enumerate(rows.items()):
            steps = np.arange(len(row["distance"]))
            told = f"{name}: {row['contraction']:.4f} a step, predicted {row['predicted']:.4f}"
            axes.plot(steps, row["distance"], color=COLOURS[index], linewidth=1.6, label=told)
            line = row["distance"][0] * row["predicted"] ** steps
            axes.plot(steps, line, color=COLOURS[index], linewidth=1.0, linestyle=(0, (4, 2)))
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(1e-20, min(min(row["distance"]) for row in rows.values()) / 10))
        tidy_axes(axes)
        axes.set_xlabel("step", color=GREY)
        axes.set_ylabel("distance to the minimum", color=GREY)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2)
        return Figure(
            title, "Learning rate and momentum by the closed form, on the quadratic.", svg=to_svg(canvas, title)
        )


def speed_figure(rows: Sequence[Row], goal: float, best: Mapping[str, float]) -> Figure:
    """Training error over epochs of each activation at its best learning rate: Krizhevsky's figure 1.

    Args:
        rows: a net each: `activation`, `lr`, `epochs_measured` and `errors`.
        goal: the error that is aimed at.
        best: of each activation the best rate.
    """
    title = "Training error over epochs, each activation at its best learning rate"
    with drawing(title):
        canvas = new_figure(6.4, 3.5)
        axes = canvas.add_subplot()
        for index, (activation, lr) in enumerate(best.items()):
            for number, row in enumerate(r for r in rows if (r["activation"], r["lr"]) == (activation, lr)):
                axes.plot(
                    row["epochs_measured"],
                    row["errors"],
                    color=COLOURS[index],
                    linewidth=1.4,
                    alpha=0.8,
                    label=f"{activation}, lr {lr:g}" if not number else None,
                )
        axes.axhline(goal, color="#111827", linewidth=0.9, linestyle=(0, (4, 2)), label=f"error {goal:g}")
        axes.set_ylim(bottom=0)
        _label(axes, "epoch", "training error (fraction)")
        return Figure(title, "A line is a net from its own random start.", svg=to_svg(canvas, title))


def rates_figure(rows: Sequence[Row], max_epochs: int) -> Figure:
    """Epochs to the goal over the learning rate, a point a net."""
    title = "Epochs to the error over learning rates"
    with drawing(title):
        canvas = new_figure(6.4, 3.3)
        axes = canvas.add_subplot()
        for index, activation in enumerate(dict.fromkeys(r["activation"] for r in rows)):
            some = [r for r in rows if r["activation"] == activation]
            reached = [r for r in some if r["epochs"] is not None]
            missed = [r for r in some if r["epochs"] is None]
            axes.plot(
                [r["lr"] for r in reached],
                [r["epochs"] for r in reached],
                color=COLOURS[index],
                marker="o",
                markersize=4,
                linestyle="",
                label=activation,
            )
            axes.plot(
                [r["lr"] for r in missed],
                [max_epochs * 1.2] * len(missed),
                color=COLOURS[index],
                marker="x",
                markersize=5,
                linestyle="",
            )
        axes.set_ylim(min((r["epochs"] for r in rows if r["epochs"]), default=max_epochs) / 1.5, max_epochs * 1.6)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _label(axes, "learning rate", "epochs")
        return Figure(title, f"A cross at the top: not within {max_epochs} epochs.", svg=to_svg(canvas, title))


def _steps_line(axes: Any, x: Sequence[float], steps: Sequence[Steps], name: str, colour: str) -> None:
    values = [math.nan if s is None else max(s, 0.8) for s in steps]
    axes.plot(x, values, color=colour, linewidth=1.5, marker="o", markersize=3, label=name)


def _finish(axes: Any, x: str, most: float) -> None:
    axes.set_xscale("log")
    axes.set_ylim(0.7, most * 1.5)  # before the scale: where nothing was reached there is nothing to scale by
    axes.set_yscale("log")
    _label(axes, x, "steps")


def _label(axes: Any, x: str, y: str) -> None:
    tidy_axes(axes)
    axes.set_xlabel(x, color=GREY)
    axes.set_ylabel(y, color=GREY)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.2)
