"""Figures of a language model: a passage shaded by loss (SVG), a table of characters, a page of text (an image)."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

import torch
from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import drawing, to_png

_FONT = "DejaVu Sans Mono"  # comes with Matplotlib


def heat_strip(text: str, values: Sequence[float], title: str, caption: str, unit: str, columns: int = 72) -> Figure:
    """A passage with a shade behind each character; its value appears under the pointer.

    Lines break where the text does, and after `columns`.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades, most = colormaps["YlOrRd"], max(*values, 1e-9)
    wide = any(unicodedata.east_asian_width(character) in "WF" for character in text)
    pitch, height = 15 if wide else 9, 18
    cells = _cells(text, columns)
    rows = max(row for row, _ in cells) + 1
    parts = []
    for (row, column), character, value in zip(cells, text, values, strict=True):
        share = min(max(value / most, 0.0), 1.0)
        x, y = column * pitch, row * height
        parts.append(
            f'<g><title>{escape(repr(character))}: {value:.3f} {unit}</title><rect x="{x}" y="{y}" width="{pitch}" height="{height}" '
            f'fill="{to_hex(shades(share))}"/><text x="{x + pitch / 2:g}" y="{y + 13}" fill="{"#fff" if share > 0.7 else "#000"}">'
            f"{escape(_shown(character))}</text></g>"
        )
    style = "font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 13px; text-anchor: middle"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * pitch} {rows * height}" style="{style}">{"".join(parts)}</svg>'
    return Figure(title, f"{caption} The darkest is {most:.2f} {unit}.", svg=svg)


def characters_figure(targets: Tensor, losses: Tensor, vocabulary: Sequence[str]) -> Figure:
    """Which characters the loss comes from, the largest part first, as a table.

    Args:
        targets: the characters that were to be predicted, int64 (N,).
        losses: the loss of each in nats (N,).
        vocabulary: the characters by their number.
    """
    losses = losses.double()
    counts = torch.bincount(targets, minlength=len(vocabulary))  # (V,)
    totals = torch.zeros(len(vocabulary), dtype=torch.float64).index_add_(0, targets, losses)  # (V,)
    rows = [["character", "share of the text", "mean nats", "share of the loss"]]
    for code in totals.argsort(descending=True).tolist()[:15]:
        if counts[code]:
            n, total = int(counts[code]), float(totals[code])
            shares = (f"{n / len(targets):.4f}", f"{total / n:.3f}", f"{total / float(losses.sum()):.4f}")
            rows.append([repr(vocabulary[code]), *shares])
    caption = f"On the test split; the vocabulary has {len(vocabulary)} characters."
    return Figure("Where the loss comes from", caption, table=rows)


@drawing()
def text_page(text: str, rows: int = 18, columns: int = 72) -> Any:
    """The beginning of a text as an image (PIL) of a fixed size, so that several make an animation."""
    from matplotlib.figure import Figure as Canvas
    from PIL import Image

    canvas = Canvas(figsize=(0.085 * columns + 0.2, 0.17 * rows + 0.2))
    axes = canvas.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.axis("off")
    lines: list[list[str]] = [[] for _ in range(rows)]
    for (row, _), character in zip(_cells(text, columns), text, strict=True):
        if row < rows and character != "\n":
            shown = _shown(character)
            lines[row].append(shown if ord(shown) in _drawable() else "\u25a1")
    for row, line in enumerate(lines):
        axes.text(0, row + 0.5, "".join(line), fontsize=8, family=_FONT, ha="left", va="center", parse_math=False)
    return Image.open(io.BytesIO(to_png(canvas))).convert("L")


def _cells(text: str, columns: int) -> list[tuple[int, int]]:
    """Row and column of each character; a line break is at the end of its line.

    >>> _cells("ab\\nc", columns=2)
    [(0, 0), (0, 1), (1, 0), (2, 0)]
    """
    cells, row, column = [], 0, 0
    for character in text:
        if column == columns:
            row, column = row + 1, 0
        cells.append((row, column))
        row, column = (row + 1, 0) if character == "\n" else (row, column + 1)
    return cells


def _shown(character: str) -> str:
    """A symbol for a line break, a box for what cannot be printed."""
    if character == "\n":
        return "\u21b5"
    if character.isspace():
        return " "
    return character if character.isprintable() else "\u25a1"


@cache
def _drawable() -> frozenset[int]:
    """The code points that Matplotlib's font has."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(_FONT)).get_charmap())
