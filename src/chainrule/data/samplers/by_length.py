"""Samples of nearly one length together, so that little of a padded batch is padding."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.data.samplers.bucketed import batches_in, draw_batches, expect_samples
from chainrule.data.samplers.sampler import generator_of


class ByLength:
    """Every sample once an epoch, in batches of which less than the share `padding` is padding, whatever the lengths are.

    The samples are sorted by length, those of one length in an order that is drawn, and cut into buckets from the longest
    on. Where at least a batch of them are nearly as long as the longest, all of these are a bucket, out of which full
    batches are drawn; what is left of it goes into the next one. Where fewer are, a bucket is a single batch, that ends
    before too much of it would be padding. So the price is paid where the lengths are sparse, as at the ends of a
    distribution: batches there have fewer than `batch_size` samples and nearly the same ones in every epoch, and a sample
    without another of nearly its length is alone. How many batches there are is the same in every epoch.

    Args:
        lengths: of the samples (N,), 0 or more.
        batch_size: the most samples of a batch.
        seed: decides the draws.
        padding: the share of each batch that stays below it, above 0 and below 1.

    Raises:
        UserError: there is no sample.

    >>> lengths = torch.tensor([9, 2, 10, 2, 2, 10, 40])
    >>> sorted(lengths[index].sort().values.tolist() for index in ByLength(lengths, 3, seed=0).epoch(0))
    [[2, 2, 2], [9, 10, 10], [40]]
    """

    def __init__(self, lengths: Tensor, batch_size: int, *, seed: int, padding: float = 0.05) -> None:
        expect_samples(len(lengths))
        self.lengths, self.batch_size, self.seed = lengths.cpu(), batch_size, seed
        self.sizes = bucket_sizes(self.lengths.sort(descending=True).values.tolist(), batch_size, padding)

    def __len__(self) -> int:
        return batches_in(self.sizes, self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        generator = generator_of(self.seed, epoch)
        drawn = torch.randperm(len(self.lengths), generator=generator)
        order = drawn[self.lengths[drawn].argsort(descending=True, stable=True)]
        yield from draw_batches(order.split(self.sizes), self.batch_size, generator)[start:]


def bucket_sizes(descending: list[int], batch_size: int, padding: float) -> list[int]:
    """How many of the samples, sorted by length, each bucket has: see `ByLength`.

    >>> bucket_sizes([40, 10, 10, 9, 2, 2, 2], batch_size=3, padding=0.05)
    [1, 3, 3]
    """
    sizes, first = [], 0
    while first < len(descending):
        # All samples that are nearly as long as the longest that is left: any of them may share a batch.
        shortest = (1 - padding) * descending[first]
        alike = bisect_right(descending, -shortest, lo=first, key=lambda length: -length) - first
        full = alike - alike % batch_size
        sizes.append(full or _fitting(descending[first : first + batch_size], padding))
        first += sizes[-1]
    return sizes


def _fitting(descending: list[int], padding: float) -> int:
    """How many samples, from the first and longest on, make a batch of which less than the share is padding."""
    longest, total = descending[0], 0
    for count, length in enumerate(descending):
        total += length
        if longest and 1 - total / (longest * (count + 1)) >= padding:
            return count
    return len(descending)
