"""Series: numbers in the order of time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.core.errors import UserError
from chainrule.data.given.frames import is_frame
from chainrule.data.given.inputs import numbers_given
from chainrule.data.inputs import InMemory
from chainrule.data.layout import Layout
from chainrule.data.tables.schema.number_format import is_number_text
from chainrule.data.tables.series import SeriesSpec
from chainrule.data.tables.time.series_files import Columns, Found, dates_in_words, is_dated, read_series


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A table of one column of numbers, or of dates and one such column in either order, whatever is named as the target.

    Any table's column is read where asked for; a table whose series are told apart by `series=COLUMN` is of series.
    """
    if layout.form != "csv":
        return Miss()
    head = layout.head
    if head is None or not head.rows:
        return Miss(readable=True)
    if layout.options.get("series") in head.header:
        return Match(f"series told apart by {layout.options['series']!r}")
    columns = [[row[at].strip() for row in head.rows] for at in range(len(head.header))]
    numbers = [name for name, cells in zip(head.header, columns, strict=True) if _is_numeric(cells)]
    dates = [name for name, cells in zip(head.header, columns, strict=True) if is_dated(name, cells)]
    if len(columns) == 1 and numbers:
        return Match(f"a series {numbers[0]!r}")
    values = [name for name in numbers if name not in dates]
    if len(columns) == 2 and len(dates) == 1 and len(values) == 1:
        return Match(f"a series {values[0]!r} by {dates[0]!r}")
    return Miss("a table with one column of numbers, beside it dates at most; or --target COLUMN", 0.1, readable=True)


def _is_numeric(cells: list[str]) -> bool:
    """Whether a column is one of numbers, a few faults among them, which its reader tells."""
    return sum(map(is_number_text, cells)) >= 0.8 * len(cells)


def _read(layout: Layout, target: str | None) -> Found:
    return read_series(layout, Columns(target))


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """Every value read; how many there are, their range, and what is to be known of their dates."""
    found = read_series(layout, Columns(target))
    counts = {one.name: len(one.values) for one in found.series}
    values = torch.cat([one.values for one in found.series])
    first = found.series[0]
    given = {"train": 0, **first.begins}
    ends = [*list(given.values())[1:], len(first.values)]
    parts = {split: end - begin for (split, begin), end in zip(given.items(), ends, strict=True)}
    return {
        "kind": "series",
        "where": found.where,
        "target": found.target,
        **({"series": f"{len(counts)}, by {found.columns.series}"} if found.columns.series else {}),
        **({"dates": dates_in_words(found)} if found.dates is not None else {}),
        "found": counts if len(counts) > 1 else {"values": len(values)} if len(parts) == 1 else parts,
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "made": "the last values are held out" if len(parts) == 1 else "none",
        **({"warning": "; ".join(found.notes)} if found.notes else {}),
    }


def example(folder: Path) -> str:
    """Eighty values of a wave that rises."""
    folder.mkdir(parents=True, exist_ok=True)
    values = [f"{10 + t / 20 + math.sin(t / 3):.4f}" for t in range(80)]
    (folder / "series.csv").write_text("\n".join(["sold", *values]) + "\n", "utf-8")
    return str(folder / "series.csv")


def ask(spec: Mapping[str, Any], folder: Path) -> str:
    """As many values as a window reads."""
    return ",".join(str(1 + i % 3) for i in range(spec["lags"] + spec["difference"]))


def given(value: Any, spec: SeriesSpec, where: str) -> list[str]:
    """Series that Python gives: an array (T,), several as (N, T), or a frame with the run's column."""
    if is_frame(value):
        names = [str(name) for name in value.columns]
        if spec.target not in names and len(names) > 1:
            raise UserError(
                "the frame lacks the column of the series",
                where=where,
                expected=spec.target,
                found=", ".join(names[:10]),
            )
        value = value[value.columns[names.index(spec.target) if spec.target in names else 0]]
    values = numbers_given(value, where, "numbers (T,), the latest last")
    if values.ndim == 2:
        return [InMemory(f"{where}, series {i}", row) for i, row in enumerate(values)]
    return [InMemory(where, values.reshape(-1))]


SERIES = Kind(
    name="series",
    noun="a series",
    spec=SeriesSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
    given=given,
    describe=(
        Row(
            "a series",
            "a table with a column of numbers, named by `--target`, else the last, sorted by a column of dates where there is "
            "one; several series by a column, `series=COLUMN`",
            "时间序列",
            "含数值列的表格，`--target` 指定该列，否则取最后一列；有日期列时按日期排序；`series=列名` 区分多个序列",
        ),
    ),
    before=("table",),
)
