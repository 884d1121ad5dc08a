"""Figures of text: a passage with a value for each character (SVG), a page of plain text (an image)."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

from torch import Tensor

from chainrule.core.task import Figure
from chainrule.reporting.plots import to_png

_FONT = "DejaVu Sans Mono"  # comes with Matplotlib


def heat_strip(text: str, values: Sequence[float], title: str, caption: str, unit: str, columns: int = 72) -> Figure:
    """A passage with a shade behind each character, and its value to be read under the pointer.

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


def speaking_words(speaks: Tensor, vocabulary: Sequence[str], classes: Sequence[str], count: int) -> Figure:
    """The words that speak most for each class, a row a class.

    Args:
        speaks: how much each word speaks for each class, (K, V).
        vocabulary: the words (V).
        classes: names (K).
        count: words of a class.
    """
    best = speaks.topk(min(count, speaks.shape[1]), dim=1).indices
    rows = [[name, ", ".join(vocabulary[i] for i in row)] for name, row in zip(classes, best.tolist(), strict=True)]
    caption = f"The {best.shape[1]} of {len(vocabulary):,} whose weight for the class is furthest above the mean of all classes."
    return Figure("Words that speak for each class", caption, table=[["class", "words"], *rows])


def wrong_texts(
    texts: Sequence[str], target: Tensor, scores: Tensor, classes: Sequence[str], count: int, *, probabilities: bool
) -> list[Figure]:
    """The texts that were answered wrongly with most certainty, as a table; none where all answers are right."""
    values = scores.softmax(1) if probabilities else scores
    best = values.max(1)
    wrong = (best.indices != target).nonzero()[:, 0]
    if not len(wrong):
        return []
    order = wrong[best.values[wrong].argsort(descending=True, stable=True)][:count].tolist()
    word = "probability" if probabilities else "score"
    rows = [
        [_shortened(texts[i]), classes[int(target[i])], classes[int(best.indices[i])], f"{float(best.values[i]):.3f}"]
        for i in order
    ]
    caption = f"Of {len(wrong):,} wrong answers on the test split those with the largest {word}."
    return [Figure("Surest mistakes", caption, table=[["text", "true class", "answer", word], *rows])]


def _shortened(text: str, most: int = 240) -> str:
    return text if len(text) <= most else text[: most - 1] + "\u2026"


def text_page(text: str, rows: int = 18, columns: int = 72) -> Any:
    """The beginning of a text as an image (PIL) of a fixed size, so that several make a film."""
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
    """Row and column of each character; a line break stands at the end of its line.

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
    """A sign for a line break, a box for what has no sign of its own."""
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
