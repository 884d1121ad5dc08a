"""One function a published experiment: data + model + criterion + optimisation, all numbers visible.

A recipe is a function `(run, *, settings...) -> System`. Its keyword-only parameters are its settings. The module
of a recipe imports no PyTorch at its top, so that listing all of them is quick; the function imports what it builds.
Nothing is registered by hand: a module that lies in this folder is found.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chainrule.errors import ChainruleError, unknown


@dataclass(frozen=True)
class Target:
    """What a recipe aims at: the figure, where it was published, and the protocol that it was measured by."""

    metric: str
    value: float
    data: str
    source: str
    protocol: str
    lower_is_better: bool = True


@dataclass(frozen=True)
class Recipe:
    """The record of a recipe; `build(run, **settings)` makes the system.

    `tiny` holds settings (and `data`) with which it trains in a few seconds, for the tests over all recipes.
    """

    name: str
    family: str
    task: str
    data: str
    source: str
    build: Callable[..., Any]
    model: str | None = None  # the name that chainrule.models.build knows; None where an experiment has many or none
    target: Target | None = None
    tiny: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    @property
    def advice(self) -> str:
        """What the recipe says of its settings: its docstring below the first line."""
        return (inspect.getdoc(self.build) or "").partition("\n")[2].strip()


def recipe(
    name: str, *, family: str, task: str, data: str, source: str, model: str | None = None, target: Target | None = None,
    tiny: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Recipe]:  # fmt: skip
    """Turns a function `(run, *, settings...) -> System` into a Recipe."""

    def wrap(build: Callable[..., Any]) -> Recipe:
        return Recipe(name, family, task, data, source, build, model, target, tiny or {})

    return wrap


def all_recipes() -> dict[str, Recipe]:
    """Every recipe by name, found in the modules of this folder."""
    found: dict[str, Recipe] = {}
    for info in pkgutil.iter_modules(__path__):
        try:
            module = importlib.import_module(f"{__name__}.{info.name}")
        except Exception as error:  # somebody's new recipe: its mistake is named, whatever it is
            raise ChainruleError(
                f"the recipe module {__name__}.{info.name} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        found.update({value.name: value for value in vars(module).values() if isinstance(value, Recipe)})
    return dict(sorted(found.items(), key=lambda item: (item[1].family, item[0])))


def get_recipe(name: str) -> Recipe:
    """The recipe of that name; UserError names the nearest ones."""
    recipes = all_recipes()
    if name not in recipes:
        raise unknown("there is no recipe", name, recipes, cure="chainrule list")
    return recipes[name]
