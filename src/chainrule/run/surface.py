"""What a loop sees of the Run: its counters, its steps, what is kept, tracked and guarded; and the moment between steps.

Between two steps, and only there, metrics are written, a checkpoint is saved when one is due, and signals are handled.
So the state that is saved is always that between two steps, and resuming from it repeats the run bit for bit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.data.request import DataRequest
from chainrule.core.device import World, autocast
from chainrule.core.errors import RunFailed, UserError, in_english
from chainrule.core.recipe import Recipe
from chainrule.run.display.progress import Progress, describe
from chainrule.run.distributed.processes import Module, Processes
from chainrule.run.folder.folder import RunFolder
from chainrule.run.folder.metric_log import MetricLog
from chainrule.run.folder.record import Record
from chainrule.run.guard import Guard
from chainrule.run.protocols import Loader, Stateful
from chainrule.run.signals import Signals
from chainrule.run.stages.stage import Stage, Stages, seed_of


class LoopSurface:
    """The part of the Run that a loop works with; each concern is an object of its own behind it.

    Args:
        folder: the run's.
        record: what run.json holds.
        recipe: what is trained.
        device, world: where, and the processes that train together.
        files: the folder, to be written into.
    """

    def __init__(
        self, folder: Path, record: Record, recipe: Recipe, device: torch.device, world: World, files: RunFolder
    ) -> None:
        self.folder, self.record, self.recipe, self.device, self.world = folder, record, recipe, device, world
        self._files = files
        self._stages = Stages(self.seed, files, self._processes, self._between_steps)
        self.metric_log = MetricLog(folder / "metrics.jsonl" if world.is_main_process else None)
        self.progress = Progress(record["recipe"], quiet=not world.is_main_process)
        self._guard, self._signals = Guard(), Signals()
        self._loader: Loader | None = None
        self.seconds = 0.0
        self._clock = self._saved_at = time.monotonic()

    # -- where it stands ----------------------------------------------------------------------------------------

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
        """The best of `keep_best` so far: metric, value, step, epoch. Each stage has its own; after them the last counts."""
        return self._stages.current.best or (None if self._stages.current.name else self._stages.last_best)

    @property
    def chosen(self) -> dict[str, Any] | None:
        """What the validation chose in the whole run: `best`, or in a run with stages a dictionary of them by stage."""
        return self._stages.best_of_each or self.best

    @property
    def ending(self) -> dict[str, Any]:
        """Which epoch's weights are kept, counted from 1, and whether training stopped before its last epoch.

        `kept_epoch`, `stopped_early`, `epochs` (that were made) and `of_epochs` (that were asked for). Empty for a run with
        stages, and for one whose recipe does not count epochs.
        """
        stage = self._stages.current
        asked = self.record["settings"].get("epochs")
        if stage.name or self._stages.best_of_each or not isinstance(asked, int) or not stage.of_epochs:
            return {}
        kept = stage.best["epoch"] + 1 if stage.best else stage.epoch
        early = stage.epoch < stage.of_epochs
        return {"kept_epoch": kept, "stopped_early": early, "epochs": stage.epoch, "of_epochs": stage.of_epochs}

    @property
    def seed(self) -> int:
        return self.record["seed"]

    @property
    def data(self) -> DataRequest:
        """What the run reads: what every loader of data is given."""
        return DataRequest.from_record(self.record["data"], self.seed, self.record.get("working_folder"))

    @property
    def common(self) -> dict[str, Any]:
        return self.record["common"]

    # -- the loop -----------------------------------------------------------------------------------------------

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
            raise RunFailed(f"{name}: {in_english(error)}") from error.__cause__
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
            # With several processes a forward pass sends messages, and the others would not take part in this one.
            self._guard.check(modules, rerun if self.world.size == 1 else None, batch, self._batch_at)

    def keep_best(self, modules: Mapping[str, nn.Module], metric: str, value: float, lower_is_better: bool) -> bool:
        """Keeps the weights if `metric`, measured on the validation split, is the best so far; of equals, the later."""
        return self._stages.at_work.keep_best(modules, metric, value, lower_is_better)

    def save_image(self, name: str, image: Any) -> None:
        """Saves an image (PIL image) into figures/, where the report finds it."""
        if self.world.is_main_process and not self._stages.current.finished:
            self._files.write(f"figures/{name}.png", lambda path: image.save(path, format="png"), self.step)

    # -- device and processes -----------------------------------------------------------------------------------

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Around a forward pass: products in bfloat16 where the run was begun with them (`chainrule.run.autocast`)."""
        chosen = self.record.get("autocast", {}).get("dtype")
        return autocast(self.device, self.common["autocast"], chosen)

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

    # -- between two steps --------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Saves everything, now; only between two steps, and never in the place of a good checkpoint a spoiled one."""
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        self.metric_log.sync()
        self._stages.save(self.seconds, self.metric_log.state_dict())
        self._saved_at = time.monotonic()

    def flush(self) -> None:
        """Writes the tracked metrics as a line."""
        if not self.metric_log.pending:
            return
        values = {name: float(self.world.mean(value)) for name, value in self.metric_log.gather().items()}
        self._write_line(values)
        self.progress.update(self.step, values)

    def _between_steps(self, boundary: bool) -> None:
        on_log_step = self.step % self.common["log_every"] == 0
        if on_log_step and not boundary:
            self.flush()
        self.progress.update(self.step)
        asked = self._signals.caught is not None
        wants = asked or time.monotonic() - self._saved_at >= self.common["checkpoint_s"]
        if self.world.size > 1:  # ranks agree at log steps, so that none waits alone
            if not (on_log_step or boundary):
                return
            wants = self.world.any(wants, self.device)
            asked = wants and self.world.any(asked, self.device)
        if not wants or (not asked and self._stages.current.saving.is_spoiled()):
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
            if (
                not stage.name and "planned_steps" not in self.record
            ):  # so that one that is stopped can say how far it is
                self.record["planned_steps"] = self.progress.total
                self.record.write()
            self.progress.update(self.step, force=True)

    def _batch_at(self, epoch: int, position: int) -> object:
        """A batch of `batches` made again; None where the loop draws its own."""
        return None if self._loader is None else next(self._loader.epoch(epoch, position), None)

    def _write_line(self, values: dict[str, Any]) -> None:
        seconds = self.seconds + time.monotonic() - self._clock
        self.metric_log.write({**self._stages.current.place(), **values, "seconds": round(seconds, 3)})


TOPICS = (
    Topic("Validation split and test split, choice of a model", code=("LoopSurface.keep_best",)),
    Topic(
        "Checkpoints and exact resume", "检查点与精确恢复", code=("LoopSurface.keep",), command="chainrule resume RUN"
    ),
)
