"""Figures of densities: mixtures drawn over data, what a component is like, criteria over candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import drawing, new_figure, to_png, to_svg

COLOURS = "tab20"


def principal_axes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), the first two principal axes (D, 2) of x (N, D), and the share of the variance along each (2,).

    The sign of an axis is that which makes its largest entry positive, so that the image is the same each time.
    """
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    axes = vectors[:, -2:].flip(1)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return mean, axes * largest.sign(), values[-2:].flip(0) / values.sum()


@drawing()
def mixture_scatter(x: Tensor, component: Tensor, means: Tensor, covariances: Tensor, unit: str) -> Figure:
    """Rows x (N, D) on their first two principal axes, an ellipse of two standard deviations a component.

    `component` (N,) colours the rows; `means` (K, D) and `covariances` (K, D, D) are projected alike.
    """
    from matplotlib.patches import Ellipse

    mean, axes, share = principal_axes(x)
    points, centres = (x - mean) @ axes, (means - mean) @ axes
    flat = axes.T @ covariances @ axes  # (K, 2, 2)
    canvas = new_figure(6, 5)
    plot = canvas.add_subplot()
    colours = _colours(len(means))
    plot.scatter(points[:, 0], points[:, 1], s=6, c=[colours[int(k)] for k in component], alpha=0.6, linewidths=0)
    for k, (centre, covariance) in enumerate(zip(centres, flat, strict=True)):
        values, vectors = torch.linalg.eigh(covariance)
        angle = float(torch.rad2deg(torch.atan2(vectors[1, 1], vectors[0, 1])))
        height, width = (4.0 * values.clamp_min(0).sqrt()).tolist()
        xy = (float(centre[0]), float(centre[1]))
        plot.add_patch(Ellipse(xy, width, height, angle=angle, fill=False, edgecolor=colours[k], linewidth=1.6))
        plot.annotate(str(k), xy, ha="center", va="center", fontsize=8, fontweight="bold")
    plot.set_xlabel(f"first principal axis ({float(share[0]):.0%} of the variance)")
    plot.set_ylabel(f"second ({float(share[1]):.0%})")
    return Figure(
        "Components over the training rows",
        f"Rows coloured by their most probable component; ellipses at two standard deviations; {unit}.",
        png=to_png(canvas),
    )


@drawing()
def mixture_curve(x: Tensor, grid: Tensor, density: Tensor, column: str) -> Figure:
    """A histogram of the one column x (N,) with the density (G,) over `grid` (G,)."""
    canvas = new_figure(6, 3.2)
    plot = canvas.add_subplot()
    plot.hist(x.numpy(), bins=40, density=True, color="0.8")
    plot.plot(grid, density, linewidth=1.6)
    plot.set_xlabel(column)
    plot.set_ylabel("density")
    return Figure("Density", "The mixture over a histogram of the training rows.", svg=to_svg(canvas))


@drawing()
def image_grid(rows: Tensor, size: tuple[int, int], titles: Sequence[str], title: str, caption: str) -> Figure:
    """Rows (N, H*W) of pixels as images, all on one scale from white to black."""
    columns = min(10, len(rows))
    lines = -(-len(rows) // columns)
    canvas = new_figure(1.1 * columns, 1.3 * lines)
    for index, (row, text) in enumerate(zip(rows, titles, strict=True)):
        plot = canvas.add_subplot(lines, columns, index + 1)
        plot.imshow(row.reshape(size).numpy(), cmap="gray_r", vmin=float(rows.min()), vmax=float(rows.max()))
        plot.set_title(text, fontsize=7)
        plot.axis("off")
    return Figure(title, caption, png=to_png(canvas))


def pixels_png(rows: Tensor, size: tuple[int, int], high: float, zoom: int = 8) -> bytes:
    """Rows (N, H*W) of ink from 0 to `high` as one image, black on white, about as wide as it is high."""
    import io

    from PIL import Image

    across = int(np.ceil(np.sqrt(len(rows))))
    down = -(-len(rows) // across)
    height, width = size
    sheet = np.full((down * (height + 1) + 1, across * (width + 1) + 1), 255, dtype=np.uint8)
    ink = (255 - rows / high * 255).clamp(0, 255).round().to(torch.uint8).reshape(-1, *size).numpy()
    for index, image in enumerate(ink):
        top, left = index // across * (height + 1) + 1, index % across * (width + 1) + 1
        sheet[top : top + height, left : left + width] = image
    buffer = io.BytesIO()
    Image.fromarray(sheet.repeat(zoom, 0).repeat(zoom, 1)).save(buffer, format="png")
    return buffer.getvalue()


@drawing()
def criterion_curve(counts: Sequence[int], values: Sequence[float], name: str, chosen: int) -> Figure:
    """A criterion of choice against the number of components; of several starts, the best."""
    best: dict[int, float] = {}
    for count, value in zip(counts, values, strict=True):
        best[count] = min(value, best.get(count, np.inf))
    canvas = new_figure(6, 3.2)
    plot = canvas.add_subplot()
    plot.plot(counts, values, "o", markersize=3, color="0.6", label="a start")
    plot.plot(list(best), list(best.values()), linewidth=1.6, label="the best start")
    plot.axvline(chosen, linestyle=":", color="0.3", label=f"chosen: {chosen}")
    plot.set_xlabel("components")
    plot.set_ylabel(name)
    plot.legend(frameon=False)
    return Figure("Choice of the number of components", "Lower is better.", svg=to_svg(canvas))


def _colours(count: int) -> list[tuple[float, ...]]:
    import matplotlib as mpl

    palette = mpl.colormaps[COLOURS]
    return [palette(k % palette.N) for k in range(count)]
