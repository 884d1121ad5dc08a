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
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import nn

from chainrule.core.data.request import DataRequest
from chainrule.core.device import World, check_threads, choose_device, cpu_capability, hardware, join_world
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import Interrupted, RunFailed, UserError, in_english, missing_extra
from chainrule.core.files.standard_streams import say
from chainrule.core.own_code.given import OwnCode, OwnWords
from chainrule.core.recipe import Recipe
from chainrule.core.setting_paths import found_again
from chainrule.core.settings import parameters
from chainrule.core.task import Exports
from chainrule.core.verbs import expect_verb
from chainrule.nn.built import within_memory, without_content
from chainrule.run.checkpoint.checksum import checksum_of, damaged
from chainrule.run.folder.folder import RunFolder, claim, expect_no_links
from chainrule.run.folder.lock import FolderLock, lock_folder
from chainrule.run.folder.metric_log import read_metrics
from chainrule.run.folder.record import Record, circumstances, new_record, read_record
from chainrule.run.folder.record_form import checked_result, expect_settings, read_object, told_of_record
from chainrule.run.lengthened import parent_of
from chainrule.run.surface import LoopSurface
from chainrule.run.weights.loading import load_learnt
from chainrule.run.weights.provenance import run_of

if TYPE_CHECKING:
    from chainrule.core.task import Task


class Run(LoopSurface):
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
        lock: FolderLock | None = None,
        asked: bool = False,
        own: OwnWords | None = None,
    ) -> None:
        files = RunFolder(folder, writes=trains and world.is_main_process, made=made_folder, lock=lock)
        super().__init__(folder, Record(record, files), recipe, device, world, files)
        self.own = OwnCode(self.record, asked, **(own or {}))
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
        data: str | DataRequest | None,
        target: str | None,
        device: str,
        out: str | Path | None,
        weights: str | None = None,
        own: OwnWords | None = None,
    ) -> Run:
        """A new run in a new folder. `settings` are the recipe's own, `common` those of `run_settings`; `own` is what the
        user gives from Python of the code that the settings name."""
        request = data if isinstance(data, DataRequest) else DataRequest({"": data or recipe.data}, target)
        where = choose_device(device)
        if common["threads"]:
            check_threads(common["threads"])
            torch.set_num_threads(common["threads"])
        world = join_world(where)
        record = new_record(recipe, settings, common, seed, request, weights)
        if weights is not None and (parent := run_of(weights)) is not None:
            record["parent"] = parent_of(parent, read_record(parent))
        record |= {"device": str(where), "threads": torch.get_num_threads(), "processes": world.size}
        record |= {"hardware": hardware(where), "cpu_capability": cpu_capability()}
        record |= {**circumstances(), "status": "running"}
        folder, made, lock = claim(recipe.name, out) if world.is_main_process else (Path(), False, None)
        folder = Path(world.broadcast(str(folder)))
        run = cls(folder, record, recipe, where, world, trains=True, made_folder=made, lock=lock, asked=True, own=own)
        run.write_record()
        return run

    @classmethod
    def load(
        cls,
        folder: str | Path | Run,
        device: str = "auto",
        *,
        trains: bool = False,
        recipe: Recipe | None = None,
        data: str | None = None,
        **own: Unpack[OwnWords],
    ) -> Run:
        """The run in `folder`: to look at and to answer with, in one process, leaving run.json as it is.

        With `trains` it is opened to resume: together with the other processes, where torchrun started them, and with as
        many CPU threads as it began with, so that sums are taken in the same order; no other process may write into its
        folder meanwhile, and no link stand in it. `recipe` is the one of that name
        below `chainrule.systems`, unless it is given. `data` are those that the run was given in Python, as
        `chainrule.data.given.reading.given` has them. `model`, `loss` and `metrics` are given again to a run that had them
        from Python; `code` are files of the user's own that may run, though they were not named here before, or have changed.

        A Run in the place of its folder is opened anew, with the data and the code that it was given.
        """
        if isinstance(folder, Run):
            given: dict[str, Any] = {**folder.own.words, **own}
            held = folder.data.sources.get("") if data is None else data
            held = held if type(held) is not str else None  # given in Python it is more than a name
            return cls.load(folder.folder, device, trains=trains, recipe=recipe or folder.recipe, data=held, **given)
        place = Path(folder)
        record, where = read_record(place), choose_device(device)
        recipe = recipe or get_recipe(record["recipe"])
        expect_settings(record, recipe, place / "run.json")
        world = join_world(where) if trains else World()
        lock: FolderLock | None = None
        if trains and world.is_main_process:
            expect_no_links(place)
            lock = lock_folder(place)
            record = read_record(place)  # as the last process has left it that wrote here
        if trains:
            record.pop("checksums", None)
            torch.set_num_threads(record["threads"])
        run = cls(place, record, recipe, where, world, trains=trains, lock=lock, own=own)
        if data is not None:
            run.take_data(data)
        return run

    def take_data(self, data: str) -> None:
        """Takes once more the data that the run was given in Python; UserError where they are others."""
        place = self.record["data"]
        held, role = (place["sources"], "") if "sources" in place else (place, "source")
        if data != held.get(role):
            raise UserError(
                "the data are not those that this run began with",
                where=self.folder,
                expected=held.get(role),
                found=data,
            )
        held[role] = data

    @property
    def task(self) -> Task:
        """What the recipe built, with fresh weights; `open_task` has the trained ones."""
        if self._task is None:
            torch.manual_seed(self.seed)
            kept = {key: tuple(v) if isinstance(v, list) else v for key, v in self.record["settings"].items()}
            settings = found_again(kept, parameters(self.recipe.build), self.record.get("working_folder"))
            with within_memory(), told_of_record(self.folder / "run.json"):
                self._task = self.recipe.build(self, **settings)
            self.write_record()
        return self._task

    def example_inputs(self) -> dict[str, tuple[Any, ...]]:
        """Inputs of one sample for each network of the task, without content; none where no task was built yet."""
        example = getattr(self._task, "example", dict)
        with without_content(), contextlib.suppress(RuntimeError):  # of what cannot be made without content
            return example()
        return {}

    def open_task(self) -> Task:
        """The task with the weights that the validation chose, else the latest."""
        load_learnt(self.folder, self.task.modules())
        return self.task

    open_system = open_task  # the name that it first had

    @property
    def data(self) -> DataRequest:
        """What the run reads, and what of the user's own code that may run: what every loader of data is given."""
        return replace(super().data, own=self.own)

    def network(self) -> nn.Module:
        """The trained network as a module that takes raw inputs: it normalises and encodes inside, as `predict` does.

        It is what `export` writes: of images pixels from 0 to 255 (B, C, H, W) to probabilities (B, K); of a table its
        rows in its units (B, columns), a category by its number, to probabilities or values. In eval mode, on the run's
        device. `open_task().modules()` has the networks alone, which take what is normalised already.

        Raises:
            UserError: this run has no network of that kind, or no weights yet.
        """
        expect_verb(self.recipe, "export")
        task = self.open_task()
        assert isinstance(task, Exports)
        return task.deployable().module.to(self.device).eval()

    def __fspath__(self) -> str:
        """Its folder: a run may stand wherever a path may."""
        return str(self.folder)

    def log_lines(self) -> list[dict[str, Any]]:
        """What metrics.jsonl holds; UserError where that is not what the run wrote."""
        return read_metrics(self._unchanged("metrics.jsonl"))

    def metrics(self) -> Any:
        """What metrics.jsonl holds, as a frame of pandas: a row a line, a column a metric, NaN where it was not measured.

        Raises:
            UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise missing_extra("pandas", "tables") from None
        return pandas.DataFrame(self.log_lines())

    def _repr_html_(self) -> str:
        """What a notebook shows of it. By name, since reports stand above runs."""
        html: str = importlib.import_module("chainrule.reporting.notebook").show(self)
        return html

    def result(self) -> dict[str, Any] | None:
        """What result.json holds, or None before the end; UserError where that is not what the run wrote."""
        file = self._unchanged("result.json")
        return checked_result(read_object(file), file) if file.is_file() else None

    def figures_folder(self) -> Path:
        """Where the images lie that the loop saved; UserError where one of them is not what the run saved."""
        for name in self.record.get("checksums", {}):
            self._unchanged(name)
        return self.folder / "figures"

    def _unchanged(self, name: str) -> Path:
        """A file of the run; UserError where it has changed since the run ended, as far as that is known."""
        file, expected = self.folder / name, self.record.get("checksums", {}).get(name)
        if expected is not None and file.is_file() and (found := checksum_of(file)) != expected:
            raise damaged(file, expected, found)
        return file

    def expect_same(self, name: str, fingerprint: str) -> None:
        """Notes what the run was given from elsewhere, another run's weights; UserError where it has become another."""
        known = self.record.setdefault("fingerprints", {})
        if known.setdefault(name, fingerprint) != fingerprint:
            raise UserError(
                f"{name} is not what it was when this run began",
                where=self.record["settings"].get(name) or self.record.get(name),
                expected=f"SHA-256 {known[name][:12]}...",
                found=f"{fingerprint[:12]}...",
                cure="put the old one back, or train a new run",
            )
        self.write_record()

    # -- around the loop ----------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Takes up the latest checkpoint; `keep` hands the state to the parts."""
        state = self._stages.load()
        if state is None:
            self.metric_log.load_state_dict({"pending": {}, "length": 0})
            return
        parent = self.record.get("parent", {})
        if parent.get("longer") and parent.get("step") == self.step:
            self._stages.at_work.expect_new_length()
        self.seconds = state["seconds"]
        if self.world.is_main_process and self.world.size != (began := self.record.get("processes", 1)):
            say(f"this run began with {began} process{'es' * (began > 1)} and continues with {self.world.size}")
        self.metric_log.load_state_dict(state["metrics"])

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """While training: signals save first, the clock runs, failures are written into run.json."""

        self._clock = self._saved_at = time.monotonic()
        self.set_status("running")
        try:
            with self._files.training(), self._signals.watched():
                yield
        except Interrupted:
            self.set_status("interrupted")
            raise
        except BaseException as error:
            with contextlib.suppress(RunFailed):
                self.set_status("failed", in_english(error))
            raise
        finally:
            self.progress.close()

    def finish(self, result: dict[str, Any], report: Callable[[], object]) -> None:
        """Writes result.json and the report; then the run is done. A kill before that leaves a run that resumes."""
        with self._files.mention_checkpoint("the result", self.step):
            self._files.write_json("result.json", result)
        self._stages.drop_earlier()
        if self._files.writes:
            images = sorted((self.folder / "figures").glob("*.png"))
            files = [self.folder / "metrics.jsonl", self.folder / "result.json", *images]
            checksums = {f.relative_to(self.folder).as_posix(): checksum_of(f) for f in files if f.is_file()}
            self.record["checksums"] = checksums
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

    def write_record(self) -> None:
        """Writes run.json, where this process may."""
        self.record.write()
