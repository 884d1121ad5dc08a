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
        self.buckets = [bucket for bucket in buckets if len(bucket)]
        if not self.buckets:
            raise UserError("the training split is empty", expected="one sample or more")
        self.batch_size, self.seed = batch_size, seed

    def __len__(self) -> int:
        return sum(-(-len(bucket) // self.batch_size) for bucket in self.buckets)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        generator = generator_of(self.seed, epoch)
        batches = [part for bucket in self.buckets for part in shuffle(bucket, generator).split(self.batch_size)]
        for number in torch.randperm(len(batches), generator=generator)[start:].tolist():
            yield batches[number]
