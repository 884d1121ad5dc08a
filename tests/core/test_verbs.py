"""Verbs and options as the text of a task has them: the same as the class itself has."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chainrule.cli import cli
from chainrule.core.discovery import all_recipes, get_recipe
from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.recipe import Recipe
from chainrule.core.settings import parameters
from chainrule.core.verbs import VERBS, _task_class, bind_options, expect_verb, verbs_of
from chainrule.run.folder.record import recipe_of_run

TASKS = list({recipe.build.__annotations__["return"]: recipe for recipe in all_recipes().values()}.values())


def class_of(recipe: Recipe) -> type:
    """The class itself, imported from the module that the recipe imports it from."""
    name = _task_class(recipe.build).name
    tree = inspect.getsource(importlib.import_module(recipe.build.__module__))
    (module,) = {
        line.split()[1] for line in map(str.strip, tree.splitlines())
        if line.startswith("from ") and name in line.partition(" import ")[2].replace("(", "").split(", ")
    }  # fmt: skip
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("recipe", TASKS, ids=lambda recipe: recipe.name)
def test_the_text_says_what_the_class_has(recipe: Recipe) -> None:
    kind = class_of(recipe)
    found = verbs_of(recipe)
    assert set(found) == {verb for verb, method in VERBS.items() if hasattr(kind, method)}
    reserved = {
        name for verb in ("predict", "generate") for p in cli.commands[verb].params for name in (p.name, *p.opts)
    }
    for verb, said in found.items():
        expected = parameters(getattr(kind, VERBS[verb]))
        assert {n: (p.annotation, p.default) for n, p in said.options.items()} == {
            n: (p.annotation, p.default) for n, p in expected.items()
        }
        assert not {*said.options, *(f"--{n}" for n in said.options)} & reserved, (
            "an option has the name of a command's own"
        )
        assert verb == "export" or said.doc, "the help of the command shows what the method says"


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys\nfrom chainrule.core.discovery import all_recipes\nfrom chainrule.core.verbs import verbs_of\n"
        "assert sum(len(verbs_of(r)) for r in all_recipes().values()) > 50\n"
        "sys.exit(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Odd:
    """A task whose options cannot be read."""

    def predict(self, inputs: Any, out: Any, *, top: Path = Path()) -> None: ...


class Bare:
    def predict(self, inputs, out, *, top): ...


def returns_odd(run: Any) -> Odd: ...


def returns_bare(run: Any) -> Bare: ...


def returns_nothing_known(run: Any) -> Nothing: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("build", [returns_odd, returns_bare, returns_nothing_known])
def test_a_task_that_cannot_be_read_is_told(build: Any) -> None:
    with pytest.raises(ChainruleError, match=r"needs a type in the words of|is no class of"):
        verbs_of(Recipe("odd", "x", "x", "x", build))


def test_options_are_bound() -> None:
    recipe = get_recipe("char-lstm")
    assert bind_options(recipe, "generate", {"temperature": "0.5"}) == {"prompt": "", "length": 500, "temperature": 0.5}
    for given, words in (
        ({"temprature": 1}, "did you mean 'temperature'"),
        ({"size": 1}, "expected: one of length, prompt, temperature"),
        ({"length": 0}, "at least 1"),
        ({"length": "many"}, "the option 'length' of generate of char-lstm"),
    ):
        with pytest.raises(UserError, match=words):
            bind_options(recipe, "generate", given)


def test_verbs_that_a_task_has_not() -> None:
    with pytest.raises(UserError, match=r"lenet5 does not generate\n  cure:     it can predict, export and evaluate"):
        expect_verb(get_recipe("lenet5"), "generate")
    with pytest.raises(UserError, match="ravine does not predict"):
        bind_options(get_recipe("ravine"), "predict", {})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"recipe": 3}', '{"recipe": "lenet6"}', None])
def test_a_run_whose_recipe_is_not_known(content: Any, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError):
        recipe_of_run(tmp_path)
