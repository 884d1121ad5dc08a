"""The page of settings: what each setting of each recipe means, its default, and what it may be."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from chainrule.core.language.settings import in_chinese
from chainrule.core.meanings import meaning_of
from chainrule.core.recipe import Recipe
from chainrule.core.settings import describe, parameters, shown_default
from chainrule.reporting.documents.families import rooms
from chainrule.reporting.documents.topics import title_of
from chainrule.reporting.documents.words import ENGLISH, Language
from chainrule.run.settings import run_settings


def settings_page(language: Language) -> str:
    """The settings that all recipes have, and then those of each, family by family."""
    lines = [f"# {language.settings_title}", "", language.other.format("settings"), "", language.generated, ""]
    lines += [language.settings_text]
    first = True
    for room in rooms():
        for recipe in room.recipes:
            if first:
                lines += ["", f"## {language.every_recipe}", "", *_table(recipe, parameters(run_settings), language)]
                first = False
            if recipe is room.recipes[0]:
                lines += ["", f"## {title_of(room, language)}"]
            lines += ["", f"### {recipe.name}", "", *_table(recipe, parameters(recipe.build), language)]
    return "\n".join(lines) + "\n"


def _table(recipe: Recipe, settings: Mapping[str, inspect.Parameter], language: Language) -> list[str]:
    lines = [language.settings_header, "| --- | --- | --- |"]
    words = "en" if language is ENGLISH else "zh"
    for name, parameter in settings.items():
        meaning = meaning_of(recipe, name, words).replace("|", "\\|")  # type: ignore[arg-type]
        lines.append(f"| `{name}={shown_default(parameter.default)}` | {meaning} | {_may_be(parameter, language)} |")
    return lines


def _may_be(parameter: inspect.Parameter, language: Language) -> str:
    """What it may be, in the page's language."""
    text = describe(parameter.annotation)
    return text if language is ENGLISH else in_chinese(text)
