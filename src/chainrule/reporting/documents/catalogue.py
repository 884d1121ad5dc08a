"""The catalogue of recipes, and README's table of families."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from chainrule.core.discovery import how_to_get
from chainrule.core.recipe import Recipe
from chainrule.core.settings import parameters
from chainrule.reporting.documents.families import Room, rooms, verbs
from chainrule.reporting.documents.topics import title_of
from chainrule.reporting.documents.words import ENGLISH, Language
from chainrule.reporting.ledger_page import Row
from chainrule.reporting.page import duration


def recipes_page(language: Language, rows: Mapping[str, list[Row]]) -> str:
    """Every recipe, a table a family, with the time that it takes from the family's rows of the ledger."""
    lines = [f"# {language.recipes_title}", "", language.other.format("recipes"), "", language.generated, ""]
    lines += [language.recipes_text]
    for room in rooms():
        lines += [
            "",
            f"## {title_of(room, language)}",
            "",
            *recipe_table(room.recipes, language, rows.get(room.name, [])),
        ]
    return "\n".join(lines) + "\n"


def recipe_table(recipes: tuple[Recipe, ...], language: Language, rows: list[Row]) -> list[str]:
    """The rows of a table of recipes: the command, what it is, its data, how long it takes, the verbs that a run answers."""
    lines = [language.recipes_header, "| --- | --- | --- | --- | --- |"]
    for recipe in recipes:
        summary = recipe.summary if language is ENGLISH else recipe.summary_zh or recipe.summary
        can = language.comma.join(verbs(recipe)) or "-"
        mark = {"download": language.download, "by hand": language.by_hand}.get(how_to_get().get(recipe.data, ""))
        data = f"{recipe.data} ({mark})" if mark else recipe.data
        time = time_of(recipe, rows)
        lines.append(f"| `chainrule train {recipe.name}` | {summary} | {data} | {time} | {can} |")
    return lines


def time_of(recipe: Recipe, rows: list[Row]) -> str:
    """How long a training with the defaults took on a CPU, in words; a dash where the ledger has none."""
    settings = {name: _plain(p.default) for name, p in parameters(recipe.build).items()}
    seconds = [
        entry["seconds"]
        for row in rows
        for entry in row.entries
        if entry["recipe"] == recipe.name and entry["data"] == recipe.data and entry.get("device") == "cpu"
        if all(
            _plain(entry["settings"][name]) == default
            for name, default in settings.items()
            if name in entry["settings"]
        )
    ]
    return duration(float(f"{statistics.median(seconds):.2g}")) if seconds else "-"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def families_table(rows: Mapping[str, list[Row]], language: Language) -> list[str]:
    """A row a family: its page, a command, and its best figure."""
    lines = [language.families_header, "| --- | --- | --- |"]
    for room in rooms():
        if room.recipes:
            link = f"[{title_of(room, language)}](docs/{room.page})"
            first = room.record.best or room.recipes[0].name
            figure = best_figure(room, rows.get(room.name, []), language)
            lines.append(f"| {link} | `chainrule train {first}` | {figure} |")
    return lines


def best_figure(room: Room, rows: list[Row], language: Language) -> str:
    """The figure of the recipe that stands for the family: on the data of its target, with that beside it."""
    mine = sorted((row for row in rows if row.recipe == room.record.best), key=lambda row: row.published is None)
    if not mine:
        return "-"
    row = mine[0]
    metric = room.record.metric or row.shown[0]
    figure = f"{row.data}: {metric} {row.figure(metric)}"
    return f"{figure} ({language.published} {row.published.value:g})" if row.published else figure
