"""The texts that `predict` was asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError
from chainrule.data.formats.content import is_text
from chainrule.data.inputs import (
    PATH_COLUMN,
    STDIN,
    Asked,
    InMemory,
    asked_files,
    files_below,
    is_folder,
    stdin_texts,
    table_parts,
    texts_of,
)
from chainrule.data.tables.formats.table_files import is_table_file, table_ending
from chainrule.data.tables.names import text_among
from chainrule.data.text.characters import read_file

ENDINGS = (".txt",)
AS_IN_TRAINING: Mapping[str, Any] = {}


def asked_texts(
    inputs: Iterable[str], options: Mapping[str, Any] = AS_IN_TRAINING, *, any_file: bool = False
) -> Iterator[Asked[str]]:
    """The user's own texts, and what an answer calls each; `options` are settings of the reading.

    A .txt file is one text (`any_file`: so is every other), a folder the .txt files in it, a table with a column `text`
    one a row, a table with a column `path` instead a list of such files, `-` one a line of stdin; the rest are texts.

    Raises:
        UserError: such a file is not there or not UTF-8; a CSV has neither column.
    """
    for given in inputs:
        if isinstance(given, InMemory):
            yield from texts_of(given.value)
            continue
        name = given if len(given) < 1000 and "\n" not in given and "\0" not in given else ""
        path = Path(name)
        text, table = path.suffix.lower() in ENDINGS, table_ending(path) is not None
        here = (text or table) and (_is_a_file(path) or is_folder(name) or is_table_file(path))
        if given == STDIN:
            yield from stdin_texts(options.get("encoding"), options.get("text"))
        elif (text or table) and not any(c.isspace() for c in name) and not here:
            raise UserError("there is no such file", where=name, expected="a .txt, a .csv, or a text")
        elif is_folder(name):
            yield from (Asked(str(file), read_file(file)) for file in files_below(path, ENDINGS, "text"))
        elif table and here:
            yield from _in_table(path, options)
        elif name and (text or any_file) and _is_a_file(path):
            yield Asked(given, read_file(path))
        elif name and path.suffix and not any(c.isspace() for c in name) and _is_a_file(path):
            if not is_text(path):
                raise UserError(
                    "this file is no text",
                    where=path,
                    expected="a .txt, a table, or a text",
                    cure="rename it to .txt where it holds text",
                )
            yield Asked(given, read_file(path))
        else:
            yield Asked(given, given)


def _is_a_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text may be longer than a name can be
        return False


def _in_table(place: Path, options: Mapping[str, Any]) -> Iterator[Asked[str]]:
    for cells in table_parts(place, options.get("encoding")):
        column = options.get("text") if options.get("text") in cells.header else text_among(cells)
        if column is None and PATH_COLUMN in cells.header:
            yield from (Asked(a.name, read_file(a.value), a.own) for a in asked_files([str(place)], ENDINGS, "text"))
            return
        yield from texts_of(cells, column)
