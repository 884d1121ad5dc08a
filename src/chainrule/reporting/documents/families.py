"""The families: the folders below `chainrule.systems`, each with its record, recipes, cards and rows of the ledger."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.core.card import Card
from chainrule.core.course import Family
from chainrule.core.discovery import all_recipes
from chainrule.core.recipe import Recipe
from chainrule.reporting.documents.source import SourceFile, modules, stated
from chainrule.reporting.ledger import read_entries
from chainrule.reporting.ledger_page import Row, rows_of

ROOM = "chainrule.systems"


@dataclass(frozen=True)
class Room:
    """A family's room and what is found in it."""

    name: str  # image-classification, as `chainrule list --family` has it
    module: str  # chainrule.systems.image_classification
    record: Family
    docstring: str
    recipes: tuple[Recipe, ...]

    @property
    def page(self) -> str:
        return f"families/{self.name}.md"

    @property
    def files(self) -> list[SourceFile]:
        """The files of the room, but those that are empty or hold its record."""
        found = [m for name, m in modules().items() if name.startswith(f"{self.module}.")]
        return [m for m in found if not m.path.endswith("__init__.py")]


@functools.cache
def rooms() -> tuple[Room, ...]:
    """Every family, in the order that their records give."""
    recipes = all_recipes().values()
    found = []
    for name, module in modules().items():
        if name.startswith(f"{ROOM}.") and name.count(".") == 2 and module.path.endswith("__init__.py"):
            own = name.rpartition(".")[2].replace("_", "-")
            record = stated(module, "FAMILY") or Family(own.capitalize(), own)
            its = tuple(recipe for recipe in recipes if recipe.family == own)
            found.append(Room(own, name, record, module.docstring, its))
    return tuple(sorted(found, key=lambda room: (room.record.order, room.name)))


def room_of(module: str) -> Room | None:
    """The family that a module belongs to; None for one of a shared room."""
    return next((room for room in rooms() if f"{module}.".startswith(f"{room.module}.")), None)


def cards(module: SourceFile) -> list[Card]:
    """The cards that stand in a file, which is imported for them; most files have none and are not."""
    if not re.search(r"^from chainrule\.core\.card import .*\bCard\b", module.text, re.M):
        return []
    values = vars(importlib.import_module(module.name)).values()
    return list({value.name: value for value in values if isinstance(value, Card)}.values())


def verbs(recipe: Recipe) -> list[str]:
    """What else a finished run of a recipe can be asked for, told by the class that the recipe is annotated to return."""
    task = recipe.build.__annotations__["return"]
    module = modules()[recipe.build.__module__]
    kind: Any = None
    for name in (module.name, *_imported_from(module, task)):
        kind = getattr(importlib.import_module(name), task, kind)
    offers = {"predict": "predict", "generate": "generate", "export": "deployable"}
    return [verb for verb, method in offers.items() if hasattr(kind, method)]


def _imported_from(module: SourceFile, name: str) -> list[str]:
    return re.findall(rf"^ *from (chainrule\.[\w.]+) import .*\b{name}\b", module.text, re.M)


def ledger_rows(root: Path) -> Mapping[str, list[Row]]:
    """The rows of the ledger by family."""
    found: dict[str, list[Row]] = {}
    for row in rows_of(read_entries(root / "docs" / "results")):
        found.setdefault(row.family, []).append(row)
    return found
