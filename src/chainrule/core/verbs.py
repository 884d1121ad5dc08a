"""What a recipe's task answers, known without PyTorch: its verbs and their options, read from the text of its class.

The keyword-only parameters of `predict` and `generate` are the options of these verbs, as those of a recipe are its
settings: names, types, ranges and defaults stand there and nowhere else. A task's file imports PyTorch, so the class is
not imported but read. It is the one that the recipe says it returns. Annotations are words of `chainrule.core.settings`,
`Literal`, or Python's own; defaults are literals.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.core import settings
from chainrule.core.discovery import reading_options
from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.recipe import Recipe

ANSWERS = ("predict", "generate")  # the verbs that have options
VERBS = {"predict": "predict", "generate": "generate", "export": "deployable"}  # and the method that has each


@dataclass(frozen=True)
class Verb:
    """A verb that a task has.

    Attributes:
        options: its options with types, ranges and defaults.
        doc: what its docstring says.
        makes_files: whether it writes files into the folder `out`: whether it looks at that parameter at all.
    """

    options: dict[str, inspect.Parameter]
    doc: str = ""
    makes_files: bool = False


def verbs_of(recipe: Recipe) -> dict[str, Verb]:
    """The verbs of `VERBS` that the task of a recipe has.

    >>> from chainrule.core.discovery import get_recipe
    >>> sampling = verbs_of(get_recipe("char-lstm"))["generate"].options
    >>> sampling["length"].default, settings.describe(sampling["length"].annotation)
    (500, 'whole number, at least 1')
    """
    return _verbs_of(recipe.build)


def later_options(recipe: Recipe) -> dict[str, inspect.Parameter]:
    """How data that come after training are read: options of `predict` and `evaluate`, none where as in training."""
    later = {name: option.parameter for name, option in reading_options(recipe).items() if option.later}
    return {n: p.replace(default=None, annotation=p.annotation | None) for n, p in later.items()}


@functools.cache
def _verbs_of(build: Callable[..., Any]) -> dict[str, Verb]:
    methods = {node.name: node for node in _task_class(build).body if isinstance(node, ast.FunctionDef)}
    return {verb: _verb(methods[method]) for verb, method in VERBS.items() if method in methods}


def expect_verb(recipe: Recipe, verb: str) -> Verb:
    """The verb of the recipe's task; UserError where it has none, with those that it has."""
    verbs = verbs_of(recipe)
    if verb not in verbs:
        words = {"predict": "does not predict", "generate": "does not generate", "export": "has nothing to export"}
        raise UserError(f"{recipe.name} {words[verb]}", cure=f"it can {', '.join(verbs)} and evaluate")
    return verbs[verb]


def verb_options(recipe: Recipe, verb: str) -> dict[str, inspect.Parameter]:
    """The options of a verb: the task's own, and of `predict` how the files are read. UserError where it has no such verb."""
    own = expect_verb(recipe, verb).options
    return {**later_options(recipe), **own} if verb == "predict" else own


def bind_options(recipe: Recipe, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a verb with its value; UserError for an unknown one, a wrong type, a value out of range."""
    return settings.bind_to(given, verb_options(recipe, verb), owner=f"{verb} of {recipe.name}", word="option")


# -- reading ----------------------------------------------------------------------------------------------------------


def _task_class(build: Callable[..., Any]) -> ast.ClassDef:
    """The class that a recipe's function says it returns, in the module that the recipe's imports it from."""
    name, module = inspect.get_annotations(build)["return"], build.__module__
    if isinstance(name, type):
        name, module = name.__name__, name.__module__
    tree = _tree(module)
    imported = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    origin = next((n.module for n in imported if n.module and any(a.name == name for a in n.names)), module)
    classes = (node for node in ast.walk(_tree(origin) if origin != module else tree) if isinstance(node, ast.ClassDef))
    found = next((node for node in classes if node.name == name), None)
    if found is None:
        raise ChainruleError(f"{build.__module__}: {build.__name__} returns {name}, which is no class of {origin}")
    return found


def _tree(module: str) -> ast.Module:
    """The text of a module, parsed; what is not imported yet is not imported here."""
    spec = sys.modules[module].__spec__ if module in sys.modules else importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    return ast.parse(Path(spec.origin).read_text("utf-8"))


def _verb(method: ast.FunctionDef) -> Verb:
    pairs = zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True)
    options = {a.arg: _option(a, default, method.name) for a, default in pairs}
    names = {node.id for statement in method.body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return Verb(options, ast.get_docstring(method) or "", "out" in names)


def _option(argument: ast.arg, default: ast.expr | None, method: str) -> inspect.Parameter:
    try:
        annotation = settings.annotation_of(ast.unparse(argument.annotation or ast.Name("None")))
        value = ast.literal_eval(default or ast.Name("none"))
    except (NameError, ValueError) as error:
        raise ChainruleError(
            f"the option {argument.arg!r} of {method} needs a type in the words of chainrule.core.settings and a literal "
            f"as its default: {error}"
        ) from None
    return inspect.Parameter(argument.arg, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation)
