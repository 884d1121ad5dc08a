"""Every setting of every recipe is explained, in English and in Chinese, and its choices are named."""

from __future__ import annotations

from pathlib import Path

import pytest

import chainrule
from chainrule.core.discovery import all_recipes
from chainrule.core.meanings import meaning_of, names_in
from chainrule.core.recipe import Recipe
from chainrule.core.settings import parameters
from chainrule.core.verbs import verb_options, verbs_of
from chainrule.functional.activations import ACTIVATIONS
from chainrule.optim.initialisers import NAMES
from chainrule.run.settings import run_settings

RECIPES = all_recipes()


def words(recipe: Recipe) -> list[tuple[str, str]]:
    """The settings of a recipe, and the options of its verbs, with the verb."""
    options = [(name, verb) for verb in verbs_of(recipe) for name in verb_options(recipe, verb)]
    return [(name, "") for name in parameters(recipe.build, run_settings)] + options


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_setting_is_without_a_sentence(language: str) -> None:
    bare = [
        f"{recipe.name}: {verb} {name}"
        for recipe in RECIPES.values()
        for name, verb in words(recipe)
        if len(meaning_of(recipe, name, language, verb=verb)) < 3  # type: ignore[arg-type]
    ]
    assert not bare, f"a sentence in settings.toml of the family's room, or of core: {bare}"


def test_nothing_is_explained_that_is_no_more() -> None:
    root = Path(str(chainrule.__file__)).parent
    everywhere = {name for recipe in RECIPES.values() for name, _ in words(recipe)}
    for file in root.rglob("settings.toml"):
        room = file.parent.relative_to(root).as_posix()
        family = [r for r in RECIPES.values() if f"systems/{r.family.replace('-', '_')}" == room]
        known = (
            {f"{verb}.{name}" if verb else name for r in family for name, verb in words(r)} if family else everywhere
        )
        known |= {f"{r.name}.{name}" for r in family for name, _ in words(r)}
        known |= {f"{verb}.{name}" for r in RECIPES.values() for name, verb in words(r) if verb and not family}
        assert names_in(room) <= known, f"{room}: {names_in(room) - known}"


def test_what_a_word_may_be_is_named() -> None:
    """Choices that are no types: activations that let a gradient pass, starts."""
    for recipe in (RECIPES["mlp"], RECIPES["playground"]):
        told = meaning_of(recipe, "activation")
        assert all(name in told for name in ACTIVATIONS.keys() - {"step", "sign"})
        assert all(name in meaning_of(recipe, "init") for name in NAMES.keys() - {"bilinear"})
    for name in ("dream", "style", "image-classifier"):
        assert "chainrule show networks" in meaning_of(RECIPES[name], "network")
