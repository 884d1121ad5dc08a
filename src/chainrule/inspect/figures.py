"""Figures for reports, drawn with Matplotlib: curves, confusion matrices, galleries."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.systems import Figure


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure as Canvas  # no pyplot: no state, no window system

    return Canvas(figsize=(width, height), layout="constrained")


def to_svg(canvas: Any) -> str:
    """A Matplotlib figure as an <svg> element."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "chainrule"}):
        canvas.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def to_png(canvas: Any) -> bytes:
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def curves(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, xlabel: str = "step") -> Figure:
    """Lines over steps; a logarithmic axis where the values are positive and span more than a hundred times."""
    canvas = _figure(7, 3.2)
    axes = canvas.add_subplot()
    low, high = np.inf, 0.0
    for name, (x, y) in series.items():
        axes.plot(x, y, label=name, linewidth=1.4, marker="o" if len(x) < 30 else None, markersize=3)
        finite = [v for v in y if np.isfinite(v)]
        if finite:
            low, high = min(low, *finite), max(high, *finite)
    if 0 < low < high / 100:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return Figure(title, svg=to_svg(canvas))


def confusion_matrix(target: Tensor, answer: Tensor, classes: Sequence[str]) -> Figure:
    """Counts of true class (rows) against answer (columns)."""
    count = len(classes)
    matrix = torch.bincount(target * count + answer, minlength=count * count).reshape(count, count).numpy()
    side = min(max(3.5, 0.45 * count + 1.5), 12)
    canvas = _figure(side, side)
    axes = canvas.add_subplot()
    axes.imshow(matrix / np.maximum(matrix.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    if count <= 25:
        for row in range(count):
            for column in range(count):
                if matrix[row, column]:
                    dark = matrix[row, column] > matrix[row].sum() / 2
                    axes.text(
                        column,
                        row,
                        str(matrix[row, column]),
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if dark else "black",
                    )
        axes.set_xticks(range(count), classes, rotation=45 if max(map(len, classes)) > 2 else 0)
        axes.set_yticks(range(count), classes)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    return Figure("Confusion matrix", "Counts on the test split; shade is the share of the row.", png=to_png(canvas))


def gallery(images: Tensor, titles: Sequence[str], title: str, caption: str = "", columns: int = 6) -> Figure:
    """Byte images (N, C, H, W) with a title above each."""
    rows = -(-len(images) // columns)
    canvas = _figure(1.5 * columns, 1.75 * rows)
    for index, (image, text) in enumerate(zip(images, titles, strict=True)):
        axes = canvas.add_subplot(rows, columns, index + 1)
        pixels = image.permute(1, 2, 0).numpy()
        axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
        axes.set_title(text, fontsize=7)
        axes.axis("off")
    return Figure(title, caption, png=to_png(canvas))
