"""`evaluate`, `predict` and `generate`: what a run is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from chainrule.core.data.request import DataRequest
from chainrule.core.data.words import request_of
from chainrule.core.errors import UserError
from chainrule.core.own_code.given import divided
from chainrule.core.recipe import Recipe
from chainrule.core.seeds import check_seed
from chainrule.core.settings import bind_to
from chainrule.core.task import Generates, Predicts
from chainrule.core.verbs import bind_options, later_options
from chainrule.data.catalog.sources import same_place
from chainrule.data.given.reading import as_source
from chainrule.data.given.source import Given
from chainrule.data.kinds.recognition import expect_kind
from chainrule.data.layout import layout_of
from chainrule.reporting.answers import answer_file, is_answer_file
from chainrule.run.display.progress import counted
from chainrule.run.folder.record import recipe_of_run
from chainrule.run.run import Run

MOST_SAMPLES = 10_000  # that one call of `generate` makes: all of them are in memory


def evaluate(folder: str | Path, *, data: Any = None, device: str = "auto", **options: Any) -> dict[str, float]:
    """Metrics of a run on its own test split, or on other data of the same kind: a name, a path, or as `train` takes them.

    `options` say how other data are read (encoding, unknown), and are what `Run.load` takes for code of the user's.
    """
    own, reading = divided(options)
    bind_reading(recipe_of_run(folder), reading)
    return measure(Run.load(folder, device, **own), as_source(data), reading)


def measure(
    run: Run, data: str | Mapping[str, str] | None, reading: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Metrics of an opened run. Its own data by name mean its test split: what it learnt from measures nothing.

    `reading` says how other data are read, where that is not as in training.
    """
    if isinstance(data, Given) and data == run.data.sources.get(""):
        run.take_data(data)
    read_as(run, bind_reading(run.recipe, reading or {}))
    if data is None or _is_own(data, run.data):
        if reading:
            raise UserError(
                "the run's own data are read as in training",
                found=", ".join(reading),
                cure="--data PATH, for other data",
            )
        return run.open_task().evaluate(None)
    request = request_of(data, target=run.data.target, options=run.data.options)
    expect_kind(request, run.recipe)
    plain = request.is_one and not request.options
    return run.open_task().evaluate(request.source if plain else layout_of(request))


def bind_reading(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """How data that come after training are read, of what was given, checked."""
    bound = bind_to(given, later_options(recipe), owner=f"evaluate of {recipe.name}", word="option")
    return {name: bound[name] for name in given if bound[name] is not None}


def read_as(run: Run, reading: Mapping[str, Any]) -> None:
    """Has an opened run read what it is asked about in another way than its own data; run.json stays as it is."""
    if reading:
        run.record["data"] = {**run.record["data"], "options": {**run.data.options, **reading}}


def _is_own(data: str | Mapping[str, str], own: DataRequest) -> bool:
    """Whether two names mean the same data: the same word, or the same place however it is written."""
    named = {"": data} if isinstance(data, str) else data
    if named.keys() != own.sources.keys():
        return False
    return all(same_place(place, own.sources[role]) for role, place in named.items())


def predict(
    folder: str | Path,
    inputs: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    device: str = "auto",
    **options: Any,
) -> list[dict[str, Any]]:
    """The run's answers for the user's own inputs; with a file as `out` they are written there too.

    Args:
        folder: the run.
        inputs: files, folders, CSV lists, rows, texts, as the run's kind of data has them; `-` is stdin.
        out: a file for the answers, .csv or .jsonl; or a folder, for images that the run makes.
        device: where the run's networks run.
        options: the task's own, those that `chainrule show RECIPE` lists, with how the files are read (encoding,
            unknown); and what `Run.load` takes for code of the user's.

    Raises:
        UserError: for an unknown option or one out of range before anything loads; for an input that cannot be read.
    """
    return list(predict_each(folder, inputs, out=out, device=device, **options))


def predict_each(
    folder: str | Path,
    inputs: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    device: str = "auto",
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """What `predict` gives, answer by answer: for more inputs than memory holds answers to."""
    own, options = divided(options)
    bound = bind_options(recipe_of_run(folder), "predict", options)
    names = _named_inputs(inputs)
    to_file = is_answer_file(out)
    later = later_options(recipe_of_run(folder))
    reading = {name: value for name in later if (value := bound.pop(name)) is not None}
    run = Run.load(folder, device, **own)
    read_as(run, reading)
    task = run.open_task()
    assert isinstance(task, Predicts)
    answers = task.predict(names, Path(out) if out and not to_file else None, **bound)
    with answer_file(Path(out)) if out and to_file else contextlib.nullcontext() as write:
        for answer in counted(answers, "predict", "answers"):
            if write is not None:
                write(answer)
            yield answer


def _named_inputs(inputs: str | Path | Iterable[str | Path]) -> list[str]:
    """The inputs as text. A frame has its column names as elements, so that it is told by its columns."""
    each = [inputs] if isinstance(inputs, (str, Path)) or hasattr(inputs, "columns") else list(inputs)
    strange = next((one for one in each if not isinstance(one, (str, Path))), None)
    if strange is not None:
        raise UserError(
            "an input of predict is no text and no path",
            expected="a file, a folder, a list in a CSV, a row such as '5.1,3.5', a sentence",
            found=type(strange).__name__,
            cure="write a frame with frame.to_csv(FILE) and name the file; "
            "for arrays, run.open_task().modules() has the network",
        )
    if not each:
        raise UserError("there is nothing to predict from", expected="one input or more")
    return [str(one) for one in each]


def generate(
    folder: str | Path,
    *,
    count: int = 1,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    **options: Any,
) -> list[dict[str, Any]]:
    """Samples from a run. `options` are the task's own, those that `chainrule show RECIPE` lists: of text its prompt."""
    given = {name: value for name, value in options.items() if value is not None}
    bound = bind_options(recipe_of_run(folder), "generate", given)
    import torch

    run = Run.load(folder, device)
    task = run.open_task()
    assert isinstance(task, Generates)
    if not 1 <= count <= MOST_SAMPLES:
        raise UserError("the number of samples is out of range", expected=f"1 to {MOST_SAMPLES:,}", found=count)
    if seed is not None:
        check_seed(seed)
    torch.manual_seed(run.seed if seed is None else seed)
    return task.generate(count, Path(out) if out else run.folder / "samples", **bound)
