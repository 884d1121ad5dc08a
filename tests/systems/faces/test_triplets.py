"""Mining of triplets against three plain loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.functional.losses import triplet
from chainrule.systems.faces.triplets import (
    Triplets,
    batch_all_triplets,
    batch_hard_triplets,
    pairwise_squared_distances,
    semi_hard_triplets,
)

MARGIN = 0.2
MINERS: dict[str, Callable[[Tensor, Tensor], Triplets]] = {
    "semi-hard": lambda x, y: semi_hard_triplets(x, y, margin=MARGIN),
    "hard": batch_hard_triplets,
    "violating": lambda x, y: batch_all_triplets(x, y, margin=MARGIN),
}


def by_loops(kind: str, x: Tensor, y: Tensor) -> list[tuple[int, int, int]]:
    """The definitions, written out in Python's own numbers; where several negatives will do, the first of the nearest."""
    rows, labels = x.double().tolist(), y.tolist()
    B = len(rows)

    def d(i: int, j: int) -> float:
        return sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True))

    found = []
    for a in range(B):
        positives = [p for p in range(B) if p != a and labels[p] == labels[a]]
        negatives = [n for n in range(B) if labels[n] != labels[a]]
        if kind == "hard":
            if positives and negatives:
                found.append((a, max(positives, key=lambda p: d(a, p)), min(negatives, key=lambda n: d(a, n))))
            continue
        for p in positives:
            if kind == "violating":
                found += [(a, p, n) for n in negatives if d(a, n) < d(a, p) + MARGIN]
                continue
            semi = [n for n in negatives if d(a, p) < d(a, n) < d(a, p) + MARGIN]
            if semi:
                found.append((a, p, min(semi, key=lambda n: d(a, n))))
    return found


def as_rows(found: Triplets) -> list[tuple[int, int, int]]:
    return [tuple(row) for row in torch.stack(found, 1).tolist()]  # type: ignore[misc]


def batch(seed: int, persons: int = 5, most: int = 4, width: int = 3) -> tuple[Tensor, Tensor]:
    """Points of a sphere, of persons with 1 to `most` images, in no order."""
    g = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, most + 1, (persons,), generator=g)
    y = torch.arange(persons).repeat_interleave(counts)[torch.randperm(int(counts.sum()), generator=g)]
    return torch.nn.functional.normalize(torch.randn(len(y), width, generator=g, dtype=torch.float64)), y * 7 - 3


@pytest.mark.parametrize("kind", MINERS)
@pytest.mark.parametrize("seed", range(8))
def test_mining_is_the_three_loops(kind: str, seed: int) -> None:
    x, y = batch(seed)
    expected = by_loops(kind, x, y)
    assert as_rows(MINERS[kind](x, y)) == expected and expected


def test_semi_hard_by_hand() -> None:
    """A line: the anchor at 0, the positive at 0.5 (d 0.25); negatives with d 0.16, 0.25, 0.36, 0.4225, 0.45, 0.49."""
    x = torch.tensor([[0.0], [0.5], [0.4], [-0.5], [0.6], [0.65], [-(0.45**0.5)], [0.7]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    assert (0, 1, 4) in as_rows(semi_hard_triplets(x, y, margin=0.2))
    without = [0, 1, 2, 3, 7]  # nearer, equally near, beyond: none is semi-hard
    assert not [t for t in as_rows(semi_hard_triplets(x[without], y[without], margin=0.2)) if t[:2] == (0, 1)]
    assert (0, 1, 4) in as_rows(semi_hard_triplets(x[[*without[:4], 6, 7]], y[[*without[:4], 6, 7]], margin=0.21))


def test_neither_bound_belongs_to_the_semi_hard() -> None:
    """d_ap = 1 and a margin of 3, in whole numbers: d_an of 1 and of 4 are out, 1.99 squared is in."""
    y = torch.tensor([0, 0, 1])
    for place, taken in ((-1.0, False), (2.0, False), (1.99, True)):
        found = as_rows(semi_hard_triplets(torch.tensor([[0.0], [1.0], [place]]), y, margin=3.0))
        assert ((0, 1, 2) in found) == taken
    touching = torch.tensor([[0.0], [1.0], [2.0]])
    assert (0, 1, 2) not in as_rows(batch_all_triplets(touching, y, margin=3.0)), "its loss is zero"


@pytest.mark.parametrize("kind", MINERS)
def test_every_mined_triplet_is_of_two_persons_and_costs(kind: str) -> None:
    x, y = batch(11, persons=6, most=6)
    a, p, n = MINERS[kind](x, y)
    assert (y[a] == y[p]).all() and (a != p).all() and (y[a] != y[n]).all()
    if kind != "hard":
        assert (triplet(x[a], x[p], x[n], margin=MARGIN, normalization="unreduced") > 0).all()


@pytest.mark.parametrize("kind", MINERS)
@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
        (torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)),
        (torch.rand(5, 4), torch.zeros(5, dtype=torch.int64)),  # one person
        (torch.rand(5, 4), torch.arange(5)),  # one image a person
        (torch.full((4, 2), torch.nan), torch.tensor([0, 0, 1, 1])),
    ],
    ids=["empty", "one", "one person", "one image each", "nan"],
)
def test_batches_without_a_triplet(kind: str, x: Tensor, y: Tensor) -> None:
    found = MINERS[kind](x, y)
    assert [part.dtype for part in found] == [torch.int64] * 3
    if not x.isnan().any() or kind != "hard":  # of NaN, the hardest is anyone; the loss is NaN, and is seen
        assert [tuple(part.shape) for part in found] == [(0,)] * 3


@pytest.mark.parametrize("kind", MINERS)
def test_a_collapsed_batch(kind: str) -> None:
    """All embeddings equal: nothing is farther than the positive, so nothing is semi-hard; the others see everything."""
    x, y = torch.ones(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    assert len(MINERS[kind](x, y)[0]) == {"semi-hard": 0, "hard": 6, "violating": 6 * 4}[kind]


@pytest.mark.parametrize("kind", MINERS)
def test_half_precision_and_no_gradient(kind: str) -> None:
    x, y = batch(3)
    for dtype in (torch.float16, torch.bfloat16):
        half = x.to(dtype).requires_grad_()
        found = MINERS[kind](half, y)
        assert as_rows(found) == as_rows(MINERS[kind](half.detach().float(), y))


def test_distances_keep_their_digits() -> None:
    """Far from the origin and near to each other: the product form would lose everything."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(7, 5, generator=g, dtype=torch.float64) * 1e-3 + 1e4
    z = torch.randn(4, 5, generator=g, dtype=torch.float64) * 1e-3 + 1e4
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        a, b = x.to(dtype), z.to(dtype)
        exact = (a.double()[:, None] - b.double()).square().sum(2)
        assert torch.allclose(pairwise_squared_distances(a, b).double(), exact, rtol=tolerance, atol=0)
        assert pairwise_squared_distances(a).diagonal().eq(0).all()
    many = torch.randn(60, 64, generator=g)  # where torch would turn to the product by itself
    assert torch.equal(pairwise_squared_distances(many), pairwise_squared_distances(many).T)
    assert pairwise_squared_distances(many).diagonal().eq(0).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: semi_hard_triplets(torch.rand(4, 2), torch.arange(3)), "one person for each"),
        (lambda: batch_hard_triplets(torch.rand(4, 2), torch.rand(4)), "whole numbers"),
        (lambda: semi_hard_triplets(torch.rand(4, 2), torch.arange(4), margin=0.0), "above 0"),
        (lambda: batch_all_triplets(torch.rand(4, 2), torch.arange(4), margin=-1.0), "0 or more"),
        (lambda: semi_hard_triplets(torch.rand(4, 2), torch.arange(4), margin=float("nan")), "above 0"),
        (lambda: pairwise_squared_distances(torch.arange(4)), "floating"),
        (lambda: pairwise_squared_distances(torch.rand(4, 2), torch.rand(4, 3)), "two lengths"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
