"""Stages: parts of a run that follow each other, each with counters, best value, kept parts and weights of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import nn

from chainrule.core.device import random_state
from chainrule.core.errors import UserError
from chainrule.run.checkpoint import folder as checkpoint
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.distributed import parallel
from chainrule.run.distributed.processes import Processes
from chainrule.run.folder.folder import RunFolder
from chainrule.run.protocols import Stateful
from chainrule.run.stages.position import Position
from chainrule.run.stages.saving import Saving
from chainrule.run.weights.learnt import expect_best, last_name, of_stage

Item = TypeVar("Item")


def seed_of(seed: int, *words: str) -> int:
    """A seed of its own for each stage of a run: from the run's and the stage's name, 63 bits of SHA-256.

    >>> seed_of(0, "pretrain") == seed_of(0, "pretrain") != seed_of(1, "pretrain")
    True
    """
    return int.from_bytes(hashlib.sha256(" ".join([str(seed), *words]).encode()).digest()[:8]) >> 1


class Stage:
    """One stage; a run that names none is one stage without a name.

    Args:
        name: as the loop gives it; empty for that of a run without stages.
        seed: decides what is drawn in it.
        folder, processes: of the run.
        between: called between two steps, and after each epoch.
    """

    def __init__(
        self, name: str, seed: int, folder: RunFolder, processes: Processes, between: Callable[[bool], None]
    ) -> None:
        self.name, self.seed = name, seed
        self.finished = False
        self.counters, self.saving = Position(between), Saving(folder, processes, name)
        self.of_epochs: int | None = None
        self._folder, self._processes = folder, processes
        self._saved: Mapping[str, Any] | None = None  # the parts of a checkpoint, by name
        self._saved_random: list[dict[str, Any]] = []  # the random numbers of every process, to continue with
        self._random: dict[str, Any] | None = None  # those of this process, where the last loop left them

    @property
    def step(self) -> int:
        """Steps done in this stage, of all its epochs."""
        return self.counters.step

    @property
    def epoch(self) -> int:
        """Epochs done in this stage."""
        return self.counters.epoch

    @property
    def position(self) -> int:
        """Steps done in this epoch."""
        return self.counters.position

    @property
    def best(self) -> dict[str, Any] | None:
        """The best of `keep_best` in this stage: metric, value, step, epoch."""
        return self.saving.best

    def load_best(self, modules: Mapping[str, nn.Module]) -> None:
        """The weights that the validation chose in this stage into `modules`, by the names that it kept them under.

        The last ones of a module that it chose nothing for; of a stage that has not ended, those of now.
        """
        self._processes.world.barrier()  # the first process may still be writing them
        now = {name: part.state_dict() for name, part in self.saving.modules.items()}
        known = of_stage(self._folder.path, self.name, {"finished": self.finished, "best": self.best}, now)
        for name, module in modules.items():
            if name not in known:
                raise UserError(
                    f"the stage {self.name} has not learnt {name}", expected=", ".join(known) or "a part that it kept"
                )
            parallel.load_state(module, known[name])

    # -- for the Run --------------------------------------------------------------------------------------------

    def keep(self, parts: Mapping[str, Stateful]) -> None:
        """The parts that the loop changes. In a resumed run they get their state, and the random generators theirs."""
        self._processes.draw_apart(self.seed)
        saved = load_tree(self._folder.path / last_name(self.name)) if self.finished else self._saved
        self.saving.keep(parts, saved)
        if saved is not None:
            self._processes.set_random_states(self._saved_random)

    def keep_best(self, modules: Mapping[str, nn.Module], metric: str, value: float, lower_is_better: bool) -> bool:
        place = {"step": self.step, "epoch": self.epoch}
        return not self.finished and self.saving.keep_best(modules, metric, value, lower_is_better, place)

    def place(self) -> dict[str, Any]:
        """Where it stands, as a line of metrics has it."""
        return {**({"stage": self.name} if self.name else {}), "step": self.step, "epoch": self.epoch}

    def place_in_words(self) -> str:
        place = (
            f"epoch {min(self.epoch + 1, self.of_epochs)}/{self.of_epochs}" if self.of_epochs else f"step {self.step}"
        )
        return f"{self.name}, {place}" if self.name else place

    def epochs(self, count: int) -> Iterator[int]:
        """The epochs that are left of `count`."""
        return self._walk(self.counters.epochs(count))

    def steps(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items of this epoch that are left, a step each."""
        return self._walk(self.counters.steps(items))

    def _walk(self, items: Iterator[Item]) -> Iterator[Item]:
        try:
            if not self.finished:
                yield from items
        finally:
            # Where what follows the loop draws its numbers from. Resumed in a later stage, the run comes by here again:
            # `keep` then continues with these, since the loop is empty.
            if self.name and not self.finished:
                self._random = random_state(self._processes.device)

    def end(self) -> None:
        """Writes what it leaves to later stages: then it is finished."""
        self.saving.save_last(self.step)
        self._saved_random = self._processes.world.gather(self._random or random_state(self._processes.device))
        self.finished, self._saved = True, None

    def state_dict(self) -> dict[str, Any]:
        """What each checkpoint holds of a stage, beside the parts of the one that runs."""
        random = self._saved_random if self.finished else []
        return {**self.counters.state_dict(), "best": self.best, "finished": self.finished, "random": random}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counters.load_state_dict(state)
        self.saving.best, self.finished, self._saved_random = state["best"], state["finished"], state["random"]

    def expect_new_length(self) -> None:
        """The parts that it continues with are those of a run that was to be shorter."""
        self.saving.new_length = True
        self.counters.forget_stops()

    def restore(self, parts: Mapping[str, Any], random: list[dict[str, Any]]) -> None:
        """The stage that the run was stopped in continues with these; `keep` hands them out."""
        self._saved, self._saved_random = parts, random


class Stages:
    """The stages of a run in their order. Outside of them, and in a run that has none, is the one without a name."""

    def __init__(self, seed: int, folder: RunFolder, processes: Processes, between: Callable[[bool], None]) -> None:
        def make(name: str) -> Stage:
            return Stage(name, seed_of(seed, name) if name else seed, folder, processes, between)

        self._make, self._folder = make, folder
        self._outside = self.current = make("")
        self._named: dict[str, Stage] = {}
        self._entered: set[str] = set()  # in this life of the run

    @property
    def at_work(self) -> Stage:
        """The stage that a loop works in: in a run with stages, none that lies outside of them."""
        if self._named and self.current is self._outside:
            raise UserError(
                "a run with stages learns within them alone", cure="with run.stage(NAME), around each of its loops"
            )
        return self.current

    @property
    def steps(self) -> int:
        """Steps done, of all stages."""
        return self._outside.step + sum(stage.step for stage in self._named.values())

    @property
    def best_of_each(self) -> dict[str, dict[str, Any]]:
        """What each stage chose, of those that did."""
        return {name: stage.best for name, stage in self._named.items() if stage.best}

    @property
    def last_best(self) -> dict[str, Any] | None:
        """What the last stage chose that did."""
        return next(reversed(self.best_of_each.values()), None)

    def enter(self, name: str) -> Stage:
        """The stage of this name becomes the one at work."""
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or name.endswith("-best"):
            raise UserError(
                "this is no name for a stage",
                expected="lower-case letters, digits, hyphens between them; not ending with -best",
                found=repr(name),
            )
        if self.current is not self._outside:
            raise UserError(f"the stage {name} would begin within the stage {self.current.name}", cure="one by one")
        if name in self._entered:
            raise UserError(f"the stage {name} was there already", expected="a name for each", found=repr(name))
        if self._outside.step or self._outside.saving.parts:
            raise UserError(f"before the stage {name} the run learnt outside of any", cure="a stage for that too")
        unfinished = [each.name for each in self._named.values() if not each.finished]
        if unfinished and name not in self._named:
            raise UserError(f"the run was stopped in the stage {unfinished[0]}, and has now {name} before that")
        self._entered.add(name)
        if name not in self._named:
            self._named[name] = self._make(name)
        self.current = self._named[name]
        return self.current

    def leave(self) -> None:
        self.current = self._outside

    def named(self, name: str) -> Stage:
        """The stage of this name; in a run that is opened only to look at it, from its checkpoint."""
        if not self._named:
            self.load()
        if name not in self._named:
            known = ", ".join(self._named) or "none so far"
            raise UserError(f"the run has come to no stage {name!r}", expected=known)
        return self._named[name]

    def save(self, seconds: float, metrics: dict[str, Any]) -> None:
        """Writes a checkpoint: counters and best of all stages, the parts of the one at work, random numbers."""
        state = {**self._outside.counters.state_dict(), "seconds": seconds, "best": self._outside.best}
        stages = {name: stage.state_dict() for name, stage in self._named.items()}
        staged = {"stages": stages} if stages else {}
        self.current.saving.save(self.steps, {**state, "metrics": metrics, **staged})

    def drop_earlier(self) -> None:
        """Removes the checkpoint before the latest, which a run that has ended does not need."""
        if self._folder.writes:
            checkpoint.drop_earlier(self._folder.path / "checkpoint")

    def load(self) -> dict[str, Any] | None:
        """Takes up the latest checkpoint and gives its state; None where there is none yet."""
        loaded = checkpoint.load_whole(self._folder.path / "checkpoint", self._outside.saving.world)
        if loaded is None:
            return None
        weights, state = loaded
        try:
            self._outside.load_state_dict({**state, "finished": False})
            for name, entry in state.get("stages", {}).items():
                self._named[name] = self._make(name)
                self._named[name].load_state_dict(entry)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError("the state in the checkpoint is not that of a run", found=repr(error)) from None
        for name, entry in {"": state, **state.get("stages", {})}.items():  # told now, and not when the run ends
            expect_best(self._folder.path, name, entry)
        stopped_in = [stage for stage in self._named.values() if not stage.finished] or [self._outside]
        stopped_in[0].restore({**weights, **state["parts"]}, state["random"])
        return state
