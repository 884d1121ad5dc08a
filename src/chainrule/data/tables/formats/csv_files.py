"""CSV files: one way from lines of text to column names and cells, for whole files, files read in parts, and stdin.

Python's own parser reads them. pandas and polars would cost half a second of import and a dependency, read no lines as they
come, and guess the kind of a column by cells: here columns are decided in `chainrule.data.tables.schema`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError, unknown
from chainrule.data.catalog.sources import SOURCES
from chainrule.data.formats.encoding import decoded_lines
from chainrule.data.tables.formats.cells import Cells, check_header, is_number, open_bytes, unreadable
from chainrule.data.tables.schema.deciding import Wishes, decide_numbers

csv.field_size_limit(2**31 - 1)  # a cell may be a whole text
SEPARATORS = "\t;|,"  # where several would do, the first of them
HEAD_LINES = 50  # that tell the separator
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # that Excel writes and reads


def read_csv(place: Path, content: bytes | None = None, encoding: str | None = None) -> Cells:
    """The table in a file, or in `content`, the bytes of its beginning.

    Fields are separated by comma, semicolon, tab or bar, whichever the lines agree on; a first line sep=; says it. Empty
    lines are skipped. A published file without a line of names, recognised by its own name, has those of `known_tables`.

    Raises:
        UserError: it cannot be read, is no text in its encoding, a line has more or fewer cells than the header.
    """
    stream = open_bytes(place) if content is None else io.BytesIO(content)
    return next(
        cells_of_lines(decoded_lines(stream, place, encoding), str(place), place.parent, known=published(place))
    )


def published(place: Path) -> tuple[str, ...]:
    """The column names of a published file that has no line of them; none of other files."""
    return next((s.columns for s in SOURCES.values() if s.columns and place.name in s.files), ())


def cells_of_lines(
    lines: Iterator[tuple[int, str]],
    where: str,
    folder: Path = Path(),
    *,
    most: int | None = None,
    known: Sequence[str] = (),
    needed: Collection[str] | None = None,
) -> Iterator[Cells]:
    """The table that numbered lines of text are: all of it, or parts of `most` rows.

    Args:
        lines: with their ends; a cell in quotes may go over several.
        where: what they are called in an error.
        folder: where the files lie that cells name.
        most: rows of a part.
        known: column names, where the first line may be a row already: it is one where it has not the names `needed`.
        needed: see `known`; without it `known` are those of a file that has no line of names.
    """
    delimiter, rows = separated(lines, where)
    number, names = next(rows, (0, []))
    names = [name.strip() for name in names]
    bare = bool(known and names) and _is_row(names, known, needed)
    header = list(known) if bare else names
    if bare:
        rows = chain([(number, names)], rows)
    elif header:
        check_header(header, f"{where}, line {number}")
    empty = Cells(header, [], (), where, folder=folder, delimiter=delimiter)
    count = 0
    while part := list(islice(rows, most)):
        count += len(part)
        for number, row in part:
            if len(row) != len(header):
                raise _uneven(where, number, header, row, bare)
        yield Cells(
            header, [row for _, row in part], [line for line, _ in part], where, folder=folder, delimiter=delimiter
        )
    if not count:
        raise UserError(
            "the table is empty",
            where=empty.origin,
            expected="a line of column names, then a line a sample",
            found=f"{int(bool(header))} line{'' if header else 's'}",
        )


def _is_row(names: Sequence[str], known: Sequence[str], needed: Collection[str] | None) -> bool:
    if needed is None:
        return len(names) == len(known) and list(names) != list(known)
    return not set(names) >= set(needed) and (len(names) == len(known) or all(map(is_number, names)))


def _uneven(where: str, number: int, header: Sequence[str], row: Sequence[str], bare: bool) -> UserError:
    return UserError(
        "a row has the wrong number of values" if bare else "a line has another number of columns than the header",
        where=f"{where}, line {number}",
        expected=len(header),
        found=len(row),
        cure=None
        if bare
        else "remove the lines above that of the column names"
        if len(header) == 1
        else "complete the line, or remove it; a cell with a separator in it stands in quotes, also a decimal comma",
    )


def separated(lines: Iterator[tuple[int, str]], where: str) -> tuple[str, Iterator[tuple[int, list[str]]]]:
    """What separates the cells of lines, and the cells of each row with the line that it ends on.

    Rows without any text are left out: programs write them behind a table.
    """
    head = list(islice(lines, 1))
    said = _SEPARATOR_LINE.fullmatch(head[0][1]) if head else None
    head = [*([] if said else head), *islice(lines, HEAD_LINES)]
    delimiter = said[1] if said else find_separator([line for _, line in head])
    return delimiter, _rows(chain(head, lines), where, delimiter)


def _rows(lines: Iterator[tuple[int, str]], where: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    at = [0]

    def counted() -> Iterator[str]:
        for at[0], line in lines:
            yield line

    try:
        for row in csv.reader(counted(), delimiter=delimiter, strict=True, skipinitialspace=True):
            if any(row) or len(row) == 1:
                yield at[0], row
    except csv.Error as error:
        raise unreadable(
            f"{where}, line {at[0]}", error, 'a quote within a cell in quotes is written twice: "5"" pipe"'
        ) from None


def find_separator(lines: Sequence[str]) -> str:
    r"""What separates the cells of some lines, the header first: the mark by which most have as many cells as the header.

    What stands in quotes separates nothing. Where no mark divides the header there is one column, and a mark that no line
    has is taken, so that its commas are decimal ones.

    >>> find_separator(['"length, in mm";kind\n', "1,5;a\n"]), find_separator(["a,b\n", "1,2\n"]), find_separator(["x\n"])
    (';', ',', ',')
    """
    found: dict[str, tuple[int, float]] = {}
    for mark in SEPARATORS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=mark, skipinitialspace=True) if row]
        except csv.Error:
            continue
        if widths:
            found[mark] = widths[0], widths.count(widths[0]) / len(widths)
    several = {mark: share for mark, (width, share) in found.items() if width > 1}
    below = [] if max(several.values(), default=0) > 0.5 else [m for m in SEPARATORS if _is_below_a_title(lines, m)]
    if below:
        return below[0]
    if several:
        return max(several, key=lambda mark: several[mark])
    return "," if found.get(",", (1, 1.0))[1] == 1.0 else next((m for m in ";\t" if found.get(m) == (1, 1.0)), ",")


def _is_below_a_title(lines: Sequence[str], mark: str) -> bool:
    """Whether a table begins below a line of one cell, which is then told: a line of names, and rows with numbers in them."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=mark, skipinitialspace=True) if any(row)]
    except csv.Error:
        return False
    widths = {len(row) for row in rows[1:]}
    if len(rows) < 4 or len(rows[0]) != 1 or len(widths) != 1 or min(widths) < 2:
        return False
    return not any(map(is_number, rows[1])) and all(any(map(is_number, row)) for row in rows[2:])


def column_of(name: str, header: list[str], where: object) -> int:
    """The place of the column that --target names; UserError where there is none of this name."""
    if name not in header:
        raise unknown(
            "the table has no column",
            name,
            header[:20],
            where=where,
            cure="name one of these: --target COLUMN, or rename the column",
        )
    return header.index(name)


def to_numbers(cells: Cells, places: list[int], wishes: Wishes | None = None) -> np.ndarray:
    """The cells of the columns at `places` as float64 (N, len(places)); UserError names the first that will not do.

    How the numbers of a column are written is decided over all of it.
    """
    columns = [(place, decide_numbers(cells, place, wishes or Wishes())) for place in places]
    return np.concatenate([column.encode(cells, place, fill=False) for place, column in columns], axis=1)
