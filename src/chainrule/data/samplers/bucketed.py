"""Samples that go together in buckets, each batch of one bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.samplers.sampler import generator_of, shuffle


class Bucketed:
    """Every sample once an epoch; the samples of a batch are of one bucket, and which of it is drawn for each epoch.

    Each bucket is shuffled and cut into batches, of which the last one has what is left, and the batches of all buckets
    come in an order that is drawn. How many there are is the same in every epoch. Where the loss is a mean over the
    batch, a sample in a small batch counts more than one in a full one.

    Args:
        buckets: the numbers of the samples in each.
        batch_size: the most samples of a batch.
        seed: decides the draws.

    Raises:
        UserError: there is no sample.
    """

    def __init__(self, buckets: Sequence[Tensor], batch_size: int, *, seed: int) -> None:
        expect_samples(sum(len(bucket) for bucket in buckets))
        self.buckets, self.batch_size, self.seed = buckets, batch_size, seed

    def __len__(self) -> int:
        return batches_in([len(bucket) for bucket in self.buckets], self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        yield from draw_batches(self.buckets, self.batch_size, generator_of(self.seed, epoch))[start:]


def expect_samples(count: int) -> None:
    """UserError where there is none."""
    if not count:
        raise UserError("the training split is empty", expected="one sample or more")


def batches_in(sizes: Sequence[int], batch_size: int) -> int:
    """How many batches buckets of these sizes are cut into."""
    return sum(-(-size // batch_size) for size in sizes)


def draw_batches(buckets: Sequence[Tensor], batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Each bucket shuffled and cut into batches; those of all buckets in an order that is drawn."""
    batches = [part for bucket in buckets if len(bucket) for part in shuffle(bucket, generator).split(batch_size)]
    return [batches[number] for number in torch.randperm(len(batches), generator=generator).tolist()]
