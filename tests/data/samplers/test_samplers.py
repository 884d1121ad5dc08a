"""What every sampler must keep: an epoch is a function of seed and number, and may begin anywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.samplers import (
    Balanced,
    ByLength,
    ByShape,
    ByTotalSize,
    PKSampler,
    Rollouts,
    Sampler,
    Shuffled,
    Windows,
    aspect_groups,
)

N = 37
SIZES = torch.randint(0, 30, (N,), generator=torch.Generator().manual_seed(1))
CLASSES = SIZES % 3
SHAPES = torch.stack([SIZES % 4, SIZES % 3], 1)

SAMPLERS: dict[str, Callable[[int], Sampler]] = {
    "shuffled": lambda seed: Shuffled(N, 5, seed=seed),
    "shuffled, no last": lambda seed: Shuffled(N, 5, seed=seed, drop_last=True),
    "P x K": lambda seed: PKSampler(CLASSES, classes=2, samples=3, seed=seed),
    "balanced": lambda seed: Balanced(CLASSES, 5, seed=seed),
    "by length": lambda seed: ByLength(SIZES + 100, 5, seed=seed),
    "by shape": lambda seed: ByShape(SHAPES, 5, seed=seed),
    "by total size": lambda seed: ByTotalSize(SIZES, 60, seed=seed),
    "rollouts": lambda seed: Rollouts(N, 1, batch_size=5, passes=3, seed=seed),
    "segments": lambda seed: Rollouts(12, 3, batch_size=2, passes=2, seed=seed, segment=4),
    "windows": lambda seed: Windows(N, 4, 3),
}
TIMES = {"shuffled": 1, "by length": 1, "by shape": 1, "by total size": 1, "rollouts": 3}  # each sample in an epoch


def drawn(sampler: Sampler, epoch: int, start: int = 0) -> list[list[int]]:
    return [index.tolist() for index in sampler.epoch(epoch, start)]


def together(batches: list[list[int]]) -> list[int]:
    return [number for index in batches for number in index]


@pytest.fixture(params=SAMPLERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_an_epoch_may_begin_anywhere(name: str) -> None:
    sampler = SAMPLERS[name](0)
    whole = drawn(sampler, 0)
    assert len(whole) == len(sampler) > 3
    for start in range(len(whole) + 1):
        assert drawn(SAMPLERS[name](0), 0, start) == whole[start:]


def test_an_epoch_is_a_function_of_seed_and_number(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        first = drawn(SAMPLERS[name](0), 3)
        torch.rand(5)
        before = torch.get_rng_state()
        assert drawn(SAMPLERS[name](0), 3) == first
        assert torch.equal(torch.get_rng_state(), before), "it draws from the generator of all"
    if name != "windows":
        assert drawn(SAMPLERS[name](0), 4) != first != drawn(SAMPLERS[name](1), 3)


@pytest.mark.parametrize("name", TIMES, indirect=True)
def test_every_sample_comes_equally_often_in_an_epoch(name: str) -> None:
    for epoch in range(3):
        assert Counter(together(drawn(SAMPLERS[name](2), epoch))) == dict.fromkeys(range(N), TIMES[name])


def test_shuffled_draws_are_those_of_every_run_so_far() -> None:
    """Old runs resume with these."""
    assert drawn(Shuffled(12, 5, seed=7), 4)[1] == [9, 7, 3, 8, 1]


def test_without_an_incomplete_last_batch() -> None:
    assert [len(index) for index in drawn(SAMPLERS["shuffled, no last"](0), 0)] == [5] * 7
    assert drawn(SAMPLERS["shuffled, no last"](0), 0) == drawn(SAMPLERS["shuffled"](0), 0)[:7]
    with pytest.raises(UserError, match=r"smaller than one batch(.|\n)*batch_size=3 or less"):
        Shuffled(3, 4, seed=0)


# -- by shape -------------------------------------------------------------------------------------------------------


def test_images_of_one_shape_are_together() -> None:
    for index in ByShape(SHAPES, 5, seed=0).epoch(1):
        assert len(SHAPES[index].unique(dim=0)) == 1 and len(index) <= 5
    of_all = Counter(map(tuple, SHAPES.tolist()))
    assert len(ByShape(SHAPES, 5, seed=0)) == sum(-(-count // 5) for count in of_all.values())
    assert drawn(ByShape(torch.tensor([7]), 5, seed=0), 0) == [[0]]
    with pytest.raises(UserError, match="empty"):
        ByShape(torch.zeros(0, 2), 5, seed=0)


def test_aspects_are_grouped_on_a_logarithmic_scale() -> None:
    sizes = torch.tensor([[1, 2], [2, 1], [10, 10], [13, 10], [10, 13], [1, 100], [100, 1]])
    assert aspect_groups(sizes, (0.5, 1.0, 2.0)).tolist() == [0, 2, 1, 1, 1, 0, 2]
    assert aspect_groups(torch.tensor([[141, 100], [142, 100]]), (1.0, 2.0)).tolist() == [0, 1]  # 2 ** 0.5 between


# -- by total size --------------------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=40), more=st.integers(0, 30), epoch=st.integers(0, 3))
def test_no_batch_exceeds_the_total_and_none_ends_early(sizes: list[int], more: int, epoch: int) -> None:
    most = max(sizes) + more
    sampler = ByTotalSize(torch.tensor(sizes), most, seed=0)
    batches = drawn(sampler, epoch)
    assert len(batches) == sampler.batches_in(epoch) and all(batches)
    totals = [sum(sizes[number] for number in index) for index in batches]
    assert max(totals) <= most
    for total, following in zip(totals, batches[1:], strict=False):
        assert total + sizes[following[0]] > most
    assert sorted(together(batches)) == list(range(len(sizes)))


def test_a_sample_larger_than_the_total_is_named() -> None:
    with pytest.raises(UserError, match=r"larger than a batch may be(.|\n)*sample 2 of the data(.|\n)*9"):
        ByTotalSize(torch.tensor([3, 8, 9, 11]), 8, seed=0)
    with pytest.raises(UserError, match=r"negative(.|\n)*sample 1 of the data"):
        ByTotalSize(torch.tensor([3, -1]), 8, seed=0)
    with pytest.raises(UserError, match="empty"):
        ByTotalSize(torch.tensor([]), 8, seed=0)


# -- rollouts -------------------------------------------------------------------------------------------------------


def recorded(steps: int, environments: int) -> Tensor:
    """What an agent has recorded: (T, E, 2), step and environment."""
    step, environment = torch.meshgrid(torch.arange(steps), torch.arange(environments), indexing="ij")
    return torch.stack([step, environment], 2)


def test_segments_are_steps_of_one_environment_in_their_order() -> None:
    flat = recorded(12, 3).flatten(0, 1)
    seen = Counter()
    for index in Rollouts(12, 3, batch_size=2, passes=2, seed=0, segment=4).epoch(5):
        step, environment = flat[index].unbind(2)  # (B, 4) each
        assert (environment == environment[:, :1]).all() and (step == step[:, :1] + torch.arange(4)).all()
        assert (step[:, 0] % 4 == 0).all()
        seen.update(index.flatten().tolist())
    assert seen == dict.fromkeys(range(36), 2)


def test_each_pass_has_an_order_of_its_own() -> None:
    batches = drawn(Rollouts(8, 2, batch_size=5, passes=3, seed=0), 0)
    assert [len(index) for index in batches] == [5, 5, 5, 1] * 3
    passes = [together(batches[first : first + 4]) for first in (0, 4, 8)]
    assert all(sorted(order) == list(range(16)) for order in passes) and passes[0] != passes[1] != passes[2]


def test_rollouts_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"do not divide(.|\n)*divisor of 8"):
        Rollouts(8, 2, batch_size=1, passes=1, seed=0, segment=3)
    with pytest.raises(UserError, match=r"smaller than one minibatch(.|\n)*batch_size=4 or less"):
        Rollouts(8, 2, batch_size=5, passes=1, seed=0, segment=4)


@settings(max_examples=30)
@given(count=st.integers(1, 50), batch_size=st.integers(1, 9), seed=st.integers(0, 2**40), epoch=st.integers(0, 99))
def test_shuffled_is_a_permutation_cut(count: int, batch_size: int, seed: int, epoch: int) -> None:
    batch_size = min(batch_size, count)
    batches = drawn(Shuffled(count, batch_size, seed=seed), epoch)
    assert sorted(together(batches)) == list(range(count)) and {len(index) for index in batches[:-1]} <= {batch_size}
