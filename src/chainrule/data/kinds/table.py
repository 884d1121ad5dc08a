"""Tables: rows of numbers and words, with a target or without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.formats.npz import rank_of_inputs
from chainrule.data.given.inputs import cells_given
from chainrule.data.inputs import InMemory
from chainrule.data.layout import Layout
from chainrule.data.splits import held_out_counts
from chainrule.data.tables.files import RawTable, read_table
from chainrule.data.tables.formats.cells import is_number
from chainrule.data.tables.formats.table_files import READERS
from chainrule.data.tables.spec import TableSpec, input_columns
from chainrule.data.tables.targets import labels_as_text

_HELD_OUT = {"test": 0.2, "val": 0.1}  # where no split is given; a recipe may say otherwise
_SHOWN = 8  # columns


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A table in any form that `read_cells` has, or an npz whose x has two axes."""
    if layout.form == "csv":
        columns = layout.head.header if layout.head is not None else []
        return Match(
            f"a table with the columns {', '.join(columns[:_SHOWN])}{', ...' if len(columns) > _SHOWN else ''}"
        )
    if layout.form == "npz":
        rank = rank_of_inputs(layout.train)
        return Match("an npz file") if rank in (0, 1, 2, None) else Miss(f"x with 2 axes, and not {rank}", 0.2)
    if layout.form in ("idx", "cifar10") or layout.known == "digits":
        return Miss("a table; a row of pixels each", readable=True)
    if layout.form == "folder":
        tables = sum(count for ending, count in layout.endings.items() if ending in READERS)
        some = "a table, but it is not" if tables == 1 else f"{tables} tables, but none is"
        return Miss(f"{some} called train.csv (or .tsv, .parquet, ...)", 0.7) if tables else Miss()
    return Miss()


def _read(layout: Layout, target: str | None) -> RawTable:
    fills = layout.options.get("missing") == "fill"
    return read_table(layout, target, needs_target=False, encode=True, missing="fill" if fills else "count")


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """Every cell read as training reads it; what each column is, and what is suspicious."""
    raw = _read(layout, target)
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
    if raw.target is not None and train.labels is not None:
        texts = {name: labels_as_text(rows, raw.target) for name, rows in raw.splits.items()}
        names, numbers = np.unique(texts["train"], return_inverse=True)
        counts = np.bincount(numbers)
        if len(names) <= max(20, len(numbers) // 10):
            answer["classes"] = names.tolist()
            answer["train by class"] = {str(name): int(n) for name, n in zip(names, counts, strict=True)}
            labels = {"train": numbers}
        else:
            answer["classes"] = f"none: {len(names)} distinct values, a target of regression"
    plain = {name: labels.get(name, np.zeros(len(rows.x), dtype=np.int64)) for name, rows in raw.splits.items()}
    answer |= held_out_counts(plain, _HELD_OUT, by_class=bool(labels))
    numbers_as_names = [name for name in raw.columns if is_number(name) and "." in name]
    if numbers_as_names:
        lacking = f"names of columns are numbers ({', '.join(numbers_as_names[:3])}): the line of names may be missing"
        answer["warning"] = "; ".join([lacking, *filter(None, [answer.get("warning")])])
    if raw.notes[1:]:
        answer["warning"] = "; ".join([*filter(None, [answer.get("warning")]), *raw.notes[1:]])
    if constant:
        answer["constant columns"] = constant
    if raw.schema:
        answer["schema"] = {column.name: str(column) for column in raw.schema if column.name != raw.target}
    if raw.categories:
        answer["categories"] = {name: len(values) for name, values in raw.categories.items()}
    missing = sum(np.isnan(rows.x).sum(0) for rows in raw.splits.values())
    if missing.any():
        answer["missing values"] = {raw.columns[i]: int(missing[i]) for i in np.flatnonzero(missing)}
        answer["to train"] = "missing=fill, where the recipe has it: a missing value is refused without"
    return answer


def example(folder: Path) -> str:
    """Sixty rows of two measurements and a label."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{x + label:.3f},{y - label:.3f},{'ab'[label]}" for label in (0, 1) for x, y in rng.normal(size=(30, 2))]
    (folder / "table.csv").write_text("\n".join(["length,width,label", *rows]) + "\n", "utf-8")
    return str(folder / "table.csv")


def ask(spec: Mapping[str, Any], folder: Path) -> str:
    """A row of ones, or of each column's first category, in a file."""
    columns = input_columns(TableSpec.from_json(spec))
    usual = {"number": "1", "date": "2020-01-31"}
    row = [column.categories[0] if column.kind == "category" else usual[column.kind] for column in columns]
    lines = [",".join(column.name for column in columns), ",".join(row)]
    (folder / "question.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return str(folder / "question.csv")


def given(value: Any, spec: TableSpec, where: str) -> list[str]:
    """Rows that Python gives: a frame, a dictionary, an array (N, D) in the order of the run's columns; of images (N, H, W)."""
    shape = tuple(getattr(value, "shape", ()))
    if spec.image and len(shape) > 1 and shape[-2:] == tuple(spec.image):
        value = value.reshape(-1, spec.image[0] * spec.image[1])
    return [InMemory(where, cells_given(value, [column.name for column in input_columns(spec)], where))]


TABLE = Kind(
    name="table",
    noun="a table",
    spec=TableSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
    given=given,
    describe=(
        Row(
            "a table",
            "CSV with a line of column names, or .tsv, .jsonl, .parquet, .xlsx, each gzipped or not; a folder with "
            "`train.csv` and `test.csv` or such; or npz with `x` (N, D) and `y`",
            "表格",
            "第一行是列名的 CSV，或 .tsv、.jsonl、.parquet、.xlsx（均可用 gzip 压缩）；含 `train.csv` 和 `test.csv` 等的文件夹；"
            "或含 `x` (N, D) 和 `y` 的 npz",
        ),
        Row(
            "a table with words in it",
            "the same; a column of words becomes categories, an empty cell is filled in with missing=fill",
            "含文字的表格",
            "同上；文字列按类别处理，空单元格用 missing=fill 填补",
        ),
    ),
)
