"""Rows and tables that come after training, brought to the columns, categories and scale of the run's spec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.inputs import (
    MOST_LINES,
    STDIN,
    Asked,
    InMemory,
    asked_of,
    files_below,
    is_folder,
    stdin_table,
    table_parts,
)
from chainrule.data.layout import Place, layout_of
from chainrule.data.tables.cells import Cells, with_decimal_points
from chainrule.data.tables.csv_files import to_numbers
from chainrule.data.tables.files import RawRows, RawTable, read_table
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.row_encoder import RowEncoder
from chainrule.data.tables.spec import TableSpec, feature_names, kept_features
from chainrule.data.tables.table_files import READERS, is_table_file, read_cells, table_ending
from chainrule.data.tables.targets import labels_as_text, target_values

ROW_FILES = (*READERS, ".npz")  # those that a folder is looked through for


def asked_rows(inputs: Iterable[str], spec: TableSpec) -> Iterator[tuple[list[Asked[None]], Tensor]]:
    """The user's rows on the scale of x (N, D) float64, some thousands at a time, and what an answer calls each.

    An input is a file (a table with the columns by name, .npz with all columns in x), a folder of such files, a row
    such as 5.1,3.5,1.4,0.2 or 5,1;3,5;1,4;0,2, or `-` for rows on stdin, with the names of the columns on the first line or without. A
    column of a table that the run does not use is the user's own.
    """
    encode, names, parts = RowEncoder(spec), list[Asked[None]](), list[np.ndarray]()
    failed: UserError | None = None
    try:
        for some, x in _rows_of(inputs, spec):
            names, parts = [*names, *some], [*parts, x]
            if len(names) >= MOST_LINES:
                yield names, encode(torch.from_numpy(np.concatenate(parts)))
                names, parts = [], []
    except UserError as error:  # the rows before it are answered first
        failed = error
    if names:
        yield names, encode(torch.from_numpy(np.concatenate(parts)))
    if failed is not None:
        raise failed


def read_rows(inputs: Iterable[str], spec: TableSpec) -> tuple[list[str], Tensor]:
    """All of `asked_rows` together: what to call each row, and the rows on the scale of x (N, D) float64."""
    parts = list(asked_rows(inputs, spec))
    return [asked.name for names, _ in parts for asked in names], torch.cat([x for _, x in parts])


def _rows_of(inputs: Iterable[str], spec: TableSpec) -> Iterator[tuple[list[Asked[None]], np.ndarray]]:
    for text in inputs:
        path = Path(text)
        if isinstance(text, InMemory):
            yield _in_cells(text.value, spec)
        elif text == STDIN:
            yield from (_in_cells(cells, spec) for cells in stdin_table(list(spec.columns), _used_columns(spec)))
        elif is_folder(text):
            yield from _rows_of(map(str, files_below(path, ROW_FILES, "table")), spec)
        elif table_ending(path):
            yield from (_in_cells(cells, spec) for cells in table_parts(path))
        elif path.suffix.lower() == ".npz":
            if not path.is_file():
                raise UserError("there is no such file", where=path, expected="a .csv or another table, or a .npz")
            rows = _named_columns(path, spec)
            yield [Asked(rows.where(index), None) for index in range(len(rows.x))], rows.x
        else:
            yield [Asked(text, None)], _typed_row(text, spec)


def _in_cells(cells: Cells, spec: TableSpec) -> tuple[list[Asked[None]], np.ndarray]:
    x, used = _placed(cells, spec).x, _used_columns(spec)
    return [asked_of(cells, row, None, used) for row in range(len(cells.rows))], x


def read_other(source: Place, target: str | None, spec: TableSpec) -> Tensor:
    """Rows of other data with the same columns, on the scale of x: their own test split, else all of them; float64."""
    layout = layout_of(source)
    if not layout.sources and isinstance(layout.place, Path) and is_table_file(layout.place):
        return RowEncoder(spec)(torch.from_numpy(_named_columns(layout.place, spec).x))
    raw = read_table(layout, target or spec.target if isinstance(layout.place, Path) else None, needs_target=False)
    return RowEncoder(spec)(torch.from_numpy(_select(raw, raw.splits.get("test", raw.splits["train"]), spec).x))


def read_labelled(source: Place, target: str | None, spec: TableSpec, dtype: torch.dtype) -> TableSplit:
    """Rows and targets of other data with the same columns: their own test split, else all of them."""
    layout = layout_of(source)
    named = (target or spec.target) if isinstance(layout.place, Path) else None
    raw = read_table(layout, named, needs_target=True, encode=bool(spec.categories), fill=spec.missing == "fill")
    rows = raw.splits.get("test", raw.splits["train"])
    y: Tensor
    if spec.classes is None:
        y = target_values(rows, raw.target or "y").to(dtype)
    else:
        labels, known = labels_as_text(rows.labels).tolist(), {name: i for i, name in enumerate(spec.classes)}
        strange = next((i for i, label in enumerate(labels) if label not in known), None)
        if strange is not None:
            raise UserError(
                "a label is none of those that the run knows",
                where=rows.where(strange),
                expected=f"one of {', '.join(spec.classes[:20])}",
                found=labels[strange],
            )
        y = torch.tensor([known[label] for label in labels])
    x = _renumbered(_select(raw, rows, spec), raw, spec)
    return TableSplit(RowEncoder(spec)(torch.from_numpy(x)).to(dtype), y)


MOST_COMPARED = 1000  # rows


def rows_to_compare(source: Place, spec: TableSpec) -> Tensor:
    """Rows of the run's own test split, else of all its table, in the table's units as `predict` reads them: (N, columns).

    Of more than a thousand so many, evenly spaced. An exported file is compared with the model on them.
    """
    layout = layout_of(source)
    named = spec.target if isinstance(layout.place, Path) else None
    raw = read_table(layout, named, needs_target=False, encode=bool(spec.categories), fill=spec.missing == "fill")
    rows = raw.splits.get("test", raw.splits["train"])
    x = torch.from_numpy(_renumbered(_select(raw, rows, spec), raw, spec))
    return x[torch.linspace(0, len(x) - 1, min(len(x), MOST_COMPARED)).round().long()]


def _renumbered(rows: RawRows, raw: RawTable, spec: TableSpec) -> np.ndarray:
    """Categories by the numbers that they have in the run's own table."""
    x = rows.x.copy()
    for index, column in enumerate(spec.columns):
        if column not in spec.categories:
            continue
        names, known = raw.categories.get(column, []), spec.categories[column]
        for row, value in enumerate(rows.x[:, index].tolist()):
            if not np.isnan(value):
                name = names[int(value)] if names else f"{value:g}"
                if name not in known:
                    raise UserError(
                        "a category is not known",
                        where=f"{rows.where(row)}, column {column!r}",
                        expected=f"one of {', '.join(known[:20])}",
                        found=name,
                    )
                x[row, index] = known.index(name)
    return x


def _named_columns(file: Path, spec: TableSpec) -> RawRows:
    """All columns of a user's file, found by name; those that the run dropped may be absent, others are not read."""
    if file.suffix.lower() == ".npz":
        raw = read_table(file, None, needs_target=False, fill=spec.missing == "fill")
        return _select(raw, raw.splits["train"], spec)
    return _placed(read_cells(file), spec)


def _placed(cells: Cells, spec: TableSpec) -> RawRows:
    _expect_columns(cells.header, spec, cells.origin)
    x = np.zeros((len(cells.rows), len(spec.columns)))  # a dropped column may be absent; nothing reads it
    used = [(i, column) for i, column in enumerate(spec.columns) if column in _used_columns(spec)]
    places = [cells.header.index(column) for _, column in used]
    x[:, [i for i, _ in used]] = to_numbers(cells, places, categories=spec.categories, fill=spec.missing == "fill")
    return RawRows(x, None, cells.origin, cells.lines, cells.unit)


def _used_columns(spec: TableSpec) -> set[str]:
    """The columns that some kept feature reads."""
    kept, categories = set(kept_features(spec)), spec.categories
    return {c for c in spec.columns if any(f in kept for f in feature_names([c], categories))}


def _select(raw: RawTable, rows: RawRows, spec: TableSpec) -> RawRows:
    _expect_columns(raw.columns, spec, raw.where)
    x = np.zeros((len(rows.x), len(spec.columns)))
    for index, column in enumerate(spec.columns):
        if column in raw.columns:
            x[:, index] = rows.x[:, raw.columns.index(column)]
    return RawRows(x, None, rows.origin, rows.lines, rows.unit)


def _expect_columns(header: list[str], spec: TableSpec, where: str) -> None:
    used = _used_columns(spec)
    missing = [column for column in spec.columns if column in used and column not in header]
    if missing:
        raise UserError(
            "the table lacks columns that the run was trained on",
            where=where,
            expected=", ".join(missing[:10]),
            found=", ".join(header[:10]),
        )


def _typed_row(text: str, spec: TableSpec) -> np.ndarray:
    cells = with_decimal_points([text.split(";")])[0] if ";" in text else text.split(",")
    columns = spec.columns
    if len(cells) != len(columns):
        few = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise UserError(
            "a row has the wrong number of values", where=text, expected=f"{len(columns)}: {few}", found=len(cells)
        )
    return _placed(Cells(columns, [cells], [1], "the row given"), spec).x
