"""Answers in a file, a line each: JSON lines, or a CSV that a spreadsheet opens. It is there complete or not at all."""

from __future__ import annotations

import contextlib
import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from chainrule.core import atomic
from chainrule.core.answers import flat
from chainrule.core.errors import UserError

SUFFIXES = (".csv", ".jsonl")
OTHERS = (".txt", ".json", ".tsv", ".xlsx", ".xls", ".parquet", ".gz", ".zip", ".html", ".npz")  # files, but not ours
Write = Callable[[Mapping[str, Any]], None]


def is_answer_file(out: str | Path | None) -> bool:
    """Whether `--out` names a file of answers: it ends in .csv or .jsonl. Else it is a folder, for images.

    Raises:
        UserError: it ends as a file of another form.
    """
    if out is None or Path(out).is_dir():
        return False
    suffix = Path(out).suffix.lower()
    if suffix in OTHERS:
        raise UserError(
            "answers are not written in this form",
            where=out,
            expected="a file ending in .csv or .jsonl, or a folder for what is no text",
            cure=f"--out {Path(out).with_suffix('.csv')}",
        )
    return suffix in SUFFIXES


@contextlib.contextmanager
def answer_file(file: Path) -> Iterator[Write]:
    """A file of answers, .csv or .jsonl; what is given writes one. It replaces an old file when all are written.

    A CSV is in UTF-8, with a byte-order mark where something in it is not ASCII, so that a spreadsheet reads Chinese.
    Nested answers are flat there, as `chainrule.core.answers.flat` has them; its columns are those that any answer has.
    """
    with atomic.explain_os_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with atomic.new_file(file) as handle:
        if file.suffix.lower() == ".jsonl":
            yield lambda answer: _write(handle, _json(answer), file)
            return
        # The columns are known when the last answer is: until then the answers lie in a file without a name.
        with atomic.explain_os_errors(file):
            kept = tempfile.TemporaryFile("w+", encoding="utf-8", dir=file.parent)  # noqa: SIM115
        with kept:
            columns, seen, ascii_only = list[str](), set[tuple[str, ...]](), [True]

            def write(answer: Mapping[str, Any]) -> None:
                row = flat(answer)
                if (names := tuple(row)) not in seen:
                    seen.add(names)
                    merge_columns(columns, names)
                line = _json(row)
                ascii_only[0] = ascii_only[0] and line.isascii()
                _write(kept, line, file)

            yield write
            with atomic.explain_os_errors(file):
                kept.seek(0)
                handle.write("" if ascii_only[0] else "\ufeff")
                writer = csv.DictWriter(handle, columns, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(map(json.loads, kept))


def _json(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False) + "\n"


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
