"""Names that columns usually have, in English and Chinese: of labels, of texts."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.core.data.option import Option
from chainrule.core.errors import UserError
from chainrule.data.tables.cells import Cells
from chainrule.data.tables.schema.number_format import is_number_text

LABELS = ("label", "标签", "类别", "目标")
TEXTS = ("text", "评论", "文本", "句子", "正文")
TEXT = Option(
    "text",
    kinds=("sentences",),
    type=str | None,
    default=None,
    text="The column of texts in a table; without it one that is called text.",
    text_zh="表格中的文本列；不写则取名为 text、评论、文本 等的列。",
    later=True,
)


def label_among(header: Sequence[str]) -> str | None:
    """The column that is called as labels are; None where none is.

    >>> label_among(["x", "标签"]), label_among(["x", "y"])
    ('标签', None)
    """
    return next((name for name in LABELS if name in header), None)


def text_among(cells: Cells) -> str | None:
    """The column that is called as texts are and does not hold numbers: 评论 may count comments."""
    for name in TEXTS:
        if name in cells.header:
            place = cells.header.index(name)
            if name == "text" or not all(is_number_text(row[place]) for row in cells.rows[:50]):
                return name
    return None


def text_column(cells: Cells, named: str | None = None) -> str:
    """The column of texts: the one named, else one that is called so; UserError where there is none."""
    found = named if named in cells.header else None if named else text_among(cells)
    if found is None:
        raise UserError(
            "the table has no column of texts",
            where=cells.origin,
            expected=f"a column {named!r}" if named else "a column named text",
            found=", ".join(cells.header[:10]),
            cure="text=COLUMN names it",
        )
    return found
