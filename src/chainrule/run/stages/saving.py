"""What of a stage is saved, and its way to the disk and back: the parts that its loop changes, and the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from chainrule.core.device import World
from chainrule.core.errors import RunFailed
from chainrule.core.files import atomic
from chainrule.run.checkpoint import folder as checkpoint
from chainrule.run.checkpoint.sharded import drop_old_parts, new_parts, save_shared_tree
from chainrule.run.checkpoint.tree import save_tree
from chainrule.run.distributed import parallel
from chainrule.run.distributed.processes import Processes
from chainrule.run.folder.folder import RunFolder
from chainrule.run.guard import first_bad_parameter
from chainrule.run.lengthened import rates_from_start
from chainrule.run.protocols import Stateful
from chainrule.run.weights.learnt import best_name, last_name


class Saving:
    """The parts that a loop has named, their checkpoints, and the weights that the validation chose.

    Args:
        folder: the run's.
        processes: of which the first one writes; all of them gather.
        stage: its name; empty in a run without stages.
    """

    def __init__(self, folder: RunFolder, processes: Processes, stage: str) -> None:
        self._folder, self._processes, self._stage = folder, processes, stage
        self.parts: dict[str, Stateful] = {}
        self.best: dict[str, Any] | None = None
        self.new_length = False  # whether the parts continue in a run that is longer than theirs was

    @property
    def world(self) -> World:
        """The processes that train together."""
        return self._processes.world

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks among the parts."""
        return {name: part for name, part in self.parts.items() if isinstance(part, nn.Module)}

    def keep(self, parts: Mapping[str, Stateful], saved: Mapping[str, Any] | None) -> None:
        """Remembers the parts; each gets its state where there are `saved` ones.

        A schedule of a run that is longer now is not given the old one's state, but is taken as far as that was.
        """
        self.parts.update(parts)
        if saved is None:
            return
        schedules = {n: p for n, p in parts.items() if self.new_length and isinstance(p, LRScheduler)}
        rates = [(s.optimizer, rates_from_start(s, saved[name]["last_epoch"])) for name, s in schedules.items()]
        for name, part in parts.items():
            if name not in schedules:
                parallel.load_state(part, saved[name])
        for optimizer, of_groups in rates:  # the optimiser's state had the old ones
            for group, rate in zip(optimizer.param_groups, of_groups, strict=True):
                group["lr"] = rate

    def keep_best(
        self, modules: Mapping[str, nn.Module], metric: str, value: float, lower_is_better: bool, place: dict[str, int]
    ) -> bool:
        """Keeps the weights if `value` is the best so far; of equals, the later. `place` has its step and epoch."""
        world = self._processes.world
        value = world.broadcast(value)  # running means differ from process to process, and so may what they measure
        best = math.nan if self.best is None else self.best["value"]
        better = math.isnan(best) or (value <= best if lower_is_better else value >= best)
        if better:
            self.best = {"metric": metric, "value": value, **place}
            weights = {name: module.state_dict() for name, module in modules.items()}
            self._replace(best_name(self._stage), weights, place["step"])
        return better

    def is_spoiled(self) -> bool:
        """Whether a weight is not finite, in one process at least."""
        return self._processes.world.any(first_bad_parameter(self.modules) is not None, self._processes.device)

    def require_finite(self, step: int) -> None:
        """Never a spoiled state in the place of a good one."""
        if self.is_spoiled():
            raise RunFailed(
                f"the weights are not finite at step {step}, first in: {first_bad_parameter(self.modules)}\n"
                "  cure:     a smaller lr, or data without such values; the last good checkpoint is kept"
            )

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes a checkpoint: `state`, random numbers, the parts."""
        self.require_finite(step)
        world, modules = self._processes.world, self.modules
        weights = {name: part.state_dict() for name, part in modules.items()}
        others = {name: part.state_dict() for name, part in self.parts.items() if name not in modules}
        random = self._processes.random_states()
        if self._processes.writes:
            state = {**state, "random": random, "parts": others}
            with self._folder.mention_checkpoint("the checkpoint", step):
                place = self._folder.path / "checkpoint"
                place.mkdir(exist_ok=True)
                checkpoint.save(place, step, weights, state, self._processes.writers)
        world.barrier()

    def save_last(self, step: int) -> None:
        """Writes the parts as the stage leaves them."""
        self.require_finite(step)
        name = last_name(self._stage)
        self._replace(name, {part_name: part.state_dict() for part_name, part in self.parts.items()}, step)

    def _replace(self, name: str, tree: dict[str, Any], step: int) -> None:
        """Writes a file of states in the place of the last one, in one step.

        Of sharded ones each process writes its part into a new folder beside it, which the new file names; then the old
        folder goes.
        """
        world, path = self._processes.world, self._folder.path / name
        if not self._processes.shards:
            if world.is_main_process:
                self._folder.write(name, lambda partial: save_tree(tree, partial), step)
                drop_old_parts(path)  # of more processes that were there before
            return
        with self._folder.mention_checkpoint(name, step):
            path.parent.mkdir(exist_ok=True, parents=True)
            parts = world.broadcast(new_parts(path, step) if world.is_main_process else "")
            if not world.is_main_process:
                save_shared_tree(tree, path, world, parts)
                return
            with atomic.replaced(path) as partial:
                save_shared_tree(tree, partial, world, parts)
            drop_old_parts(path)
