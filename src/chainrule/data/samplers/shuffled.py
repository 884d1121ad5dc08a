"""Every sample once an epoch, in an order that is drawn anew for each."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.samplers.sampler import generator_of


class Shuffled:
    """Batches of `batch_size` in shuffled order; the last one has what is left.

    Args:
        count: the samples N.
        batch_size: B.
        seed: decides the orders.
        drop_last: leaves out a last batch of fewer than B.
        device: where the numbers of the samples lie: those of an epoch are copied there once.

    Raises:
        UserError: N is less than B.

    >>> [index.tolist() for index in Shuffled(5, 2, seed=0).epoch(0)]
    [[4, 2], [1, 0], [3]]
    """

    def __init__(
        self, count: int, batch_size: int, *, seed: int, drop_last: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        if count < batch_size:
            raise UserError(
                "the training split is smaller than one batch",
                expected=f"at least {batch_size} samples",
                found=f"{count}",
                cure=f"batch_size={count} or less, or more data",
            )
        self.count, self.batch_size, self.seed, self.drop_last, self.device = count, batch_size, seed, drop_last, device

    def __len__(self) -> int:
        return self.count // self.batch_size if self.drop_last else -(-self.count // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        order = torch.randperm(self.count, generator=generator_of(self.seed, epoch)).to(self.device)
        for number in range(start, len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size]
