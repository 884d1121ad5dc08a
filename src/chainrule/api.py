"""The verbs, as Python functions: what the command does, without the command."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from chainrule.core.data_request import DataRequest
from chainrule.core.data_words import request_of, shares_as_settings
from chainrule.core.device import leave_world
from chainrule.core.discovery import all_recipes, get_recipe
from chainrule.core.errors import UserError
from chainrule.core.own_code.given import OwnWords, divided, is_own, separated
from chainrule.core.own_code.loading import told_by_line
from chainrule.core.recipe import Recipe
from chainrule.core.settings import bind, parameters
from chainrule.core.task import Exports, Generates, HasNumParameters, HasPretrained, Predicts
from chainrule.core.verbs import bind_options, expect_verb, recipe_of_run
from chainrule.data.catalog.published_weights import find_weights
from chainrule.data.given.reading import as_source
from chainrule.data.given.source import Given
from chainrule.data.kinds.recognition import expect_kind
from chainrule.data.layout import layout_of
from chainrule.models import PUBLISHERS, published_weights, recognise
from chainrule.reporting.answers import answer_file, is_answer_file
from chainrule.run.progress import counted
from chainrule.run.record import new_record, read_record
from chainrule.run.restarts import earlier_attempt, lost_processes_told
from chainrule.run.run import Run
from chainrule.run.settings import run_settings
from chainrule.run.weights.loading import load_file

OnLog = Callable[[dict[str, Any]], object]


def train(
    recipe: str,
    *,
    data: Any = None,
    target: str | None = None,
    val: str | Path | float | None = None,
    test: str | Path | float | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    weights: str | None = None,
    on_log: OnLog | None = None,
    model: Any = None,
    **settings: Any,
) -> Run:
    """Trains a recipe, evaluates it on the test split, and gives the Run, whose folder holds everything.

    Args:
        recipe: its name, as `chainrule list` shows it.
        data: a known data set or a path; the recipe's own by default. Several by role: {"train": A, "test": B},
            {"images": DIR, "labels": FILE}. Or data themselves: (x, y) of arrays or tensors, a frame, a Dataset of
            torch, see `chainrule.data.given.reading.given`.
        target: the column of labels, for tables.
        val, test: what validates and what measures: a share to hold out, or a path or name of data of its own.
        out: the run folder, new or empty; runs/RECIPE-N by default.
        seed: decides every random draw.
        device: auto, cpu, cuda or mps.
        weights: a file to start from: safetensors, a state dict of torch.save, or for the networks that Caffe has too
            a .caffemodel; the folder of a run; or `torchvision`, which publishes weights for some of the networks.
        on_log: called by the main process with each line of metrics that was written: step, epoch, values, seconds. What
            it returns is not looked at. After a resume it is called again for the lines after the last checkpoint.
        model: a network of your own, where the recipe has a setting `network`: a class of modules, a function that returns
            one, or a module, which is then trained in place. `loss` and `metrics` may be functions likewise.
        settings: the recipe's own settings and those of `run_settings`.

    Raises:
        UserError: for anything wrong in what was asked, before the first step.
        RunFailed: where the run could not be finished, or `on_log` raised something.
    """
    _check_callback(on_log)
    found = get_recipe(recipe)
    settings, val, test = shares_as_settings(settings, parameters(found.build), _plain(val), _plain(test))
    own, settings, words = separated(settings, model, found.build, owner=f"the recipe {recipe}")
    values = bind(settings, found.build, run_settings, owner=f"the recipe {recipe}") | words
    common = {name: values.pop(name) for name in bind({}, run_settings, owner="")}
    if seed < 0:
        raise UserError("the seed is out of range", expected="a whole number, 0 or more", found=seed)
    source = as_source(data)
    request = request_of(source or found.data, target=target, val=val, test=test, seed=seed)
    expect_kind(request, found)
    folder = earlier_attempt(new_record(found, values, common, seed, request, weights), out, device)
    if folder is not None:
        return _continue(folder, device, on_log, data=source if isinstance(source, Given) else None, **own)
    run = Run.create(
        found, values, common, seed=seed, data=request, target=target, device=device, out=out, weights=weights, own=own
    )
    run.metric_log.on_line = on_log
    return _train(run)


def _plain(share: str | Path | float | None) -> str | float | None:
    return str(share) if isinstance(share, Path) else share


def resume(
    folder: str | Path,
    *,
    data: Any = None,
    device: str | None = None,
    on_log: OnLog | None = None,
    **own: Unpack[OwnWords],
) -> Run:
    """Resumes a run exactly where its last checkpoint stands; the numbers are those of a run never stopped.

    `data` are those that the run was given in Python, where it was: the same once more. `on_log` is as `train` has it.
    Code of the user's own is given again likewise: see `Run.load`, for the other verbs too.
    """
    _check_callback(on_log)
    record = read_record(Path(folder))
    if record["status"] == "done":
        raise UserError(
            "this run is done", where=folder, cure=f"chainrule evaluate {folder}, or a new run with more epochs"
        )
    device = device or record["device"].partition(":")[0]
    run = Run.load(folder, device, trains=True, data=as_source(data), **own)
    run.metric_log.on_line = on_log
    return _train(run, resume=True)


def _continue(folder: Path, device: str, on_log: OnLog | None, **given: Any) -> Run:
    """Takes up the run that these processes began before torchrun started them again; it may have ended already."""
    run = Run.load(folder, device, trains=True, **given)
    run.metric_log.on_line = on_log
    if run.record["status"] != "done":
        return _train(run, resume=True)
    leave_world()
    return Run.load(folder, device, **given) if run.world.is_main_process else run


def _check_callback(on_log: object) -> None:
    if on_log is not None and not callable(on_log):
        raise UserError("on_log cannot be called", expected="a function of a line of metrics", found=repr(on_log))


def _train(run: Run, resume: bool = False) -> Run:
    try:
        with run.active(), told_by_line(), lost_processes_told(run.world, run.folder):
            if resume:
                run.resume()
            task = run.task
            if run.record["weights"] and not run.step:
                modules = task.pretrained_modules() if isinstance(task, HasPretrained) else task.modules()
                name = _model_name(run) or run.recipe.name
                for note in load_file(_weights_file(run), modules, name, recognise):
                    run.progress.line(note)
            run.progress.line(_opening(run))
            task.train(run)
            run.checkpoint()
            run.open_task()
            run.finish(_result(run, task.evaluate()), report=lambda: _report(run))
    except UserError:
        if not resume:
            run.discard()
        raise
    finally:
        leave_world()
    return run


def _opening(run: Run) -> str:
    """What is about to be trained on what, where, and where it is written."""
    counts = (run.record["data"].get("spec") or {}).get("counts") or {}
    parameters = count_parameters(run)
    parts = [
        ", ".join([str(run.data), *(f"{count:,} {split}" for split, count in counts.items())]),
        f"{parameters:,} parameters" if parameters else "",
        str(run.device),
        str(run.folder),
        f"resumes at step {run.step:,}" if run.step else "",
    ]
    return f"{run.recipe.name}: {'; '.join(part for part in parts if part)}"


def _weights_file(run: Run) -> Path:
    """The file of weights that a run starts from; those of a publisher are fetched where they are not here."""
    named: str = run.record["weights"]
    if named not in PUBLISHERS or Path(named).exists():
        return Path(named)
    weights = published_weights(_model_name(run) or run.recipe.name, named)
    return find_weights(weights.address, weights.sha256_prefix, say=run.progress.line)


def _model_name(run: Run) -> str | None:
    """The name of the run's model, None for a study."""
    return run.recipe.model_for(run.record["settings"])


def _result(run: Run, metrics: dict[str, float]) -> dict[str, Any]:
    """What result.json holds."""
    return {
        "recipe": run.recipe.name,
        "metrics": metrics,
        "protocol": run.task.protocol(),
        "chosen": run.chosen,
        "steps": run.step,
        "seconds": round(run.seconds, 3),
        "parameters": count_parameters(run),
        "device": str(run.device),
        "data": run.record["data"],
        "seed": run.seed,
    }


def _report(run: Run) -> None:
    """The report of the run that has just ended, on rank 0; figures of a sharded model need it whole, so opened anew."""
    run.world.barrier()
    leave_world()
    if run.world.is_main_process:
        from chainrule.reporting.report import write_report

        data = run.data.sources.get("")
        write_report([run if run.world.size == 1 else Run.load(run.folder, run.device.type, data=data)], None)


def summary(run: Run, metrics: dict[str, float] | None = None) -> dict[str, Any]:
    """The object that `--json` prints."""
    result = run.result() or {}
    return {
        "run": str(run.folder),
        "recipe": run.recipe.name,
        "metrics": metrics or result.get("metrics", {}),
        "seconds": result.get("seconds"),
        "parameters": count_parameters(run),
        "device": str(run.device),
    }


def count_parameters(run: Run) -> int:
    """Trainable parameters of the run's networks; where there are none, the numbers that were estimated."""
    modules = run.task.modules().values()
    trainable = sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)
    return trainable or sum(m.num_parameters for m in modules if isinstance(m, HasNumParameters))


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
            cure="write a frame with frame.to_csv(FILE) and name the file; for arrays, run.open_task().modules() has the network",
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
    torch.manual_seed(run.seed if seed is None else seed)
    return task.generate(count, Path(out) if out else run.folder / "samples", **bound)


def explain(
    what: str | Path,
    inputs: list[str] | None = None,
    *,
    target: int | str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    **own: Unpack[OwnWords],
) -> Path:
    """Looks inside a run, a recipe, or a computation: one HTML file that works offline.

    Of a run or a recipe it shows layers, shapes, parameters and cost, of a run also values, gradients and a diagnosis; of
    a net description of Caffe's (`FILE.prototxt`) what it shows of a recipe.
    Of a formula or a function it shows the computational graph with every value and gradient (`explain_text` gives the
    same as an object).

    Args:
        what: a run folder; a recipe's name, whose model is then built anew with its defaults; a formula such as
            `(x+y)*(y-z)`; or `FILE.py:NAME`, a function or module of the user's own.
        inputs: for a run, at most one: what the activations and gradients are shown for. For a formula or a function
            its values, `x=1 y=[1,2] z=randn(2,3)`. For a net description sizes of its inputs, `data=3,224,224`.
        target: of an image classifier with an input, the class that is asked about, by name or number; the answer's if none.
        out: the file to write, or a folder for it; explain.html in the run, explain-RECIPE.html or graph.html here.
        device: where a run's networks run.
        own: for a run with code of the user's own.
    """
    from chainrule.introspection.explain import explain_module, explain_recipe, explain_run
    from chainrule.models import example_of_description, get_card

    path, name, place = Path(what), str(what), Path(out) if out else None
    given = inputs or []
    if name.endswith(".prototxt"):
        module, example, notes = example_of_description(name, given)
        return explain_module(path.stem, f"a net description, {name}", module, example, notes, place)
    if is_computation(name, given):
        from chainrule.introspection.explain import explain_graph

        return explain_graph(explain_text(name, given), place)
    if len(given) > 1:
        raise UserError("explain looks at one input at a time", expected="one", found=len(given))
    if (path / "run.json").is_file() or (path.is_dir() and name not in all_recipes()):
        run = Run.load(path, device, **own)
        _expect_a_network(run.recipe)
        name_of_model = _model_name(run)
        card = get_card(name_of_model) if name_of_model and not is_own(name_of_model) else None
        return explain_run(run, card, given, place, target)
    if name not in all_recipes() and ("/" in name or "\\" in name):
        raise UserError("there is no such run folder", where=name, expected="a run folder, or the name of a recipe")
    recipe = get_recipe(name)
    _expect_a_network(recipe)
    if given:
        raise UserError(
            "a recipe has learnt nothing yet that an input could show",
            found=given[0],
            cure=f"chainrule train {name}, then: chainrule explain RUN {given[0]}",
        )
    return explain_recipe(recipe, get_card(recipe.model) if recipe.model else None, place)


def _expect_a_network(recipe: Recipe) -> None:
    if recipe.is_study:
        raise UserError(
            f"{recipe.name} is a study: it measures many networks, or none, and keeps none",
            cure=f"chainrule train {recipe.name}, and read its report",
        )


def is_computation(what: str, inputs: list[str]) -> bool:
    """Whether `explain` is asked for a formula or a function, and not for a run or a recipe.

    >>> [is_computation(*case) for case in (("x*x", []), ("f.py:g", []), ("a/b", ["a=1", "b=2"]), ("lenet6", []))]
    [True, True, True, False]
    """
    if what in all_recipes() or Path(what).exists():
        return False
    if ".py:" in what or any(sign in what for sign in "()*+^"):
        return True
    return bool(inputs) and all("=" in word and not Path(word).exists() for word in inputs)


def explain_text(what: str, inputs: list[str]) -> Any:
    """The `Graph` of a formula or of `FILE.py:NAME` on the values given."""
    from chainrule.introspection.graph.source import graph_of_text

    return graph_of_text(what, inputs)


def export(folder: str | Path, to: str, *, out: str | Path | None = None, **own: Unpack[OwnWords]) -> dict[str, Any]:
    """A file to deploy (`onnx` or `torch`), checked against the model at several batch sizes before this returns."""
    from chainrule.reporting.export import export_system

    expect_verb(recipe_of_run(folder), "export")
    run = Run.load(folder, "cpu", **own)
    task = run.open_task()
    assert isinstance(task, Exports)
    return export_system(task.deployable(), to, Path(out) if out else None, run)


def report(*folders: str | Path, out: str | Path | None = None, **own: Unpack[OwnWords]) -> Path:
    """One HTML file: curves, figures, samples, settings; a comparison where several runs are named."""
    from chainrule.reporting.report import write_report

    if not folders:
        raise UserError("there is nothing to report on", expected="one run folder or more")
    return write_report([Run.load(folder, **own) for folder in folders], Path(out) if out else None)
