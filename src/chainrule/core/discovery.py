"""What the rooms hold: recipes, cards and kinds of data, found in their files. Nothing is registered by hand.

A recipe is found in a module `recipes`, or in one of a folder `recipes`, below `chainrule.systems`. These import nothing
heavy, so all of them are read at once. A card stands at the end of its network's file, which imports PyTorch, so that
only files whose text has a card are imported, and for one card those first that have its name in them. A kind of data
stands beside its readers, in the rooms of the data or in the room of the one family that has it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from chainrule.core.card import Card
from chainrule.core.data.kind import Kind
from chainrule.core.data.option import Option
from chainrule.core.errors import ChainruleError, unknown
from chainrule.core.recipe import Recipe
from chainrule.core.settings import parameters

T = TypeVar("T")
SYSTEMS = "chainrule.systems"  # by name: nothing here imports upwards
CATALOG = "chainrule.data.catalog"
KINDS = ("chainrule.data", SYSTEMS)  # the rooms that have kinds of data


def all_recipes() -> dict[str, Recipe]:
    """Every recipe by name, family by family."""
    found: dict[str, Recipe] = {}
    for name, file in _modules():
        if "recipes" not in name.split(".") or file.name == "__init__.py":
            continue
        try:
            module = importlib.import_module(name)
        except Exception as error:  # somebody's new recipe: its mistake is named, whatever it is
            raise ChainruleError(
                f"the recipe module {name} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        found.update({value.name: value for value in vars(module).values() if isinstance(value, Recipe)})
    return dict(sorted(found.items(), key=lambda item: (item[1].family, item[0])))


def get_recipe(name: str) -> Recipe:
    """The recipe of that name; UserError names the nearest ones."""
    recipes = all_recipes()
    if name not in recipes:
        raise unknown("there is no recipe", name, recipes, cure="chainrule list")
    return recipes[name]


def all_cards() -> dict[str, Card]:
    """Every card by the name of its model."""
    return _cards_in(_files_with_cards())


def get_card(name: str) -> Card:
    """The card of the model of that name; UserError names the nearest ones."""
    files = _files_with_cards()
    found = _cards_in(module for module, text in files.items() if f'"{name}"' in text)
    if name not in found:
        found = all_cards()  # a name that its file puts together
    if name not in found:
        raise unknown("there is no model", name, sorted(found))
    return found[name]


@functools.cache
def all_kinds() -> Mapping[str, Kind]:
    """Every kind of data by its name."""
    return {kind.name: kind for kind in find_records(Kind, KINDS)}


@functools.cache
def all_options() -> tuple[Option, ...]:
    """Every setting of how data are read."""
    return tuple(find_records(Option, KINDS))


def options_of(kinds: Iterable[str]) -> dict[str, Option]:
    """The settings of how data of these kinds are read, by name.

    >>> [name for name in options_of(["table"]) if name in ("encoding", "epochs")]
    ['encoding']
    """
    wanted = set(kinds)
    return {option.name: option for option in all_options() if wanted & set(option.kinds)}


def reading_options(recipe: Recipe) -> dict[str, Option]:
    """Those of the kinds that a recipe learns from. A setting of its own goes before an option of that name."""
    own = parameters(recipe.build)
    return {name: option for name, option in options_of(recipe.kinds).items() if name not in own}


@functools.cache
def how_to_get() -> dict[str, str]:
    """For each known data set what comes before a first training: nothing, a download, or files to be had by hand."""
    modules = [importlib.import_module(name) for name, file in _modules(CATALOG) if "\nSOURCES" in _text_of(file)]
    lists = [module.SOURCES for module in modules if isinstance(module.SOURCES, tuple)]
    return {source.name: source.how_to_get for sources in lists for source in sources}


def known_settings(recipe: Recipe, *functions: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """All that `train` takes for a recipe by `key=value`: its own settings, those of the functions, those of the reading."""
    reading = {name: option.parameter for name, option in reading_options(recipe).items()}
    return parameters(recipe.build, *functions) | reading


def _cards_in(modules: Iterable[str]) -> dict[str, Card]:
    values = (value for module in modules for value in vars(importlib.import_module(module)).values())
    return {value.name: value for value in values if isinstance(value, Card)}


@functools.cache
def _files_with_cards() -> Mapping[str, str]:
    """The modules that have a card, each with its text."""
    texts = ((name, _text_of(file)) for name, file in _modules())
    return {name: text for name, text in texts if re.search(r"\bCard\(", text)}


@functools.cache
def _text_of(file: Path) -> str:
    return file.read_text("utf-8")


def find_records(record: type[T], rooms: Iterable[str]) -> list[T]:
    """The records of a class that modules below these rooms make and keep under a name, in the order of the modules.

    Only modules whose text makes one are imported.
    """
    making = re.compile(rf"^\w+ = {record.__name__}\(", re.MULTILINE)
    modules = [name for room in rooms for name, file in _modules(room) if making.search(_text_of(file))]
    return [v for name in modules for v in vars(importlib.import_module(name)).values() if isinstance(v, record)]


@functools.cache
def _modules(room: str = SYSTEMS) -> tuple[tuple[str, Path], ...]:
    """The name and the file of every module below a room, in order. The disk is walked once a process."""
    return tuple(_walk(room))


def _walk(room: str) -> Iterator[tuple[str, Path]]:
    for root in map(Path, importlib.import_module(room).__path__):
        for file in sorted(root.rglob("*.py")):
            inside = file.relative_to(root).with_suffix("").parts
            if not any(part.startswith(".") for part in inside):
                yield ".".join((room, *inside)).removesuffix(".__init__"), file
