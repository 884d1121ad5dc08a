"""Rows and tables that come after training, read as the run's schema says, and brought to the scale of its spec."""

from __future__ import annotations

import csv
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from chainrule.data.tables.files import Gaps, RawRows, RawTable, labelled_rows, read_table, with_numeric_labels
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.formats.csv_files import column_of
from chainrule.data.tables.formats.table_files import READERS, table_ending
from chainrule.data.tables.loading import TableSplit, check_squares
from chainrule.data.tables.names import label_among
from chainrule.data.tables.row_encoder import RowEncoder
from chainrule.data.tables.schema.column import Column, encode_columns
from chainrule.data.tables.schema.deciding import Wishes, ambiguous
from chainrule.data.tables.schema.number_format import TRUTH, evidence_of
from chainrule.data.tables.spec import TableSpec, columns_of, feature_names, input_columns, kept_features
from chainrule.data.tables.targets import labels_as_text, target_values

ROW_FILES = (*READERS, ".npz")  # those that a folder is looked through for
AS_IN_TRAINING: Mapping[str, Any] = {}  # settings of the reading


class RowReader:
    """Tables after training, as the schema of a run has them.

    Attributes:
        columns: what its columns mean, where the user says that numbers are written otherwise now, so.
        used: those that some kept feature reads; others may be absent, and are the user's own.
    """

    def __init__(self, spec: TableSpec, options: Mapping[str, Any] = AS_IN_TRAINING) -> None:
        wishes = Wishes.of(options)
        self.spec, self.encoding = spec, options.get("encoding")
        self.columns = [wishes.changed(column) for column in input_columns(spec)]
        kept, outputs = (
            set(kept_features(spec)),
            {output: column for column in self.columns for output in column.outputs},
        )
        self.used = {c.name for o, c in outputs.items() if any(f in kept for f in feature_names([o], spec.categories))}
        self._told_marks = wishes.decimal or wishes.thousands
        self._ignore_unknown = options.get("unknown") == "ignore"

    def with_known_names(self, cells: Cells) -> Cells:
        """The table, where a name that is one of the run's in another normal form, é as e and ´, is the run's."""
        known = {unicodedata.normalize("NFC", column.name): column.name for column in columns_of(self.spec)}
        header = [known.get(unicodedata.normalize("NFC", name), name) for name in cells.header]
        return cells if header == cells.header else replace(cells, header=header)

    def read(self, cells: Cells) -> np.ndarray:
        """The rows of a table (N, columns of the spec) float64; UserError names a column that is not there, a cell."""
        missing = [column.name for column in self.columns if column.name in self.used - set(cells.header)]
        if missing:
            raise _lacking(missing, cells.header, cells.origin)
        if cells.delimiter and not self._told_marks:
            self._expect_one_mark(cells)
        fill = self.spec.missing == "fill"
        x = encode_columns(cells, self.columns, fill=fill, ignore_unknown=self._ignore_unknown, used=self.used)
        dtype = torch.float64 if self.spec.standardized else getattr(torch, self.spec.dtype)
        check_squares(RawRows(x, None, cells.origin, cells.lines, cells.unit), self.spec.columns, dtype)
        return x

    def _expect_one_mark(self, cells: Cells) -> None:
        """UserError for 1.250 in a file whose other columns have decimal commas, where training had points, or no text."""
        written = {c.name: c.number for c in self.columns if c.kind == "number" and c.number.decimal != ","}
        places = {place: written[name] for place, name in enumerate(cells.header) if name in written}
        if all(cells.plain(place) is not None for place in places):
            return
        seen = {place: evidence_of(Counter(cells.columns[place]), number.unit) for place, number in places.items()}
        if any("," in evidence.decimal for evidence in seen.values()):
            for place, evidence in seen.items():
                if evidence.has("point_or_groups") and not evidence.decimal:
                    raise ambiguous(cells, place, evidence.first["point_or_groups"].strip())


def asked_rows(
    inputs: Iterable[str], spec: TableSpec, options: Mapping[str, Any] = AS_IN_TRAINING
) -> Iterator[tuple[list[Asked[None]], Tensor]]:
    """The user's rows on the scale of x (N, D) float64, some thousands at a time, and what an answer calls each.

    An input is a file (a table with the columns by name, .npz with all columns in x), a folder of such files, a row
    such as 5.1,3.5,1.4,0.2 or 5,1;3,5;1,4;0,2, or `-` for rows on stdin, with the names of the columns on the first line or without. A
    column of a table that the run does not use is the user's own. `options` are settings of the reading.
    """
    encode, names, parts = RowEncoder(spec), list[Asked[None]](), list[np.ndarray]()
    failed: UserError | None = None
    try:
        for some, x in _rows_of(inputs, RowReader(spec, options)):
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


def read_rows(
    inputs: Iterable[str], spec: TableSpec, options: Mapping[str, Any] = AS_IN_TRAINING
) -> tuple[list[str], Tensor]:
    """All of `asked_rows` together: what to call each row, and the rows on the scale of x (N, D) float64."""
    parts = list(asked_rows(inputs, spec, options))
    return [asked.name for names, _ in parts for asked in names], torch.cat([x for _, x in parts])


def _rows_of(inputs: Iterable[str], reader: RowReader) -> Iterator[tuple[list[Asked[None]], np.ndarray]]:
    names = [column.name for column in reader.columns]
    for text in inputs:
        path = Path(text)
        if isinstance(text, InMemory):
            yield _in_cells(text.value, reader)
        elif text == STDIN:
            yield from (_in_cells(cells, reader) for cells in stdin_table(names, reader.used, reader.encoding))
        elif is_folder(text):
            yield from _rows_of(map(str, files_below(path, ROW_FILES, "table")), reader)
        elif table_ending(path):
            yield from (_in_cells(cells, reader) for cells in table_parts(path, reader.encoding))
        elif path.suffix.lower() == ".npz":
            if not path.is_file():
                raise UserError("there is no such file", where=path, expected="a .csv or another table, or a .npz")
            raw = read_table(path, None, needs_target=False, missing=_gaps(reader.spec))
            rows = _select(raw, raw.splits["train"], reader.spec)
            yield [Asked(rows.where(index), None) for index in range(len(rows.x))], rows.x
        else:
            yield [Asked(text, None)], reader.read(_typed_row(text, reader.columns))


def _in_cells(cells: Cells, reader: RowReader) -> tuple[list[Asked[None]], np.ndarray]:
    cells = reader.with_known_names(cells)
    x = reader.read(cells)
    return [asked_of(cells, row, None, reader.used) for row in range(len(cells.rows))], x


def read_other(source: Place, target: str | None, spec: TableSpec) -> Tensor:
    """Rows of other data with the same columns, on the scale of x: their own test split, else all of them; float64."""
    return RowEncoder(spec)(torch.from_numpy(_rows_in_units(source, target or spec.target, spec)))


def _rows_in_units(source: Place, target: str | None, spec: TableSpec) -> np.ndarray:
    layout = layout_of(source)
    if layout.form == "csv":
        reader = RowReader(spec, layout.options)
        return reader.read(reader.with_known_names(layout.tables.get("test", layout.tables["train"])))
    named = target if isinstance(layout.place, Path) else None
    raw = read_table(layout, named, needs_target=False, missing=_gaps(spec))
    return _select(raw, raw.splits.get("test", raw.splits["train"]), spec).x


def read_labelled(source: Place, target: str | None, spec: TableSpec, dtype: torch.dtype) -> TableSplit:
    """Rows and targets of other data with the same columns: their own test split, else all of them."""
    layout = layout_of(source)
    named = (target or spec.target) if isinstance(layout.place, Path) else None
    if layout.form == "csv":
        rows = _labelled_rows(layout.tables.get("test", layout.tables["train"]), named, spec, layout.options)
    else:
        raw = read_table(layout, named, needs_target=True, missing=_gaps(spec))
        rows = _select(raw, raw.splits.get("test", raw.splits["train"]), spec)
        named = raw.target
    y: Tensor
    if spec.classes is None:
        y = target_values(rows, named or "y").to(dtype)
    else:
        labels = labels_as_text(rows, named or spec.target).tolist()
        known = {name: i for i, name in enumerate(spec.classes)}
        labels = _as_classes_are_written(labels, spec.classes)
        strange = next((i for i, label in enumerate(labels) if label not in known), None)
        if strange is not None:
            raise UserError(
                "a label is none of those that the run knows",
                where=rows.where(strange),
                expected=f"one of {', '.join(spec.classes[:20])}",
                found=labels[strange],
            )
        y = torch.tensor([known[label] for label in labels])
    return TableSplit(RowEncoder(spec)(torch.from_numpy(rows.x)).to(dtype), y)


def _labelled_rows(cells: Cells, target: str | None, spec: TableSpec, options: Mapping[str, Any]) -> RawRows:
    """The rows of a file with their labels; for a regression these are numbers as the schema has them."""
    reader = RowReader(spec, options)
    cells = reader.with_known_names(cells)
    usual = spec.target if spec.target in cells.header else label_among(cells.header)
    last = cells.header[-1]
    label = target or usual or (spec.target if spec.target and last in {c.name for c in input_columns(spec)} else last)
    column_of(label, cells.header, cells.origin)
    rows = labelled_rows(reader.read(cells), cells, label)
    known = next((Wishes.of(options).changed(column) for column in columns_of(spec) if column.name == label), None)
    return rows if spec.classes is not None else with_numeric_labels(rows, known)


def _as_classes_are_written(labels: list[str], classes: list[str]) -> list[str]:
    """Labels by the names of the classes: of one form a file has True, of another 1; of one 2.0, of another 2.

    >>> _as_classes_are_written(["TRUE", "0"], ["0", "1"]), _as_classes_are_written(["1", "a"], ["False", "True"])
    (['1', '0'], ['True', 'a'])
    >>> _as_classes_are_written(["1", "2.0", "02"], ["1.0", "2.0"])
    ['1.0', '2.0', '02']
    """

    def plain(name: str) -> str:
        return str(TRUTH.get(name.lower(), name.removesuffix(".0")))

    by_plain = {plain(name): name for name in classes}
    if len(by_plain) < len(classes):  # 2 and 2.0 are two classes of this run
        return labels
    if {"0", "1"} != set(by_plain) and any(name.lower() in TRUTH for name in (*classes, *labels)):
        return labels
    return [by_plain.get(plain(label), label) for label in labels]


MOST_COMPARED = 1000  # rows


def rows_to_compare(source: Place, spec: TableSpec) -> Tensor:
    """Rows of the run's own test split, else of all its table, in the table's units as `predict` reads them: (N, columns).

    Of more than a thousand so many, evenly spaced. An exported file is compared with the model on them.
    """
    x = torch.from_numpy(_rows_in_units(source, spec.target, spec))
    return x[torch.linspace(0, len(x) - 1, min(len(x), MOST_COMPARED)).round().long()]


def _gaps(spec: TableSpec) -> Gaps:
    return "fill" if spec.missing == "fill" else "refuse"


def _select(raw: RawTable, rows: RawRows, spec: TableSpec) -> RawRows:
    """Rows of arrays with the columns of the spec, found by name; those that no kept feature reads may be absent."""
    used = RowReader(spec).used
    missing = [column for column in spec.columns if column in used and column not in raw.columns]
    if missing:
        raise _lacking(missing, raw.columns, raw.where)
    x = np.zeros((len(rows.x), len(spec.columns)))
    for index, column in enumerate(spec.columns):
        if column in raw.columns:
            x[:, index] = rows.x[:, raw.columns.index(column)]
    return RawRows(x, rows.labels, rows.origin, rows.lines, rows.unit)


def _lacking(missing: list[str], header: list[str], where: str) -> UserError:
    return UserError(
        "the table lacks columns that the run was trained on",
        where=where,
        expected=", ".join(missing[:10]),
        found=", ".join(header[:10]),
    )


def _typed_row(text: str, columns: list[Column]) -> Cells:
    """A row as it was typed: 5.1,3.5,1.4 or 5,1;3,5;1,4. A value with a comma in it stands in quotes."""
    mark = next((mark for mark in ";\t" if mark in text), ",")
    values = [text] if len(columns) == 1 else next(csv.reader([text], delimiter=mark, skipinitialspace=True), [])
    names = [column.name for column in columns]
    if len(values) != len(names):
        few = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise UserError(
            "a row has the wrong number of values", where=text, expected=f"{len(names)}: {few}", found=len(values)
        )
    return Cells(names, [values], [1], "the row given", delimiter=mark)
