"""The user's own tables, by the ending of their file: one way from a path to cells.

So `data check`, training, `evaluate` and `predict` see the same table whatever it lies in.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.tables.arrow_tables import read_arrow, read_parquet
from chainrule.data.tables.cells import Cells, open_bytes, split_sheet
from chainrule.data.tables.csv_files import read_csv
from chainrule.data.tables.typed_files import read_jsonl, read_xlsx


def table_ending(place: Path) -> str | None:
    """Which of the forms of tables a path has, by its name: `.csv`, `.parquet`, `.xlsx` and so on; None where none.

    >>> table_ending(Path("a.CSV.gz")), table_ending(Path("b.xlsx#May")), table_ending(Path("c.txt"))
    ('.csv', '.xlsx', None)
    """
    name = split_sheet(place)[0].name.lower().removesuffix(".gz")
    return next((ending for ending in READERS if name.endswith(ending)), None)


def is_table_file(place: Path) -> bool:
    """Whether there is a file here in one of the forms of tables."""
    return table_ending(place) is not None and split_sheet(place)[0].is_file()


def read_cells(place: Path) -> Cells:
    """The table in a file: .csv, .tsv, .jsonl, .parquet or .xlsx, each gzipped or not; of a workbook one sheet.

    Raises:
        UserError: the file cannot be read, has no line of column names, a nested value; the row is named.
    """
    return READERS[table_ending(place) or ".csv"](place)


def read_head(place: Path) -> Cells:
    """Column names and the first rows: of a text that is not gzipped no more is read, of other forms all is.

    Raises:
        UserError: as `read_cells`.
    """
    ending = table_ending(place) or ".csv"
    if ending not in TEXTS or place.suffix.lower() == ".gz" or not place.is_file():
        return read_cells(place)
    with place.open("rb") as stream:
        first = b"".join(itertools.islice(iter(lambda: stream.readline(HEAD_BYTES), b""), HEAD_LINES))
        whole = not stream.read(1)
    if not whole:
        with contextlib.suppress(UserError):  # cut within a quoted cell, or a letter
            header, rows, lines = read_csv(place, io.BytesIO(first), TEXTS[ending])
            return Cells(header, rows, lines, str(place), folder=place.parent)
    return read_cells(place)


def _read_text(place: Path, delimiter: str | None = None) -> Cells:
    content = open_bytes(place) if place.suffix.lower() == ".gz" else None
    header, rows, lines = read_csv(place, content, delimiter)
    return Cells(header, rows, lines, str(place), folder=place.parent)


HEAD_LINES, HEAD_BYTES = 51, 2**16  # of a text, where its first rows are enough; bytes of a line
TEXTS: dict[str, str | None] = {".csv": None, ".data": None, ".tsv": "\t"}  # what separates their cells
READERS: dict[str, Callable[[Path], Cells]] = {
    ".csv": _read_text,
    ".data": _read_text,
    ".tsv": lambda place: _read_text(place, "\t"),
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".xlsx": read_xlsx,
}
