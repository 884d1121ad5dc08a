"""How wide a text is, in columns of a terminal: two for the wide characters of Chinese, Japanese, Korean."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def columns_of(text: str) -> int:
    """The columns that a text takes.

    >>> columns_of("cell"), columns_of("细胞")
    (4, 4)
    """
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def shortened(text: str, columns: int) -> str:
    """The text, at most so many columns wide: an ellipsis stands for what is left out.

    >>> shortened("golden retriever", 16), shortened("golden retriever", 8), shortened("街道街道", 6)
    ('golden retriever', 'golden…', '街道…')
    """
    if columns_of(text) <= columns:
        return text
    kept = max(n for n in range(len(text)) if columns_of(text[:n]) < columns)
    return f"{text[:kept].rstrip()}…"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell.

    >>> aligned([("class", "figures"), ("细胞", "25")])
    ['class  figures', '细胞   25']
    """
    widths = [max(map(columns_of, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
