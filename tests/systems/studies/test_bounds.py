"""Bounds of learning theory against enumeration, SciPy and worked cases."""

from __future__ import annotations

import itertools
import math

import pytest
import scipy.stats
import torch

from chainrule.core.errors import UserError
from chainrule.systems.studies.generalization.bounds import (
    ambiguity_decomposition,
    majority_error,
    majority_error_bound,
    pac_sample_size,
)


def test_sample_sizes_by_hand() -> None:
    # (ln 1000 + ln 40) / (2 x 0.01) = (6.9078 + 3.6889) / 0.02 = 529.83; (6.9078 + 2.9957) / 0.1 = 99.03
    assert pac_sample_size(0.1, 0.05, 1000) == 530
    assert pac_sample_size(0.1, 0.05, 1000, realisable=True) == 100
    # conjunctions of ten literals: 3^10 hypotheses; (10 ln 3 + ln 20) / 0.1 = 139.8
    assert pac_sample_size(0.1, 0.05, 3**10, realisable=True) == 140
    assert pac_sample_size(0.5, 0.5, 1) == math.ceil(math.log(4) / 0.5)
    assert pac_sample_size(0.01, 0.01, 2.0**1000) == math.ceil((1000 * math.log(2) + math.log(200)) / 2e-4)


@pytest.mark.parametrize("realisable", [False, True])
def test_the_size_is_enough_and_one_less_is_not(realisable: bool) -> None:
    """The bound itself, delta >= |H| times the chance that one hypothesis misleads, holds at n and not at n - 1."""
    for epsilon, delta, count in itertools.product((0.05, 0.3), (0.01, 0.4), (1, 2, 10**6)):
        n = pac_sample_size(epsilon, delta, count, realisable=realisable)

        def failure(n: int, epsilon: float = epsilon, count: int = count) -> float:
            return count * (math.exp(-epsilon * n) if realisable else 2 * math.exp(-2 * n * epsilon**2))

        assert failure(n) <= delta * (1 + 1e-12)
        assert failure(n - 1) > delta


@pytest.mark.parametrize("error", [0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 9])
def test_majority_error_is_that_of_all_outcomes(error: float, count: int) -> None:
    total = 0.0
    for wrong in itertools.product((0, 1), repeat=count):
        chance = math.prod(error if w else 1 - error for w in wrong)
        total += chance * (1.0 if 2 * sum(wrong) > count else 0.5 if 2 * sum(wrong) == count else 0.0)
    assert majority_error(error, count) == pytest.approx(total, abs=1e-14)


def test_majority_error_of_many() -> None:
    assert majority_error(0.4, 1001) == pytest.approx(scipy.stats.binom(1001, 0.4).sf(500), rel=1e-9)
    assert majority_error(0.35, 25) == pytest.approx(0.0604, abs=1e-4)  # the textbook's 25 base classifiers


@pytest.mark.parametrize("error", [0.0, 0.2, 0.45, 0.499])
@pytest.mark.parametrize("count", [1, 2, 5, 21, 200])
def test_the_bound_is_above(error: float, count: int) -> None:
    assert majority_error(error, count) <= majority_error_bound(error, count)
    assert majority_error_bound(error, count) == pytest.approx(math.exp(-0.5 * count * (1 - 2 * error) ** 2))


def test_ambiguity() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions = torch.randn(7, 30, generator=generator, dtype=torch.float64)
    target = torch.randn(30, generator=generator, dtype=torch.float64)
    of_average, of_members, ambiguity = ambiguity_decomposition(predictions, target)
    assert float(of_average) == pytest.approx(
        sum((sum(p) / 7 - t) ** 2 for p, t in zip(predictions.T.tolist(), target.tolist(), strict=True)) / 30
    )
    assert float(of_average) == pytest.approx(float(of_members - ambiguity), rel=1e-12)
    alike = predictions[:1].expand(5, -1)
    assert float(ambiguity_decomposition(alike, target)[2]) == pytest.approx(0.0, abs=1e-30)


def test_uncorrelated_members_reach_one_part_in_m() -> None:
    """Errors +1, -1, +1, -1 that cancel in pairs over samples: each member's error is 1, the average's 1/M."""
    errors = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]])
    of_average, of_members, _ = ambiguity_decomposition(errors, torch.zeros(4))
    assert (float(of_members), float(of_average)) == (1.0, 0.5)


def test_what_is_refused() -> None:
    for bad in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(UserError, match="epsilon"):
            pac_sample_size(bad, 0.1, 5)
        with pytest.raises(UserError, match="delta"):
            pac_sample_size(0.1, bad, 5)
    for count in (0.5, math.inf, math.nan):
        with pytest.raises(UserError, match="num_hypotheses"):
            pac_sample_size(0.1, 0.1, count)
    with pytest.raises(UserError, match="error is out of range"):
        majority_error(1.1, 3)
    with pytest.raises(UserError, match="num_classifiers"):
        majority_error(0.1, 0)
    with pytest.raises(UserError, match="better than chance"):
        majority_error_bound(0.5, 3)
    for shapes in (((2, 3), (2,)), ((3,), (3,)), ((0, 3), (3,))):
        with pytest.raises(UserError, match="do not fit"):
            ambiguity_decomposition(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
