"""Figures of losses: descent on a parabola at four rates, the loss surface of two weights, steps off its plateau."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.line_plots import Line, lines
from chainrule.reporting.plots import COLOURS, drawing, new_figure, tidy_axes, to_png, to_svg

GREY, BLACK = "#4b5563", "#111827"
WINDOW = (-8.0, 8.0)  # of both weights
TOLD = ("creeps", "arrives in one step", "swings to and fro", "diverges")


def parabola_figure(rows: Sequence[Mapping[str, Any]], curvature: float) -> Figure:
    """A panel a rate: the points that descent visits on the parabola E = h w^2 / 2.

    Args:
        rows: of each rate its `share` of the optimal one, its `path` and its `contraction`.
        curvature: h.
    """
    title = "The learning rate on a parabola: under, at, over and beyond twice the inverse second derivative"
    with drawing(title):
        canvas = new_figure(8.4, 2.5)
        panels = canvas.subplots(1, len(rows), sharey=True, squeeze=False)[0]
        for index, (panel, row) in enumerate(zip(panels, rows, strict=True)):
            reach = max(1.25, *(abs(w) for w in row["path"][:6]))
            w = np.linspace(-reach, reach, 121)
            panel.plot(w, curvature * w**2 / 2, color="#cbd5e1", linewidth=1.5)
            path = np.array(row["path"][: 6 if row["contraction"] > 1 else None])
            panel.plot(path, curvature * path**2 / 2, color=COLOURS[index], linewidth=1, marker="o", markersize=3.5)
            panel.plot(path[:1], curvature * path[:1] ** 2 / 2, marker="o", color=BLACK, markersize=4.5)
            panel.set_title(f"{row['share']:g} / h: {_told(row['share'])}", loc="left", fontsize=8.5, color=BLACK)
            tidy_axes(panel)
            panel.set_xlabel("w", color=GREY)
        panels[0].set_ylabel("E", color=GREY)
        caption = (
            f"E = h w\u00b2 / 2 with h = {curvature:g}, as along the steep side of the ravine. A step multiplies w by 1 \u2212 rate h; "
            "the dark dot is the start."
        )
        return Figure(title, caption, svg=to_svg(canvas, title))


def _told(share: float) -> str:
    return TOLD[(share >= 1) + (share > 1) + (share > 2)]


def loss_surfaces(loss_of: Callable[..., Tensor], paths: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """The surface of each loss over w1 and w2, with a path of gradient descent on it.

    Args:
        loss_of: weights (N, 2) and the name of a loss to (N,).
        paths: by the name of the loss, the weights on the way.
    """
    title = "The loss of y = s(w2 s(w1 x)) over its two weights, for the sample x = 1, y = 1"
    line = np.linspace(*WINDOW, 33)
    first, second = np.meshgrid(line, line)
    points = torch.from_numpy(np.stack([first.ravel(), second.ravel()], 1))
    with drawing(title):
        canvas = new_figure(8.4, 3.7)
        canvas.set_layout_engine(None)  # which would draw the surfaces once more
        canvas.subplots_adjust(left=0.01, right=0.97, bottom=0.06, top=0.96, wspace=0.1)
        for number, (loss, path) in enumerate(paths.items()):
            panel = canvas.add_subplot(1, len(paths), number + 1, projection="3d", computed_zorder=False)
            height = loss_of(points, loss).numpy().reshape(first.shape)
            panel.plot_surface(first, second, height, cmap="viridis", rcount=33, ccount=33, linewidth=0, alpha=0.85)
            way = torch.tensor(path, dtype=torch.float64)
            panel.plot(*way.T.numpy(), loss_of(way, loss).numpy(), color=COLOURS[1], linewidth=2)
            panel.set_title(loss, fontsize=9, color=BLACK, y=0.98)
            for name, label in (("x", "w1"), ("y", "w2")):
                getattr(panel, f"set_{name}label")(label, color=GREY, labelpad=-6)
            panel.tick_params(colors=GREY, labelsize=7, pad=-2)
            panel.view_init(elev=30, azim=-130)
        caption = (
            "Neither is convex. At the top, where the answer is near 0, the squared error is as flat as a table, and the cross "
            "entropy slopes. Both are flat where the hidden unit is near 0, at negative w1. Orange: a path of gradient descent."
        )
        return Figure(title, caption, png=to_png(canvas))


def plateau_figure(depths: Sequence[float], rows: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Steps off the plateau over how deep in it the walk begins, with either loss; dashed the closed form."""
    series: dict[str, Line] = {}
    for hue, (loss, row) in enumerate(rows.items()):
        steps = [math.nan if s is None else float(s) for s in row["steps"]]
        series |= {loss: Line(depths, steps, hue), f"{loss}, closed form": Line(depths, row["predicted"], hue, "--")}
    return lines(
        series,
        "Steps off the plateau of two weights",
        "The steps grow as e^depth with the squared error, by about as many each time with the cross entropy.",
        xlabel="-w2 at the start",
        ylabel="steps to an answer of 0.9",
        yscale="log",
    )
