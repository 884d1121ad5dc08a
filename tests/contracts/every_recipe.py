"""Each recipe trained once a session on its `tiny` settings, and what its task is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule.core.discovery import all_kinds, all_recipes
from chainrule.core.recipe import Recipe

RECIPES = all_recipes()
QUICK = ("unet",)  # stands for the others of its kind, though another's name comes first: it costs a fifth
_TRAINED: dict[str, Path] = {}


def first_of_each(key: Callable[[Recipe], Hashable]) -> list[str]:
    """The names of the recipes that come first with their key: they stand for the others that share it."""
    order = sorted(RECIPES.values(), key=lambda recipe: recipe.name not in QUICK)
    return list({key(recipe): recipe.name for recipe in reversed(order)}.values())


def task_class(recipe: Recipe) -> str:
    """The name of the class of what it builds; test_recipes.py holds that it builds no other."""
    return recipe.build.__annotations__["return"]


def trained(recipe: Recipe, factory: pytest.TempPathFactory) -> Path:
    """The folder of its run. Look, do not write into it."""
    if recipe.name not in _TRAINED:
        folder = factory.mktemp("recipes") / recipe.name
        chainrule.train(recipe.name, out=folder, device="cpu", seed=3, **recipe.tiny)
        _TRAINED[recipe.name] = folder
    return _TRAINED[recipe.name]


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text("utf-8"))


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text("utf-8"))


def question(recipe: Recipe, folder: Path, place: Path) -> str:
    """An input that a run of the recipe answers, as the kind of its data has it."""
    return all_kinds()[recipe.kinds[0]].ask(record(folder)["data"]["spec"], place)


def listed(asked: str, spec: dict[str, Any], place: Path) -> str:
    """A CSV with a column `mine` that asks `question`'s question twice: of files a list, else lines of a table."""
    file = place / "listed.csv"
    if "size" in spec or "lags" in spec or "colours" in spec:
        if "lags" in spec:
            (place / "question.csv").write_text(f"{spec['target']}\n" + asked.replace(",", "\n") + "\n", "utf-8")
        header, line = "path", "question.csv" if "lags" in spec else Path(asked).name
    elif "columns" in spec:
        header, line = Path(asked).read_text("utf-8").splitlines()
    elif "obs_size" in spec:
        header, line = ",".join(f"obs_{i}" for i in range(spec["obs_size"])), asked
    else:
        header, line = "text", f'"{asked}"'
    file.write_text("".join(f"{one}\n" for one in (f"mine,{header}", f"a,{line}", f"b,{line}")), "utf-8")
    return str(file)
