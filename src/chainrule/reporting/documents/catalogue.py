"""The catalogue of recipes, and README's table of families."""

from __future__ import annotations

from collections.abc import Mapping

from chainrule.core.recipe import Recipe
from chainrule.reporting.documents.families import Room, rooms, verbs
from chainrule.reporting.documents.topics import title_of
from chainrule.reporting.documents.words import ENGLISH, Language
from chainrule.reporting.ledger_page import Row


def recipes_page(language: Language) -> str:
    """Every recipe, a table a family."""
    lines = [f"# {language.recipes_title}", "", language.other.format("recipes"), "", language.generated, ""]
    lines += [language.recipes_text]
    for room in rooms():
        lines += ["", f"## {title_of(room, language)}", "", *recipe_table(room.recipes, language)]
    return "\n".join(lines) + "\n"


def recipe_table(recipes: tuple[Recipe, ...], language: Language) -> list[str]:
    """The rows of a table of recipes: the command, what it is, its data, the verbs that a run answers."""
    lines = [language.recipes_header, "| --- | --- | --- | --- |"]
    for recipe in recipes:
        summary = recipe.summary if language is ENGLISH else recipe.summary_zh or recipe.summary
        can = language.comma.join(verbs(recipe)) or "-"
        lines.append(f"| `chainrule train {recipe.name}` | {summary} | {recipe.data} | {can} |")
    return lines


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
