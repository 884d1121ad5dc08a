"""Columns that may tell a model what it is to find out: row numbers, identifiers, copies of the target, the order of the rows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from chainrule.data.labels import alike_in_words
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.schema.column import Column
from chainrule.data.tables.schema.number_format import NumberFormat

_PLAIN = re.compile(r"(?:.*[_\s.-])?(?:id|ids|uid|uuid|guid|index|idx|nr|no|num|row|rownum|row[_ ]?number|key)\.?")
_CHINESE = re.compile(r"(?:序号|编号|行号|学号|工号|单号|卡号|证号|证号码|手机号|手机号码|电话|电话号码|手机)$")
_IN_A_WORD = re.compile(r".*(?:nummer|numéro|numero|phone|telefon|mobile|iban)|(?:plz|zip|tel)\.?")
_ID_IN_A_WORD = re.compile(r".*[a-z](?:ID|Id)|[A-Z]+ID")
_CODE = re.compile(r"0\d+")
LOOKED_AT = 1000  # rows, for codes
_SUMS = re.compile(
    r"(?:grand |sub-?)?totals?|sum|average|(?:gesamt)?summe|gesamt|somme|合计|总计|小计|总和|平均|平均值", re.I
)
FEW_ROWS = 10  # fewer say nothing
MOST_CLASSES = 20  # of a target that may be one of classes, or a tenth of the rows


def suspicious(cells: Cells, columns: Sequence[Column], values: np.ndarray, target: str | None) -> list[str]:
    """What to say of the columns of a table, a line each.

    Args:
        cells: the training data.
        columns: what the columns mean, the target among them.
        values: the numbers (N, outputs) that the columns beside the target become.
        target: the column of labels.
    """
    inputs = [column for column in columns if column.name != target and column.outputs]
    lasts = np.cumsum([len(column.outputs) for column in inputs]) - 1  # of a date its days
    found = [
        f"{f'column {column.name!r}' if column.name else f'the nameless column {place + 1}'} "
        f"{column.why.removeprefix('it ')}: left out"
        for place, column in enumerate(columns)
        if column.kind == "ignored" and column.why and (column.name or column.why != "it is empty")
    ]
    found += [line for column in inputs for line in alike_in_words(column.categories, f" of column {column.name!r}")]
    found += _line_of_sums(cells)
    if len(cells.rows) < FEW_ROWS:
        return found
    places = {name: place for place, name in enumerate(cells.header)}
    labels = None if target is None else np.array([text.strip() for text in cells.columns[places[target]]])
    written = next((column.number for column in columns if column.name == target), NumberFormat())
    numbers, sorted_by_class = _classes(labels)
    for column, last in zip(inputs, lasts.tolist(), strict=True):
        texts = cells.columns[places[column.name]]
        if column.kind == "number" and any(map(_CODE.fullmatch, texts[:LOOKED_AT])):
            found.append(
                f"column {column.name!r} has zeros before its numbers, as codes have: kinds={column.name}:category"
            )
        words = _told(column, values[:, last], numbers, labels, sorted_by_class, written)
        if words:
            found.append(f"column {column.name!r} {words}: ignore={column.name} leaves it out")
    return found


def _line_of_sums(cells: Cells) -> list[str]:
    """What to say where the last row says of itself that it is the sum of the others, as spreadsheets have it."""
    for name, column in zip(cells.header, cells.columns, strict=True):
        last = column[-1].strip()
        if _SUMS.fullmatch(last) and column.count(column[-1]) == 1:
            where = f"{cells.unit} {cells.lines[-1]}"
            return [f"{where} has {last!r} in column {name!r}, as a line of sums has: remove it, if it is one"]
    return []


def _classes(labels: np.ndarray | None) -> tuple[np.ndarray | None, bool]:
    """The number of each label, where they may be classes, and whether the rows are sorted by them."""
    if labels is None:
        return None, False
    classes, numbers = np.unique(labels, return_inverse=True)
    if not 1 < len(classes) <= max(MOST_CLASSES, len(labels) // 10):
        return None, False
    return numbers, int((np.diff(numbers) != 0).sum()) == len(classes) - 1


def _told(
    column: Column,
    x: np.ndarray,
    numbers: np.ndarray | None,
    labels: np.ndarray | None,
    sorted_by_class: bool,
    written: NumberFormat,
) -> str | None:
    if numbers is not None and one_to_one(x, numbers):
        return "has one value a class: it is the target by another name"
    if labels is not None and numbers is None and np.array_equal(x, written.parse_all(labels.tolist())):
        return "is equal to the target"
    steps = np.diff(x)
    if column.kind == "number" and bool((steps == 1).all()) and (is_identifier(column.name) or sorted_by_class):
        by_class = ", and the table is sorted by class, so that it tells the class" if sorted_by_class else ""
        return f"counts the rows{by_class}"
    if sorted_by_class and (bool((steps > 0).all()) or (column.kind == "date" and bool((steps >= 0).all()))):
        return "rises with the rows, and the table is sorted by class, so that it tells the class"
    if column.kind == "number" and is_identifier(column.name) and len(np.unique(x)) == len(x):
        return "is another number in every row, as an identifier is"
    return None


def is_identifier(name: str) -> bool:
    """Whether a column is called as one that names rows.

    >>> [is_identifier(name) for name in ("id", "PassengerId", "user_id", "Nr", "编号", "width", "humid", "paid")]
    [True, True, True, True, True, False, False, False]
    """
    return bool(
        _PLAIN.fullmatch(name.strip().lower())
        or _IN_A_WORD.fullmatch(name.strip().lower())
        or _ID_IN_A_WORD.fullmatch(name.strip())
        or _CHINESE.search(name.strip())
    )


def one_to_one(x: np.ndarray, numbers: np.ndarray) -> bool:
    """Whether each class (N,) has one value (N,) of its own.

    >>> one_to_one(np.array([5.0, 7.0, 5.0]), np.array([0, 1, 0])), one_to_one(np.array([5.0, 7.0, 6.0]), np.array([0, 1, 0]))
    (True, False)
    """
    if not np.isfinite(x).all():
        return False
    first = np.full(int(numbers.max()) + 1, np.nan)
    first[numbers[::-1]] = x[::-1]  # the first value of each class
    return bool((first[numbers] == x).all()) and len(np.unique(first)) == len(first)
