"""`evaluate`, `predict` and `generate`: what a run is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.api.summary import tell_unfinished
from chainrule.core.answers import without_rest
from chainrule.core.data.request import DataRequest
from chainrule.core.data.words import request_of
from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.files.named_paths import takes_paths
from chainrule.core.files.standard_streams import say
from chainrule.core.own_code.given import divided
from chainrule.core.recipe import Recipe
from chainrule.core.seeds import check_seed
from chainrule.core.settings import bind_to
from chainrule.core.task import Generates, HasData, HasMeasured, Predicts
from chainrule.core.verbs import bind_options, expect_verb, later_options
from chainrule.data.catalog.sources import same_place
from chainrule.data.given.inputs import as_inputs, named_inputs
from chainrule.data.given.reading import as_source
from chainrule.data.given.source import Given
from chainrule.data.kinds.recognition import expect_kind
from chainrule.data.layout import layout_of
from chainrule.data.measured import part_measured, seen_of
from chainrule.reporting.answers import OTHERS, SUFFIXES, answer_file, place_of_answers
from chainrule.run.display.progress import counted
from chainrule.run.folder.folder import expect_own
from chainrule.run.folder.record import recipe_of_run
from chainrule.run.run import Run

MOST_SAMPLES = 10_000  # that one call of `generate` makes: all of them are in memory


@takes_paths("folder", "data")
def evaluate(folder: str | Path | Run, *, data: Any = None, device: str = "auto", **options: Any) -> dict[str, float]:
    """Metrics of a run on its own test split, or on other data of the same kind: a name, a path, or as `train` takes them.

    `options` say how other data are read (encoding, unknown), and are what `Run.load` takes for code of the user's.
    """
    own, reading = divided(options)
    bind_reading(recipe_of_run(folder), reading)
    run, source = Run.load(folder, device, **own), as_source(data)
    tell_unfinished(run)
    metrics = measure(run, source, reading)
    tell_measured(measured(run, source))
    return metrics


def measure(
    run: Run, data: str | Mapping[str, str] | None, reading: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Metrics of an opened run. Its own data by name mean its test split: what it learnt from measures nothing.

    `reading` says how other data are read, where that is not as in training.
    """
    if isinstance(data, Given) and data == run.data.sources.get(""):
        run.take_data(data)
    if data is None or _is_own(data, run.data):
        if reading:
            raise UserError(
                "the run's own data are read as in training",
                found=", ".join(reading),
                cure="--data PATH, for other data",
            )
        return run.open_task().evaluate(None)
    task = run.open_task()  # which reads the run's own data as they were read
    read_as(run, bind_reading(run.recipe, reading or {}))
    request = request_of(data, target=run.data.target, options=run.data.options)
    expect_kind(request, run.recipe)
    plain = request.is_one and not request.options
    return task.evaluate(request.source if plain else layout_of(request))


def bind_reading(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """How data that come after training are read, of what was given, checked."""
    bound = bind_to(given, later_options(recipe), owner=f"evaluate of {recipe.name}", word="option")
    return {name: bound[name] for name in given if bound[name] is not None}


def read_as(run: Run, reading: Mapping[str, Any]) -> None:
    """Has an opened run read what it is asked about in another way than its own data; run.json stays as it is.

    Where nothing is said of the encoding, it is UTF-8, or that of the run's own data.
    """
    kept = run.data.options.get("encoding")
    options = {**run.data.options, **({"encoding": f"utf-8,{kept}"} if kept else {}), **reading}
    if options != run.data.options:
        run.record["data"] = {**run.record["data"], "options": options}


def measured(run: Run, data: str | Mapping[str, str] | None) -> dict[str, Any]:
    """What `measure` has just measured: data, split, count, and how many samples were trained on, as `--json` has it.

    Of `trained_on` None is not known, and `unknown` says why. Of a task that measures no samples there are the data alone.
    """
    own = data is None or _is_own(data, run.data)
    request = run.data if own or data is None else request_of(data, target=run.data.target)
    found: dict[str, Any] = {"data": str(request)}
    task = run.task
    if not isinstance(task, HasMeasured):
        return found
    split = "test" if own else part_measured(layout_of(request))
    known = seen_of(task.measured, task.data)
    found |= {"split": split, "count": known.count, "trained_on": known.trained_on}
    found |= {"unit": known.unit} if known.unit != "samples" else {}
    return found | ({"unknown": known.unknown} if known.unknown else {})


def tell_measured(found: Mapping[str, Any], *, warn_only: bool = False) -> None:
    """Says on stderr what was measured, and warns where it was trained on; with `warn_only` nothing else."""
    if "count" not in found or (warn_only and not found["trained_on"]):
        return
    part = "the test split" if found["split"] == "test" else "all"
    count, unit, trained_on = found["count"], found.get("unit", "samples"), found["trained_on"]
    unit = unit.removesuffix("s") if count == 1 else unit
    words = f"measured: {part} of {found['data']}, {count:,} {unit}"
    if trained_on is None:
        say(f"{words}; how many of them were trained on is not known: {found['unknown']}")
    elif trained_on and (2 * trained_on > count or found["split"] != "test"):
        say(
            f"{words}, of which {trained_on:,} were trained on\n"
            "  note:     such numbers say how well a run remembers, not how well it answers what is new"
        )
    else:
        say(
            f"{words}, "
            + (f"of which {trained_on:,} are equal to some trained on" if trained_on else "none of them trained on")
        )


def _is_own(data: str | Mapping[str, str], own: DataRequest) -> bool:
    """Whether two names mean the same data: the same word, or the same place however it is written."""
    named = {"": data} if isinstance(data, str) else data
    if named.keys() != own.sources.keys():
        return False
    return all(same_place(place, own.sources[role]) for role, place in named.items())


@takes_paths("folder", "out")
def predict(
    folder: str | Path | Run, inputs: Any, *, out: str | Path | None = None, device: str = "auto", **options: Any
) -> list[dict[str, Any]]:
    """The run's answers for the user's own inputs; with a file as `out` they are written there too.

    Args:
        folder: the run, or its folder.
        inputs: one, or a list of them. Texts and paths mean what they mean on the command line: files, folders, CSV lists,
            rows, texts, `-` for stdin. Or values: images as arrays (H, W, C) or batches of them, or PIL's; rows of a table as
            an array (N, D) in the order of its columns, a dictionary of columns, a frame; a series as an array (T,).
        out: a file for the answers, .csv or .jsonl; or a folder, for images that the run makes.
        device: where the run's networks run.
        options: the task's own, those that `chainrule show RECIPE` lists, with how the files are read (encoding,
            unknown); and what `Run.load` takes for code of the user's.

    Raises:
        UserError: for an unknown option or one out of range before anything loads; for an input that cannot be read, which
            it names. Its `answers` are those that were found before.
    """
    found: list[dict[str, Any]] = []
    try:
        found.extend(predict_each(folder, inputs, out=out, device=device, **options))
    except ChainruleError as error:
        error.answers = found
        raise
    return found


@takes_paths("folder", "out")
def predict_each(
    folder: str | Path | Run, inputs: Any, *, out: str | Path | None = None, device: str = "auto", **options: Any
) -> Iterator[dict[str, Any]]:
    """What `predict` gives, answer by answer: for more inputs than memory holds answers to."""
    own, options = divided(options)
    recipe = recipe_of_run(folder)
    bound = bind_options(recipe, "predict", options)
    named = named_inputs(inputs)
    file = place_of_answers(out, makes_files=expect_verb(recipe, "predict").makes_files)
    reading = {name: value for name in later_options(recipe) if (value := bound.pop(name)) is not None}
    run = Run.load(folder, device, **own)
    task = run.open_task()
    read_as(run, reading)
    assert isinstance(task, Predicts)
    tell_unfinished(run)
    answers = task.predict(inputs_of(run, named), Path(out) if out and file is None else None, **bound)
    with contextlib.nullcontext() if file is None else answer_file(file) as write:
        for answer in counted(answers, "predict", "answers"):
            if write is not None:
                write(answer)
            yield dict(without_rest(answer))


def inputs_of(run: Run, named: Sequence[Any]) -> list[str]:
    """What `named_inputs` gave as the run's task reads it; values are read as the kind of its data has them."""
    if all(isinstance(one, str) for one in named):
        return list(named)
    return as_inputs(named, run.recipe, run.task.data.spec if isinstance(run.task, HasData) else None)


@takes_paths("folder", "out")
def generate(
    folder: str | Path | Run,
    *,
    count: int = 1,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    **options: Any,
) -> list[dict[str, Any]]:
    """Samples from a run. `options` are the task's own, those that `chainrule show RECIPE` lists, of text its prompt; and
    what `Run.load` takes for code of the user's own."""
    own, options = divided(options)
    given = {name: value for name, value in options.items() if value is not None}
    bound = bind_options(recipe_of_run(folder), "generate", given)
    if out is not None and not Path(out).is_dir() and Path(out).suffix.lower() in (*SUFFIXES, *OTHERS):
        raise UserError(
            "samples are written into a folder", expected="a folder", found=f"--out {out}",
            cure=f"--out {Path(out).with_suffix('')}",
        )  # fmt: skip
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise UserError("samples are written into a folder", where=out, expected="a folder", found="a file")
    import torch

    run = Run.load(folder, device, **own)
    task = run.open_task()
    assert isinstance(task, Generates)
    tell_unfinished(run)
    if not 1 <= count <= MOST_SAMPLES:
        raise UserError("the number of samples is out of range", expected=f"1 to {MOST_SAMPLES:,}", found=count)
    if seed is not None:
        check_seed(seed)
    torch.manual_seed(run.seed if seed is None else seed)
    return task.generate(count, Path(out) if out else expect_own(run.folder / "samples"), **bound)
