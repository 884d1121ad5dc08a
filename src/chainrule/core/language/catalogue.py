"""The catalogue of translations: files in gettext's form, `.po`, of this package; they are read as they are, uncompiled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "zh"
_HEADER = 'msgid ""\nmsgstr ""\n"Language: zh_CN\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'


def catalogue_files() -> list[Path]:
    return sorted(FOLDER.glob("*.po"))


def read_catalogue() -> dict[str, str]:
    """Chinese by English, of what is translated."""
    found: dict[str, str] = {}
    for file in catalogue_files():
        found |= {msgid: msgstr for msgid, msgstr in entries(file.read_text("utf-8")) if msgid and msgstr}
    return found


def entries(text: str) -> Iterator[tuple[str, str]]:
    """The (msgid, msgstr) of a file's text.

    >>> list(entries('# a comment\\nmsgid "a "\\n"b"\\nmsgstr "c"\\n'))
    [('a b', 'c')]
    """
    parts = ["", ""]
    at = 0
    for line in (*text.splitlines(), 'msgid ""'):
        key, quote, rest = line.partition('"')
        if not quote or line.startswith("#"):
            continue
        if key.strip() == "msgid":
            if at:
                yield parts[0], parts[1]
            parts, at = ["", ""], 0
        elif key.strip() == "msgstr":
            at = 1
        parts[at] += json.loads(quote + rest)


def catalogue_text(pairs: Iterable[tuple[str, str]] | Mapping[str, str]) -> str:
    """The text of a file with these entries.

    >>> list(entries(catalogue_text({"a\\n": 'b "c"'})))[1:]
    [('a\\n', 'b "c"')]
    """
    rows = pairs.items() if isinstance(pairs, Mapping) else pairs
    quoted = (f"\nmsgid {_quoted(msgid)}\nmsgstr {_quoted(msgstr)}\n" for msgid, msgstr in rows)
    return _HEADER + "".join(quoted)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
