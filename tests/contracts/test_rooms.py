"""The rooms of docs/rooms.toml, held: imports go down, families stay apart, no cycle, no crowded room, a light `list`."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tests.contracts.imports import FILES, ROOT, imported, imports, module_in, modules, name_of

PLAN = tomllib.loads((Path(__file__).parents[2] / "docs" / "rooms.toml").read_text("utf-8"))
LEVELS = {room["name"]: room["level"] for room in PLAN["room"]}
HEAVY = (
    "torch",
    "numpy",
    "matplotlib",
    "sklearn",
    "scipy",
    "PIL",
    "rich",
    "safetensors",
    "gymnasium",
    "onnx",
    "jinja2",
)
TELL_ONLY = ("--help", "--version", "list", "list --json", "train --help", "data --help")


def room_of(module: str) -> str | None:
    """The room of a module; None of the package itself, whose names are imported when they are first used."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def family_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[1:2] == ["systems"] and len(parts) > 2 else None


def is_recipe(module: str) -> bool:
    return "recipes" in module.split(".")


def is_network(module: str) -> bool:
    """Whether a module ends with a card: one that recipes of other families may build."""
    return any(name == "chainrule.core.card.Card" for name, _ in imports(modules()[module])) and any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "Card" for node in ast.walk(modules()[module])
    )


def upward(edges: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Imports of a room of a higher level, or of another one of the same."""
    return [
        f"{module}:{line} imports {other}"
        for module, found in edges.items()
        for other, line in found.items()
        if (here := room_of(module)) and (there := room_of(other)) and here != there and LEVELS[there] >= LEVELS[here]
    ]


def across(edges: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Imports of one family by another, but for networks that a recipe builds."""
    return [
        f"{module}:{line} imports {other}"
        for module, found in edges.items()
        for other, line in found.items()
        if (here := family_of(module)) and (there := family_of(other)) and here != there
        if not (is_recipe(module) and is_network(other))
    ]


@functools.cache
def edges() -> dict[str, dict[str, int]]:
    return {module: imported(module) for module in modules()}


def test_every_room_has_a_level() -> None:
    entries = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert entries - {"__init__"} == LEVELS.keys()


def test_imports_go_down() -> None:
    assert not upward(edges()), "\n".join(upward(edges()))


def test_families_stay_apart() -> None:
    assert not across(edges()), "\n".join(across(edges()))


def test_no_module_imports_itself_by_a_detour() -> None:
    """A package is imported before what lies in it, so it may import its parts; parts name each other, not the package."""
    try:
        graphlib.TopologicalSorter({module: found.keys() for module, found in edges().items()}).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_no_room_is_crowded() -> None:
    rooms: dict[Path, set[str]] = {}
    for file in FILES:
        if file.name != "__init__.py":
            rooms.setdefault(file.parent, set()).add(file.name)
        for inner in file.relative_to(ROOT).parents[:-1]:
            rooms.setdefault((ROOT / inner).parent, set()).add(inner.name)
    crowded = {
        str(folder.relative_to(ROOT)): len(names)
        for folder, names in rooms.items()
        if len(names) > PLAN["most_entries"] and all(name.endswith(".py") for name in names)
    }
    assert not crowded, f"a room of its own for a second subject: {crowded}"


def test_what_only_tells_imports_nothing_heavy() -> None:
    """One process for all: what nobody has imported after the last, nobody has before. Each says something, and ends well."""
    program = f"""
import contextlib, io, sys
import chainrule
from chainrule.cli import main
from chainrule.core.discovery import all_recipes

def light(what):
    if found := sorted(set(sys.modules) & set({HEAVY})):
        sys.exit(f"{{what}} imported {{found}}")

assert all_recipes()
chainrule.inspect
light("the package")
for words in {TELL_ONLY}:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            main(words.split())
        except SystemExit as end:
            assert not end.code, (words, end.code)
    assert said.getvalue(), words
    light(words)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_recipe_imports_nothing_heavy_at_its_top() -> None:
    """Each by itself: what another module has imported does not count."""
    wrong = [
        f"{name_of(file)} imports {ast.unparse(node)}"
        for file in FILES
        if is_recipe(name_of(file))
        for node in modules()[name_of(file)].body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name, _ in imports(node)
        if name.split(".")[0] in HEAVY or (module_in(name) or "chainrule.core").split(".")[1] != "core"
    ]
    assert not wrong, "\n".join(wrong)


def test_what_these_tests_would_find() -> None:
    assert upward({"chainrule.run.run": {"chainrule.loops.supervised": 3}}) == [
        "chainrule.run.run:3 imports chainrule.loops.supervised"
    ]
    assert upward({"chainrule.nn.fitted": {"chainrule.optim.sgd": 1}}) and not upward(
        {"chainrule.api": {"chainrule": 1}}
    )
    recipe, network = "chainrule.systems.attacks.recipes", "chainrule.systems.image_classification.lenet"
    assert not across({recipe: {network: 1}})
    assert across({recipe.replace("recipes", "perturbations"): {network: 1}})
    assert across({recipe: {"chainrule.systems.generative.fid": 1}})
    tree = ast.parse("if TYPE_CHECKING:\n    import numpy\ndef f():\n    from chainrule import models as m")
    assert list(imports(tree)) == [("numpy", 2), ("chainrule.models", 4)] and re.match("chainrule", "chainrule.models")
