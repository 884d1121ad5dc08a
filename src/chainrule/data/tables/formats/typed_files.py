"""Readers of tables whose values have types: JSON lines, sheets of Excel. The libraries are the extra `tables`."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError, missing_extra
from chainrule.core.memory import expect_memory
from chainrule.data.formats.encoding import decode
from chainrule.data.formats.npz import DAMAGED
from chainrule.data.tables.formats.cells import (
    Cells,
    Percentage,
    are_numbers,
    cell_text,
    checked,
    open_bytes,
    split_sheet,
    unreadable,
)

_NO_WORKBOOK = "this is no .xlsx: where it is text, name it .csv; where it is of an older Excel, save it as .xlsx"
_DAMAGED = "the file is damaged or cut short: copy or write it again"


def read_jsonl(file: Path, encoding: str | None = None) -> Cells:
    """One object a line; columns in the order of their first appearance, and a name that a line lacks has no value."""
    columns: dict[str, int] = {}
    typed_values: dict[str, list[Any]] = {}
    found: list[dict[str, str]] = []
    lines = []
    for number, line in enumerate(decode(open_bytes(file).read(), file, encoding).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            values = json.loads(line, object_pairs_hook=_once_each)
        except (ValueError, RecursionError) as error:
            raise UserError(
                "a line is no JSON",
                where=where,
                expected="one object a line",
                found=error,
                cure="correct the line or remove it; where it is the last, the file is cut short: copy it again",
            ) from None
        if not isinstance(values, dict):
            raise UserError(
                "a line holds no object", where=where, expected='{"column": value, ...}', found=str(values)[:60]
            )
        found.append(
            {name: cell_text(v, lambda w=where, n=name: f"{w}, column {n!r}") for name, v in values.items()}  # type: ignore[misc]
        )
        columns.update(dict.fromkeys(values, 0))
        for name, value in values.items():
            typed_values.setdefault(name, []).append(value)
        lines.append(number)
    names = list(columns)
    rows = [[values.get(name, "") for name in names] for values in found]
    typed = frozenset(place for place, name in enumerate(names) if are_numbers(typed_values[name]))
    header = [name.strip() for name in names]
    return checked(Cells(header, rows, lines, str(file), folder=file.parent, typed=typed))


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ValueError where a name comes twice, of which JSON readers silently take the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} comes twice")
    return found


def read_xlsx(place: Path) -> Cells:
    """The sheet that is named, FILE.xlsx#split_sheet, or the only one; its first row with cells has the names of the columns."""
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError:
        raise missing_extra("openpyxl", "tables") from None
    file, named = split_sheet(place)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which hold no values
            content = open_bytes(file)
            with zipfile.ZipFile(content) as archive:
                expect_memory(sum(part.file_size for part in archive.infolist()), "the workbook unpacked", where=file)
            book = openpyxl.load_workbook(content, read_only=True, data_only=True)
            name = _sheet([sheet.title for sheet in book.worksheets], named, file)  # no charts, which have no cells
            sheet = book[name]
            sheet.reset_dimensions()  # what it says of its size may be a million empty rows
            values = [[_value(cell) for cell in row] for row in sheet.iter_rows()]
            book.close()
    except UserError:
        raise
    except (*DAMAGED, InvalidFileException, AttributeError, IndexError) as error:
        is_workbook = open_bytes(file).read(2) == b"PK"
        told = _DAMAGED if is_workbook else _NO_WORKBOOK
        raise unreadable(file, str(error) or type(error).__name__, told) from None
    return _cells_of_sheet(values, f"{file}, sheet {name!r}", file.parent)


def _sheet(names: list[str], named: str, file: Path) -> str:
    if not names:
        raise unreadable(file, "no sheet", _DAMAGED)
    if named and named not in names:
        raise UserError(f"the workbook has no sheet {named!r}", where=file, expected="one of " + ", ".join(names))
    if not named and len(names) > 1:
        raise UserError(
            f"the workbook has {len(names)} sheets",
            where=file,
            found=", ".join(names),
            cure=f"name one: {file}#{names[0]}",
        )
    return named or names[0]


def _value(cell: Any) -> Any:
    """The value of a cell; of one that is shown as a percentage, 0.12, what is shown: 12 %."""
    value = cell.value
    if type(value) in (int, float) and "%" in (cell.number_format or ""):
        return Percentage(value)
    return value


def _cells_of_sheet(values: list[list[Any]], origin: str, folder: Path) -> Cells:
    """Rows of a sheet, counted as its program does; empty rows and empty columns at the right are no part of the table."""
    kept = [(number, row) for number, row in enumerate(values, 1) if any(v not in (None, "") for v in row)]
    width = max((i + 1 for _, row in kept for i, v in enumerate(row) if v not in (None, "")), default=0)
    lines = [number for number, _ in kept]
    rows = []
    for number, row in kept:
        padded = [*row, *[None] * (width - len(row))][:width]
        rows.append([cell_text(v, lambda n=number: f"{origin}, row {n}") for v in padded])  # type: ignore[misc]
    header = [name.strip() for name in rows[0]] if rows else []
    typed = frozenset(i for i in range(width) if are_numbers(row[i] for _, row in kept[1:] if i < len(row)))
    return checked(Cells(header, rows[1:], lines[1:], origin, "row", folder, typed=typed))
