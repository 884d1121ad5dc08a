"""The user's own tables, by the ending of their file: one way from a path to cells.

So `data check`, training, `evaluate` and `predict` see the same table whatever it lies in.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.data.tables.formats.arrow_tables import read_arrow, read_parquet
from chainrule.data.tables.formats.cells import Cells, split_sheet
from chainrule.data.tables.formats.csv_files import read_csv
from chainrule.data.tables.formats.typed_files import read_jsonl, read_xlsx


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


def read_cells(place: Path, encoding: str | None = None) -> Cells:
    """The table in a file: .csv, .tsv, .jsonl, .parquet or .xlsx, each gzipped or not; of a workbook one sheet.

    Texts are in UTF-8, or what a byte-order mark says, or the `encoding`.

    Raises:
        UserError: the file cannot be read, has no line of column names, a nested value; the row is named.
    """
    ending = table_ending(place) or ".csv"
    return TEXTS[ending](place, encoding=encoding) if ending in TEXTS else READERS[ending](place)


def read_head(place: Path, encoding: str | None = None) -> Cells:
    """Column names and the first rows: of a text that is not gzipped no more is read, of other forms all is.

    Raises:
        UserError: as `read_cells`.
    """
    ending = table_ending(place) or ".csv"
    if ending not in SEPARATED or place.suffix.lower() == ".gz" or not place.is_file():
        return read_cells(place, encoding)
    with place.open("rb") as stream:
        first = b"".join(itertools.islice(iter(lambda: stream.readline(HEAD_BYTES), b""), HEAD_LINES))
        whole = not stream.read(1)
    if not whole:
        with contextlib.suppress(UserError):  # cut within a quoted cell, or a letter
            return read_csv(place, first, encoding)
    return read_cells(place, encoding)


HEAD_LINES, HEAD_BYTES = 51, 2**16  # of a text, where its first rows are enough; bytes of a line
SEPARATED = (".csv", ".data", ".tsv")
TEXTS: dict[str, Callable[..., Cells]] = {
    **dict.fromkeys(SEPARATED, read_csv),
    **dict.fromkeys((".jsonl", ".ndjson"), read_jsonl),
}
READERS: dict[str, Callable[..., Cells]] = {**TEXTS, ".parquet": read_parquet, ".arrow": read_arrow, ".xlsx": read_xlsx}
