"""Batches of samples whose sizes add up to a bound: graphs by their nodes, sentences by their tokens."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.samplers.sampler import generator_of


class ByTotalSize:
    """Every sample once an epoch, in an order that is drawn; a batch ends where the next sample would exceed the bound.

    So how many batches an epoch has depends on its order: `len` is that of epoch 0, `batches_in` that of any.

    Args:
        sizes: of the samples (N,), 0 or more.
        most: the largest total size of a batch.
        seed: decides the orders.

    Raises:
        UserError: there is no sample; or one is larger than a batch may be, and is named.

    >>> sizes = torch.tensor([5, 3, 2, 6, 1])
    >>> [sizes[index].tolist() for index in ByTotalSize(sizes, 8, seed=0).epoch(0)]
    [[1, 2, 3], [5], [6]]
    """

    def __init__(self, sizes: Tensor, most: int, *, seed: int) -> None:
        if not len(sizes):
            raise UserError("the training split is empty", expected="one sample or more")
        wrong = ((sizes > most) | (sizes < 0)).nonzero()
        if len(wrong):
            number = int(wrong[0])
            raise UserError(
                "a sample is larger than a batch may be" if sizes[number] > most else "a size is negative",
                where=f"sample {number} of the data",
                expected=f"a size from 0 to {most:,}",
                found=f"{int(sizes[number]):,}",
                cure=f"a total of {int(sizes.max()):,} or more, or data without such samples",
            )
        self.sizes, self.most, self.seed = sizes.cpu(), most, seed

    def __len__(self) -> int:
        return self.batches_in(0)

    def batches_in(self, epoch: int) -> int:
        """How many batches the epoch has."""
        return len(self._counts(self._order(epoch)))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        order = self._order(epoch)
        yield from order.split(self._counts(order))[start:]

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.sizes), generator=generator_of(self.seed, epoch))

    def _counts(self, order: Tensor) -> list[int]:
        """How many samples each batch has, in this order."""
        counts, total = [0], 0
        for size in self.sizes[order].tolist():
            if total + size > self.most:
                counts.append(0)
                total = 0
            counts[-1] += 1
            total += size
        return counts
