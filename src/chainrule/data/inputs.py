"""What `predict` was asked about: files, folders, names and data on stdin, lists in a CSV; for every kind of data.

    FILE              one input, or one a line where it is a table or a list
    FOLDER            the files in it and below that have the endings of the kind, sorted; hidden ones are left out
    LIST.csv          a CSV with a column `path`: a file a line, its path below the folder of the list
    -                 stdin, once: a name a line; for rows, series and texts the data themselves a line

What a line of a CSV has beside the input are columns of the user's own: the answer keeps them (`answer_to`). All of it
is read as it is needed, so that ten million lines take no more memory than ten.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from chainrule.core.answers import flat
from chainrule.core.errors import UserError

T = TypeVar("T")
STDIN = "-"
PATH_COLUMN = "path"  # of a list of files
NO_COLUMNS: Mapping[str, str] = {}


class Asked(NamedTuple, Generic[T]):
    """One input: what the answer calls it, what it is, and the columns of the user's own beside it."""

    name: str
    value: T
    own: Mapping[str, str] = NO_COLUMNS


class Lines(NamedTuple):
    """Lines of a table: names of the columns, cells, the number of each line, and where they stand."""

    header: list[str]
    rows: list[list[str]]
    numbers: list[int]
    where: str

    def name(self, index: int) -> str:
        """What an answer calls the row."""
        return f"{self.where}, line {self.numbers[index]}"

    def own(self, index: int, used: Collection[str] = ()) -> dict[str, str]:
        """The columns of a row that are not among the used ones."""
        return {name: cell for name, cell in zip(self.header, self.rows[index], strict=True) if name not in used}


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last of what is left.

    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    remaining = iter(items)
    while part := list(islice(remaining, size)):
        yield part


def answer_to(asked: Asked[Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with the input's name and the user's own columns before it.

    A column of the user's own that is called as one of the answer's has `given_` before its name.

    >>> answer_to(Asked("a.png", None, {"id": "7", "class": "cat"}), {"class": "dog"})
    {'input': 'a.png', 'id': '7', 'given_class': 'cat', 'class': 'dog'}
    """
    if not asked.own:
        return {"input": asked.name, **answer}
    taken = {"input", *answer, *flat(answer)}
    own = {f"given_{name}" if name in taken else name: cell for name, cell in asked.own.items()}
    return {"input": asked.name, **own, **answer}


# -- files ------------------------------------------------------------------------------------------------------------


def asked_paths(inputs: Iterable[str]) -> Iterator[Asked[Path]]:
    """The files and folders named: by themselves, by the lines of stdin, by lists; nothing is opened but the lists."""
    for name in _with_stdin(inputs):
        if name.lower().endswith(".csv"):
            yield from _listed(Path(name))
        else:
            yield Asked(name, Path(name))


def asked_files(inputs: Iterable[str], endings: Collection[str], what: str) -> Iterator[Asked[Path]]:
    """The files named, folders opened for those in them that end so; `what` they are is for messages: an image.

    Raises:
        UserError: nothing is named; a folder has no such file; a list has no column `path`, or names what is not there.
    """
    found = False
    for asked in asked_paths(inputs):
        if asked.value.is_dir():
            for file in files_below(asked.value, endings, what):
                yield Asked(str(file), file, asked.own)
        else:
            yield asked
        found = True
    if not found:
        raise UserError(f"no {what} is named", expected="files, folders, lists, or a line each on stdin")


def is_folder(text: str) -> bool:
    """Whether what was given is the name of a folder: a text or a row may be longer than a name can be."""
    try:
        return bool(text) and Path(text).is_dir()
    except (OSError, ValueError):
        return False


def files_below(folder: Path, endings: Collection[str], what: str) -> list[Path]:
    """The files in a folder, and in those in it, that end so, sorted; UserError where there is none."""
    found = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in endings
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not file.is_dir()
    )
    if not found:
        raise UserError(
            f"the folder holds no {what}", where=folder, expected="files ending in " + " ".join(sorted(endings))
        )
    return found


def is_list(file: Path, columns: Collection[str] = ()) -> bool:
    """Whether a CSV is a list of files: it has a column `path`, which is none of the columns that are asked for."""
    with file.open("rb") as stream:
        _, header = next(_cells(_decoded(stream, str(file)), str(file)), (0, []))
    names = [name.strip() for name in header]
    return PATH_COLUMN in names and PATH_COLUMN not in columns


def _listed(file: Path) -> Iterator[Asked[Path]]:
    for lines in table_lines(file):
        if PATH_COLUMN not in lines.header:
            raise UserError(
                "the list has no column of files",
                where=file,
                expected=f"a column named {PATH_COLUMN}",
                found=", ".join(lines.header[:10]),
            )
        at = lines.header.index(PATH_COLUMN)
        for index, row in enumerate(lines.rows):
            path = file.parent / row[at].strip()
            if not row[at].strip() or not path.exists():
                raise UserError(
                    "there is no such file", where=lines.name(index), expected="a path below the folder of the list",
                    found=row[at] or "an empty cell",
                )  # fmt: skip
            yield Asked(str(path), path, lines.own(index))


# -- tables -----------------------------------------------------------------------------------------------------------

MOST_LINES = 4096  # of a table that are in memory at a time


def table_lines(file: Path) -> Iterator[Lines]:
    """The lines of a CSV that has a line of column names, part by part; UserError names file and line."""
    if not file.is_file():
        raise UserError("there is no such file", where=file, expected="a .csv")
    try:
        with file.open("rb") as stream:
            yield from _parts(_cells(_decoded(stream, str(file)), str(file)), str(file), None)
    except OSError as error:
        raise UserError("the table cannot be read", where=file, found=error.strerror) from None


def stdin_table(columns: list[str], needed: Collection[str]) -> Iterator[Lines]:
    """Rows on stdin: a CSV whose first line has the needed names, or without one the `columns` in their order."""
    cells = _cells(_stdin(), "stdin")
    first = next(cells, None)
    if first is None:
        raise UserError("there is nothing on stdin", expected="rows, a line each")
    names = {name.strip() for name in first[1]}
    whole = chain([first], cells)
    yield from _parts(whole, "stdin", None if names >= set(needed) or len(first[1]) != len(columns) else columns)


def _parts(cells: Iterator[tuple[int, list[str]]], where: str, header: list[str] | None) -> Iterator[Lines]:
    number, found = 0, False
    if header is None:
        number, first = next(cells, (0, []))
        header = [name.strip() for name in first]
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise UserError("two columns have one name", where=f"{where}, line {number}", found=repr(twice))
    for part in chunks(cells, MOST_LINES):
        found = True
        for line, row in part:
            if len(row) != len(header):
                raise UserError(
                    "a line has another number of columns than the header" if number else "a row has the wrong number of values",
                    where=f"{where}, line {line}",
                    expected=len(header),
                    found=len(row),
                )  # fmt: skip
        yield Lines(header, [row for _, row in part], [line for line, _ in part], where)
    if not found:
        raise UserError("the table is empty", where=where, expected="a line of column names, then a line each")


def _cells(lines: Iterator[tuple[int, str]], where: str) -> Iterator[tuple[int, list[str]]]:
    """Each row of a CSV and the line that it ends on; empty lines are skipped.

    Fields are separated by whichever of comma, semicolon and tab the first line has most of.
    """
    first = next(lines, None)
    if first is None:
        return
    at = [first[0]]

    def counted() -> Iterator[str]:
        for at[0], line in chain([first], lines):
            yield line

    reader = csv.reader(counted(), delimiter=max(",;\t", key=first[1].count), strict=True)
    try:
        for row in reader:
            if row:
                yield at[0], row
    except csv.Error as error:
        raise UserError("a line is no CSV", where=f"{where}, line {at[0]}", found=error) from None


# -- texts ------------------------------------------------------------------------------------------------------------

TEXT_COLUMN = "text"


def stdin_texts() -> Iterator[Asked[str]]:
    """Texts on stdin, a line each; a CSV where the first line is one of column names with `text` among them."""
    lines = _stdin()
    first = next(lines, None)
    if first is None:
        raise UserError("there is nothing on stdin", expected="texts, a line each")
    header = next(_cells(iter([first]), "stdin"), (0, []))[1]
    if TEXT_COLUMN in header and all(name.isidentifier() for name in header):
        for part in _parts(_cells(chain([first], lines), "stdin"), "stdin", None):
            yield from texts_of(part)
        return
    for _, line in chain([first], lines):
        text = line.rstrip("\r\n")
        if text.strip():
            yield Asked(text, text)


def texts_of(lines: Lines) -> Iterator[Asked[str]]:
    """The texts of a table with a column `text`."""
    if TEXT_COLUMN not in lines.header:
        raise UserError(
            "the table has no column of texts",
            where=lines.where,
            expected="a column named text",
            found=", ".join(lines.header[:10]),
        )
    at = lines.header.index(TEXT_COLUMN)
    for index, row in enumerate(lines.rows):
        if not row[at].strip():
            raise UserError("a text is empty", where=lines.name(index), expected="words")
        yield Asked(lines.name(index), row[at], lines.own(index))


# -- stdin ------------------------------------------------------------------------------------------------------------


def stdin_lines() -> Iterator[str]:
    """What stdin has, a line each, empty ones left out."""
    for _, line in _stdin():
        if line.strip():
            yield line.rstrip("\r\n")


def _with_stdin(inputs: Iterable[str]) -> Iterator[str]:
    for name in inputs:
        if name == STDIN:
            yield from (line for line in stdin_lines() if line != STDIN)
        else:
            yield name


def _stdin() -> Iterator[tuple[int, str]]:
    return _decoded(getattr(sys.stdin, "buffer", sys.stdin), "stdin")


def _decoded(stream: Iterable[bytes | str], where: str) -> Iterator[tuple[int, str]]:
    """Numbered lines in UTF-8, without the byte-order mark; UserError names the first that is not UTF-8."""
    for number, line in enumerate(stream, 1):
        try:
            text = line if isinstance(line, str) else line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                "a line is not UTF-8", where=f"{where}, line {number}", expected="text in UTF-8", found=error.reason
            ) from None
        yield number, text.removeprefix("\ufeff") if number == 1 else text
