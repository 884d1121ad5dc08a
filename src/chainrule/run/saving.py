"""What of a run is saved, and its way to the disk and back: the parts that a loop changes, and the best weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from chainrule.core.errors import RunFailed
from chainrule.run import parallel
from chainrule.run.checkpoint import folder as checkpoint
from chainrule.run.checkpoint.tree import save_tree
from chainrule.run.folder import RunFolder
from chainrule.run.guard import first_bad_parameter
from chainrule.run.processes import Processes
from chainrule.run.protocols import Stateful


class Saving:
    """The parts that a loop has named, their checkpoints, and the weights that the validation chose.

    Args:
        folder: the run's.
        processes: of which the first one writes; all of them gather.
    """

    def __init__(self, folder: RunFolder, processes: Processes) -> None:
        self._folder, self._processes = folder, processes
        self.parts: dict[str, Stateful] = {}
        self.best: dict[str, Any] | None = None
        self._restored: tuple[dict[str, Any], dict[str, Any]] | None = None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks among the parts."""
        return {name: part for name, part in self.parts.items() if isinstance(part, nn.Module)}

    def keep(self, parts: Mapping[str, Stateful]) -> None:
        """Remembers the parts; in a resumed run each gets its saved state, and the random generators theirs."""
        self.parts.update(parts)
        if self._restored is None:
            return
        weights, state = self._restored
        for name, part in parts.items():
            parallel.load_state(part, weights[name] if isinstance(part, nn.Module) else state["parts"][name])
        self._processes.set_random_states(state["random"])

    def keep_best(
        self,
        modules: Mapping[str, nn.Module],
        metric: str,
        value: float,
        lower_is_better: bool,
        *,
        step: int,
        epoch: int,
    ) -> bool:
        """Keeps the weights if `value` is the best so far; of equals, the later."""
        world = self._processes.world
        value = world.broadcast(value)  # running means differ from process to process, and so may what they measure
        best = math.nan if self.best is None else self.best["value"]
        better = math.isnan(best) or (value <= best if lower_is_better else value >= best)
        if better:
            self.best = {"metric": metric, "value": value, "step": step, "epoch": epoch}
            weights = {name: parallel.full_state(module) for name, module in modules.items()}
            if world.is_main_process:
                self._folder.write("checkpoint/best.safetensors", lambda path: save_tree(weights, path), step)
        return better

    def is_spoiled(self) -> bool:
        """Whether a weight is not finite, in one process at least."""
        return self._processes.world.any(first_bad_parameter(self.modules) is not None, self._processes.device)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes a checkpoint: `state`, random numbers, the parts. Never a spoiled one in the place of a good one."""
        if self.is_spoiled():
            raise RunFailed(
                f"the weights are not finite at step {step}, first in: {first_bad_parameter(self.modules)}\n"
                "  cure:     a smaller lr, or data without such values; the last good checkpoint is kept"
            )
        world, modules = self._processes.world, self.modules
        weights = {name: parallel.full_state(part) for name, part in modules.items()}
        others = {name: parallel.full_state(part) for name, part in self.parts.items() if name not in modules}
        random = self._processes.random_states()
        if world.is_main_process:
            state = {**state, "random": random, "parts": others}
            with self._folder.mention_checkpoint("the checkpoint", step):
                place = self._folder.path / "checkpoint"
                place.mkdir(exist_ok=True)
                checkpoint.save(place, step, weights, state)
        world.barrier()

    def load(self) -> dict[str, Any] | None:
        """Takes up the latest checkpoint and gives its state; None where there is none yet. `keep` hands it out."""
        self._restored = checkpoint.load(self._folder.path / "checkpoint")
        if self._restored is None:
            return None
        self.best = self._restored[1]["best"]
        return self._restored[1]
