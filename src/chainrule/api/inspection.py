"""`explain`, `export` and `report`: what a run is made of, and what it leaves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from chainrule.api.answers import inputs_of
from chainrule.api.summary import model_name, tell_unfinished
from chainrule.core.card import Card
from chainrule.core.discovery import all_recipes, get_recipe
from chainrule.core.errors import UserError, unknown
from chainrule.core.files.named_paths import is_there, takes_paths
from chainrule.core.own_code.given import OwnWords, is_own
from chainrule.core.recipe import Recipe
from chainrule.core.task import Exports
from chainrule.core.verbs import expect_verb
from chainrule.data.given.inputs import named_inputs
from chainrule.run.folder.record import recipe_of_run
from chainrule.run.run import Run


@takes_paths("out")
def explain(
    what: str | Path | Run,
    inputs: Any = None,
    *,
    target: int | str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    **own: Unpack[OwnWords],
) -> Path:
    """Looks inside a run, a recipe, or a computation: one HTML file that works offline.

    Of a run or a recipe it shows layers, shapes, parameters and cost, of a run also values, gradients and a diagnosis; of
    a network (`resnet18`) and of a net description of Caffe's (`FILE.prototxt`) what it shows of a recipe.
    Of a formula or a function it shows the computational graph with every value and gradient (`explain_text` gives the
    same as an object).

    Args:
        what: a run or its folder; the name of a recipe or a network, which is then built anew with its defaults; a formula
            such as `(x+y)*(y-z)`; or `FILE.py:NAME`, a function or module of the user's own.
        inputs: for a run, at most one, as `predict` takes it: what the activations and gradients are shown for; of a table
            of several rows, or a batch, the first. For a formula or a function its values, `x=1 y=[1,2] z=randn(2,3)`. For
            a net description sizes of its inputs, `data=3,224,224`.
        target: of an image classifier with an input, the class that is asked about, by name or number; the answer's if none.
        out: the file to write, or a folder for it; explain.html in the run, explain-RECIPE.html or graph.html here, with a
            number where there is one already.
        device: where a run's networks run.
        own: for a run with code of the user's own.
    """
    from chainrule.introspection.explain import explain_module, explain_network, explain_recipe, explain_run
    from chainrule.models import all_cards, classifies_images, example_of_description, get_card

    path, name, place = Path(what), os.fspath(what), Path(out) if out else None
    given = [] if inputs is None or (isinstance(inputs, (list, tuple)) and not inputs) else named_inputs(inputs)
    if name.endswith(".prototxt"):
        module, example, notes = example_of_description(name, given)
        return explain_module(path.stem, f"a net description, {name}", module, example, notes, place)
    if is_computation(name, given):
        from chainrule.introspection.explain import explain_graph

        return explain_graph(explain_text(name, given), place)
    if len(given) > 1:
        raise UserError("explain looks at one input at a time", expected="one", found=len(given))
    if is_there(str(path / "run.json")) or (path.is_dir() and name not in all_recipes()):
        run = Run.load(what if isinstance(what, Run) else path, device, **own)
        _expect_a_network(run.recipe)
        tell_unfinished(run)
        name_of_model = model_name(run)
        card = get_card(name_of_model) if name_of_model and not is_own(name_of_model) else None
        return explain_run(run, card, inputs_of(run, given), place, target)
    if name not in all_recipes() and ("/" in name or "\\" in name):
        raise UserError("there is no such run folder", where=name, expected="a run folder, or the name of a recipe")
    network = _network_named(name) if name not in all_recipes() else None
    if network is None:
        if name not in all_recipes():
            known = "chainrule list, or chainrule show networks"
            raise unknown("there is no recipe and no network", name, all_recipes(), near=all_cards(), cure=known)
        recipe = get_recipe(name)
        _expect_a_network(recipe)
    if given:
        train = f"chainrule train {'image-classifier network=' if network else ''}{name}, then: chainrule explain RUN {given[0]}"
        raise UserError(
            f"a {'network' if network else 'recipe'} has learnt nothing yet that an input could show",
            found=given[0],
            cure=train if network is None or classifies_images(network) else f"chainrule explain {name}",
        )
    if network is not None:
        return explain_network(network, place)
    return explain_recipe(recipe, get_card(recipe.model) if recipe.model else None, place)


def _network_named(name: str) -> Card | None:
    """The card of a network, None where there is none of that name."""
    from chainrule.models import get_card

    try:
        return get_card(name)
    except UserError:
        return None


def _expect_a_network(recipe: Recipe) -> None:
    if recipe.is_study:
        raise UserError(
            f"{recipe.name} is a study: it measures many networks, or none, and keeps none",
            cure=f"chainrule train {recipe.name}, and read its report",
        )


def is_computation(what: str, inputs: Sequence[Any]) -> bool:
    """Whether `explain` is asked for a formula or a function, and not for a run or a recipe.

    >>> [is_computation(*case) for case in (("x*x", []), ("f.py:g", []), ("a/b", ["a=1", "b=2"]), ("lenet6", []))]
    [True, True, True, False]
    """
    if what in all_recipes() or is_there(what):
        return False
    if ".py:" in what or any(sign in what for sign in "()*+^"):
        return True
    return bool(inputs) and all(isinstance(w, str) and "=" in w and not is_there(w) for w in inputs)


def explain_text(what: str, inputs: list[str]) -> Any:
    """The `Graph` of a formula or of `FILE.py:NAME` on the values given."""
    from chainrule.introspection.graph.source import graph_of_text

    return graph_of_text(what, inputs)


@takes_paths("folder", "out")
def export(
    folder: str | Path | Run, to: str, *, out: str | Path | None = None, **own: Unpack[OwnWords]
) -> dict[str, Any]:
    """A file to deploy (`onnx` or `torch`), checked against the model at several batch sizes before this returns."""
    from chainrule.reporting.export import export_system

    expect_verb(recipe_of_run(folder), "export")
    run = Run.load(folder, "cpu", **own)
    tell_unfinished(run)
    task = run.open_task()
    assert isinstance(task, Exports)
    return export_system(task.deployable(), to, Path(out) if out else None, run)


@takes_paths("folders", "out")
def report(*folders: str | Path | Run, out: str | Path | None = None, **own: Unpack[OwnWords]) -> Path:
    """One HTML file: curves, figures, samples, settings; a comparison where several runs are named."""
    from chainrule.reporting.report import write_report

    if not folders:
        raise UserError("there is nothing to report on", expected="one run folder or more")
    runs = [Run.load(folder, **own) for folder in folders]
    for run in runs:
        tell_unfinished(run)
    return write_report(runs, Path(out) if out else None)
