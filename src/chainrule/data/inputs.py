"""What `predict` was asked about: files, folders, names and data on stdin, lists in a CSV; for every kind of data.

    FILE              one input, or one a line where it is a table or a list
    FOLDER            the files in it and below that have the endings of the kind, sorted; hidden ones are left out
    LIST.csv          a table with a column `path`: a file a line, its path below the folder of the list
    -                 stdin, once: a name a line; for rows, series and texts the data themselves a line

What a line of a table has beside the input are columns of the user's own: the answer keeps them (`answer_to`). All of it
is read as it is needed, so that ten million lines take no more memory than ten.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from chainrule.core.answers import flat
from chainrule.core.errors import UserError
from chainrule.core.files.regular_files import expect_regular
from chainrule.core.files.standard_streams import say
from chainrule.data.column_names import FILES, TEXTS, column_called
from chainrule.data.formats.content import IMAGE_FORM, TEXT_FORM, form_of
from chainrule.data.formats.encoding import decoded_lines
from chainrule.data.tables.formats.cells import Cells, unreadable
from chainrule.data.tables.formats.csv_files import cells_of_lines, published, separated
from chainrule.data.tables.formats.table_files import SEPARATED, is_table_file, read_cells, table_ending
from chainrule.data.tables.names import TEXT_COLUMN, text_column

T = TypeVar("T")
STDIN = "-"
PATH_COLUMN = "path"  # of a list of files
NO_COLUMNS: Mapping[str, str] = {}


class InMemory(str):
    """An input that was given in Python, in the place of a name: as text what an answer calls it, and its value."""

    value: Any

    def __new__(cls, name: str, value: Any) -> InMemory:
        found = super().__new__(cls, name)
        found.value = value
        return found


class Asked(NamedTuple, Generic[T]):
    """One input: what the answer calls it, what it is, and the columns of the user's own beside it."""

    name: str
    value: T
    own: Mapping[str, str] = NO_COLUMNS


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last of what is left.

    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    remaining = iter(items)
    while part := list(islice(remaining, size)):
        yield part


def read_in_chunks(
    asked: Iterable[Asked[Any]], size: int, read: Callable[[list[Any]], T]
) -> Iterator[tuple[list[Asked[Any]], T]]:
    """Chunks of inputs, each with what `read` makes of its values.

    Where an input cannot be read, those before it are given first; then its error is raised.

    >>> parts = read_in_chunks([Asked("a", 1), Asked("b", 2)], 10, sum)
    >>> [([one.name for one in part], total) for part, total in parts]
    [(['a', 'b'], 3)]
    """
    for part in chunks(asked, size):
        try:
            found = read([one.value for one in part])
        except UserError:
            before = next((i for i in range(len(part)) if not _is_readable(part[i].value, read)), 0)
            if before:
                yield part[:before], read([one.value for one in part[:before]])
            raise
        yield part, found


def _is_readable(value: Any, read: Callable[[list[Any]], Any]) -> bool:
    try:
        read([value])
    except UserError:
        return False
    return True


def answer_to(asked: Asked[Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with the input's name before it, and the user's own columns after it.

    A column of the user's own that is called as one of the answer's has `given_` before its name.

    >>> answer_to(Asked("a.png", None, {"id": "7", "class": "cat"}), {"class": "dog"})
    {'input': 'a.png', 'class': 'dog', 'id': '7', 'given_class': 'cat'}
    """
    if not asked.own:
        return {"input": asked.name, **answer}
    taken = {"input", *answer, *flat(answer)}
    own = {f"given_{name}" if name in taken else name: cell for name, cell in asked.own.items()}
    return {"input": asked.name, **answer, **own}


# -- files ------------------------------------------------------------------------------------------------------------


def asked_paths(inputs: Iterable[str]) -> Iterator[Asked[Path]]:
    """The files and folders named: by themselves, by the lines of stdin, by lists; nothing is opened but the lists.

    An image that was given in Python stands in the place of its file: a `chainrule.data.images.packed.PackedImage`.
    """
    for name in _with_stdin(inputs):
        path = Path(name)
        if isinstance(name, InMemory):
            yield from _listed(name.value) if isinstance(name.value, Cells) else [Asked(str(name), name.value)]
            continue
        expect_regular(path)
        if table_ending(path) and not is_folder(name):
            yield from (asked for cells in table_parts(path) for asked in _listed(cells))
        else:
            yield Asked(name, path)


def asked_files(inputs: Iterable[str], endings: Collection[str], what: str) -> Iterator[Asked[Path]]:
    """The files named, folders opened for those in them that end so; `what` they are is for messages: an image.

    Raises:
        UserError: nothing is named; a folder has no such file; a list has no column `path`, or names what is not there.
    """
    found = False
    for asked in asked_paths(inputs):
        if isinstance(asked.value, Path) and asked.value.is_dir():
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
    """The files in a folder, and in those in it, that end so, sorted; UserError where there is none.

    Of images and texts also those whose ending says nothing, by what they hold.
    """
    by_content = [form for form, ending in ((IMAGE_FORM, ".png"), (TEXT_FORM, ".txt")) if ending in endings]
    wanted = {*endings, *by_content}
    found = sorted(
        file
        for file in folder.rglob("*")
        if form_of(file) in wanted
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not file.is_dir()
    )
    if not found:
        raise UserError(
            f"the folder holds no {what}", where=folder, expected="files ending in " + " ".join(sorted(endings))
        )
    return found


def is_list(place: Path, columns: Collection[str] = ()) -> bool:
    """Whether a table is a list of files: it has a column `path`, which is none of the columns that are asked for."""
    return is_table_file(place) and PATH_COLUMN in next(table_parts(place)).header and PATH_COLUMN not in columns


def _path_column(cells: Cells) -> str | None:
    """The column of files: `path`, or one with another usual name whose first cell is a file."""
    if PATH_COLUMN in cells.header:
        return PATH_COLUMN
    usual = column_called(FILES, cells.header)
    first = cells.rows[0][cells.header.index(usual)].strip() if usual is not None and cells.rows else ""
    return usual if first and (cells.folder / first).is_file() else None


def _listed(cells: Cells) -> Iterator[Asked[Path]]:
    column = _path_column(cells)
    if column is None:
        raise UserError(
            "the list has no column of files",
            where=cells.origin,
            expected=f"a column named {PATH_COLUMN}",
            found=", ".join(cells.header[:10]),
        )
    at = cells.header.index(column)
    for index, row in enumerate(cells.rows):
        path = cells.folder / row[at].strip()
        expect_regular(path)
        if not row[at].strip() or not path.exists():
            raise UserError(
                "there is no such file",
                where=cells.where(index),
                expected="a path below the folder of the list",
                found=row[at] or "an empty cell",
            )
        yield asked_of(cells, index, path)._replace(name=str(path))


# -- tables -----------------------------------------------------------------------------------------------------------

MOST_LINES = 4096  # of a table that are in memory at a time


def asked_of(cells: Cells, row: int, value: T, used: Collection[str] = ()) -> Asked[T]:
    """A row of a table as an input: called as it stands there; columns that are not used are the user's own."""
    own = {name: cell for name, cell in zip(cells.header, cells.rows[row], strict=True) if name not in used}
    return Asked(cells.where(row), value, own)


def table_parts(place: Path, encoding: str | None = None) -> Iterator[Cells]:
    """A table with column names, some thousand rows at a time; UserError names file and line.

    Lines of a .csv or .tsv are read as they are needed; other forms, as `read_cells` has them, are read whole.
    """
    if place.suffix.lower() in SEPARATED and place.is_file() and not published(place):
        try:
            with place.open("rb") as stream:
                lines = decoded_lines(stream, place, encoding)
                yield from cells_of_lines(lines, str(place), place.parent, most=MOST_LINES)
        except OSError as error:
            raise unreadable(place, error.strerror) from None
    elif not is_table_file(place):
        raise UserError("there is no such file", where=place, expected="a .csv or another table")
    else:
        whole = read_cells(place, encoding)
        for rows, numbers in zip(chunks(whole.rows, MOST_LINES), chunks(whole.lines, MOST_LINES), strict=True):
            yield replace(whole, rows=rows, lines=numbers)


def stdin_table(columns: list[str], needed: Collection[str], encoding: str | None = None) -> Iterator[Cells]:
    """Rows on stdin: a CSV whose first line has the needed names, or without one the `columns` in their order."""
    lines = _stdin(encoding)
    first = next(lines, None)
    if first is None:
        raise UserError("there is nothing on stdin", expected="rows, a line each")
    yield from cells_of_lines(chain([first], lines), "stdin", most=MOST_LINES, known=columns, needed=needed)


# -- texts ------------------------------------------------------------------------------------------------------------


def stdin_texts(encoding: str | None = None, column: str | None = None) -> Iterator[Asked[str]]:
    """Texts on stdin, a line each; a CSV where the first line is one of column names with that of texts among them."""
    lines = _stdin(encoding)
    first = next(lines, None)
    if first is None:
        raise UserError("there is nothing on stdin", expected="texts, a line each")
    header = next(separated(iter([first]), "stdin")[1], (0, []))[1]
    if column is None and len(header) == 1 and header[0] != TEXT_COLUMN and column_called(TEXTS, header):
        say(f"the first line on stdin, {header[0]!r}, is taken for the name of the column of texts")
        column = header[0]
    if ({column, TEXT_COLUMN} & set(header) or (len(header) > 1 and column_called(TEXTS, header))) and all(
        name.isidentifier() for name in header
    ):
        for part in cells_of_lines(chain([first], lines), "stdin", most=MOST_LINES):
            yield from texts_of(part, column)
        return
    for _, line in chain([first], lines):
        text = line.rstrip("\r\n")
        if text.strip():
            yield Asked(text, text)


def texts_of(cells: Cells, column: str | None = None) -> Iterator[Asked[str]]:
    """The texts of a table, in the column named, else in one that is called so."""
    at = cells.header.index(text_column(cells, column))
    for index, row in enumerate(cells.rows):
        if not row[at].strip():
            raise UserError("a text is empty", where=cells.where(index), expected="words")
        yield asked_of(cells, index, row[at])


# -- stdin ------------------------------------------------------------------------------------------------------------


def stdin_lines() -> Iterator[str]:
    """What stdin has, a line each, empty ones left out."""
    for _, line in _stdin():
        if line.strip():
            yield line.rstrip("\r\n")


@contextlib.contextmanager
def stdin_again(inputs: Collection[str]) -> Iterator[None]:
    """While it lasts stdin may be read more than once, where it is among the inputs."""
    if STDIN not in inputs:
        yield
        return
    before, content = sys.stdin, getattr(sys.stdin, "buffer", sys.stdin).read()
    sys.stdin = _Again(content if isinstance(content, bytes) else content.encode())
    try:
        yield
    finally:
        sys.stdin = before


class _Again:
    """A stdin whose content is there anew each time."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def buffer(self) -> io.BytesIO:
        return io.BytesIO(self._content)


def _with_stdin(inputs: Iterable[str]) -> Iterator[str]:
    for name in inputs:
        if name == STDIN:
            yield from (line for line in stdin_lines() if line != STDIN)
        else:
            yield name


def _stdin(encoding: str | None = None) -> Iterator[tuple[int, str]]:
    return decoded_lines(getattr(sys.stdin, "buffer", sys.stdin), "stdin", encoding)
