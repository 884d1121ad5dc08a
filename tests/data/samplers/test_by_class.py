"""Batches by class: P x K, and every class equally often."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.samplers import Balanced, PKSampler


def classes_of(*counts: int) -> Tensor:
    """Classes 0, 1, ... with so many samples, shuffled."""
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]


def test_a_batch_has_p_classes_with_k_samples() -> None:
    y = classes_of(6, 5, 9, 4, 7)
    batches = PKSampler(y, classes=3, samples=4, seed=0)
    seen = set()
    for epoch in range(30):
        drawn = list(batches.epoch(epoch))
        assert len(drawn) == len(batches) == 3  # 31 samples, 12 a batch
        for index in drawn:
            assert y[index].bincount().sort().values[-3:].tolist() == [4, 4, 4] and len(index) == 12
            assert len(index.unique()) == 12, "a sample comes twice"
            seen |= set(index.tolist())
    assert seen == set(range(31)), "some sample is never drawn"


def test_a_class_with_fewer_samples_gives_all() -> None:
    y = classes_of(1, 2, 8)
    for index in PKSampler(y, classes=3, samples=4, seed=1).epoch(0):
        assert y[index].bincount().tolist() == [1, 2, 4]


def test_the_draws_depend_on_seed_epoch_and_number() -> None:
    y = classes_of(6, 5, 9, 4, 7)

    def drawn(seed: int, epoch: int) -> list[list[int]]:
        return [index.tolist() for index in PKSampler(y, classes=2, samples=3, seed=seed).epoch(epoch)]

    whole = drawn(5, 2)
    assert len(whole) == 6 and len({tuple(index) for index in whole}) == 6, (
        "the batches of an epoch are one and the same"
    )
    assert drawn(5, 2) == whole and whole not in (drawn(5, 3), drawn(6, 2))


def test_the_draws_are_those_of_every_run_so_far() -> None:
    """Old runs resume with these."""
    index = next(PKSampler(torch.arange(12) // 3, classes=2, samples=2, seed=7).epoch(4, 2))
    assert index.tolist() == [9, 11, 7, 6]


@pytest.mark.parametrize(
    ("counts", "classes", "samples", "words"),
    [
        ((4, 4), 3, 2, r"fewer persons than a batch takes[\s\S]*persons=2 or less"),
        ((1, 1, 1), 2, 2, "none of the persons in the training split comes twice"),
        ((3, 2, 3), 2, 4, r"as many samples[\s\S]*pictures=3 or less"),
        ((4, 4), 1, 2, r"no triplet[\s\S]*persons=2 or more"),
        ((4, 4), 2, 1, r"no triplet[\s\S]*pictures=2 or more"),
        ((), 2, 2, "fewer persons"),
    ],
    ids=["few classes", "one sample each", "K too large", "P of one", "K of one", "empty"],
)
def test_batches_that_cannot_be(counts: tuple[int, ...], classes: int, samples: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        PKSampler(classes_of(*counts), classes=classes, samples=samples, seed=0, settings=("persons", "pictures"))


@pytest.mark.parametrize("counts", [(50, 3, 7), (1, 1, 1, 1), (9,), (1, 30)])
def test_balanced_classes_come_equally_often(counts: tuple[int, ...]) -> None:
    y = classes_of(*counts)
    sampler = Balanced(y, 4, seed=0)
    for epoch in range(5):
        drawn = list(sampler.epoch(epoch))
        assert len(drawn) == len(sampler) and {len(index) for index in drawn[:-1]} <= {4}
        together = torch.cat(drawn)
        assert len(together) == len(y)
        often = y[together].bincount(minlength=len(counts))
        assert often.max() - often.min() <= 1
        for label in range(len(counts)):
            of_class = together.bincount(minlength=len(y))[y == label]
            assert of_class.max() - of_class.min() <= 1, "one sample of a class comes twice before another comes once"


def test_balanced_batches_are_balanced_and_differ() -> None:
    y = classes_of(90, 10)
    sampler = Balanced(y, 10, seed=0)
    drawn = [[index.tolist() for index in sampler.epoch(epoch)] for epoch in range(2)]
    assert all(y[torch.tensor(index)].bincount().tolist() == [5, 5] for epoch in drawn for index in epoch)
    assert drawn[0] != drawn[1] != [index.tolist() for index in Balanced(y, 10, seed=1).epoch(1)]
    with pytest.raises(UserError, match="empty"):
        Balanced(torch.zeros(0, dtype=torch.int64), 2, seed=0)
