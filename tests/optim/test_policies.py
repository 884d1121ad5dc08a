"""Learning-rate policies by hand, their composition, their form as a scheduler, and their image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chainrule.core.errors import UserError
from chainrule.optim import (
    SGD,
    Adam,
    Policy,
    as_schedule,
    cosine,
    exp,
    fixed,
    inv,
    multistep,
    poly,
    sequence,
    sigmoid,
    step,
    warmup,
)
from chainrule.reporting.policy_plots import EXAMPLES, LAST, policies_table, policy_curve, write_policies
from chainrule.run.checkpoint.tree import load_tree, save_tree

CAFFE = [
    # (policy, {iteration: rate, worked by hand})
    (fixed(0.01), {0: 0.01, 10**9: 0.01}),
    (step(0.01, 0.1, 100_000), {0: 0.01, 99_999: 0.01, 100_000: 0.001, 199_999: 0.001, 200_000: 1e-4}),
    (step(0.01, 0.0, 10), {9: 0.01, 10: 0.0}),  # 0^0 is 1
    (step(1.0, 2.0, 1), {0: 1.0, 5: 32.0}),
    (multistep(0.1, 0.1, [5, 6, 20]), {4: 0.1, 5: 0.01, 6: 0.001, 19: 0.001, 20: 1e-4, 10**6: 1e-4}),
    (multistep(0.1, 0.1, []), {0: 0.1, 10**6: 0.1}),
    (exp(0.5, 0.9), {0: 0.5, 1: 0.45, 2: 0.405}),
    (exp(0.5, 0.0), {0: 0.5, 1: 0.0}),
    (inv(0.01, 1e-4, 0.75), {0: 0.01, 10_000: 0.01 / 2**0.75, 150_000: 0.01 / 8}),  # 16 to the 3/4 is 8
    (inv(0.01, 0.0, 0.75), {123: 0.01}),
    (poly(0.01, 0.5, 100), {0: 0.01, 75: 0.005, 99: 0.001, 100: 0.0, 101: 0.0, 1000: 0.0}),
    (poly(0.01, 1.0, 4), {1: 0.0075, 2: 0.005, 3: 0.0025, 4: 0.0}),
    (sigmoid(1.0, -0.1, 100), {0: 1 / (1 + math.exp(-10)), 100: 0.5, 110: 1 / (1 + math.e), 10**9: 0.0}),
    (sigmoid(1.0, 0.1, 100), {0: 1 / (1 + math.exp(10)), 100: 0.5, 90: 1 / (1 + math.e), 10**9: 1.0}),
    (sigmoid(1.0, 0.0, 100), {0: 0.5, 10**9: 0.5}),
    (cosine(0.1, 100), {0: 0.1, 25: 0.05 * (1 + math.sqrt(0.5)), 50: 0.05, 100: 0.0, 250: 0.0}),
    (cosine(0.1, 60, 0.02), {0: 0.1, 20: 0.08, 30: 0.06, 40: 0.04, 60: 0.02, 61: 0.02}),
    (warmup(5, then=fixed(0.1)), {0: 0.0, 1: 0.02, 4: 0.08, 5: 0.1, 100: 0.1}),
    (warmup(4, then=step(0.1, 0.5, 10), start=0.02), {0: 0.02, 1: 0.04, 3: 0.08, 4: 0.1, 13: 0.1, 14: 0.05}),
    (warmup(0, then=exp(0.5, 0.9)), {0: 0.5, 1: 0.45}),
    (warmup(2, then=warmup(2, then=fixed(1.0), start=0.5)), {0: 0.0, 1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}),
    (
        sequence((fixed(0.3), 2), (warmup(2, then=fixed(0.1)), 3), last=exp(0.1, 0.5)),
        {0: 0.3, 1: 0.3, 2: 0.0, 3: 0.05, 4: 0.1, 5: 0.1, 6: 0.05, 8: 0.0125},
    ),
    (sequence(last=fixed(0.2)), {0: 0.2, 7: 0.2}),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "rates"), CAFFE, ids=lambda value: str(value)[:40])
def test_golden_rates(policy: Policy, rates: dict[int, float]) -> None:
    for iteration, rate in rates.items():
        assert policy(iteration) == pytest.approx(rate, rel=1e-12, abs=1e-15), iteration


def test_the_issues_own_example() -> None:
    assert inv(base_lr=0.01, gamma=1e-4, power=0.75)(5000) == pytest.approx(0.01 * 1.5**-0.75)


def test_sigmoid_falls_for_a_negative_gamma_alone() -> None:
    falling, rising = sigmoid(0.1, -0.01, 500), sigmoid(0.1, 0.01, 500)
    pairs = [(t, t + 50) for t in range(0, 1000, 50)]
    assert all(falling(a) > falling(b) and rising(a) < rising(b) for a, b in pairs)
    assert all(falling(t) == pytest.approx(rising(1000 - t), rel=1e-12) for t in range(0, 1001, 100))


def torchs(make: object, policy: Policy, count: int) -> tuple[list[float], list[float]]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=policy(0))
    schedule = make(optimizer)  # type: ignore[operator]
    theirs = []
    for _ in range(count):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return theirs, [policy(t) for t in range(count)]


@pytest.mark.parametrize(
    ("make", "policy"),
    [
        (lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.3), step(0.1, 0.3, 7)),
        (lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 9, 10], 0.3), multistep(0.1, 0.3, [3, 9, 10])),
        (lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9), exp(0.1, 0.9)),
        (lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 30, 0.7), poly(0.1, 0.7, 30)),
        (lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40, 0.01), cosine(0.1, 40, 0.01)),
    ],
)
def test_as_torchs_schedulers(make: object, policy: Policy) -> None:
    theirs, ours = torchs(make, policy, 40)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


# -- as a scheduler -------------------------------------------------------------------------------------------------------


def run(optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, count: int) -> list[float]:
    rates = []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize("policy", [policy for policy, _ in EXAMPLES], ids=str)
def test_the_scheduler_sets_exactly_the_rate(policy: Policy) -> None:
    optimizer = SGD(weights(), lr=123.0)
    schedule = as_schedule(optimizer, policy)
    assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
    assert run(optimizer, schedule, 20) == [policy(t) for t in range(20)]
    assert schedule.get_last_lr() == [policy(20)]


def test_a_group_has_its_multiple_of_the_rate() -> None:
    """Caffe's lr_mult: 2 for biases."""
    w, b = weights()
    optimizer = SGD([{"params": [w]}, {"params": [b], "lr_mult": 2.0}], lr=1.0)
    schedule = as_schedule(optimizer, exp(0.1, 0.5))
    for t in range(3):
        w.grad, b.grad = torch.ones(2), torch.ones(2)
        assert [group["lr"] for group in optimizer.param_groups] == [0.1 * 0.5**t, 0.2 * 0.5**t]
        optimizer.step()
        schedule.step()
    assert w.tolist() == pytest.approx([1 - 0.175] * 2)
    assert b.tolist() == pytest.approx([1 - 0.35] * 2)


def test_the_scheduler_resumes(tmp_path: Path) -> None:
    """Through the file of a run, in the order in which a run hands states back; torch's own optimisers too."""
    policy = warmup(5, then=multistep(0.1, 0.5, [3, 8]))
    for make in (lambda: SGD(weights(), 0.3, 0.9), lambda: torch.optim.Adam(weights(), 0.3)):
        optimizer = make()
        schedule = as_schedule(optimizer, policy)
        first = run(optimizer, schedule, 7)
        save_tree({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, tmp_path / "state")

        saved = load_tree(tmp_path / "state")
        optimizer = make()
        schedule = as_schedule(optimizer, policy)
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        assert schedule.get_last_lr() == [policy(7)]
        assert first + run(optimizer, schedule, 13) == [policy(t) for t in range(20)]


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fixed(-0.1), "fixed: base_lr cannot be -0.1.*at least 0"),
        (lambda: fixed(float("inf")), "base_lr cannot be inf"),
        (lambda: fixed("0.1"), "base_lr cannot be '0.1'"),
        (lambda: step(0.1, -0.5, 10), "step: gamma cannot be -0.5"),
        (lambda: step(0.1, 0.5, 0), "stepsize cannot be 0.*whole number, at least 1"),
        (lambda: step(0.1, 0.5, 2.5), "stepsize cannot be 2.5"),
        (lambda: multistep(0.1, 0.5, [5, 5]), "step values must rise"),
        (lambda: multistep(0.1, 0.5, [0, 5]), "stepvalue cannot be 0"),
        (lambda: multistep(0.1, -0.5, [5]), "gamma cannot be -0.5"),
        (lambda: exp(0.1, -1.0), "exp: gamma"),
        (lambda: inv(0.1, -1e-4, 0.75), "inv: gamma"),
        (lambda: inv(0.1, 1e-4, float("nan")), "inv: power"),
        (lambda: poly(0.1, 0.0, 100), "poly: power cannot be 0.0.*above 0"),
        (lambda: poly(0.1, 1.0, -5), "poly: max_iter"),
        (lambda: sigmoid(0.1, 0.1, 0), "sigmoid: stepsize"),
        (lambda: sigmoid(0.1, float("inf"), 10), "sigmoid: gamma"),
        (lambda: cosine(0.1, 0), "cosine: max_iter"),
        (lambda: cosine(0.1, 10, -0.1), "cosine: min_lr"),
        (lambda: warmup(-1, then=fixed(0.1)), "warmup: iterations"),
        (lambda: warmup(5, then=fixed(0.1), start=-1), "warmup: start"),
        (lambda: warmup(5, then=0.1), "warmup: a policy is missing.*0.1"),
        (lambda: sequence((fixed(0.1), 0), last=fixed(0.1)), "length of a stage cannot be 0"),
        (lambda: sequence((0.1, 5), last=fixed(0.1)), "sequence: a policy is missing"),
        (lambda: sequence((fixed(0.1), 5), last=lambda t: t), "sequence: a policy is missing"),
        (lambda: as_schedule(Adam(weights()), lambda t: 0.1), "as_schedule needs a policy"),
        (lambda: fixed(0.1)(-1), "no such iteration.*at least 0.*-1"),
        (lambda: fixed(0.1)(1.5), "no such iteration.*1.5"),
        (lambda: fixed(0.1)("3"), "no such iteration"),
        (lambda: fixed(0.1)(True), "no such iteration.*True"),
        (lambda: exp(0.1, 1.1)(10**6), "larger than any number.*gamma of at most 1"),
    ],
)
def test_wrong_settings_are_told(make: object, words: str) -> None:
    with pytest.raises(UserError, match=f"(?s){words}"):
        make()  # type: ignore[operator]


def test_numpys_whole_numbers_are_iterations() -> None:
    assert step(0.1, 0.5, 10)(np.int64(10)) == 0.05


def test_a_policy_prints_as_the_call_that_makes_it() -> None:
    for policy, _ in EXAMPLES:
        again = eval(
            str(policy),
            {
                name: globals()[name]
                for name in (
                    "fixed",
                    "step",
                    "multistep",
                    "exp",
                    "inv",
                    "poly",
                    "sigmoid",
                    "cosine",
                    "warmup",
                    "sequence",
                )
            },
        )
        assert again == policy
        assert [again(t) for t in range(0, LAST, 50)] == [policy(t) for t in range(0, LAST, 50)]


# -- the image ----------------------------------------------------------------------------------------------------------


def test_the_table_and_the_figure_show_every_policy(tmp_path: Path) -> None:
    table = policies_table()
    assert {len(row) for row in table} == {5}
    kinds = {row[0].split("(")[0] for row in table[1:]}
    assert kinds == {"fixed", "step", "multistep", "exp", "inv", "poly", "sigmoid", "cosine", "warmup", "sequence"}
    assert [
        "poly(base_lr=0.1, power=2.0, max_iter=1000)",
        "base_lr (1 - t / max_iter)^power",
        "0.1",
        "0.025",
        "0",
    ] in table
    drawn = [write_policies(tmp_path / f"{name}.svg").read_text("utf-8") for name in ("one", "two")]
    assert drawn[0].startswith("<svg") and all(kind in drawn[0] for kind in kinds) and drawn[0] == drawn[1]
    page = write_policies(tmp_path / "page.html").read_text("utf-8")
    assert all(kind in page for kind in kinds) and "0.025" in page
    with pytest.raises(UserError, match="ending of the file"):
        write_policies(tmp_path / "page.pdf")
    own = policy_curve(warmup(10, then=fixed(0.1)), 50)
    assert own.svg is not None
    assert "warmup(10, then=fixed(base_lr=0.1), start=0.0)" in own.svg
