"""A table as it was found, in whatever form: column names, the cells as text, and where each row stands."""

from __future__ import annotations

import datetime
import io
import itertools
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.formats.unpacking import read_unpacked
from chainrule.data.images.packed import ImageFile
from chainrule.data.tables.schema.number_format import plain_numbers

_SHEET = re.compile(r"(.*\.xlsx(?:\.gz)?)#(.+)", re.IGNORECASE)  # FILE.xlsx#SHEET names one sheet of a workbook


@dataclass(frozen=True)
class Cells:
    """A table as it was found.

    Attributes:
        header: the column names.
        rows: the cells of each row as text; one without a value is empty.
        lines: the number of each row where it stands.
        origin: what it was read from.
        unit: what `lines` counts: lines of a text, rows of a sheet or of a file without lines.
        folder: where the files lie that its cells name.
        images: of columns that hold images, these.
        delimiter: what separates the cells of a text; empty where they are not separated by a mark.
        typed: the columns most of whose values were numbers before they were text: they are written as Python does, with a
            point, whatever marks the column has elsewhere.
    """

    header: list[str]
    rows: list[list[str]]
    lines: Sequence[int]
    origin: str
    unit: str = "line"
    folder: Path = Path()
    images: Mapping[str, Sequence[ImageFile]] = field(default_factory=dict)
    delimiter: str = ""
    typed: frozenset[int] = frozenset()

    @cached_property
    def columns(self) -> list[tuple[str, ...]]:
        """The cells of each column."""
        return list(zip(*self.rows, strict=True)) if self.rows else [() for _ in self.header]

    @cached_property
    def _plain(self) -> dict[int, np.ndarray | None]:
        return {}

    def plain(self, place: int) -> np.ndarray | None:
        """The numbers (N,) of the column at `place`, where Python reads every cell as one; else None. Read once."""
        if place not in self._plain:
            self._plain[place] = plain_numbers(self.columns[place])
        return self._plain[place]

    def where(self, row: int) -> str:
        return f"{self.origin}, {self.unit} {self.lines[row]}"


def split_sheet(place: Path) -> tuple[Path, str]:
    """The file that a path names, and the sheet of a workbook, if it names one.

    >>> split_sheet(Path("of/b.xlsx#May")), split_sheet(Path("a#1.csv"))
    ((PosixPath('of/b.xlsx'), 'May'), (PosixPath('a#1.csv'), ''))
    """
    found = _SHEET.fullmatch(place.name)
    return (place.with_name(found[1]), found[2]) if found else (place, "")


def open_bytes(file: Path) -> io.BytesIO:
    """A file's bytes, unpacked where its name ends in .gz; UserError where they cannot be read, or fit into no memory."""
    try:
        return io.BytesIO(read_unpacked(file))
    except (OSError, EOFError, zlib.error) as error:
        packed = file.suffix.lower() == ".gz" and not isinstance(error, FileNotFoundError)
        raise unreadable(file, error, "gzip is cut short or damaged: copy it again" if packed else None) from None


def unreadable(file: object, error: object, cure: str | None = None) -> UserError:
    return UserError("the table cannot be read", where=file, found=error, cure=cure)


class Percentage(float):
    """A number that its program shows as so many of a hundred: 0.12 as 12 %."""


def cell_text(value: Any, where: Callable[[], str]) -> str:
    """A typed value as a cell: whole numbers without a point, True and False as 1 and 0, nothing where there is none.

    A float is written so that reading it gives the same float64. `where` names the place of a value that is no cell.

    >>> [cell_text(value, str) for value in (3, 3.0, 0.1, True, None, float("nan"), "a")]
    ['3', '3', '0.1', '1', '', '', 'a']
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (np.bool_, np.number)):
        value = value.item()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Percentage):
        return f"{float(value) * 100:.15g}%"
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, (dict, list, tuple, set, bytes)):
        raise UserError(
            "a cell holds more than one value",
            where=where(),
            expected="a number or a text",
            found="bytes" if isinstance(value, bytes) else f"{type(value).__name__}: {str(value)[:60]}",
            cure="a column for each of its values",
        )
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def cells_of_columns(
    header: Sequence[Any], columns: Iterable[Sequence[Any]], origin: str, folder: Path = Path(), first: int = 1
) -> Cells:
    """Typed columns as cells; rows are counted from `first`."""
    names, columns = [str(name).strip() for name in header], list(columns)
    texts = [
        [
            cell_text(value, lambda row=row, name=name: f"{origin}, row {row}, column {name!r}")  # type: ignore[misc]
            for row, value in enumerate(column, first)
        ]
        for name, column in zip(names, columns, strict=True)
    ]
    rows = [list(row) for row in zip(*texts, strict=True)]
    typed = frozenset(place for place, column in enumerate(columns) if are_numbers(column))
    cells = Cells(names, rows, range(first, first + len(rows)), origin, "row", folder, typed=typed)
    return checked(cells, may_count=all(name.isdecimal() for name in names if is_number(name)))


def are_numbers(values: Iterable[Any]) -> bool:
    """Whether the values of a column are numbers: most of them, beside which there may be faults and words for no value.

    >>> are_numbers([1, None, "NA", 2.5]), are_numbers([1, "2", "3"]), are_numbers([None])
    (True, False, False)
    """
    kinds = Counter(map(type, values))
    numbers = sum(count for kind, count in kinds.items() if issubclass(kind, (Real, Decimal)))
    return numbers > (sum(kinds.values()) - kinds[type(None)]) / 2


def checked(cells: Cells, *, may_count: bool = False) -> Cells:
    """The table; UserError where it has no row, or its header is none, which may be 0, 1, 2 where names have their place."""
    if not cells.rows or not cells.header:
        raise UserError(
            "the table is empty", where=cells.origin, expected="column names, then a row a sample", found="no row"
        )
    check_header(cells.header, cells.origin, may_count=may_count)
    return cells


def check_header(header: list[str], where: str, *, may_count: bool = False) -> None:
    """UserError where the names of the columns are numbers, so that the line of names is missing, or one comes twice.

    A column may have no name: whether it counts the rows is told by its cells.

    Beside names, numbers in order may be names too: pixels, quantiles, years also backwards; 5.1, 3.5, 1.4, 0.2 are a row.
    """
    numbers = [float(name) for name in header if is_number(name)]
    pairs = list(itertools.pairwise(numbers))
    ordered = all(a < b for a, b in pairs) or all(a > b and a.is_integer() and b.is_integer() for a, b in pairs)
    ordered = ordered and not any(number < 0 for number in numbers)
    if not may_count and (len(numbers) == len(header) or (2 * len(numbers) > len(header) and not ordered)):
        raise no_names(header, where)
    if len(header) > 2 and sum(map(bool, header)) == 1:
        raise UserError(
            "the first line has a name for one column alone",
            where=where,
            expected=f"the names of {len(header)} columns",
            found=next(filter(None, header)),
            cure="where it is a title, remove the lines above that of the column names",
        )
    seen: set[str] = set()
    for name in header:
        if name and name in seen:
            raise UserError("two columns have one name", where=where, found=repr(name), cure="rename one of them")
        seen.add(name)


def no_names(header: Sequence[str], where: str) -> UserError:
    """The error where the line of column names is missing."""
    return UserError(
        "the first line holds numbers where column names belong",
        where=where,
        found=", ".join(header[:5]),
        cure="put a line of column names above",
    )


def is_number(text: str) -> bool:
    """Whether Python reads it as a float: also nan and inf."""
    try:
        float(text)
    except ValueError:
        return False
    return True
