"""Samples of nearly one length together, so that little of a padded batch is padding."""

from __future__ import annotations

from bisect import bisect_right

from torch import Tensor

from chainrule.data.samplers.bucketed import Bucketed


def by_length(lengths: Tensor, batch_size: int, *, seed: int, padding: float = 0.05) -> Bucketed:
    """Batches of which less than the share `padding` is padding, each of them, whatever the lengths are.

    The samples are sorted by length and cut into buckets from the longest on. Where at least a batch of them are nearly
    as long as the longest, all of these are a bucket, out of which full batches are drawn; what is left of it goes into
    the next one. Where fewer are, a bucket is a single batch, the same in every epoch, that ends before too much of it
    would be padding. So the price is paid where the lengths are sparse, as at the ends of a distribution: batches there
    have fewer than `batch_size` samples, and a sample without another of nearly its length is alone.

    Args:
        lengths: of the samples (N,), 0 or more.
        batch_size: the most samples of a batch.
        seed: decides the draws.
        padding: the share of a batch that stays below it, above 0 and below 1.

    Raises:
        UserError: there is no sample.

    >>> import torch
    >>> lengths = torch.tensor([9, 2, 10, 2, 2, 10, 40])
    >>> sorted(lengths[index].sort().values.tolist() for index in by_length(lengths, 3, seed=0).epoch(0))
    [[2, 2, 2], [9, 10, 10], [40]]
    """
    order = lengths.cpu().argsort(descending=True, stable=True)
    descending = lengths.cpu()[order].tolist()
    buckets, first = [], 0
    while first < len(descending):
        # All samples that are nearly as long as the longest that is left: any of them may share a batch.
        shortest = (1 - padding) * descending[first]
        alike = bisect_right(descending, -shortest, lo=first, key=lambda length: -length) - first
        if alike >= batch_size:
            count = alike - alike % batch_size
        else:
            count = _fitting(descending[first : first + batch_size], padding)
        buckets.append(order[first : first + count])
        first += count
    return Bucketed(buckets, batch_size, seed=seed)


def _fitting(descending: list[int], padding: float) -> int:
    """How many samples, from the first and longest on, make a batch of which less than the share is padding."""
    longest, total = descending[0], 0
    for count, length in enumerate(descending):
        total += length
        if longest and 1 - total / (longest * (count + 1)) >= padding:
            return count
    return len(descending)
