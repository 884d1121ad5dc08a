"""`chainrule explain`: layers, shapes, cost; weights of a run; what one input does inside. One HTML file, offline."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.core.files.standard_streams import say
from chainrule.core.own_code.given import is_own
from chainrule.core.recipe import Recipe
from chainrule.core.task import (
    HasClasses,
    HasImages,
    HasNumParameters,
    HasTrainingBatch,
    Illustrates,
    Predicts,
    Prepares,
)
from chainrule.core.version import __version__
from chainrule.data.inputs import stdin_again
from chainrule.introspection.activations import Numbers, Trace, map_image, numbers_of, trace
from chainrule.introspection.attribution.section import attribution_section
from chainrule.introspection.graph.diagnose import diagnose
from chainrule.introspection.graph.drawing import page as drawing
from chainrule.introspection.graph.drawing.svg import STYLE
from chainrule.introspection.graph.record import Graph
from chainrule.introspection.graph.trace import graph
from chainrule.introspection.layer_graph import draw
from chainrule.introspection.layers import evaluating, layers, parameter_rows, runs_as_one_call
from chainrule.introspection.tensors import first_tensor
from chainrule.reporting.page import free_page, write_page
from chainrule.run.run import Run

if TYPE_CHECKING:
    from chainrule.core.card import Card


def explain_recipe(recipe: Recipe, card: Card | None, out: Path | None) -> Path:
    """Writes what is inside a recipe's model, built anew with its defaults."""
    return _write(_of_recipe(recipe, card), out, Path(f"explain-{recipe.name}.html"))


def explain_module(
    name: str, subtitle: str, module: nn.Module, example: tuple[Tensor, ...], notes: Sequence[str], out: Path | None
) -> Path:
    """Writes what is inside a module that belongs to no recipe; `notes` are told at its head."""
    context = {
        "title": name,
        "subtitle": subtitle,
        "source": subtitle,
        "deviations": list(notes),
        "training_batch": None,
        "networks": [_network("model", module, example, weights=False)],
        "looked": None,
        "illustrations": [],
        "note": "Weights are those of a fresh start.",
    }
    return _write(context, out, Path(f"explain-{name}.html"))


def explain_network(card: Card, out: Path | None) -> Path:
    """Writes what is inside a network that a name stands for, built anew with its defaults.

    Raises:
        UserError: the name stands for something that is no module.
    """
    module = card.build()
    if not isinstance(module, nn.Module):
        raise UserError(
            f"{card.name} is no network of layers", found=type(module).__name__, cure=f"chainrule show {card.name}"
        )
    return explain_module(card.name, card.source, module, card.example(1), card.deviations, out)


def explain_run(
    run: Run, card: Card | None, inputs: list[str], out: Path | None, target: int | str | None = None
) -> Path:
    """Writes what is inside a run's networks and, where an input is given, what it does in them.

    Of a classifier of images it shows why it answers so; `target`, a class by number or name, asks why not another.
    """
    with stdin_again(inputs):
        context = _of_run(run, card, inputs, target)
    return _write(context, out, run.folder / "explain.html")


def explain_graph(graph: Graph, out: Path | None) -> Path:
    """Writes the page that steps through one computation: graph.html here, unless `out` says where."""
    return drawing.write_page(graph, free_page(out, Path("graph.html")))


def _write(context: dict[str, Any], out: Path | None, default: Path) -> Path:
    return write_page("explain.html.j2", free_page(out, default), version=__version__, graph_style=STYLE, **context)


def _of_recipe(recipe: Recipe, card: Card | None) -> dict[str, Any]:
    module = card.build() if card is not None else None
    example = card.example(1) if card is not None else None
    nets = [_network("model", module, example, weights=False)] if isinstance(module, nn.Module) else []
    return {
        "title": recipe.name,
        "subtitle": recipe.summary_told,
        "source": card.source if card is not None else recipe.source,
        "deviations": list(card.deviations) if card is not None else [],
        "training_batch": None,
        "networks": nets,
        "looked": None,
        "illustrations": [],
        "note": "An example: weights are those of a fresh start, and sizes those of the network as published. "
        "A run has those of its data and settings; chainrule explain RUN shows them.",
    }


def _of_run(run: Run, card: Card | None, inputs: list[str], target: int | str | None) -> dict[str, Any]:
    task, note = run.task, ""
    try:
        task = run.open_task()
    except UserError as error:  # a run that has no checkpoint yet
        if inputs:
            raise
        note = f"{error}. What follows is the network before training."
    prepared: dict[str, tuple[Tensor, ...]] = {}
    looked, illustrations = None, []
    if target is not None and not inputs:
        raise UserError("a class is explained for an input", found=f"{target!r} and no input", cure="name an image")
    if inputs:
        if not isinstance(task, Prepares):
            raise UserError(
                f"{run.recipe.name} cannot be looked into with an input",
                found=inputs[0],
                cure=f"chainrule explain {run.folder}, without an input",
            )
        prepared, count = _first(task.prepare(inputs))
        if count > 1:
            note = f"There are {count:,} samples in what was named: this is the first of them."
            say(f"{note} Name one of them to see another.")
        answer = _first_answer(task, inputs)
        looked = {"input": answer.pop("input", inputs[0]), "answer": answer}
        illustrations = task.illustrations(inputs) if isinstance(task, Illustrates) else []
    example = task.example()
    networks = [
        _network(
            name,
            module,
            example.get(name),
            weights=True,
            given=prepared.get(name),
            attribution=_attribution_settings(task, target),
        )
        for name, module in task.modules().items()
    ]
    return {
        "title": run.folder.resolve().name,
        "subtitle": f"{run.recipe.name}: {run.recipe.task}",
        "source": _source(run, card),
        "deviations": list(card.deviations) if card is not None else [],
        "training_batch": _training_batch(run, task),
        "networks": networks,
        "looked": looked,
        "illustrations": illustrations,
        "note": note,
    }


def _first_answer(task: object, inputs: list[str]) -> dict[str, Any]:
    """What `predict` says of the first input; files that it writes are not kept, and not named."""
    if not isinstance(task, Predicts):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        answer = next(task.predict(inputs, Path(folder)))
        return {name: value for name, value in answer.items() if not str(value).startswith(folder)}


def _first(prepared: dict[str, tuple[Tensor, ...]]) -> tuple[dict[str, tuple[Tensor, ...]], int]:
    """The first sample of what each network is called with, and how many samples there were."""
    count = max((len(x) for given in prepared.values() for x in given if x.dim()), default=0)
    return {name: tuple(x[:1] if x.dim() else x for x in given) for name, given in prepared.items()}, count


def _source(run: Run, card: Card | None) -> str:
    """Where the network comes from: a paper, or the user's own file."""
    named = run.record["settings"].get(run.recipe.model_setting or "")
    if is_own(named):
        return f"a network of your own, {named}"
    return card.source if card is not None else run.recipe.source


def _attribution_settings(task: object, target: int | str | None) -> dict[str, Any]:
    """What `attribution_section` is told of a task: names of classes, the class to be explained, and its images."""
    classes = task.classes if isinstance(task, HasClasses) else []
    if isinstance(target, str):
        if target not in classes:
            raise unknown("there is no class", target, classes)
        target = classes.index(target)
    images = {"normalize": task.normalize, "data": task.test_images} if isinstance(task, HasImages) else {}
    return {"classes": classes, "target": target, **images}


def _training_batch(run: Run, task: object) -> dict[str, Any] | None:
    """The graph of the loss on a real batch, and what is wrong in it; None where a task shows no batch.

    A run that is done has learnt what it could: its steps are small for a good reason and are not measured.
    """
    if not isinstance(task, HasTrainingBatch):
        return None
    try:
        training_batch = task.training_batch()
        model = training_batch.module.train()  # a name of its own, which the graph finds

        def loss(*inputs: Tensor) -> Tensor:
            return training_batch.loss(model(*inputs), training_batch.target)

        optimizer = None if run.record["status"] == "done" else training_batch.optimizer
        looked = graph(loss, *training_batch.inputs)
        findings = diagnose(model, (training_batch.inputs, training_batch.target), training_batch.loss, optimizer)
    except UserError as error:  # the data are not there any more, or autograd has no part in the network
        return {"absent": str(error)}
    model.eval()
    value = looked.nodes[looked.outputs[0]].number
    return {
        "absent": "",
        "shown": drawing.section(looked),
        "findings": findings,
        "samples": len(training_batch.target),
        "loss": value,
    }


def _network(
    name: str,
    module: nn.Module,
    example: tuple[Any, ...] | None,
    *,
    weights: bool,
    given: tuple[Tensor, ...] | None = None,
    attribution: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """All that the template shows of one network; `attribution` is what `attribution_section` is told besides."""
    runs = example is not None and runs_as_one_call(module)
    rows = layers(module, example) if runs and example is not None else parameter_rows(module)
    cost = sum(row.multiply_adds for row in rows)
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    fixed = sum(p.numel() for p in module.parameters() if not p.requires_grad)
    buffers = {key: b for key, b in module.named_buffers() if isinstance(b, Tensor)}
    estimated = module.num_parameters if isinstance(module, HasNumParameters) and not trainable else 0
    tiles = {
        **({"numbers estimated": f"{estimated:,}"} if estimated else {"trainable parameters": f"{trainable:,}"}),
        "multiply-adds a sample": f"{cost:,}" if runs else "not one call",
    }
    tiles["layers"] = str(len({row.name for row in rows}))
    tiles |= {"numbers in buffers": f"{sum(b.numel() for b in buffers.values()):,}"} if buffers else {}
    tiles |= {"fixed parameters": f"{fixed:,}"} if fixed else {}
    return {
        "name": name,
        "kind": type(module).__name__,
        "runs": runs,
        "tiles": tiles,
        "rows": rows,
        "most_parameters": max((row.parameters for row in rows), default=0) or 1,
        "most_cost": max((row.multiply_adds for row in rows), default=0) or 1,
        "inputs": [_describe(item) for item in example or ()],
        "graph": draw(module, example) if runs and example is not None else None,
        "weights": [(key, tuple(p.shape), numbers_of(p), _bars(numbers_of(p))) for key, p in module.named_parameters()]
        if weights
        else [],
        "buffers": [(key, tuple(b.shape), numbers_of(b), _bars(numbers_of(b))) for key, b in buffers.items()],
        "computed": _computed(module, given) if given is not None else None,
        "trace": _shown(trace(module, given), given) if given is not None else None,
        "why": attribution_section(module, given, **(attribution or {})) if given is not None else None,
    }


def _computed(module: nn.Module, given: tuple[Tensor, ...]) -> dict[str, Any]:
    """The graph of one answer: of its largest logit where it is a row of logits, else of the sum of its numbers."""
    if not runs_as_one_call(module):
        return {}
    with evaluating(module), torch.enable_grad():
        output = first_tensor(module(*given))
    if output is not None and not output.requires_grad:
        return {}  # a backward pass that is written out records no graph
    with evaluating(module):
        if output is None or output.dim() != 2 or len(output) != 1:
            return drawing.section(graph(module, *given))
        top = int(output.argmax())

        def top_logit(*inputs: Tensor) -> Tensor:
            found = first_tensor(module(*inputs))
            assert found is not None
            return found[0, top]

        return drawing.section(graph(top_logit, *given))


def _describe(item: Any) -> str:
    if isinstance(item, Tensor):
        return f"{str(item.dtype).removeprefix('torch.')} ({', '.join(map(str, item.shape))})"
    return type(item).__name__


def _shown(found: Trace, given: tuple[Tensor, ...]) -> dict[str, Any]:
    """A trace as the template takes it, with its maps as images."""
    seen = None
    if isinstance(given[0], Tensor) and given[0].dim() == 4:
        seen = map_image(given[0][0].mean(0), 280)
    rows = [
        {"layer": a, "bars": _bars(a.numbers), "maps": [map_image(m) for m in a.maps] if a.maps is not None else []}
        for a in found.activations
    ]
    return {"top": found.top, "seen": seen, "rows": rows}


def _bars(numbers: Numbers) -> dict[str, Any]:
    """A histogram as the path of a small SVG, 72 x 20, and where zero lies in it."""
    highest = max(numbers.histogram) or 1
    width = 72 / len(numbers.histogram)
    path = "".join(
        f"M{index * width:.1f} 20v-{max(count / highest * 19, 0.6):.1f}h{width - 0.6:.1f}V20z"
        for index, count in enumerate(numbers.histogram)
        if count
    )
    inside = numbers.low < 0 < numbers.high
    return {"path": path, "zero": -numbers.low / (numbers.high - numbers.low) * 72 if inside else None}
