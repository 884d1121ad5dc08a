"""The size of small classes against linear programs, brute force and the values of the textbooks; bounds and gaps by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

import chainrule
from chainrule.core.errors import UserError
from chainrule.systems.studies.generalization.bounds import pac_gap, pac_sample_size, rademacher_gap, vc_gap
from chainrule.systems.studies.generalization.capacity import (
    CLASSES,
    VC_DIMENSIONS,
    growth_bound,
    half_planes,
    intervals,
    is_shattered,
    massart_bound,
    rademacher_complexity,
    rectangles,
    thresholds,
    vc_dimension,
)
from chainrule.systems.studies.generalization.generalization_gap import conclude, empirical_risks, measure_thresholds

pytestmark = pytest.mark.usefixtures("no_report")


def as_set(labellings: torch.Tensor) -> set[tuple[int, ...]]:
    rows = [tuple(row) for row in labellings.tolist()]
    assert len(set(rows)) == len(rows), "each labelling once"
    return set(rows)


def separable(x: np.ndarray, labels: tuple[int, ...]) -> bool:
    """Whether y_i (w . x_i + b) >= 1 has a solution."""
    y = np.array(labels)[:, None]
    rows = -y * np.hstack([x, np.ones((len(x), 1))])
    return linprog(np.zeros(3), A_ub=rows, b_ub=-np.ones(len(x)), bounds=[(None, None)] * 3).status == 0


POINTS = {
    "at random": np.random.default_rng(0).normal(size=(6, 2)),
    "on a line": np.stack([np.arange(5.0), 2 * np.arange(5.0)], 1),
    "three of five on a line": np.array([[0.0, 0], [1, 0], [2, 0], [1, 1], [1, -2]]),
    "a grid": np.array([[0.0, 0], [1, 0], [0, 1], [1, 1], [2, 0]]),
}


@pytest.mark.parametrize("name", POINTS)
def test_half_planes_are_those_of_a_linear_program(name: str) -> None:
    x = POINTS[name]
    expected = {labels for labels in itertools.product((-1, 1), repeat=len(x)) if separable(x, labels)}
    assert as_set(half_planes(torch.from_numpy(x))) == expected


def test_labellings_are_those_of_all_ends() -> None:
    x = np.array([0.3, -1.0, 2.0, 0.7])
    ends = np.array([-2.0, -0.5, 0.5, 1.0, 3.0])
    by_threshold = {tuple(np.where(x >= t, 1, -1)) for t in ends}
    by_interval = {tuple(np.where((x >= a) & (x <= b), 1, -1)) for a in ends for b in ends}
    assert as_set(thresholds(torch.from_numpy(x))) == by_threshold
    assert as_set(intervals(torch.from_numpy(x))) == by_interval
    plane = np.random.default_rng(3).normal(size=(5, 2))
    cuts = [np.concatenate([[-9], (np.sort(axis)[1:] + np.sort(axis)[:-1]) / 2, [9]]) for axis in plane.T]
    boxes = itertools.product(cuts[0], cuts[0], cuts[1], cuts[1])
    expected = {
        tuple(np.where((plane[:, 0] > a) & (plane[:, 0] < b) & (plane[:, 1] > c) & (plane[:, 1] < d), 1, -1))
        for a, b, c, d in boxes
    }
    assert as_set(rectangles(torch.from_numpy(plane))) == expected


def test_counts_of_the_textbooks() -> None:
    line, plane = torch.rand(9, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    for n in range(1, 10):
        assert len(thresholds(line[:n])) == n + 1 == growth_bound(n, 1)
        assert len(intervals(line[:n])) == n * (n + 1) // 2 + 1 == growth_bound(n, 2)
        # Cover: 2 sum_(k < 3) (n - 1 over k), at most what Sauer allows
        assert len(half_planes(plane[:n])) == 2 * sum(math.comb(n - 1, k) for k in range(3)) <= growth_bound(n, 3)
        assert len(rectangles(plane[:n])) <= growth_bound(n, 4)


def test_vc_dimensions_of_the_textbooks() -> None:
    diamond = torch.tensor([[0.0, 1.0], [1.0, 0.1], [0.2, -1.0], [-1.0, 0.0], [0.1, 0.2], [0.3, 0.4]])
    pools = {"thresholds": torch.rand(5), "intervals": torch.rand(5), "half planes": diamond, "rectangles": diamond}
    assert {name: vc_dimension(CLASSES[name], pool) for name, pool in pools.items()} == VC_DIMENSIONS
    on_a_line = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    assert vc_dimension(half_planes, on_a_line) == 2, "what the points do not allow is not found"
    assert vc_dimension(half_planes, on_a_line[:1]) == 1 and not is_shattered(thresholds(torch.rand(2)))


def test_complexity_by_all_signs_and_by_hand() -> None:
    draw = np.random.default_rng(0)
    labellings = draw.choice([-1, 1], (5, 7))
    expected = np.mean([(labellings @ np.array(s)).max() / 7 for s in itertools.product((-1, 1), repeat=7)])
    assert rademacher_complexity(torch.from_numpy(labellings)) == pytest.approx(expected)
    assert rademacher_complexity(torch.ones(1, 8)) == 0, "one hypothesis fits no noise"
    everything = torch.tensor(list(itertools.product((-1, 1), repeat=6)))
    assert rademacher_complexity(everything) == 1, "who shatters fits any"
    # h and -h: E |sum s| / n, the mean distance of a walk of 10 steps, 10 (10 over 5) / 2^10
    pair = torch.tensor([[1], [-1]]).repeat(1, 10)
    assert rademacher_complexity(pair) == pytest.approx(math.comb(10, 5) / 2**10)
    torch.manual_seed(0)
    assert rademacher_complexity(pair, draws=20_000) == pytest.approx(math.comb(10, 5) / 2**10, abs=0.005)
    x = torch.rand(12)
    assert rademacher_complexity(thresholds(x)) <= massart_bound(13, 12)
    assert rademacher_complexity(thresholds(x)) < rademacher_complexity(intervals(x)) < massart_bound(79, 12)


def test_gaps_are_the_inequalities() -> None:
    for n, delta, count in itertools.product((10, 500), (0.01, 0.3), (1, 1000)):
        epsilon = pac_gap(n, delta, count)
        assert 2 * count * math.exp(-2 * n * epsilon**2) == pytest.approx(delta), "Hoeffding and the union of all"
        if epsilon < 1:
            assert pac_sample_size(epsilon * (1 + 1e-9), delta, count) <= n
        # Mohri: sqrt(2 d log(e m / d) / m) + sqrt(log(1 / delta) / (2 m))
        expected = math.sqrt(2 * 3 * math.log(math.e * n / 3) / n) + math.sqrt(math.log(1 / delta) / (2 * n))
        assert vc_gap(n, delta, 3) == pytest.approx(expected)
        assert rademacher_gap(n, delta, 0.1) == pytest.approx(0.1 + 3 * math.sqrt(math.log(2 / delta) / (2 * n)))


def test_risks_of_thresholds_are_counted() -> None:
    draw = np.random.default_rng(0)
    x, y, t = draw.uniform(size=(3, 40)), draw.uniform(size=(3, 40)) < 0.4, np.arange(8) / 8
    x[0, :8] = t  # on the thresholds themselves
    expected = [[np.mean((row >= k) != label) for k in t] for row, label in zip(x, y, strict=True)]
    found = empirical_risks(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(t))
    np.testing.assert_allclose(found, expected, atol=1e-15)


def test_the_gap_falls_as_a_root_and_the_bounds_hold() -> None:
    torch.manual_seed(0)
    few, many = (measure_thresholds(n, hypotheses=50, noise=0.2, sets=300, delta=0.1) for n in (50, 800))
    for row in (few, many):
        assert row["above_pac"] <= 0.1 and 0 < row["gap"] < row["deviation"] < row["pac_gap"]
        assert row["deviation"] < min(row["vc_gap"], row["rademacher_gap"])
    assert few["deviation"] / many["deviation"] == pytest.approx(4, rel=0.2)
    assert few["pac_gap"] / many["pac_gap"] == pytest.approx(4)


def test_the_conclusion_by_hand() -> None:
    line = [
        {
            "what": "thresholds",
            "samples": n,
            "gap": 0.1,
            "deviation": d,
            "pac_gap": 1,
            "vc_gap": 2,
            "rademacher_gap": 3,
            "above_pac": a,
        }
        for n, d, a in ((10, 0.4, 0.02), (1000, 0.04, 0.0))
    ]
    nets = [{"what": "net", "samples": n, "gap": g} for n, g in ((10, 0.5), (10, 0.3), (90, 0.1))]
    shattered = [{"what": "class", "class": "half planes", "shattered": v} for v in (None, 3)]
    assert conclude([*shattered, *line, *nets]) == {
        "samples": 1000,
        "gap": 0.1,
        "largest_deviation": 0.04,
        "pac_gap": 1,
        "vc_gap": 2,
        "rademacher_gap": 3,
        "largest_share_above_pac_gap": 0.02,
        "order_of_deviation": pytest.approx(0.5),
        "net_gap_of_fewest": pytest.approx(0.4),
        "net_samples_fewest": 10,
        "net_gap_of_most": pytest.approx(0.1),
        "net_samples_most": 90,
        "points_shattered_by_half_planes": 3,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": ()}, "nothing to measure"),
        ({"samples": (10**6,)}, "too many"),
        ({"points": 11}, "too many"),
        ({"delta": 1.0}, "out of range"),
        ({"noise": 0.5}, "out of range"),
    ],
)
def test_wrong_settings_end_before_the_first_step(settings: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        chainrule.train("generalization-gap", out=tmp_path / "run", device="cpu", **settings)
    assert not (tmp_path / "run").exists()


def test_wrong_arguments_are_refused_in_words() -> None:
    for call, message in (
        (lambda: thresholds(torch.ones(2, 2)), "points of a line"),
        (lambda: half_planes(torch.ones(3)), "points of the plane"),
        (lambda: half_planes(torch.ones(2, 2)), "the same"),
        (lambda: rademacher_complexity(torch.ones(0, 3)), "no complexity"),
        (lambda: rademacher_complexity(torch.ones(2, 30)), "no complexity"),
        (lambda: growth_bound(0, 1), "no bound"),
        (lambda: massart_bound(0, 3), "no bound"),
        (lambda: vc_gap(2, 0.1, 3), "fewer samples"),
        (lambda: pac_gap(10, 0.0, 3), "delta is out of range"),
    ):
        with pytest.raises(UserError, match=message):
            call()
