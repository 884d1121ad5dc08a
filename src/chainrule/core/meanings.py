"""What a setting means, in a sentence, in English and in Chinese: from the settings.toml files of the rooms.

A family's file lies in its room and may say of one recipe alone (`"resnet20.depth"`) or of a verb's option
(`"predict.top"`) what it means; names that two families or more use are in `core/settings.toml`, those that every recipe has
in `run/settings.toml`.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Literal

from chainrule.core.discovery import reading_options
from chainrule.core.recipe import Recipe

Language = Literal["en", "zh"]
_PACKAGE = Path(__file__).parents[1]


def meaning_of(recipe: Recipe, setting: str, language: Language = "en", *, verb: str = "") -> str:
    """What a setting of a recipe means, or an option of one of its verbs; empty where nobody says it.

    >>> from chainrule.core.discovery import all_recipes
    >>> recipe = all_recipes()["resnet20"]
    >>> meaning_of(recipe, "batch_size"), meaning_of(recipe, "log_every", "zh")
    ('how many samples an update of the weights is computed from', '每隔多少步在 metrics.jsonl 写一行')
    """
    family = _said(f"systems/{recipe.family.replace('-', '_')}")
    shared, common = _said("core"), _said("run")
    names = (f"{verb}.{setting}",) if verb else (f"{recipe.name}.{setting}", setting)
    for name in names:
        for place in (family, shared, common):
            if name in place:
                return place[name].get(language, "")
    for option in reading_options(recipe).values() if verb else ():
        if option.name == setting:  # how its data are read: the record of the kind of data says it
            return option.text if language == "en" else option.text_zh
    return ""


@functools.cache
def _said(room: str) -> dict[str, dict[str, str]]:
    file = _PACKAGE / room / "settings.toml"
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


def names_in(room: str) -> set[str]:
    """What the file of a room explains, for the test that it explains nothing that is no more."""
    return set(_said(room))
