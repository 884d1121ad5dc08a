"""Tables, and series in time: how they are recognised, counted, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.kind import Kind
from chainrule.data.layout import Layout
from chainrule.data.splits import held_out_counts
from chainrule.data.tables.csv_files import is_number
from chainrule.data.tables.files import RawTable, read_table
from chainrule.data.tables.series import read_values

_HELD_OUT = {"test": 0.2, "val": 0.1}  # where no split is given; a recipe may say otherwise


def _check_table(name: str, layout: Layout, target: str | None) -> dict[str, Any]:
    raw = read_table(layout.place, target, needs_target=False, encode=True, fill=True)
    train = raw.splits["train"]
    constant = [raw.columns[i] for i in np.flatnonzero((train.x == train.x[:1]).all(0))] if len(train.x) > 1 else []
    answer: dict[str, Any] = {
        "kind": "table",
        "where": raw.where,
        "columns": raw.columns,
        "target": raw.target or "none",
        "found": {name: len(rows.x) for name, rows in raw.splits.items()},
    }
    labels: dict[str, np.ndarray] = {}
    if train.labels is not None:
        names, numbers = np.unique(train.labels.astype(str), return_inverse=True)
        counts = np.bincount(numbers)
        if len(names) <= max(20, len(numbers) // 10):
            answer["classes"] = names.tolist()
            answer["train by class"] = {str(name): int(n) for name, n in zip(names, counts, strict=True)}
            labels = {"train": numbers}
        else:
            answer["classes"] = f"none: {len(names)} distinct values, a target of regression"
    plain = {name: labels.get(name, np.zeros(len(rows.x), dtype=np.int64)) for name, rows in raw.splits.items()}
    answer |= held_out_counts(plain, _HELD_OUT, by_class=bool(labels))
    if constant:
        answer["constant columns"] = constant
    if raw.categories:
        _refuse_stray_text(raw)
        answer["categories"] = {name: len(values) for name, values in raw.categories.items()}
    missing = sum(np.isnan(rows.x).sum(0) for rows in raw.splits.values())
    if missing.any():
        answer["missing values"] = {raw.columns[i]: int(missing[i]) for i in np.flatnonzero(missing)}
    return answer


def _refuse_stray_text(raw: RawTable) -> None:
    """UserError for text in a column that is mostly numbers: more likely a mistake than a category."""
    for name, values in raw.categories.items():
        numeric = np.array([is_number(value) for value in values])
        for rows in raw.splits.values():
            cells = rows.x[:, raw.columns.index(name)]
            known = ~np.isnan(cells)
            text = known & ~numeric[np.where(known, cells, 0).astype(int)]
            if text.any() and 2 * text.sum() <= known.sum():
                row = int(np.flatnonzero(text)[0])
                raise UserError(
                    "a cell is not numeric",
                    where=f"{rows.where(row)}, column {name!r}",
                    expected="a number, as in most rows of the column",
                    found=values[int(cells[row])],
                )


def _check_series(source: str, layout: Layout, target: str | None) -> dict[str, Any]:
    name, values, where = read_values(source, target)
    return {
        "kind": "series",
        "where": where,
        "target": name,
        "found": {"values": len(values)},
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "made": "the last values are held out",
    }


# A CSV is a table; as a series it is read by recipes that ask for one, and known ones are series by name.
TABLE = Kind("table", lambda layout, target: layout.form in ("csv", "npz"), _check_table)
SERIES = Kind("series", lambda layout, target: False, _check_series)
