"""Figures of regions: the units of the 2-4-1 bump, and polygons with the nets that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import COLOURS, drawing, new_figure, to_png, to_svg
from chainrule.systems.studies.approximation.bumps import BumpWeights

GREY, BLACK = "#4b5563", "#111827"
FINE = 161  # points of a side


def bump_responses(net: BumpWeights, window: tuple[float, float]) -> Figure:
    """Surfaces over the square: each of the four hidden units, a pair of them, and the output unit.

    Args:
        net: of `square_bump`.
        window: the ends of both sides of the square.
    """
    title = "The 2-4-1 net: four sigmoids, paired in opposition, make a bump"
    x, y, points = _grid(window, 23)
    hidden = torch.sigmoid(points @ net.weights[0].T + net.biases[0])  # (N, 4): below, right, above, left
    below, right, above, left = hidden.unbind(1)
    shown = {
        "left edge": left,
        "right edge": right,
        "lower edge": below,
        "upper edge": above,
        "left + right: a ridge": left + right - 1,
        "output: a bump": torch.sigmoid(net(points)),
    }
    with drawing(title):
        canvas = new_figure(8.4, 5.2)
        canvas.set_layout_engine(None)  # which would draw all surfaces once more
        canvas.subplots_adjust(left=0.01, right=0.97, bottom=0.03, top=0.97, wspace=0.12, hspace=0.08)
        for number, (name, values) in enumerate(shown.items()):
            panel = canvas.add_subplot(2, 3, number + 1, projection="3d")
            panel.plot_surface(x, y, values.reshape(x.shape).numpy(), cmap="viridis", rcount=23, ccount=23, linewidth=0)
            panel.set_title(name, fontsize=9, color=BLACK, y=0.98)
            panel.set_xticks([window[0], 0, window[1]])
            panel.set_yticks([window[0], 0, window[1]])
            panel.set_zticks([0, 0.5, 1])
            panel.set_xlabel("x", color=GREY, labelpad=-8)
            panel.set_ylabel("y", color=GREY, labelpad=-8)
            panel.tick_params(colors=GREY, labelsize=6.5, pad=-3)
            panel.view_init(elev=28, azim=-55)
        caption = "After Duda, Hart and Stork, figure 6.2. The output unit is on where all four are; nothing is learnt."
        return Figure(title, caption, png=to_png(canvas))


def region_figure(shapes: Mapping[str, tuple[Sequence[Tensor], BumpWeights]], window: tuple[float, float]) -> Figure:
    """A panel a shape: its polygons, the half planes of the first layer, and where the net's answer is above 0.

    Args:
        shapes: of each the polygons, and its net.
        window: the ends of both sides of the square.
    """
    title = "Regions written down as nets: an AND of half planes, and a union of ANDs"
    x, y, points = _grid(window, FINE)
    columns = 3
    rows = -(-len(shapes) // columns)
    with drawing(title):
        canvas = new_figure(8.4, 2.9 * rows)
        canvas.set_layout_engine(None)  # which would set every panel's text twice
        canvas.subplots_adjust(left=0.06, right=0.99, bottom=0.1 / rows, top=1 - 0.12 / rows, wspace=0.05, hspace=0.12)
        panels = list(canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
        for panel, (name, (polygons, net)) in zip(panels, shapes.items(), strict=False):
            answer = net(points).reshape(x.shape).numpy()
            panel.contourf(x, y, answer, levels=[0, float(answer.max()) + 1], colors=[COLOURS[0]], alpha=0.3)
            for (a, b), offset in zip(net.weights[0].tolist(), net.biases[0].tolist(), strict=True):
                foot = np.array([a, b]) * -offset / (a * a + b * b)  # the point of the line nearest to the middle
                panel.axline(foot, foot + np.array([-b, a]), color="#cbd5e1", linewidth=0.7, zorder=0)
            for corners in polygons:
                panel.plot(*torch.cat([corners, corners[:1]]).T.numpy(), color=BLACK, linewidth=1.2)
            layers = "-".join(map(str, (2, *(len(bias) for bias in net.biases))))
            panel.set_title(f"{name}: {layers}", loc="left", fontsize=9, color=BLACK)
            panel.set_xlim(*window)
            panel.set_ylim(*window)
            panel.set_aspect("equal")
            panel.set_xticks([-0.5, 0, 0.5])
            panel.set_yticks([-0.5, 0, 0.5])
            panel.tick_params(colors=GREY, labelsize=7.5, length=2)
            panel.spines[:].set_color("#9ca3af")
        for panel in panels[len(shapes) :]:
            panel.set_visible(False)
        caption = (
            "Blue: where the net's answer is above 0. Its sigmoids are a little blunt, so corners are rounded off. Grey: the "
            "half planes of the first layer. One hidden layer holds a convex region; a second one unites convex pieces."
        )
        return Figure(title, caption, svg=to_svg(canvas, title))


def _grid(window: tuple[float, float], side: int) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """The coordinates of a grid (side, side) each, and its points (side * side, 2)."""
    line = np.linspace(*window, side)
    x, y = np.meshgrid(line, line)
    return x, y, torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1))
