"""Rows and tables that come after training, brought to the columns, categories and scale of the run's spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import resolve
from chainrule.data.tables.cells import Cells, split_sheet
from chainrule.data.tables.csv_files import to_numbers
from chainrule.data.tables.files import RawRows, RawTable, read_table
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.row_encoder import RowEncoder, feature_names
from chainrule.data.tables.spec import kept_features
from chainrule.data.tables.table_files import is_table_file, read_cells, table_ending
from chainrule.data.tables.targets import labels_as_text, target_values


def read_rows(inputs: list[str], spec: dict[str, Any]) -> tuple[list[str], Tensor]:
    """The user's rows on the scale of x (N, D) float64, and what to call each.

    An input is a file (a table with the columns by name, .npz with all columns in x) or a row such as 5.1,3.5,1.4,0.2.
    """
    names: list[str] = []
    parts: list[np.ndarray] = []
    for text in inputs:
        path = Path(text)
        if table_ending(path) or path.suffix.lower() == ".npz":
            if not split_sheet(path)[0].is_file():
                raise UserError("there is no such file", where=path, expected="a .csv or another table, or a .npz")
            rows = _named_columns(path, spec)
            names += [rows.where(index) for index in range(len(rows.x))]
            parts.append(rows.x)
        else:
            names.append(text)
            parts.append(_typed_row(text, spec))
    return names, RowEncoder(spec)(torch.from_numpy(np.concatenate(parts)))


def read_other(source: str, target: str | None, spec: dict[str, Any]) -> Tensor:
    """Rows of other data with the same columns, on the scale of x: their own test split, else all of them; float64."""
    place = resolve(source)
    if isinstance(place, Path) and is_table_file(place):
        return RowEncoder(spec)(torch.from_numpy(_named_columns(place, spec).x))
    raw = read_table(place, target or spec["target"] if isinstance(place, Path) else None, needs_target=False)
    return RowEncoder(spec)(torch.from_numpy(_select(raw, raw.splits.get("test", raw.splits["train"]), spec).x))


def read_labelled(source: str, target: str | None, spec: dict[str, Any], dtype: torch.dtype) -> TableSplit:
    """Rows and targets of other data with the same columns: their own test split, else all of them."""
    place = resolve(source)
    named = (target or spec["target"]) if isinstance(place, Path) else None
    raw = read_table(place, named, needs_target=True, encode=bool(spec["categories"]), fill=spec["missing"] == "fill")
    rows = raw.splits.get("test", raw.splits["train"])
    y: Tensor
    if spec["classes"] is None:
        y = target_values(rows, raw.target or "y").to(dtype)
    else:
        labels, known = labels_as_text(rows.labels).tolist(), {name: i for i, name in enumerate(spec["classes"])}
        strange = next((i for i, label in enumerate(labels) if label not in known), None)
        if strange is not None:
            raise UserError(
                "a label is none of those that the run knows",
                where=rows.where(strange),
                expected=f"one of {', '.join(spec['classes'][:20])}",
                found=labels[strange],
            )
        y = torch.tensor([known[label] for label in labels])
    x = _renumbered(_select(raw, rows, spec), raw, spec)
    return TableSplit(RowEncoder(spec)(torch.from_numpy(x)).to(dtype), y)


def _renumbered(rows: RawRows, raw: RawTable, spec: dict[str, Any]) -> np.ndarray:
    """Categories by the numbers that they have in the run's own table."""
    x = rows.x.copy()
    for index, column in enumerate(spec["columns"]):
        if column not in spec["categories"]:
            continue
        names, known = raw.categories.get(column, []), spec["categories"][column]
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


def _named_columns(file: Path, spec: dict[str, Any]) -> RawRows:
    """All columns of a user's file, found by name; those that the run dropped may be absent, others are not read."""
    if file.suffix.lower() == ".npz":
        raw = read_table(file, None, needs_target=False, fill=spec.get("missing") == "fill")
        return _select(raw, raw.splits["train"], spec)
    return _placed(read_cells(file), spec)


def _placed(cells: Cells, spec: dict[str, Any]) -> RawRows:
    _expect_columns(cells.header, spec, cells.origin)
    x = np.zeros((len(cells.rows), len(spec["columns"])))  # a dropped column may be absent; nothing reads it
    used = [(i, column) for i, column in enumerate(spec["columns"]) if column in _used_columns(spec)]
    places = [cells.header.index(column) for _, column in used]
    x[:, [i for i, _ in used]] = to_numbers(
        cells, places, categories=spec.get("categories"), fill=spec.get("missing") == "fill"
    )
    return RawRows(x, None, cells.origin, cells.lines, cells.unit)


def _used_columns(spec: dict[str, Any]) -> set[str]:
    """The columns that some kept feature reads."""
    kept, categories = set(kept_features(spec)), spec.get("categories", {})
    return {c for c in spec["columns"] if any(f in kept for f in feature_names([c], categories))}


def _select(raw: RawTable, rows: RawRows, spec: dict[str, Any]) -> RawRows:
    _expect_columns(raw.columns, spec, raw.where)
    x = np.zeros((len(rows.x), len(spec["columns"])))
    for index, column in enumerate(spec["columns"]):
        if column in raw.columns:
            x[:, index] = rows.x[:, raw.columns.index(column)]
    return RawRows(x, None, rows.origin, rows.lines, rows.unit)


def _expect_columns(header: list[str], spec: dict[str, Any], where: str) -> None:
    used = _used_columns(spec)
    missing = [column for column in spec["columns"] if column in used and column not in header]
    if missing:
        raise UserError(
            "the table lacks columns that the run was trained on",
            where=where,
            expected=", ".join(missing[:10]),
            found=", ".join(header[:10]),
        )


def _typed_row(text: str, spec: dict[str, Any]) -> np.ndarray:
    cells = text.split(",")
    columns = spec["columns"]
    if len(cells) != len(columns):
        few = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise UserError(
            "a row has the wrong number of values", where=text, expected=f"{len(columns)}: {few}", found=len(cells)
        )
    return _placed(Cells(columns, [cells], [1], "the row given"), spec).x
