"""The Run: everything around a learning loop, the same for every kind of learning.

A loop asks the Run for its epochs, batches or steps, tells it what to track, and is otherwise its algorithm's own:

    run.keep(model=model, optimizer=optimizer)
    for epoch in run.epochs(epochs):
        for batch in run.batches(train):
            ...
            run.track(loss=loss)
        run.log(val_error=...)

Between two steps, and only there, the Run writes metrics, saves a checkpoint when one is due, and handles signals.
So the state that is saved is always that between two steps, and resuming from it repeats the run bit for bit.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.data_request import DataRequest
from chainrule.core.device import World, autocast, choose_device, hardware, join_world
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import Interrupted, RunFailed, UserError
from chainrule.core.own_code.given import OwnCode, OwnWords
from chainrule.core.recipe import Recipe
from chainrule.run.folder import RunFolder, claim
from chainrule.run.guard import Guard
from chainrule.run.metric_log import MetricLog, read_metrics
from chainrule.run.processes import Module, Processes
from chainrule.run.progress import Progress, describe
from chainrule.run.protocols import Loader, Stateful
from chainrule.run.record import Record, circumstances, new_record, read_record
from chainrule.run.signals import Signals
from chainrule.run.stage import Stage, Stages, seed_of
from chainrule.run.weights.loading import load_learnt

if TYPE_CHECKING:
    from chainrule.core.task import Task


class Run:
    """One training of one recipe, in one folder. `Run.create` begins one, `Run.load` opens one."""

    def __init__(
        self,
        folder: Path,
        record: dict[str, Any],
        recipe: Recipe,
        device: torch.device,
        world: World,
        *,
        trains: bool,
        made_folder: bool = False,
        asked: bool = False,
        own: OwnWords | None = None,
    ) -> None:
        self.folder, self.recipe, self.device, self.world = folder, recipe, device, world
        self._files = RunFolder(folder, writes=trains and world.is_main_process, made=made_folder)
        self.record = Record(record, self._files)
        self.own = OwnCode(self.record, asked, **(own or {}))
        self._stages = Stages(self.seed, self._files, self._processes, self._between_steps)
        self.metric_log = MetricLog(folder / "metrics.jsonl" if world.is_main_process else None)
        self.progress = Progress(record["recipe"], quiet=not world.is_main_process)
        self._guard, self._signals = Guard(), Signals()
        self._loader: Loader | None = None
        self.seconds = 0.0
        self._clock = self._saved_at = time.monotonic()
        self._task: Task | None = None

    # -- opening ------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        recipe: Recipe,
        settings: dict[str, Any],
        common: dict[str, Any],
        *,
        seed: int,
        data: str | None,
        target: str | None,
        device: str,
        out: str | Path | None,
        weights: str | None = None,
        own: OwnWords | None = None,
    ) -> Run:
        """A new run in a new folder. `settings` are the recipe's own, `common` those of `run_settings`; `own` is what the
        user gives from Python of the code that the settings name."""
        where = choose_device(device)
        if common["threads"]:
            torch.set_num_threads(common["threads"])
        world = join_world(where)
        folder, made = claim(recipe.name, out) if world.is_main_process else (Path(), False)
        record = new_record(recipe, settings, common, seed, data or recipe.data, target, weights)
        record |= {"device": str(where), "threads": torch.get_num_threads(), "processes": world.size}
        record |= {"hardware": hardware(where), **circumstances(), "status": "running"}
        folder = Path(world.broadcast(str(folder)))
        run = cls(folder, record, recipe, where, world, trains=True, made_folder=made, asked=True, own=own)
        run.write_record()
        return run

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "auto",
        *,
        trains: bool = False,
        recipe: Recipe | None = None,
        data: str | None = None,
        **own: Unpack[OwnWords],
    ) -> Run:
        """The run in `folder`: to look at and to answer with, in one process, leaving run.json as it is.

        With `trains` it is opened to resume: together with the other processes, where torchrun started them, and with as
        many CPU threads as it began with, so that sums are taken in the same order. `recipe` is the one of that name
        below `chainrule.systems`, unless it is given. `data` are those that the run was given in Python, as
        `chainrule.data.given.reading.given` has them. `model`, `loss` and `metrics` are given again to a run that had them
        from Python; `code` are files of the user's own that may run, though they were not named here before, or have changed.
        """
        record, where = read_record(Path(folder)), choose_device(device)
        world = join_world(where) if trains else World()
        if trains:
            torch.set_num_threads(record["threads"])
        run = cls(Path(folder), record, recipe or get_recipe(record["recipe"]), where, world, trains=trains, own=own)
        if data is not None:
            run.take_data(data)
        return run

    def take_data(self, data: str) -> None:
        """Takes once more the data that the run was given in Python; UserError where they are others."""
        if data != self.record["data"].get("source"):
            raise UserError(
                "the data are not those that this run began with",
                where=self.folder,
                expected=self.record["data"].get("source"),
                found=data,
            )
        self.record["data"]["source"] = data

    @property
    def step(self) -> int:
        """Steps done in this stage; outside of stages, those of all of them."""
        return self._stages.current.step if self._stages.current.name else self._stages.steps

    @property
    def epoch(self) -> int:
        """Epochs done in this stage: the number of the one that runs, counted from 0."""
        return self._stages.current.epoch

    @property
    def position(self) -> int:
        """Steps done in this epoch."""
        return self._stages.current.position

    @property
    def best(self) -> dict[str, Any] | None:
        """The best of `keep_best` so far: metric, value, step, epoch. Each stage has its own."""
        return self._stages.current.best

    @property
    def chosen(self) -> dict[str, Any] | None:
        """What the validation chose in the whole run: `best`, or in a run with stages a dictionary of them by stage."""
        return self._stages.best or self.best

    @property
    def seed(self) -> int:
        return self.record["seed"]

    @property
    def data(self) -> DataRequest:
        """What the run reads: what every loader of data is given."""
        return DataRequest.from_record(self.record["data"], self.seed)

    @property
    def common(self) -> dict[str, Any]:
        return self.record["common"]

    @property
    def task(self) -> Task:
        """What the recipe built, with fresh weights; `open_task` has the trained ones."""
        if self._task is None:
            torch.manual_seed(self.seed)
            settings = {key: tuple(v) if isinstance(v, list) else v for key, v in self.record["settings"].items()}
            self._task = self.recipe.build(self, **settings)
            self.write_record()
        return self._task

    def open_task(self) -> Task:
        """The task with the weights that the validation chose, else the latest."""
        load_learnt(self.folder, self.task.modules())
        return self.task

    open_system = open_task  # the name that it first had

    def log_lines(self) -> list[dict[str, Any]]:
        """What metrics.jsonl holds."""
        return read_metrics(self.folder / "metrics.jsonl")

    def result(self) -> dict[str, Any] | None:
        """What result.json holds, or None before the end."""
        file = self.folder / "result.json"
        return json.loads(file.read_text("utf-8")) if file.is_file() else None

    # -- what a loop uses ---------------------------------------------------------------------------------------

    def keep(self, **parts: Stateful) -> None:
        """Names everything that the loop changes, once, before it starts; a resumed run gets its state back here."""
        if self.common["compile"] == "yes" and "compile" not in self.record:
            raise UserError(
                f"{self.recipe.name} has nothing that is compiled", found="compile=yes", cure="compile=auto"
            )
        self._stages.at_work.keep(parts)

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs that are left, counted from 0."""
        stage = self._stages.at_work
        stage.of_epochs = count
        return stage.epochs(count)

    def batches(self, loader: Loader) -> Iterator[Any]:
        """The batches of this epoch that are left."""
        self._expect(len(loader))
        self._loader = loader
        yield from self._stages.at_work.steps(loader.epoch(self.epoch, self.position))
        self.flush()

    def steps(self, count: int) -> Iterator[int]:
        """The steps that are left of `count`, for loops that have no batches; counted from 0 in each epoch."""
        self._expect(count)
        self._loader = None
        yield from self._stages.at_work.steps(iter(range(self.position, count)))
        self.flush()

    def stop(self) -> None:
        """Ends the innermost loop after this step: a criterion of convergence is met."""
        self._stages.at_work.counters.stop()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """A part of the run with counters, stops, best value, kept parts, lines of metrics and weights of its own.

            with run.stage("pretrain") as stage:
                fit(run, ...)
            run.load_best("pretrain", {"model": model})

        Each begins with random numbers of its own, made of the run's seed and its name. When it ends, what it kept is
        written once, into checkpoint/stages/NAME.safetensors. Resumed in a later stage the run comes by here again: then
        the stage is `finished`, `keep` hands the parts the state in which it ended, its loops are empty, and nothing is
        logged or saved.
        """
        stage = self._stages.enter(name)
        torch.manual_seed(stage.seed)
        self._guard = Guard()
        self.progress.begin(f"{self.recipe.name}, {name}")
        try:
            yield stage
            if not stage.finished:
                self.flush()
                stage.end()
                self._stages.leave()
                self._save_and_stop_if_asked()
        except RunFailed as error:
            raise RunFailed(f"{name}: {error}") from error.__cause__
        finally:
            self._stages.leave()
        torch.manual_seed(seed_of(self.seed, name, "after"))

    def load_best(self, stage: str, modules: Mapping[str, nn.Module]) -> None:
        """The weights that a stage chose on the validation split, its last where it chose none, into the modules."""
        self._stages.named(stage).load_best(modules)

    def track(self, **values: Tensor | float) -> None:
        """Metrics of this step: averaged, and written at the next log step. A tensor is not waited for."""
        if not self._stages.at_work.finished:
            self.metric_log.track(values)

    def log(self, **values: Any) -> None:
        """Metrics written at once: of an epoch, an evaluation, an iteration."""
        stage = self._stages.at_work
        if stage.finished:
            return
        plain = {name: value.item() if isinstance(value, Tensor) else value for name, value in values.items()}
        self._write_line(plain)
        self.progress.line(f"{stage.place_in_words()}: {describe(plain)}")

    def guard(
        self, loss: Tensor, modules: Mapping[str, nn.Module], rerun: Callable[[], object], batch: object = None
    ) -> None:
        """Stops the run where the loss is NaN or infinite, and names where that appeared first: the field of the batch
        and the sample, the parameter or the layer.

        On the CPU at the step itself, before its update; elsewhere the device is not waited for, and the losses since
        the last log step are looked at together there.
        """
        self._guard.remember(self.step, self.epoch, self.position, loss)
        if self.device.type == "cpu" or (self.step + 1) % self.common["log_every"] == 0:
            self._guard.check(modules, rerun, batch, self._batch_at)

    def keep_best(self, modules: Mapping[str, nn.Module], metric: str, value: float, lower_is_better: bool) -> bool:
        """Keeps the weights if `metric`, measured on the validation split, is the best so far; of equals, the later."""
        return self._stages.at_work.keep_best(modules, metric, value, lower_is_better)

    def save_image(self, name: str, image: Any) -> None:
        """Saves an image (PIL image) into figures/, where the report finds it."""
        if self.world.is_main_process and not self._stages.current.finished:
            self._files.write(f"figures/{name}.png", lambda path: image.save(path, format="png"), self.step)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        return autocast(self.device, self.common["autocast"])

    def require_one_process(self) -> None:
        """For a recipe whose learning is not shared: an error where torchrun started several processes."""
        self._processes.require_one()

    def require_whole_weights(self) -> None:
        """For a recipe that looks at whole matrices of weights: an error where `parallel=fsdp` would shard them."""
        self._processes.require_whole_weights()

    @property
    def fresh(self) -> bool:
        """Whether no checkpoint was written yet: the weights are those that the recipe gives them."""
        return not self._files.has_checkpoint

    def place(self, module: Module) -> Module:
        """The module on the run's device, its four-dimensional weights channels-last, where convolutions are fastest.

        With `parallel=fsdp` it is sharded here, before an optimiser sees its parameters, and stays as it is laid out:
        FSDP takes contiguous parameters only.
        """
        return self._processes.place(module)

    def wrap_distributed(self, module: nn.Module, *, rests: bool = False, again: bool = False) -> Any:
        """The module to call in training: itself, or with DDP around it where several processes train.

        `rests` says that some parameters have no gradient for a while, as frozen ones; `again` that it is called more
        than once before a backward pass.
        """
        return self._processes.wrap_distributed(module, rests=rests, again=again)

    # -- around the loop ----------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Takes up the latest checkpoint; `keep` hands the state to the parts."""
        state = self._stages.load()
        if state is None:
            self.metric_log.load_state_dict({"pending": {}, "length": 0})
            return
        self.seconds = state["seconds"]
        self.metric_log.load_state_dict(state["metrics"])

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """While training: signals save first, the clock runs, failures are written into run.json."""

        self._clock = self._saved_at = time.monotonic()
        self.set_status("running")
        try:
            with self._signals.watched():
                yield
        except Interrupted:
            self.set_status("interrupted")
            raise
        except BaseException as error:
            with contextlib.suppress(RunFailed):
                self.set_status("failed", str(error))
            raise
        finally:
            self.progress.close()

    def checkpoint(self) -> None:
        """Saves everything, now; only between two steps, and never in the place of a good checkpoint a spoiled one."""
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        self._stages.save(self.seconds, self.metric_log.state_dict())
        self._saved_at = time.monotonic()

    def flush(self) -> None:
        """Writes the tracked metrics as a line."""
        if not self.metric_log.pending:
            return
        values = {name: float(self.world.mean(value)) for name, value in self.metric_log.gather().items()}
        self._write_line(values)
        self.progress.update(self.step, values)

    def finish(self, result: dict[str, Any], report: Callable[[], object]) -> None:
        """Writes result.json and the report; then the run is done. A kill before that leaves a run that resumes."""
        with self._files.mention_checkpoint("the result", self.step):
            self._files.write_json("result.json", result)
        self.record.describe_status("done", self.seconds)
        report()
        self.write_record()

    def discard(self) -> None:
        """Takes back a start that came to nothing: of a run that never made a step, nothing stays behind."""
        if not self.step:
            self._files.discard()

    def set_status(self, status: str, reason: str | None = None) -> None:
        self.record.describe_status(status, self.seconds, reason)
        self.write_record()

    # -- inside -------------------------------------------------------------------------------------------------

    def _between_steps(self, boundary: bool) -> None:
        on_log_step = self.step % self.common["log_every"] == 0
        if on_log_step and not boundary:
            self.flush()
        self.progress.update(self.step)
        wants = self._signals.caught is not None or time.monotonic() - self._saved_at >= self.common["checkpoint_s"]
        if self.world.size > 1:  # ranks agree at log steps, so that none waits alone
            if not (on_log_step or boundary):
                return
            wants = self.world.any(wants, self.device)
        if not wants or (self._signals.caught is None and self._stages.current.saving.is_spoiled()):
            return  # of spoiled weights the guard tells more, at the next step
        self._save_and_stop_if_asked()

    def _save_and_stop_if_asked(self) -> None:
        self.checkpoint()
        if self.world.any(self._signals.caught is not None, self.device):
            self.progress.close()
            stage = self._stages.current.name
            where = f"step {self.step}{f' of {stage}' if stage else ''}"
            raise self._signals.interrupted(where, self.folder)

    @property
    def _processes(self) -> Processes:
        common = self.common
        synchronised = bool(common.get("sync_batch_norm"))  # of runs that began before there was the setting: no
        return Processes(self.world, self.device, common["parallel"], self.recipe.name, synchronised)

    def _expect(self, steps: int) -> None:
        stage = self._stages.at_work
        if not stage.finished:
            self.progress.total = steps * (stage.of_epochs or 1)
            self.progress.update(self.step, force=True)

    def _batch_at(self, epoch: int, position: int) -> object:
        """A batch of `batches` made again; None where the loop draws its own."""
        return None if self._loader is None else next(self._loader.epoch(epoch, position), None)

    def _write_line(self, values: dict[str, Any]) -> None:
        seconds = self.seconds + time.monotonic() - self._clock
        self.metric_log.write({**self._stages.current.place(), **values, "seconds": round(seconds, 3)})

    def write_record(self) -> None:
        """Writes run.json, where this process may."""
        self.record.write()


TOPICS = (
    Topic("Validation split and test split, choice of a model", code=("Run.keep_best",)),
    Topic("Checkpoints and exact resume", "检查点与精确恢复", code=("Run.keep",), command="chainrule resume RUN"),
)
