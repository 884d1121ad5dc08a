"""CSV files: the column names and the cells as text, and the cells as numbers, missing values and categories."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import SOURCES
from chainrule.data.formats.utf8 import not_utf8
from chainrule.data.tables.cells import Cells, check_header, expect_one_decimal_mark, is_number, with_decimal_points

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})  # what stands for no value, in any case
MOST_CATEGORIES = 100  # of a column; more distinct texts are names or sentences, not categories


def read_csv(
    file: Path, content: io.BytesIO | None = None, delimiter: str | None = None
) -> tuple[list[str], list[list[str]], list[int]]:
    """Column names, the cells of each row as text, and the line that each row ends on.

    `content` holds the bytes where they are not as the file has them, unpacked ones. Fields are separated by
    `delimiter`, else by whichever of comma, semicolon and tab the first line has most of; empty lines are skipped.
    Where they are separated by semicolons, 1,5 is the number 1.5.
    A published file without a line of names, recognised by its own name, has those of `known_tables`.
    """
    try:
        whole = (file.read_bytes() if content is None else content.getvalue()).removeprefix(b"\xef\xbb\xbf")
        text = whole.decode("utf-8")
        first = text.partition("\n")[0].partition("\r")[0]
        delimiter = delimiter or max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows, lines = [], []
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise not_utf8(file, whole, error) from None
    except (OSError, csv.Error) as error:
        raise UserError("the table cannot be read", where=file, found=error) from None
    known = next((s.columns for s in SOURCES.values() if s.columns and file.name in s.files), None)
    if known is not None and rows and len(rows[0]) == len(known) and list(rows[0]) != list(known):
        rows, lines = [list(known), *rows], [0, *lines]
    if len(rows) < 2:
        raise UserError(
            "the table is empty",
            where=file,
            expected="a line of column names, then a line a sample",
            found=f"{len(rows)} line{'' if len(rows) == 1 else 's'}",
        )
    header = [name.strip() for name in rows[0]]
    check_header(header, f"{file}, line {lines[0]}")
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(header):
            raise UserError(
                "a line has another number of columns than the header",
                where=f"{file}, line {line}",
                expected=len(header),
                found=len(row),
                cure="complete the line, or remove it; a cell with a comma in it stands in quotes",
            )
    if delimiter == ";":
        expect_one_decimal_mark(rows[1:], lines[1:], file)
        return header, with_decimal_points(rows[1:]), lines[1:]
    return header, rows[1:], lines[1:]


def column_of(name: str, header: list[str], where: object) -> int:
    """The place of the column that --target names; UserError where there is none of this name."""
    if name not in header:
        raise UserError(
            f"the table has no column {name!r}",
            where=where,
            expected="one of " + ", ".join(header[:20]),
            cure="--target COLUMN, or rename the column",
        )
    return header.index(name)


def to_numbers(
    cells: Cells, places: list[int], *, categories: Mapping[str, list[str]] | None = None, fill: bool = False
) -> np.ndarray:
    """The cells of the columns at `places` as float64 (N, len(places)); UserError names the first that will not do.

    A cell of a column in `categories` becomes the number of its category. With `fill` a missing value is nan.
    """
    chosen = [[row[place] for place in places] for row in cells.rows]
    known = {column: {c: i for i, c in enumerate(values)} for column, values in (categories or {}).items()}
    try:
        values = np.array(chosen, dtype=np.float64).reshape(len(chosen), len(places))
    except ValueError:
        values = np.empty((len(chosen), len(places)))
        for index, place in enumerate(places):
            numbers = known.get(cells.header[place])
            texts = [row[index].strip() for row in chosen]
            values[:, index] = [
                numbers.get(c, np.nan) if numbers else float(c) if is_number(c) else np.nan for c in texts
            ]
    bad = ~np.isfinite(values)
    for row, index in np.argwhere(bad).tolist():
        cell, column = chosen[row][index].strip(), cells.header[places[index]]
        if fill and cell.lower() in MISSING:
            continue
        _raise_bad_cell(cell, column, known.get(column), f"{cells.where(row)}, column {column!r}")
    return values


def _raise_bad_cell(cell: str, column: str, numbers: Mapping[str, int] | None, where: str) -> None:
    if cell.lower() in MISSING:
        raise UserError(
            "a value is missing or infinite",
            where=where,
            expected="a finite number" if numbers is None else "a category",
            found=cell or "an empty cell",
            cure="fill it in, remove the line, or missing=fill where the recipe has it",
        )
    if numbers is not None:
        raise UserError(
            "a category is not known", where=where, expected=f"one of {', '.join(list(numbers)[:20])}", found=cell
        )
    text = not is_number(cell)
    raise UserError(
        "a cell is not numeric" if text else "a value is missing or infinite",
        where=where,
        expected="a finite number",
        found=cell,
        cure="write categories as numbers, or remove the column" if text else "fill it in, or remove the line",
    )


def find_categories(tables: Sequence[Cells], columns: Sequence[str], fill: bool) -> dict[str, list[str]]:
    """The columns that hold text, with their distinct values over all files, sorted."""
    found = {}
    for column in columns:
        texts = {row[table.header.index(column)].strip() for table in tables for row in table.rows}
        given = {cell for cell in texts if not (fill and cell.lower() in MISSING)}
        if all(is_number(cell) or cell.lower() in MISSING for cell in given):
            continue
        if len(given) > MOST_CATEGORIES:
            raise UserError(
                f"the column {column!r} holds {len(given)} distinct texts, too many for categories",
                where=tables[0].origin,
                expected=f"numbers, or {MOST_CATEGORIES} categories at most",
                found=", ".join(sorted(given)[:3]) + ", ...",
                cure="remove the column; numbers with a unit or marks between thousands: write bare ones, 1234.5",
            )
        found[column] = sorted(given)
    return found
