"""Answers in a file, a line each: JSON lines, or a CSV that a spreadsheet opens. It is there complete or not at all."""

from __future__ import annotations

import contextlib
import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from chainrule.core.answers import completed, flat
from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.core.files.finite_json import to_json, with_reasons

SUFFIXES = (".csv", ".jsonl")
OTHERS = (".txt", ".json", ".tsv", ".xlsx", ".xls", ".parquet", ".gz", ".zip", ".html", ".npz")  # files, but not ours
Write = Callable[[Mapping[str, Any]], None]


def place_of_answers(out: str | Path | None, *, makes_files: bool) -> Path | None:
    """The file that `--out` means the answers to be written in; None where it is a folder, for images that a run makes.

    It ends in .csv or .jsonl. A folder that is there gets answers.csv, but of a run that makes images these.

    Args:
        out: what was named.
        makes_files: whether the run's answers are files themselves.

    Raises:
        UserError: it ends in another way.
    """
    if out is None:
        return None
    place = Path(out)
    if place.is_dir():
        return None if makes_files else place / "answers.csv"
    suffix = place.suffix.lower()
    if suffix in SUFFIXES or (makes_files and suffix not in OTHERS):
        return place if suffix in SUFFIXES else None
    raise UserError(
        "answers are not written in this form",
        where=out,
        expected="a file ending in .csv or .jsonl" + (", or a folder for images" if makes_files else ""),
        cure=f"--out {place.with_suffix('.csv') if suffix in OTHERS else f'{place}.csv'}",
    )


@contextlib.contextmanager
def answer_file(file: Path) -> Iterator[Write]:
    """A file of answers, .csv or .jsonl; what is given writes one. It replaces an old file when all are written.

    A CSV is in UTF-8, with a byte-order mark where something in it is not ASCII, so that a spreadsheet reads Chinese.
    Nested answers are flat there, as `chainrule.core.answers.flat` has them; its columns are those that any answer has.
    Of a classifier all classes are there with their probability or score. For a number that is NaN or infinite a CSV has
    an empty cell, JSON null; which it was stands beside.
    """
    with atomic.explain_os_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with atomic.new_file(file) as handle:
        if file.suffix.lower() == ".jsonl":
            yield lambda answer: _write(handle, to_json(completed(answer)) + "\n", file)
            return
        # The columns are known when the last answer is: until then the answers lie in a file without a name.
        with atomic.explain_os_errors(file):
            kept = tempfile.TemporaryFile("w+", encoding="utf-8", dir=file.parent)  # noqa: SIM115
        with kept:
            columns, seen, ascii_only = list[str](), set[tuple[str, ...]](), [True]

            def write(answer: Mapping[str, Any]) -> None:
                row = flat(with_reasons(flat(completed(answer))))
                if (names := tuple(row)) not in seen:
                    seen.add(names)
                    merge_columns(columns, names)
                line = to_json(row) + "\n"
                ascii_only[0] = ascii_only[0] and line.isascii()
                _write(kept, line, file)

            yield write
            with atomic.explain_os_errors(file):
                kept.seek(0)
                handle.write("" if ascii_only[0] else "\ufeff")
                writer = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(map(json.loads, kept))


def _write(handle: IO[str], line: str, file: Path) -> None:
    with atomic.explain_os_errors(file):
        handle.write(line)


def merge_columns(columns: list[str], names: Iterable[str]) -> None:
    """Adds the names that are not among the columns, each behind the one that it follows.

    >>> columns = ["input", "top_1", "known"]
    >>> merge_columns(columns, ["input", "top_1", "top_2", "known"])
    >>> columns
    ['input', 'top_1', 'top_2', 'known']
    """
    place = 0
    for name in names:
        if name in columns:
            place = columns.index(name) + 1
        else:
            columns.insert(place, name)
            place += 1
