"""`train` and `resume`."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chainrule.api.summary import count_parameters, ended_in_words, model_name
from chainrule.core.data.words import expect_filled, request_of, shares_as_settings
from chainrule.core.device import choose_device, join_world, leave_world
from chainrule.core.discovery import get_recipe, known_settings, reading_options
from chainrule.core.errors import UserError
from chainrule.core.files.named_paths import expect_text, is_there, names_told, takes_paths
from chainrule.core.memory import memory_told
from chainrule.core.own_code.given import divided, separated
from chainrule.core.own_code.loading import told_by_line
from chainrule.core.seeds import check_seed
from chainrule.core.setting_paths import located as located_settings
from chainrule.core.settings import bind, bind_to, parameters
from chainrule.core.task import HasPretrained
from chainrule.data.catalog.published_weights import find_weights
from chainrule.data.catalog.sources import expect_one_meaning, located
from chainrule.data.given.reading import as_source
from chainrule.data.given.source import Given
from chainrule.data.kinds.recognition import expect_kind
from chainrule.models import PUBLISHERS, published_weights, recognise
from chainrule.run.checkpoint.checksum import checksum_of
from chainrule.run.distributed.restarts import earlier_attempt, lost_processes_told
from chainrule.run.folder.record import new_record, read_record
from chainrule.run.lengthened import begin_longer, longer
from chainrule.run.run import Run
from chainrule.run.settings import run_settings
from chainrule.run.weights.learnt import fingerprint
from chainrule.run.weights.loading import load_file

OnLog = Callable[[dict[str, Any]], object]


@takes_paths("data", "val", "test", "out", "weights")
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
    weights: str | Path | Run | None = None,
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
            a .caffemodel; a run, or its folder, which run.json then names as the parent; or `torchvision`, which publishes
            weights for some of the networks.
        on_log: called by the main process with each line of metrics that was written: step, epoch, values, seconds. What
            it returns is not looked at. After a resume it is called again for the lines after the last checkpoint.
        model: a network of your own, where the recipe has a setting `network`: a class of modules, a function that returns
            one, or a module, which is then trained in place. `loss` and `metrics` may be functions likewise.
        settings: the recipe's own settings, those of `run_settings`, and how its kinds of data are read (encoding, ...).

    Raises:
        UserError: for anything wrong in what was asked, before the first step.
        RunFailed: where the run could not be finished, or `on_log` raised something.
    """
    _check_callback(on_log)
    for name, value in {"target": target, **settings}.items():
        expect_text(name, value)
    found = get_recipe(recipe)
    settings, val, test = shares_as_settings(settings, parameters(found.build), _plain(val), _plain(test))
    own, settings, words = separated(settings, model, found.build, owner=f"the recipe {recipe}")
    known = known_settings(found, run_settings)
    values = bind_to(settings, known, owner=f"the recipe {recipe}") | words
    options = {
        name: value for name in reading_options(found) if (value := values.pop(name)) is not None and name in settings
    }
    common = {name: values.pop(name) for name in bind({}, run_settings, owner="")}
    values = located_settings(values, parameters(found.build))
    seed, weights = _whole(seed), os.fspath(weights) if weights is not None else None
    check_seed(seed)
    source = as_source(data)
    expect_filled(target=target, val=val, test=test, out=out, weights=weights)
    expect_one_meaning(*(name for name in (val, test) if isinstance(name, str)))
    request = request_of(source or found.data, target=target, val=val, test=test, seed=seed, options=options)
    request = located(request)
    request.expect_training()
    expect_kind(request, found)
    weights = str(Path(weights).absolute()) if weights is not None and is_there(weights) else weights
    folder = earlier_attempt(new_record(found, values, common, seed, request, weights), out, device)
    if folder is not None:
        return _continue(folder, device, on_log, data=source if isinstance(source, Given) else None, **own)
    run = Run.create(
        found, values, common, seed=seed, data=request, target=target, device=device, out=out, weights=weights, own=own
    )
    run.metric_log.on_line = on_log
    return _train(run)


def _plain(share: str | Path | float | None) -> str | float | None:
    if isinstance(share, Path):
        return str(share)
    item = getattr(share, "item", None)  # of a number of NumPy
    return share if item is None else float(item())


def _whole(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        raise UserError("the seed is out of range", expected="a whole number, 0 or more", found=seed) from None


@takes_paths("folder", "out")
def resume(
    folder: str | Path | Run,
    *,
    data: Any = None,
    device: str | None = None,
    on_log: OnLog | None = None,
    out: str | Path | None = None,
    **more: Any,
) -> Run:
    """Resumes a run exactly where its last checkpoint stands; the numbers are those of a run never stopped.

    With a greater `epochs` (or `steps`, `total_steps`) it continues as a new run in a folder of its own, RUN-2 or `out`,
    whose run.json names the parent; the run itself stays as it is. Carried over are weights, optimiser, counters, random
    numbers and the best weights so far. The learning rate is that of a run of the new length, from this step on: where it
    is constant, every number is that of a run which was asked for the whole length at once.

    Args:
        folder: the run, or its folder.
        data: those that the run was given in Python, where it was: the same once more.
        device: by default the run's own.
        on_log: as `train` has it.
        out: the folder of the run that continues.
        more: the new length; and code of the user's own, given again: see `Run.load`, for the other verbs too.

    Raises:
        UserError: the run is done and is to be no longer; another setting than a length; `longer` says what else.
    """
    _check_callback(on_log)
    own, settings = divided(more)
    record = read_record(Path(folder))
    device = device or record["device"].partition(":")[0]
    if settings or out is not None:
        values = longer(Path(folder), get_recipe(record["recipe"]), settings)
        if isinstance(folder, Run):
            data, own = folder.data.sources.get("") if data is None else data, {**folder.own.words, **own}
        world = join_world(choose_device(device))
        made = begin_longer(Path(folder), values, out) if world.is_main_process else Path()
        folder = Path(world.broadcast(str(made)))
    elif record["status"] == "done":
        raise UserError(
            "this run is done",
            where=Path(folder),
            cure=f"chainrule evaluate {Path(folder)}; or let it learn longer, as a new run: "
            f"chainrule resume {Path(folder)} epochs=N",
        )
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
        with memory_told(), run.active(), names_told(), told_by_line(), lost_processes_told(run.world, run.folder):
            if resume:
                run.resume()
            task = run.task
            if run.record["weights"] and not run.step:
                modules = task.pretrained_modules() if isinstance(task, HasPretrained) else task.modules()
                name = model_name(run) or run.recipe.name
                file = _weights_file(run)
                notes = load_file(file, modules, name, recognise)
                run.expect_same("weights", fingerprint(file) if file.is_dir() else checksum_of(file))
                for note in notes:
                    run.progress.line(note)
            for note in [] if run.step else run.data.notes:
                run.progress.line(note)
            run.progress.line(_opening(run))
            task.train(run)
            run.checkpoint()
            for words in ended_in_words(run):
                run.progress.line(words)
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
    if named not in PUBLISHERS or is_there(named):
        return Path(named)
    weights = published_weights(model_name(run) or run.recipe.name, named)
    return find_weights(weights.address, weights.sha256_prefix, say=run.progress.line)


def _result(run: Run, metrics: dict[str, float]) -> dict[str, Any]:
    """What result.json holds."""
    return {
        "recipe": run.recipe.name,
        "metrics": metrics,
        "protocol": run.task.protocol(),
        "chosen": run.chosen,
        **{key: value for key, value in run.ending.items() if key in ("kept_epoch", "stopped_early")},
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
