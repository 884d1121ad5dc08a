"""Where a run computes, as its loop sees it: one device, or several processes that share a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from chainrule.core.device import ONE_PROCESS, World, random_state, set_random_state
from chainrule.core.errors import UserError
from chainrule.nn.normalization.sync_batch_norm import synchronize_batch_norm
from chainrule.run.distributed import parallel

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Processes:
    """The processes that train a run together; one, unless torchrun started more.

    Args:
        world: they.
        device: of this one.
        parallel: ddp, where each has all weights, or fsdp, where each has a part of them.
        recipe: its name, for errors.
        sync_batch_norm: whether batch normalisation takes the batch of all of them.
    """

    world: World
    device: torch.device
    parallel: str
    recipe: str
    sync_batch_norm: bool = False

    @property
    def shards(self) -> bool:
        """Whether each process keeps a part of the weights only."""
        return self.parallel == "fsdp" and self.world.size > 1

    @property
    def writers(self) -> World:
        """Those that write a checkpoint together: the first one alone where it holds all weights, else all."""
        return self.world if self.shards else ONE_PROCESS

    @property
    def writes(self) -> bool:
        """Whether this one is among them."""
        return self.shards or self.world.is_main_process

    def place(self, module: Module) -> Module:
        """`Run.place`."""
        if self.sync_batch_norm and self.world.size > 1:
            synchronize_batch_norm(module)
        if self.shards:
            parallel.shard(module.to(self.device), self.world, self.device)
            return module
        return module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def wrap_distributed(self, module: nn.Module, *, rests: bool, again: bool) -> Any:
        """`Run.wrap_distributed`."""
        if self.parallel == "fsdp":
            return module
        return parallel.replicate(module, self.world, self.device, rests=rests, again=again)

    def require_one(self) -> None:
        if self.world.size > 1:
            raise UserError(
                f"{self.recipe} trains in one process", found=self.world.size, cure="start it without torchrun"
            )

    def require_whole_weights(self) -> None:
        if self.shards:
            raise UserError(f"{self.recipe} does not shard its weights", found="parallel=fsdp", cure="parallel=ddp")

    def draw_apart(self, seed: int) -> None:
        """From here on each process draws random numbers of its own; the first one those of a process that is alone."""
        if self.world.rank:
            torch.manual_seed(seed + 1 + self.world.rank)

    def random_states(self) -> list[dict[str, Any]]:
        """Where the random generators of every process stand."""
        return self.world.gather(random_state(self.device))

    def set_random_states(self, states: list[dict[str, Any]]) -> None:
        """Each process continues with its own draws; one that there was not before begins its own."""
        if self.world.rank < len(states):
            set_random_state(self.device, states[self.world.rank])
