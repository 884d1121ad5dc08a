"""Batches of what a sampler draws: no workers, nothing to save for a resume, and no copies of what lies on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.device import World
from chainrule.data.batches.records import Batch, move
from chainrule.data.samplers.sampler import Sampler
from chainrule.data.samplers.shuffled import Shuffled
from chainrule.data.streams.stored import StoredImages, read_ahead

Record = TypeVar("Record")
Collate = Callable[[Tensor, int, int], Record]  # samples' numbers (b,), count, processes: to a record


class BatchLoader(Generic[Record]):
    """The samples that a sampler draws, made into records by `collate`: a function of epoch and position alone.

    Where a batch has fewer samples than there are processes, those that are left without one take its first one, with
    `processes` 0: in their mean it weighs nothing, and neither `collate` nor the network meets an empty batch.

    Args:
        sampler: gives the numbers of each batch's samples (B,), or windows of them (B, T).
        collate: makes a record of the numbers of this process's samples (b,), of the count of the whole batch and of the
            number of processes: what `index`, `count` and `processes` of the record are.
        device: where the records are moved; None leaves them where `collate` makes them.
        world: which part of each batch is this process's.
        count: over how many losses the mean of a batch with these samples is taken; their number unless it is given.
            Where it is over tokens, `lambda index: int(lengths[index].sum())`.

    >>> from chainrule.data.batches import pad
    >>> texts = [torch.tensor([1, 2]), torch.tensor([3]), torch.tensor([4, 5, 6])]
    >>> def collate(index, count, processes):
    ...     x, lengths = pad([texts[i] for i in index])
    ...     return Batch(x, lengths, index, count, processes)
    >>> [(batch.index.tolist(), batch.y.tolist()) for batch in BatchLoader(Shuffled(3, 2, seed=0), collate).epoch(0)]
    [([1, 2], [1, 3]), ([0], [2])]
    """

    empty_parts = False

    def __init__(
        self,
        sampler: Sampler,
        collate: Collate[Record],
        *,
        device: torch.device | str | None = None,
        world: World | None = None,
        count: Callable[[Tensor], int] = len,
    ) -> None:
        self.sampler, self.collate, self.count, self.world = sampler, collate, count, world or World()
        self.device = None if device is None else torch.device(device)

    def __len__(self) -> int:
        return len(self.sampler)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Record]:
        """This process's parts of the batches of `epoch` from number `start` on."""
        for whole in self.sampler.epoch(epoch, start):
            batch = self.collate(*self._part(whole))
            yield batch if self.device is None else move(batch, self.device, self.device.type == "cuda")

    def _part(self, whole: Tensor) -> tuple[Tensor, int, int]:
        """This process's samples, the count of the whole batch, and by how many processes its mean is scaled."""
        processes = self.world.size
        mine = whole.tensor_split(processes)[self.world.rank] if processes > 1 else whole
        if len(mine) or self.empty_parts:
            return mine, self.count(whole), processes
        return whole[:1], self.count(whole), 0


def pairs(x: Tensor, y: Tensor) -> Collate[Batch]:
    """Makes batches of pairs out of all samples' inputs and targets (N, ...), on the device where these lie."""

    def collate(index: Tensor, count: int, processes: int) -> Batch:
        index = index.to(x.device)
        return Batch(x[index], y[index], index, count, processes)

    return collate


class Batches(BatchLoader[Batch]):
    """Shuffled batches of (x, y); every sample comes once an epoch.

    Args:
        x, y: all samples (N, ...), on the device that trains.
        batch_size: over all processes together.
        seed: decides the order, which is a function of it and of the epoch alone.
        world: which part of each batch is this process's.
        drop_last: leaves out a last batch that is smaller than the others.

    Raises:
        UserError: there are fewer samples than one batch takes.
    """

    empty_parts = True  # tensors of no rows, which have a mean of 0

    def __init__(
        self, x: Tensor, y: Tensor, batch_size: int, *, seed: int, world: World | None = None, drop_last: bool = False
    ) -> None:
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed
        sampler = Shuffled(len(x), batch_size, seed=seed, drop_last=drop_last, device=x.device)
        super().__init__(sampler, pairs(x, y), world=world)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `start` on; of images that are not in memory the next is read ahead."""
        batches = super().epoch(epoch, start)
        return read_ahead(batches) if isinstance(self.x, StoredImages) else batches

    @property
    def smallest(self) -> int:
        """How many samples the smallest part of a batch has that is not empty."""
        counts = [self.batch_size, len(self.x) % self.batch_size]
        return min(max(1, count // self.world.size) for count in counts if count)


TOPICS = (Topic("Mini-batch stochastic gradient descent, momentum", code=("Batches",)),)
