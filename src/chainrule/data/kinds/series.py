"""Series: numbers in the order of time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.layout import SPLITS, Layout
from chainrule.data.tables.schema.number_format import is_number_text
from chainrule.data.tables.series import SeriesSpec, read_parts

_DATE = re.compile(r"\d{4}-\d{1,2}(-\d{1,2}([ T]\d.*)?)?$")  # 1949-01, 1981-01-31, with a time of day


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A table of one column of numbers, or of dates and one such column. Any table's column is read where asked for."""
    if layout.form != "csv":
        return Miss()
    head = layout.head
    if head is None or not head.rows:
        return Miss(readable=True)
    numbers = all(is_number_text(row[-1]) for row in head.rows)
    dated = len(head.header) == 2 and all(_DATE.match(row[0].strip()) for row in head.rows)
    if numbers and (len(head.header) == 1 or dated):
        return Match(f"a series {head.header[-1]!r}")
    return Miss("a table with one column of numbers, beside it dates at most; or --target COLUMN", 0.1, readable=True)


def _read(layout: Layout, target: str | None) -> dict[str, Tensor]:
    return read_parts(layout, target)[1]


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """Every value read; how many there are, and their range."""
    name, parts, where = read_parts(layout, target)
    values = torch.cat([parts[split] for split in SPLITS if split in parts])
    return {
        "kind": "series",
        "where": where,
        "target": name,
        "found": {"values": len(values)} if len(parts) == 1 else {split: len(part) for split, part in parts.items()},
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "made": "the last values are held out" if len(parts) == 1 else "none",
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


SERIES = Kind(
    name="series",
    noun="a series",
    spec=SeriesSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
    describe=(
        Row(
            "a series",
            "a table with a column of numbers in the order of time, named by `--target`, else the last",
            "时间序列",
            "按时间顺序的表格，`--target` 指定数值列，否则取最后一列",
        ),
    ),
    before=("table",),
)
