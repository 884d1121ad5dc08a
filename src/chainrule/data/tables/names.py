"""Which column of a table holds the texts, which the labels, where nobody says it."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.core.data.option import Option
from chainrule.core.errors import UserError
from chainrule.data.column_names import TEXTS, column_called
from chainrule.data.tables.formats.cells import Cells

TEXT_COLUMN = "text"
LABELS = ("label", "标签", "类别", "目标")  # of a table of numbers and words, where `class` may be one of many columns
TEXT = Option(
    "text",
    kinds=("sentences",),
    type=str | None,
    default=None,
    text="The column of texts in a table; without it one that is called text, review, comment or such.",
    text_zh="表格中的文本列；不写则取名为 text、评论、文本 等的列。",
    later=True,
)
_LOOKED_AT = 50  # rows


def label_among(header: Sequence[str]) -> str | None:
    """The column that is called as labels are; None where none is.

    >>> label_among(["x", "标签"]), label_among(["x", "y"])
    ('标签', None)
    """
    return column_called(LABELS, header)


def text_among(cells: Cells) -> str | None:
    """The column `text`, or one with another usual name whose cells are sentences: 评论 may count comments."""
    if TEXT_COLUMN in cells.header:
        return TEXT_COLUMN
    usual = column_called(TEXTS, cells.header)
    if usual is None:
        return None
    column = [row[cells.header.index(usual)] for row in cells.rows[:_LOOKED_AT]]
    long = sum(len(cell.split()) >= 3 or sum(letter > "\u2e7f" for letter in cell) >= 4 for cell in column)
    return usual if column and 2 * long > len(column) else None


def text_column(cells: Cells, named: str | None = None) -> str:
    """The column of texts: the one named, else one that is called so; UserError where there is none."""
    found = (named if named in cells.header else None) if named else text_among(cells)
    if found is None:
        raise UserError(
            "the table has no column of texts",
            where=cells.origin,
            expected=f"a column {named!r}" if named else "a column named text",
            found=", ".join(cells.header[:10]),
            cure="text=COLUMN names it",
        )
    return found
