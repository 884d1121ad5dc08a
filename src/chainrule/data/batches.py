"""Batches from tensors that live on the device: no workers, no copies, and nothing to save for a resume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.device import World
from chainrule.core.errors import UserError


@dataclass(frozen=True)
class Batch:
    """This process's part of a batch.

    Attributes:
        x, y: inputs and targets (b, ...).
        index: the samples' numbers in the data (b,).
        count: how many samples the batch has over all processes.
        processes: how many processes share it.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    count: int
    processes: int = 1

    def mean(self, losses: Tensor) -> Tensor:
        """The mean over the whole batch of a loss per sample (b,), scaled so that DDP's average of gradients is right.

        With one process this is `losses.mean()`. With P processes each returns P/n * sum of its own, and the average
        over processes is the mean over the n samples also where the parts are not equally long.
        """
        return losses.sum() * (self.processes / self.count)


class Batches:
    """Shuffled batches of (x, y); the order of an epoch is a function of seed and epoch alone.

    Args:
        x, y: all samples (N, ...), on the device that trains.
        batch_size: over all processes together.
        seed: decides the order.
        world: which part of each batch is this process's.
    """

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, *, seed: int, world: World | None = None) -> None:
        if len(x) < batch_size:
            raise UserError(
                "the training split is smaller than one batch",
                expected=f"at least {batch_size} samples",
                found=f"{len(x)}",
                cure=f"batch_size={len(x)} or less, or more data",
            )
        self.x, self.y, self.batch_size, self.seed, self.world = x, y, batch_size, seed, world or World()

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    @property
    def smallest(self) -> int:
        """How many samples the smallest part of a batch has that is not empty."""
        counts = [self.batch_size, len(self.x) % self.batch_size]
        return min(max(1, count // self.world.size) for count in counts if count)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `start` on; every sample comes once an epoch."""
        generator = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + epoch)
        order = torch.randperm(len(self.x), generator=generator).to(self.x.device)
        for number in range(start, len(self)):
            whole = order[number * self.batch_size : (number + 1) * self.batch_size]
            mine = whole.tensor_split(self.world.size)[self.world.rank] if self.world.size > 1 else whole
            yield Batch(self.x[mine], self.y[mine], mine, len(whole), self.world.size)


TOPICS = (Topic("Mini-batch stochastic gradient descent, momentum", code=("Batches",)),)
