"""Figures of models over rows: what was fitted, decision surfaces, answers against targets, fitted curves, groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.task import Figure
from chainrule.data.preprocess import Preprocessed
from chainrule.data.tables.spec import TableSpec
from chainrule.reporting.plots import COLOURS, curves, drawing, new_figure, tidy_axes, to_png, to_svg
from chainrule.tasks.tables.density_figures import image_grid, principal_axes

if TYPE_CHECKING:
    from chainrule.data.tables.loading import TableSplit

SHOWN_COLUMNS = 20  # of a table of coefficients
SHOWN_IMAGES = 40
SHOWN_ROWS = 3000  # of a scatter
GRID = 200  # points along each side of a surface
_IMAGES = {"cluster_centers_": "Centres", "components_": "Components", "means_": "Means", "theta_": "Means"}


def model_figures(model: nn.Module, spec: TableSpec, classes: Sequence[str] | None) -> list[Figure]:
    """What a fitted estimator holds, as images where the rows are images and as a table of the largest else."""
    found: list[Figure] = []
    if isinstance(model, Preprocessed):  # coefficients of whitened rows are none of the columns'
        model = model.model if model.preprocess.factor.dim() == 1 else nn.Identity()
    held = {name: b.detach().cpu().double() for name, b in model.named_buffers() if "." not in name}
    width = len(spec.mean)
    if "coef_" in held and held["coef_"].shape[-1] == width:
        found.append(_coefficients(held["coef_"].reshape(-1, width), spec, classes))
    for name, title in _IMAGES.items():
        if name in held and held[name].dim() == 2 and held[name].shape[1] == width and spec.image:
            rows = held[name][:SHOWN_IMAGES]
            found.append(_images(rows, spec, [str(i) for i in range(len(rows))], title, f"The first {len(rows)}."))
    path = held.get("objective_path_")
    if path is not None and path.numel() > 1:
        path = path.flatten()
        found.append(curves({"objective": (list(range(1, len(path) + 1)), path.tolist())}, "Objective", "iteration"))
    return found


def _coefficients(coef: Tensor, spec: TableSpec, classes: Sequence[str] | None) -> Figure:
    names = list(classes) if classes and len(classes) == len(coef) else [str(i) for i in range(len(coef))]
    if spec.image:
        return _images(
            coef[:SHOWN_IMAGES], spec, names[:SHOWN_IMAGES], "Coefficients", "Dark is positive, light is negative."
        )
    features = [f for f in spec.features if f not in spec.dropped]
    order = coef.abs().amax(0).argsort(descending=True)[:SHOWN_COLUMNS].tolist()
    head = ["feature", *(names if len(coef) > 1 else ["coefficient"])]
    table = [head, *([features[i], *(f"{v:.4g}" for v in coef[:, i].tolist())] for i in order)]
    scale = " of standardised columns" if spec.standardized else ""
    largest = f"the {len(order)} largest of {coef.shape[1]}" if len(order) < coef.shape[1] else "the largest first"
    return Figure("Coefficients", f"Coefficients{scale}, {largest}.", table=table)


def _images(rows: Tensor, spec: TableSpec, titles: list[str], title: str, caption: str) -> Figure:
    """Rows over the kept pixels as whole images; a pixel that was dropped has the value of no effect."""
    assert spec.image is not None
    height, width = spec.image
    whole = torch.zeros(len(rows), height * width, dtype=torch.float64)
    kept = [i for i, name in enumerate(spec.features) if name not in spec.dropped]
    whole[:, kept] = rows.double()
    return image_grid(whole, (height, width), titles, title, caption)


def decision_surface(
    scores: Callable[[Tensor], Tensor],
    split: TableSplit,
    classes: Sequence[str],
    spec: TableSpec,
    title: str = "Decision surface",
) -> Figure:
    """Where in the plane of two features which class wins, and how clearly, with the training rows over it.

    Args:
        scores: rows (N, 2) on the scale of the data to scores (N, K).
        split: the rows that are drawn.
        classes: their names.
        spec: of the data: names, mean and std of the two features.
    """
    mean, std = np.array(spec.mean), np.array(spec.std)
    low, high = split.x.min(0).values.double(), split.x.max(0).values.double()
    low, high = low - 0.15 * (high - low), high + 0.15 * (high - low)
    axes_x, axes_y = (torch.linspace(float(low[i]), float(high[i]), GRID, dtype=torch.float64) for i in range(2))
    grid = torch.cartesian_prod(axes_x, axes_y).to(split.x.dtype)
    probs = scores(grid).double().softmax(1).reshape(GRID, GRID, -1).transpose(0, 1).numpy()
    palette = np.array([_rgb(COLOURS[k % len(COLOURS)]) for k in range(len(classes))])
    best = probs.argmax(2)
    strength = (probs.max(2) - 1 / len(classes)) / (1 - 1 / len(classes))
    shade = 1 - (0.15 + 0.45 * strength[..., None]) * (1 - palette[best])
    extent = [
        float(low[0] * std[0] + mean[0]),
        float(high[0] * std[0] + mean[0]),
        float(low[1] * std[1] + mean[1]),
        float(high[1] * std[1] + mean[1]),
    ]
    rows = (split.x.double().numpy() * std + mean)[:SHOWN_ROWS]
    assert split.y is not None
    y = split.y[:SHOWN_ROWS].numpy()
    features = [f for f in spec.features if f not in spec.dropped]
    with drawing(title):
        canvas = new_figure(5.2, 4.4)
        axes = canvas.add_subplot()
        axes.imshow(shade, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
        for k, name in enumerate(classes):
            here = rows[y == k]
            axes.scatter(
                here[:, 0],
                here[:, 1],
                s=9,
                color=COLOURS[k % len(COLOURS)],
                edgecolor="white",
                linewidth=0.4,
                label=name,
            )
        axes.set_xlabel(features[0])
        axes.set_ylabel(features[1])
        axes.legend(frameon=True, fontsize=8, loc="upper right")
        png = to_png(canvas)
    return Figure(
        title,
        "The class that wins at each place, deeper where it wins more clearly; points are training rows.",
        png=png,
    )


def answers_against_targets(answers: Tensor, y: Tensor, target: str) -> Figure:
    """A point a test row: what was answered over what is true; right answers lie on the line."""
    answers, y = answers.double()[:SHOWN_ROWS], y.double()[:SHOWN_ROWS]
    ends = [float(torch.minimum(answers, y).min()), float(torch.maximum(answers, y).max())]
    with drawing("answers"):
        canvas = new_figure(4.6, 4.2)
        axes = canvas.add_subplot()
        axes.plot(ends, ends, color="#9ca3af", linewidth=1)
        axes.scatter(y.numpy(), answers.numpy(), s=8, color=COLOURS[0], alpha=0.6, linewidth=0)
        axes.set_xlabel(f"{target}, true")
        axes.set_ylabel("answer")
        tidy_axes(axes)
        png = to_png(canvas)
    return Figure("Answers against targets", "Test rows; right answers lie on the grey line.", png=png)


def fitted_curve(answers: Callable[[Tensor], Tensor], split: TableSplit, spec: TableSpec) -> Figure:
    """The answers over the one feature, with the training rows."""
    assert split.y is not None
    low, high = float(split.x.min()), float(split.x.max())
    grid = torch.linspace(low - 0.05 * (high - low), high + 0.05 * (high - low), 400, dtype=split.x.dtype)[:, None]
    mean, std = spec.mean[0], spec.std[0]
    feature = next(f for f in spec.features if f not in spec.dropped)
    with drawing("fitted"):
        canvas = new_figure(5.6, 3.4)
        axes = canvas.add_subplot()
        axes.scatter(
            split.x[:SHOWN_ROWS, 0].double() * std + mean, split.y[:SHOWN_ROWS], s=9, color="#9ca3af", linewidth=0
        )
        axes.plot((grid[:, 0].double() * std + mean).numpy(), answers(grid).numpy(), color=COLOURS[0], linewidth=1.8)
        axes.set_xlabel(feature)
        axes.set_ylabel(str(spec.target))
        tidy_axes(axes)
        svg = to_svg(canvas, "fitted")
    return Figure("Fitted curve", "The answers as a line over the training rows.", svg=svg)


def cluster_figures(split: TableSplit, answers: list[dict[str, Any]], spec: TableSpec) -> list[Figure]:
    """Groups over the first two principal axes, and against the classes where there are any."""
    found: list[Figure] = []
    if answers and "cluster" in answers[0]:
        cluster = torch.tensor([answer["cluster"] for answer in answers])
        if split.x.shape[1] > 1:
            found.append(_groups(split.x, cluster))
        if split.y is not None:
            classes = spec.class_names
            table = [["cluster", *classes]]
            for k in cluster.unique().tolist():
                counts = torch.bincount(split.y[cluster == k], minlength=len(classes)).tolist()
                table.append([str(k), *map(str, counts)])
            found.append(
                Figure(
                    "Clusters and classes", "Test rows of each class, which fitting never saw, by cluster.", table=table
                )
            )
    return found


def _groups(x: Tensor, group: Tensor) -> Figure:
    mean, axes, share = principal_axes(x.double())
    points = ((x.double() - mean) @ axes)[:SHOWN_ROWS]
    with drawing("groups"):
        canvas = new_figure(5.2, 4.4)
        plot = canvas.add_subplot()
        colours = [COLOURS[int(k) % len(COLOURS)] for k in group[:SHOWN_ROWS]]
        plot.scatter(points[:, 0], points[:, 1], s=8, c=colours, alpha=0.7, linewidths=0)
        plot.set_xlabel(f"first principal axis ({float(share[0]):.0%} of the variance)")
        plot.set_ylabel(f"second ({float(share[1]):.0%})")
        tidy_axes(plot)
        png = to_png(canvas)
    return Figure("Clusters", "Test rows on their first two principal axes, coloured by cluster.", png=png)


def _rgb(colour: str) -> tuple[float, float, float]:
    return int(colour[1:3], 16) / 255, int(colour[3:5], 16) / 255, int(colour[5:7], 16) / 255
