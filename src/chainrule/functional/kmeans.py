"""k-means: rows into clusters around their means."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite

BLOCK_ROWS = 4096


def kmeans(
    x: Tensor, num_clusters: int, generator: torch.Generator, max_iterations: int = 100
) -> tuple[Tensor, Tensor]:
    """Centres (K, D) and the nearest centre of each row (N,): Lloyd's iterations from a k-means++ start.

    Rows that lie far from the origin are moved to it, where products keep their digits.

    Source: Arthur and Vassilvitskii: k-means++, the advantages of careful seeding, 2007, section 2.2.

    >>> x = torch.tensor([[0.0], [0.5], [9.0], [9.5]])
    >>> centres, labels = kmeans(x, 2, torch.Generator().manual_seed(0))
    >>> sorted(centres[:, 0].tolist()), bool(labels[0] == labels[1] != labels[2])
    ([0.25, 9.25], True)
    """
    mean = x.mean(0)
    offset = mean if bool(mean.square().sum() > (x - mean).square().mean(0).sum()) else torch.zeros_like(mean)
    x = x - offset
    centres = kmeans_plus_plus(x, num_clusters, generator)
    labels = torch.full((len(x),), -1, device=x.device)
    for _ in range(max_iterations):
        # Assign each row to the nearest centre: argmin |x - c|^2 = argmin |c|^2 / 2 - x c, block by block.
        half_norms = 0.5 * centres.square().sum(1)  # (K,)
        nearest = torch.cat([(half_norms - block @ centres.T).argmin(1) for block in x.split(BLOCK_ROWS)])
        if torch.equal(nearest, labels):
            break
        labels = nearest
        # Move each centre to the mean of its rows; one without rows stays where it is.
        sums = torch.zeros_like(centres)
        for block, of in zip(x.split(BLOCK_ROWS), labels.split(BLOCK_ROWS), strict=True):
            sums += nn.functional.one_hot(of, num_clusters).to(x.dtype).T @ block  # (K, n) @ (n, D)
        counts = torch.bincount(labels, minlength=num_clusters)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres + offset, labels


def kmeans_plus_plus(x: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """Rows of x (K, D), each drawn with probability proportional to its squared distance to the nearest drawn before.

    Errors: a UserError where there are fewer than K rows, or fewer than K distinct ones.

    Source: Arthur and Vassilvitskii 2007, section 2.2.

    >>> kmeans_plus_plus(torch.tensor([[1.0], [1.0], [5.0]]), 2, torch.Generator().manual_seed(0)).sort(0).values.tolist()
    [[1.0], [5.0]]
    """
    if num_clusters > len(x):
        raise UserError("there are fewer samples than clusters", expected=f"{num_clusters} or more", found=len(x))
    # 1a. The first centre: a row drawn uniformly.
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    distance = x.new_full((len(x),), math.inf)
    while len(chosen) < num_clusters:
        # D(x)^2, the squared distance of each row to the nearest centre so far.
        newest = x[chosen[-1]]
        squares = torch.cat([(block - newest).square().sum(1) for block in x.split(BLOCK_ROWS)])
        distance = torch.minimum(distance, squares)
        cumulative = distance.double().cpu().cumsum(0)
        expect_finite(float(cumulative[-1]), "the sum of squared distances")
        if not cumulative[-1] > 0:
            raise UserError(
                "there are fewer distinct samples than clusters", expected=f"{num_clusters} or more", found=len(chosen)
            )
        # 1b. The next centre: a row drawn with probability D(x)^2 / sum D(x)^2.
        mark = torch.rand((), generator=generator, dtype=torch.float64) * cumulative[-1]
        chosen.append(min(int(torch.searchsorted(cumulative, mark, right=True)), len(x) - 1))
    return x[chosen]


TOPICS = (Topic("Clustering: k-means from k-means++", code=("kmeans_plus_plus",)),)
