"""All generated documents: what each should hold, which are not up to date, and writing them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.core.files import atomic
from chainrule.reporting.documents.catalogue import families_table, recipes_page
from chainrule.reporting.documents.curves import CURVES, curve_of
from chainrule.reporting.documents.families import ledger_rows, rooms
from chainrule.reporting.documents.forms import forms_table
from chainrule.reporting.documents.pages import family_page
from chainrule.reporting.documents.settings_page import settings_page
from chainrule.reporting.documents.topics import index_page
from chainrule.reporting.documents.words import LANGUAGES
from chainrule.reporting.ledger import read_entries
from chainrule.reporting.ledger_page import render

PAGES = "docs/families"


def documents(root: Path) -> dict[str, str]:
    """The text of every generated document by its path in the repository. Of a page that is written by hand
    (README, docs/architecture.md, docs/using.md) a table alone is made."""
    rows = ledger_rows(root)
    made = {"docs/results.md": render(read_entries(root / "docs" / "results"))}
    for language in LANGUAGES:
        made[f"docs/recipes{language.ending}"] = recipes_page(language, rows)
        made[f"docs/index{language.ending}"] = index_page(language)
        made[f"docs/settings{language.ending}"] = settings_page(language)
        readme = (root / f"README{language.ending}").read_text("utf-8")
        made[f"README{language.ending}"] = filled(readme, "families", families_table(rows, language))
        using = root / "docs" / f"using{language.ending}"
        if using.is_file():
            made[f"docs/using{language.ending}"] = filled(using.read_text("utf-8"), "forms", forms_table(language))
    plan = root / "docs" / "rooms.toml"
    if plan.is_file():
        page = (root / "docs" / "architecture.md").read_text("utf-8")
        made["docs/architecture.md"] = filled(page, "rooms", rooms_table(tomllib.loads(plan.read_text("utf-8"))))
    for room in rooms():
        made[f"docs/{room.page}"] = family_page(room, rows.get(room.name, []))
        for curve in filter(None, map(curve_of, rows.get(room.name, []))):
            made[f"{PAGES}/{CURVES}/{curve.file}"] = curve.svg
    return made


def filled(text: str, name: str, lines: Sequence[str]) -> str:
    """A page with these lines between its marks `<!-- name -->` and `<!-- end of name -->`; as it is, without marks.

    >>> filled("a <!-- t --> old <!-- end of t --> b", "t", ["new"])
    'a <!-- t -->\\nnew\\n<!-- end of t --> b'
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    return "\n".join([before + begin, *lines, end + rest.partition(end)[2]]) if end in rest else text


def rooms_table(plan: Mapping[str, Any]) -> list[str]:
    """The rooms of the package and their levels, from docs/rooms.toml."""
    rows = [f"| {room['level']} | `{room['name']}` | {room['holds']} |" for room in plan["room"]]
    return ["| level | room | holds |", "| ---: | --- | --- |", *rows]


def stale(root: Path, made: Mapping[str, str]) -> list[str]:
    """The paths of documents that do not hold what they should, and of pages that nothing makes any more."""
    old = [path for path, text in made.items() if not _holds(root / path, text)]
    return sorted([*old, *(path for path in _pages(root) if path not in made)])


def write(root: Path, made: Mapping[str, str]) -> None:
    """Writes what is not up to date, and deletes pages that nothing makes any more."""
    for path in stale(root, made):
        if path in made:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            atomic.write_text(root / path, made[path])
        else:
            (root / path).unlink()


def _pages(root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in (root / PAGES).rglob("*") if file.is_file()]


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text("utf-8") == text
