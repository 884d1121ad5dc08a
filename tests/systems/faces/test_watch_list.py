"""Detection and identification of an open set: by hand, and by loops over every threshold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.systems.faces.verification import first_as_gallery
from chainrule.systems.faces.watch_list import (
    Probes,
    detection_rate,
    look_up,
    two_lists,
    watch_list_curve,
    watch_list_metrics,
)


def embedded(seed: int, counts: list[int], spread: float) -> tuple[Tensor, Tensor]:
    """Distances (N, N) in whole tenths, so that there are ties, between images of persons, who have so many each."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=g)]
    x = torch.randn(len(counts), 3, generator=g, dtype=torch.float64)[y]
    x = x + spread * torch.randn(len(y), 3, generator=g, dtype=torch.float64)
    return ((x[:, None] - x).square().sum(2) * 10).round() / 10, 2 * y + 5


def test_a_gate_by_hand() -> None:
    """Two wanted, A and B, with an image each; six come by: A twice, B, and three whom nobody looks for."""
    distances = torch.tensor([[1.0, 9.0], [4.0, 3.0], [8.0, 2.0], [7.0, 5.0], [6.0, 9.0], [9.0, 9.0]])
    probes = look_up(distances, torch.tensor([0, 0, 1, 2, 3, 4]), torch.tensor([0, 1]))
    assert probes.nearest.tolist() == [1, 3, 2, 5, 6, 9] and probes.listed.tolist() == [True] * 3 + [False] * 3
    assert probes.right.tolist() == [True, False, True, False, False, False], "A's second image is taken for B"
    curve = watch_list_curve(probes)
    assert curve.thresholds[1:].tolist() == [1, 2, 3, 5, 6, 9]
    assert (curve.detection_rate * 3).round().tolist() == [0, 1, 2, 2, 2, 2, 2], "the mistaken one never counts"
    assert (curve.false_alarm_rate * 3).round().tolist() == [0, 0, 0, 0, 1, 2, 3]
    assert detection_rate(probes, 1 / 3) == pytest.approx(2 / 3)
    strict = Probes(torch.tensor([5.0, 5.0]), torch.ones(2).bool(), torch.tensor([True, False]))
    assert detection_rate(strict, 1.0) == 1.0 and watch_list_curve(strict).detection_rate.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.34, 1.0])
def test_every_threshold_is_tried(rate: float) -> None:
    """Written out image by image, list by list."""
    counts = [4, 5, 1, 6, 3]
    distances, y = embedded(3, counts, 0.5)
    persons = sorted(set(y.tolist()))
    seen: list[tuple[float, bool, bool]] = []  # distance, found rightly, listed
    for listed in (persons[0::2], persons[1::2]):
        gallery = [y.tolist().index(person) for person in listed]
        for i in range(len(y)):
            if i not in gallery:
                nearest = min(gallery, key=lambda g, i=i: float(distances[i, g]))  # type: ignore[misc]
                seen.append((float(distances[i, nearest]), bool(y[nearest] == y[i]), int(y[i]) in listed))
    best = 0.0
    for threshold in {d for d, _, _ in seen}:
        alarms = [d <= threshold for d, _, listed in seen if not listed]
        found = [d <= threshold and right for d, right, listed in seen if listed]
        if sum(alarms) <= rate * len(alarms):
            best = max(best, sum(found) / len(found))
    probes = two_lists(distances, y)
    assert int((~probes.listed).sum()) == sum(counts) and int(probes.listed.sum()) == sum(counts) - len(counts)
    if rate * sum(counts) >= 1:
        assert detection_rate(probes, rate) == pytest.approx(best, abs=1e-12)


def test_persons_far_apart_are_all_found_and_a_closed_set_is_rank_one() -> None:
    y = torch.arange(100) // 5
    distances = (10.0 * y[:, None] - 10.0 * y).square() + 0.5
    assert watch_list_metrics(distances, y) == {"dir_at_far_1e1": 1.0, "dir_at_far_1e2": 1.0}
    distances, y = embedded(2, [4] * 5, 0.7)
    assert watch_list_metrics(distances, y).keys() == {"dir_at_far_1e1"}, "20 probes know nothing of one in a hundred"
    # The right end of the curve is the closed set's rate of each list, whatever the threshold.
    ends = []
    for half in (0, 1):
        of_half = torch.isin(y, y.unique()[half::2])
        ends += [first_as_gallery(distances[of_half][:, of_half], y[of_half])] * int(
            of_half.sum() - len(y.unique()[half::2])
        )
    assert float(watch_list_curve(two_lists(distances, y)).detection_rate[-1]) == pytest.approx(sum(ends) / len(ends))


ONE_KIND = Probes(torch.rand(3), torch.ones(3).bool(), torch.ones(3).bool())
BOTH = Probes(torch.rand(3), torch.ones(3).bool(), torch.tensor([True, False, False]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: watch_list_curve(ONE_KIND), r"on it and on others[\s\S]*3 of 3"),
        (lambda: detection_rate(BOTH, 0.1), r"too few probes[\s\S]*10 or more"),
        (lambda: detection_rate(BOTH, 0.0), "out of range"),
        (lambda: look_up(torch.rand(2, 2), torch.arange(2), torch.arange(3)), "watch list"),
        (lambda: look_up(torch.rand(2, 0), torch.arange(2), torch.arange(0)), "one or more of each"),
        (lambda: look_up(torch.tensor([[torch.nan]]), torch.arange(1), torch.arange(1)), "is NaN"),
        (lambda: two_lists(torch.zeros(2, 2), torch.zeros(2).long()), "2 persons or more"),
    ],
)
def test_wrong_arguments(call: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()
