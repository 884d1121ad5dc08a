"""Verification and identification against scikit-learn, brute force and hand-worked cases."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.systems.faces.verification import (
    area_under_roc,
    balanced_accuracy,
    best_threshold,
    equal_error_rate,
    fold_accuracy,
    pair_distances,
    rank1_rate,
    roc,
    val_at_far,
)


def pairs(seed: int, count: int = 80, levels: int = 0) -> tuple[Tensor, Tensor]:
    """Distances of genuine pairs (a third) and impostors that overlap; with `levels`, many ties."""
    g = torch.Generator().manual_seed(seed)
    same = torch.rand(count, generator=g) < 0.35
    distances = torch.rand(count, generator=g, dtype=torch.float64) + 0.4 * (~same)
    return (distances * levels).round() / levels if levels else distances, same


@pytest.mark.parametrize("levels", [0, 6])
@pytest.mark.parametrize("seed", range(4))
def test_roc_is_that_of_scikit_learn(seed: int, levels: int) -> None:
    distances, same = pairs(seed, levels=levels)
    far, tar, thresholds = roc_curve(same.numpy(), -distances.numpy(), drop_intermediate=False)
    found = roc(distances, same)
    assert np.allclose(found.false_accept_rate, far, atol=1e-12) and np.allclose(
        found.true_accept_rate, tar, atol=1e-12
    )
    assert np.array_equal(-found.thresholds[1:].numpy(), thresholds[1:])
    assert area_under_roc(distances, same) == pytest.approx(roc_auc_score(same.numpy(), -distances.numpy()), abs=1e-12)


@pytest.mark.parametrize("levels", [0, 6])
def test_the_area_is_a_probability(levels: int) -> None:
    distances, same = pairs(9, levels=levels)
    genuine, impostors = distances[same], distances[~same]
    nearer = (genuine[:, None] < impostors).double().mean() + 0.5 * (genuine[:, None] == impostors).double().mean()
    assert area_under_roc(distances, same) == pytest.approx(float(nearer), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [0, 5])
def test_the_equal_error_rate_lies_on_the_curve_where_both_rates_meet(seed: int, levels: int) -> None:
    """Scikit-learn's curve, searched by bisection along each of its edges."""
    distances, same = pairs(seed, levels=levels)
    far, tar, _ = roc_curve(same.numpy(), -distances.numpy(), drop_intermediate=False)
    rate = equal_error_rate(distances, same)
    grid = np.linspace(0, 1, 200_001)
    x = np.interp(grid, np.arange(len(far)) / (len(far) - 1), far)
    y = np.interp(grid, np.arange(len(far)) / (len(far) - 1), tar)
    assert rate == pytest.approx(x[np.abs(x - (1 - y)).argmin()], abs=1e-3)


def test_rates_by_hand() -> None:
    distances = torch.tensor([1.0, 2.0, 3.0, 4.0, 2.5, 3.5, 5.0, 6.0, 7.0, 8.0])
    same = torch.tensor([True] * 4 + [False] * 6)
    assert equal_error_rate(distances, same) == pytest.approx(0.25)  # at 3: 1 of 6; at 3.5: 2 of 6 and 1 of 4
    assert val_at_far(distances, same, 1 / 6) == 0.75 and val_at_far(distances, same, 2 / 6) == 1.0
    assert best_threshold(distances, same) == pytest.approx(4.5)  # 4 of 4 accepted, 4 of 6 refused
    assert balanced_accuracy(distances, same, 4.5) == pytest.approx(0.5 + 0.5 * 4 / 6)


def test_kinds_that_are_apart_and_kinds_the_wrong_way_round() -> None:
    distances, same = torch.tensor([0.1, 0.2, 0.8, 0.9]), torch.tensor([True, True, False, False])
    assert (area_under_roc(distances, same), equal_error_rate(distances, same)) == (1.0, 0.0)
    assert best_threshold(distances, same) == pytest.approx(0.5) and val_at_far(distances, same, 0.5) == 1.0
    assert (area_under_roc(distances, ~same), equal_error_rate(distances, ~same)) == (0.0, 1.0)
    assert best_threshold(distances, ~same) == pytest.approx(0.9)  # nothing is better than accepting all
    constant = torch.ones(4)
    assert (area_under_roc(constant, same), equal_error_rate(constant, same)) == (0.5, 0.5)
    assert val_at_far(constant, same, 0.5) == 0.0, "a tie cannot be parted"
    assert best_threshold(constant, same) == 1.0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [0, 5])
def test_the_best_threshold_is_the_best_of_all(seed: int, levels: int) -> None:
    distances, same = pairs(seed, levels=levels)
    values = np.unique(distances.numpy())
    candidates = [*(values[:-1] + values[1:]) / 2, values[-1] + 1]

    def score(threshold: float) -> float:
        return balanced_accuracy_score(same.numpy(), distances.numpy() <= threshold)

    found = best_threshold(distances, same)
    assert balanced_accuracy(distances, same, found) == pytest.approx(max(map(score, candidates)), abs=1e-12)
    assert balanced_accuracy(distances, same, found) == pytest.approx(score(found), abs=1e-12)


def test_a_threshold_between_neighbouring_numbers() -> None:
    """Nothing lies between two neighbours of float64: the threshold is the lower one, and still parts them."""
    low = torch.tensor(1.0, dtype=torch.float64)
    high = torch.nextafter(low, torch.tensor(2.0, dtype=torch.float64))
    distances, same = torch.stack([low, high]), torch.tensor([True, False])
    assert balanced_accuracy(distances, same, best_threshold(distances, same)) == 1.0


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.04, 1.0])
def test_the_accept_rate_tries_every_threshold(rate: float) -> None:
    distances, same = pairs(2, count=120, levels=9)
    best = 0.0
    for threshold in distances.unique().tolist():
        accepted = distances <= threshold
        if float(accepted[~same].double().mean()) <= rate:
            best = max(best, float(accepted[same].double().mean()))
    assert val_at_far(distances, same, rate) == pytest.approx(best)


def test_a_rate_that_rounds_below_its_count() -> None:
    """100 impostors, a rate of 0.29: 29 may be accepted, though 100 * 0.29 is a little less in binary."""
    distances = torch.arange(101.0)
    same = torch.arange(101) == 29
    assert 100 * 0.29 < 29 and val_at_far(distances, same, 0.29) == 1.0


def embedded(seed: int, counts: list[int], spread: float = 0.5) -> tuple[Tensor, Tensor]:
    """Distances (N, N) between images of persons, who have so many each, shuffled; and the persons."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=g)]
    centres = torch.randn(len(counts), 3, generator=g, dtype=torch.float64)
    x = centres[y] + spread * torch.randn(len(y), 3, generator=g, dtype=torch.float64)
    return (x[:, None] - x).square().sum(2), y * 3 + 1


def test_each_pair_once() -> None:
    d, y = embedded(0, [3, 2, 1])
    distances, same = pair_distances(d, y)
    expected = [(float(d[i, j]), bool(y[i] == y[j])) for i, j in combinations(range(6), 2)]
    assert list(zip(distances.tolist(), same.tolist(), strict=True)) == expected


@pytest.mark.parametrize(("counts", "num_folds"), [([4, 5, 3, 4, 6], 10), ([3] * 9, 4), ([3, 2, 1, 4, 1, 2, 3], 5)])
def test_folds_against_loops(counts: list[int], num_folds: int) -> None:
    """Written out pair by pair, with every candidate threshold tried."""
    d, y = embedded(1, counts)
    paired = [p for p in range(len(counts)) if counts[p] > 1]
    order = paired + [p for p in range(len(counts)) if counts[p] == 1]
    folds = min(num_folds, len(paired))
    fold = [order.index((int(label) - 1) // 3) % folds for label in y]

    def scores_at(members: list[tuple[int, int]], thresholds: list[float]) -> np.ndarray:
        found = np.array([float(d[i, j]) for i, j in members])
        truth = np.array([bool(y[i] == y[j]) for i, j in members])
        accepted = found <= np.array(thresholds)[:, None]
        return (accepted[:, truth].mean(1) + (~accepted[:, ~truth]).mean(1)) / 2

    scores = []
    for a, b in combinations(range(folds), 2):
        rest = [i for i in range(len(y)) if fold[i] not in (a, b)]
        chosen_by = list(combinations(rest, 2))
        values = sorted(float(d[i, j]) for i, j in chosen_by)
        middles = [(low + high) / 2 for low, high in pairwise(values)] + [values[-1]]
        threshold = middles[int(scores_at(chosen_by, middles).argmax())]
        judged = [
            (i, j)
            for i, j in combinations(range(len(y)), 2)
            if {fold[i], fold[j]} <= {a, b} and ((fold[i] != fold[j]) or y[i] == y[j])
        ]
        scores.append(float(scores_at(judged, [threshold])[0]))
    assert fold_accuracy(d, y, num_folds=num_folds) == pytest.approx(sum(scores) / len(scores), abs=1e-12)


def test_who_is_judged_takes_no_part_in_the_threshold() -> None:
    """Five persons a squared distance of 2 from each other; the two images of the last are 16 apart, the others' 0.01.

    In the four of ten rounds that judge him, his pair is refused: half of the genuine pairs, a quarter of the score.
    """
    centres = torch.eye(6, dtype=torch.float64)[:5].repeat_interleave(2, 0)
    aside = torch.zeros(10, 6, dtype=torch.float64)
    aside[1::2, 5] = torch.tensor([0.1, 0.1, 0.1, 0.1, 4.0], dtype=torch.float64)
    x = centres + aside
    found = fold_accuracy((x[:, None] - x).square().sum(2), torch.arange(10) // 2)
    assert found == pytest.approx((10 - 4 * 0.25) / 10)


@pytest.mark.parametrize("seed", range(3))
def test_rank_one_by_loops(seed: int) -> None:
    d, y = embedded(seed, [5, 4, 6, 3], spread=0.9)
    probes, gallery = torch.arange(0, 18, 2), torch.arange(1, 18, 2)
    hits = [y[min(gallery.tolist(), key=lambda g, q=q: float(d[q, g]))] == y[q] for q in probes.tolist()]
    assert rank1_rate(d[probes][:, gallery], y[probes], y[gallery]) == pytest.approx(sum(map(int, hits)) / len(hits))


def test_half_precision_and_single() -> None:
    distances, same = pairs(3)
    for dtype in (torch.float16, torch.float32):
        rounded = distances.to(dtype)
        assert area_under_roc(rounded, same) == area_under_roc(rounded.double(), same)
        found = best_threshold(rounded, same)
        assert balanced_accuracy(rounded, same, found) == balanced_accuracy(rounded.double(), same, found)
    assert roc(torch.tensor([1e30, 2e30]), torch.tensor([True, False])).true_accept_rate.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: roc(torch.rand(3), torch.tensor([True, True, True])), r"one kind alone[\s\S]*3 genuine of 3"),
        (lambda: roc(torch.rand(0), torch.zeros(0, dtype=torch.bool)), "one kind alone"),
        (lambda: roc(torch.rand(3), torch.tensor([1, 0, 0])), "for each pair"),
        (lambda: roc(torch.rand(2), torch.tensor([True, False, False])), "for each pair"),
        (lambda: area_under_roc(torch.tensor([0.1, torch.nan]), torch.tensor([True, False])), "is NaN"),
        (lambda: val_at_far(*pairs(0), 1e-3), r"too few pairs[\s\S]*1000 or more"),
        (lambda: val_at_far(*pairs(0), 0.0), "out of range"),
        (lambda: pair_distances(torch.rand(3, 2), torch.arange(3)), r"\(3, 3\)"),
        (lambda: fold_accuracy(*embedded(0, [2, 2, 2, 1, 1])), r"4 or more[\s\S]*found:\s*3"),
        (lambda: fold_accuracy(*embedded(0, [2] * 6), num_folds=3), "4 or more"),
        (lambda: rank1_rate(torch.rand(0, 3), torch.arange(0), torch.arange(3)), "one or more of each"),
        (lambda: rank1_rate(torch.rand(3, 2), torch.arange(2), torch.arange(3)), "not those of probes"),
        (lambda: rank1_rate(torch.tensor([[torch.nan, 1.0]]), torch.arange(1), torch.arange(2)), "is NaN"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
