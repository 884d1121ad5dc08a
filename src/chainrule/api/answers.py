"""`evaluate`, `predict` and `generate`: what a run is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from chainrule.core.data.request import DataRequest
from chainrule.core.data.words import request_of
from chainrule.core.errors import UserError
from chainrule.core.own_code.given import OwnWords, divided
from chainrule.core.seeds import check_seed
from chainrule.core.task import Generates, Predicts
from chainrule.core.verbs import bind_options
from chainrule.data.given.reading import as_source
from chainrule.data.given.source import Given
from chainrule.data.kinds.recognition import expect_kind
from chainrule.data.layout import layout_of
from chainrule.reporting.answers import answer_file, is_answer_file
from chainrule.run.display.progress import counted
from chainrule.run.folder.record import recipe_of_run
from chainrule.run.run import Run


def evaluate(
    folder: str | Path, *, data: Any = None, device: str = "auto", **own: Unpack[OwnWords]
) -> dict[str, float]:
    """Metrics of a run on its own test split, or on other data of the same kind: a name, a path, or as `train` takes them."""
    return measure(Run.load(folder, device, **own), as_source(data))


def measure(run: Run, data: str | Mapping[str, str] | None) -> dict[str, float]:
    """Metrics of an opened run. Its own data by name mean its test split: what it learnt from measures nothing."""
    if isinstance(data, Given) and data == run.data.sources.get(""):
        run.take_data(data)
    if data is None or _is_own(data, run.data):
        return run.open_task().evaluate(None)
    request = request_of(data, target=run.data.target)
    expect_kind(request, run.recipe)
    return run.open_task().evaluate(request.source if request.is_one else layout_of(request))


def _is_own(data: str | Mapping[str, str], own: DataRequest) -> bool:
    """Whether two names mean the same data: the same word, or the same place however it is written."""
    named = {"": data} if isinstance(data, str) else data
    if named.keys() != own.sources.keys():
        return False
    pairs = ((place, own.sources[role]) for role, place in named.items())
    return all(a == b or (Path(a).exists() and Path(b).exists() and Path(a).samefile(b)) for a, b in pairs)


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
        options: the task's own, those that `chainrule show RECIPE` lists; and what `Run.load` takes for code of the user's.

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
    task = Run.load(folder, device, **own).open_task()
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
    if count < 1:
        raise UserError("the number of samples is out of range", expected="1 or more", found=count)
    if seed is not None:
        check_seed(seed)
    torch.manual_seed(run.seed if seed is None else seed)
    return task.generate(count, Path(out) if out else run.folder / "samples", **bound)
