"""Text: characters, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.core.errors import UserError
from chainrule.data.formats.content import texts_among
from chainrule.data.given.inputs import texts_given
from chainrule.data.layout import Layout
from chainrule.data.text.characters import TextSpec, read_texts, remarks

_ENDINGS = (".txt", ".text", ".md", "")


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A text file by its ending, or a folder with .txt files. Any file is read as text where it is asked for."""
    if layout.form == "folder":
        texts = texts_among(layout.endings)
        return Match(f"{texts} text files") if texts else Miss()
    if layout.form == "file" and layout.train.suffix.lower() in _ENDINGS:
        return Match("a text file")
    return Miss("a file ending in .txt, .text or .md", readable=layout.form in ("file", "csv"))


def _read(layout: Layout, target: str | None) -> dict[str, str]:
    return read_texts(layout)[1]


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """The whole text read; its characters and lines."""
    where, texts = read_texts(layout)
    distinct = sorted(set().union(*texts.values()))
    if len(distinct) < 2:
        raise UserError("the text has only one distinct character", where=where, found=repr(distinct[0]))
    made = {} if "test" in texts else {"test": "the last 10 %"}
    made |= {} if "val" in texts else {"val": "the 5 % before the test split"}
    return {
        "kind": "text",
        "where": where,
        "found": {name: len(text) for name, text in texts.items()},
        "made": made or "none",
        "characters": len(distinct),
        "lines": sum(text.count("\n") for text in texts.values()),
        "first line": texts["train"].strip().partition("\n")[0][:80],
        **({"notes": notes} if (notes := remarks(layout)) else {}),
    }


def example(folder: Path) -> str:
    """A text of two thousand characters, one file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 50, "utf-8")
    return str(folder / "text.txt")


def ask(spec: Mapping[str, Any], folder: Path) -> str:
    """Letters of the vocabulary."""
    return "".join(character for character in spec["vocabulary"] if character.isalpha())[:9]


TEXT = Kind(
    name="text",
    noun="a text",
    spec=TextSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
    given=texts_given,
    describe=(
        Row(
            "text",
            "a text file, or a folder with `train.txt`, `val.txt`, `test.txt`",
            "文本",
            "一个文本文件，或含 `train.txt`、`val.txt`、`test.txt` 的文件夹",
        ),
    ),
)
