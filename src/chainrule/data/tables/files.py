"""Readers of tables: CSV, folders of CSV, npz, image sets as rows of pixels, and known tables. Each gives plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from chainrule.core.errors import UserError
from chainrule.core.language.translation import translate
from chainrule.data.catalog.shipped import COLUMNS, shipped_table
from chainrule.data.catalog.sources import Source
from chainrule.data.formats.npz import read_npz, split_arrays
from chainrule.data.given.source import GivenSource
from chainrule.data.images.files import read_images
from chainrule.data.images.raw import RawImageSet
from chainrule.data.labels import is_missing
from chainrule.data.layout import Layout, Place, joined, layout_of
from chainrule.data.tables import plane
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.formats.csv_files import column_of
from chainrule.data.tables.names import label_among
from chainrule.data.tables.schema.column import Column, encode_columns
from chainrule.data.tables.schema.deciding import Wishes, decide
from chainrule.data.tables.schema.number_format import NumberFormat
from chainrule.data.tables.schema.suspicion import suspicious


@dataclass
class RawRows:
    """One split as it was found: numbers x float64 (N, D), labels (N,) as text or numbers, where each row stands.

    Of a column of categories x holds the number of the category; a missing value is nan.
    """

    x: np.ndarray
    labels: np.ndarray | None
    origin: str
    lines: Sequence[int] | None = None  # the line of each row in its file, or its row in a sheet
    unit: str = "line"
    typed_labels: bool = False  # whether the labels were numbers before they were text

    def where(self, row: int) -> str:
        return (
            f"{self.origin}, {self.unit} {self.lines[row]}" if self.lines is not None else f"{self.origin}, row {row}"
        )


@dataclass
class RawTable:
    """Splits as the publisher or the user made them (`train` always), and the names of the columns."""

    splits: dict[str, RawRows]
    columns: list[str]
    where: str
    target: str | None = None
    image: tuple[int, int] | None = None  # height and width where the columns are pixels
    categories: dict[str, list[str]] = field(default_factory=dict)  # of the columns that hold text
    schema: list[Column] = field(default_factory=list)  # what the columns of a file mean, the target among them
    notes: list[str] = field(default_factory=list)  # what the user is to know of them

    @property
    def target_column(self) -> Column | None:
        return next((column for column in self.schema if column.name == self.target), None)


Gaps = Literal["refuse", "count", "fill"]


def read_table(
    place: Place,
    target: str | None,
    *,
    needs_target: bool,
    encode: bool = False,
    missing: Gaps = "refuse",
    schema: Sequence[Column] | None = None,
) -> RawTable:
    """Recognises what lies at a place and reads it: what `data check`, `train`, `evaluate` and `predict` see of a table.

    Args:
        place: a path, a known data set, a request with what the user says of the columns.
        target: the column of labels, else one that is called as labels are, else the last one if the task needs a target, else none.
        needs_target: whether the task needs one.
        encode: whether a column of text is one of categories, and dates become numbers; else text is an error.
        missing: whether a value may be missing, and is nan; with `fill` a stray cell among numbers is a missing one too.
        schema: what the columns mean, where that was decided before; else it is decided on the training data.
    """
    fill = missing != "refuse"
    layout = layout_of(place)
    source = layout.place
    if layout.form == "splits":
        return _joined_tables(layout, target, needs_target, encode, missing)
    if isinstance(source, GivenSource):
        if source.tables:
            return _csv_table(layout, target, needs_target, encode, missing, schema)
        if source.kind == "images":
            return _pixel_table(read_images(layout, target))
        return _table_of_arrays(source.arrays, source.name, needs_target, fill)
    if isinstance(source, Source):
        return _shipped(source, target)
    if layout.form == "csv":
        return _csv_table(layout, target, needs_target, encode, missing, schema)
    if layout.form == "npz":
        return _npz_table(layout.train, needs_target, fill)
    if layout.form in ("idx", "cifar10"):
        return _pixel_table(read_images(layout, target))
    raise UserError(
        "this is not a table",
        where=layout,
        expected="a .csv, .tsv, .jsonl, .parquet or .xlsx with column names, a folder with train.csv or such, a .npz with x (N, D), or a table of chainrule data list",
    )


def _joined_tables(layout: Layout, target: str | None, needs_target: bool, encode: bool, missing: Gaps) -> RawTable:
    """Sources of unequal forms as the splits of one table: the columns of each, by name, in the order of train's."""
    raws: dict[int, RawTable] = {}

    def read(part: Layout) -> dict[str, RawRows]:
        raw = read_table(part, target, needs_target=needs_target, encode=encode, missing=missing)
        raws.update({id(rows): raw for rows in raw.splits.values()})
        return raw.splits

    splits = joined(layout, read)
    first = raws[id(splits["train"])]
    for name, rows in splits.items():
        raw = raws[id(rows)]
        if sorted(raw.columns) != sorted(first.columns) or raw.categories or first.categories:
            odd = sorted(set(raw.columns) ^ set(first.columns)) or sorted({*raw.categories, *first.categories})
            raise UserError(
                "the tables have different columns",
                where=raw.where,
                expected=f"the {len(first.columns)} of {first.where}",
                found=f"{len(raw.columns)}; {', '.join(odd[:5])} in only one of them"
                if len(raw.columns) != len(first.columns) or set(raw.columns) != set(first.columns)
                else f"words in {', '.join(odd[:5])}, in files of unequal form",
            )
        splits[name] = replace(rows, x=rows.x[:, [raw.columns.index(column) for column in first.columns]])
    return replace(first, splits=splits, where=str(layout))


def _csv_table(
    layout: Layout, target: str | None, needs_target: bool, encode: bool, missing: Gaps, schema: Sequence[Column] | None
) -> RawTable:
    tables, train = layout.tables, layout.tables["train"]
    label = _target_of(train.header, target, needs_target, train.origin)
    if schema is None:
        schema = decide(train, Wishes.of(layout.options), target=label, fill_faults=missing == "fill", encode=encode)
    inputs = [column for column in schema if column.name != label and column.outputs]
    if not inputs:
        raise UserError("the table has no column beside its target", where=train.origin, found=label or "none")
    splits = {}
    for name, cells in tables.items():
        expect_columns(cells, schema, label, train.origin)
        x = encode_columns(
            cells, inputs, fill=missing != "refuse", ignore_unknown=layout.options.get("unknown") == "ignore"
        )
        splits[name] = labelled_rows(x, cells, label)
    return RawTable(
        splits,
        [output for column in inputs for output in column.outputs],
        str(layout),
        label,
        categories={column.name: list(column.categories) for column in inputs if column.kind == "category"},
        schema=list(schema),
        notes=[in_words(schema, label), *suspicious(train, schema, splits["train"].x, label)],
    )


def labelled_rows(x: np.ndarray, cells: Cells, label: str | None) -> RawRows:
    """The rows x (N, D) of a table, with the cells of its target as text, without the blanks around them."""
    rows = RawRows(x, None, cells.origin, cells.lines, cells.unit)
    if label is None:
        return rows
    place = cells.header.index(label)
    labels = np.array([cell.strip() for cell in cells.columns[place]])
    return replace(rows, labels=labels, typed_labels=place in cells.typed)


def with_numeric_labels(rows: RawRows, column: Column | None) -> RawRows:
    """The rows, where labels that are numbers in some way of writing, 1.234,5 or 12 %, are written plainly.

    UserError names the first that is none as the column writes them.
    """
    if rows.labels is None or column is None or rows.labels.dtype.kind != "U" or column.number == NumberFormat():
        return rows
    cells = rows.labels.tolist()
    values = (column.number.parse_typed if rows.typed_labels else column.number.parse_all)(cells).tolist()
    for row, (value, cell) in enumerate(zip(values, cells, strict=True)):
        if value != value and not is_missing(cell):
            raise UserError(
                "a target is not numeric",
                where=f"{rows.where(row)}, column {column.name!r}",
                expected=", ".join(filter(None, ["a finite number", str(column.number)])),
                found=cell,
            )
    texts = [repr(value) if value == value else cell for value, cell in zip(values, cells, strict=True)]
    return replace(rows, labels=np.array(texts))


def expect_columns(cells: Cells, schema: Sequence[Column], label: str | None, origin: str) -> None:
    """UserError where a split has other columns than the training data; those that are left out may differ."""
    left_out = {column.name for column in schema if not column.outputs and column.name != label} | {""}
    here, wanted = set(cells.header) - left_out, {column.name for column in schema} - left_out
    if here != wanted:
        odd = sorted(here ^ wanted)
        raise UserError(
            "the tables have different columns",
            where=cells.origin,
            expected=f"the {len(wanted)} of {origin}",
            found=f"{len(here)}; {', '.join(odd[:5])} in only one of them",
        )


def in_words(schema: Sequence[Column], target: str | None) -> str:
    """One line on what the columns are: how many of which kind, and which are read in a way that is not plain to see."""
    plural = {"number": "numbers", "category": "categories", "date": "dates"}
    told = []
    for kind in ("number", "category", "date", "ignored"):
        found = [column for column in schema if column.kind == kind and column.name != target]
        shown = [column for column in found if kind != "number" or str(column.number)]
        names = [f"{column.name!r} {column.form or str(column.number)}".strip() for column in shown]
        some = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
        word = "left out" if kind == "ignored" else kind if len(found) == 1 else plural[kind]
        told += [f"{len(found)} {translate(word)}{some}"] if found else []
    return f"columns: {', '.join(told)}" + (f"; the target is {target!r}" if target else "")


def _target_of(header: list[str], target: str | None, needs_target: bool, origin: str) -> str | None:
    if target is not None:
        column_of(target, header, origin)
    named = [name for name in header if name]
    label = target or label_among(named) or (named[-1] if needs_target and named else None)
    if label is not None and len(named) == 1:
        raise UserError("the table has no column beside its target", where=origin, found=label)
    return label


def _npz_table(file: Path, needs_target: bool, fill: bool) -> RawTable:
    content = read_npz(file, "numeric arrays x (N, D) and, with classes, y (N,)")
    return _table_of_arrays(content, str(file), needs_target, fill)


def _table_of_arrays(content: Mapping[str, np.ndarray], file: str, needs_target: bool, fill: bool) -> RawTable:
    names = split_arrays(content)
    splits = {
        split: RawRows(_matrix(content[x], f"{file}: {x}", fill), _labels(content, x, y, file), f"{file}: {x}")
        for split, (x, y) in names.items()
        if x in content
    }
    labelled = bool(splits) and all(rows.labels is not None for rows in splits.values())
    if "train" not in splits or (needs_target and not labelled):
        raise UserError(
            "the set lacks its arrays",
            where=file,
            expected="x, and y for each x" if needs_target else "x",
            found=", ".join(content) or "nothing",
        )
    width = splits["train"].x.shape[1]
    for rows in splits.values():
        if rows.x.shape[1] != width:
            raise UserError(
                "the splits have different columns", where=rows.origin, expected=width, found=rows.x.shape[1]
            )
    return RawTable(splits, [f"x{i}" for i in range(width)], file, "y" if labelled else None)


def _matrix(x: np.ndarray, where: str, fill: bool) -> np.ndarray:
    if x.ndim != 2 or x.shape[1] == 0:
        raise UserError(
            "the array is not a table",
            where=where,
            expected="(N, D)",
            found=x.shape,
            cure="x[:, None] for a single column" if x.ndim == 1 else "x.reshape(len(x), -1)" if x.ndim > 2 else None,
        )
    if x.dtype.kind not in "fiub":
        raise UserError("the array is not numeric", where=where, expected="float, integer or bool", found=x.dtype)
    if not len(x):
        raise UserError("the array has no row", where=where, expected="(N, D), a row a sample", found=x.shape)
    values = x.astype(np.float64)
    bad = np.isinf(values) if fill else ~np.isfinite(values)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            "a value is missing or infinite",
            where=f"{where}[{row}, {column}]",
            expected="a finite number",
            found=values[row, column],
            cure="fill it in, or remove the row",
        )
    return values


def _labels(content: Mapping[str, np.ndarray], x: str, y: str, file: str) -> np.ndarray | None:
    if y not in content:
        return None
    labels = content[y]
    if labels.ndim != 1 or len(labels) != len(content[x]):
        raise UserError(
            "the target does not fit the rows",
            where=f"{file}: {y}",
            expected=f"({len(content[x])},)",
            found=labels.shape,
            cure=f"{y} = {y}[:, 0]" if labels.ndim == 2 and labels.shape[1] == 1 else None,
        )
    if labels.dtype.kind == "f" and bool(np.isinf(labels).any()):
        row = int(np.isinf(labels).argmax())
        raise UserError(
            "a target is infinite", where=f"{file}: {y}[{row}]", expected="a finite number", found=labels[row]
        )
    if labels.dtype.kind not in "fiubUSO":
        raise UserError("the targets are neither numbers nor texts", where=f"{file}: {y}", found=labels.dtype)
    return labels


def _shipped(source: Source, target: str | None) -> RawTable:
    if source.name in plane.PROBLEMS:
        x, y = plane.make(source.name)
        if target not in (None, "label"):
            raise UserError(f"the table has no target {target!r}", where=source.name, expected="label")
        return RawTable({"train": RawRows(x, y.astype(str), source.name)}, ["x1", "x2"], source.name, "label")
    if source.name not in COLUMNS:
        raise UserError(f"{source.name} is a set of {source.kind}, not a table", cure="--data iris, or a .csv")
    data = shipped_table(source.name)
    if data.classes:
        labels, label = np.array([data.classes[i] for i in data.y]), "label"
    else:  # a number to predict
        labels, label = np.array([repr(float(v)) for v in data.y]), "progression"
    if target not in (None, label):
        raise UserError(f"the table has no target {target!r}", where=source.name, expected=label)
    image = (8, 8) if source.name == "digits" else None
    return RawTable({"train": RawRows(data.x, labels, source.name)}, list(data.columns), source.name, label, image)


def _pixel_table(images: RawImageSet) -> RawTable:
    """Images of one size as rows of their pixels, 0 to 255."""
    splits = {}
    for name, part in images.splits.items():
        assert part.arrays is not None  # published sets are arrays
        labels = np.array(images.classes)[part.labels]
        splits[name] = RawRows(part.arrays.reshape(len(part.arrays), -1).astype(np.float64), labels, part.origin)
    height, width, channels = images.splits["train"].arrays.shape[1:]  # type: ignore[union-attr]
    columns = [f"pixel{i}" for i in range(height * width * channels)]
    return RawTable(splits, columns, images.where, "label", (height, width) if channels == 1 else None)
