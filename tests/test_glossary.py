"""The words of CONTRIBUTING.md's glossary, looked for in the code, its messages and the documents."""

from __future__ import annotations

import io
import itertools
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "chainrule"
# Names that users type or that files hold: they stay as they were.
KEPT = {"picture": re.compile(r"""picture_every|["'`]pictures?["'`]|\bpictures\b(?=\s*[:=)`])""")}


def glossary() -> dict[str, str]:
    """What not to say, and what to say for it, from the table in CONTRIBUTING.md."""
    table = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Words")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]
    return {word: row[0] for row in rows[1:] for word in re.findall(r"`([^`]+)`", row[2])}


WORDS = glossary()
NAMES = {word for word in WORDS if "_" in word or word[0].isupper() or word == "play"}  # looked for among definitions


def forbidden(word: str) -> re.Pattern[str]:
    """The word in prose, in either number, and as a part of a name."""
    return re.compile(
        rf"(?<![a-zA-Z]){word.replace(' ', '[ _]')}(s|d)?(?![a-z])|(?<![a-z]){word.title()}(?=[A-Z])", re.I
    )


def lines_with(text: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for word in WORDS.keys() - NAMES:
        pattern, kept = forbidden(word), KEPT.get(word)
        if not pattern.search(text):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(kept.sub("", line) if kept else line):
                found.setdefault(word, []).append(number)
    return found


def rooms() -> dict[str, list[Path]]:
    """The files of the package by room, and the documents."""
    files = [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.j2")]
    parts = {file: file.relative_to(SOURCE).parts for file in files}
    found: dict[str, list[Path]] = {}
    for file, names in parts.items():
        depth = 2 if names[0] in ("systems", "data", "introspection") else 1
        found.setdefault("/".join(names[:depth]) if len(names) > depth else names[0], []).append(file)
    documents = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "benchmarks" / "README.md",
    ]
    return found | {"documents": documents}


ROOMS = rooms()


@pytest.mark.parametrize("room", ROOMS)
def test_words_of_the_field(room: str) -> None:
    wrong = []
    for file in ROOMS[room]:
        text = file.read_text("utf-8")
        if file.name == "CONTRIBUTING.md":
            text = text.partition("## Words")[0] + text.partition("## Words")[2].partition("\n## ")[2]
        for word, numbers in lines_with(text).items():
            wrong += [f"{file.relative_to(ROOT)}:{number} says {word!r}, say {WORDS[word]!r}" for number in numbers]
    assert not wrong, "\n".join(sorted(wrong))


def test_names_of_the_field() -> None:
    wrong = []
    for file in SOURCE.rglob("*.py"):
        tokens = list(tokenize.generate_tokens(io.StringIO(file.read_text("utf-8")).readline))
        defined = [(b.string, b.start[0]) for a, b in itertools.pairwise(tokens) if a.string in ("def", "class")]
        wrong += [
            f"{file.relative_to(SOURCE)}:{line} defines {name}, say {WORDS[name]!r}"
            for name, line in defined
            if name in NAMES and not (name == "play" and file.name != "loop.py") and name != "open_system"
        ]
    assert not wrong, "\n".join(wrong)


def test_the_glossary_finds_what_it_forbids() -> None:
    assert lines_with("a picture\nload_pictures\nPictureMaker\nan image") == {"picture": [1, 2, 3]}
    assert lines_with('spec["picture"] picture_every=3\nthe run goes on\nmind the gap\n') == {"goes on": [2]}
