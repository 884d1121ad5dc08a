"""The loss of two weights by hand and by differences, steps off its plateau by quadrature, rates on a parabola."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import torch

from chainrule.core.errors import UserError
from chainrule.systems.studies.optimization.ravine import SHARES, measure_rate
from chainrule.systems.studies.optimization.two_weights import LOSSES, measure_plateau, plateau_steps, two_weight_loss

DOUBLE = torch.float64


def test_the_loss_is_that_of_the_network() -> None:
    weights = torch.randn(40, 2, dtype=DOUBLE) * 3
    net = torch.sigmoid(weights[:, 1] * torch.sigmoid(weights[:, 0] * 0.7))
    for y in (0.0, 0.25, 1.0):
        torch.testing.assert_close(two_weight_loss(weights, "squared error", 0.7, y), (y - net).square())
        expected = torch.nn.functional.binary_cross_entropy(net, torch.full_like(net, y), reduction="none")
        torch.testing.assert_close(two_weight_loss(weights, "cross entropy", 0.7, y), expected)
    far = two_weight_loss(torch.tensor([50.0, -800.0], dtype=DOUBLE), "cross entropy")
    assert float(far) == pytest.approx(800), "no infinity where p is 0 in float64"


def test_neither_loss_is_convex() -> None:
    """Second derivatives at the origin by hand: p = h = 1/2, s' = 1/4."""
    by_hand = {"squared error": [[0, -1 / 16], [-1 / 16, 1 / 32]], "cross entropy": [[0, -1 / 8], [-1 / 8, 1 / 16]]}
    for loss, expected in by_hand.items():
        second = torch.autograd.functional.hessian(lambda w: two_weight_loss(w, loss), torch.zeros(2, dtype=DOUBLE))  # noqa: B023
        np.testing.assert_allclose(second, expected, atol=1e-15)
        low, high = np.linalg.eigvalsh(expected)
        assert low < 0 < high


@pytest.mark.parametrize("loss", LOSSES)
def test_steps_off_the_plateau_are_the_integral(loss: str) -> None:
    def slope(z: float) -> float:  # 1 / |dL/dz|
        p = 1 / (1 + math.exp(-z))
        return 1 / (1 - p) if loss == "cross entropy" else 1 / (2 * p * (1 - p) ** 2)

    for depth, goal, hidden in ((1.0, 0.9, 1.0), (6.0, 0.7, 0.5), (9.0, 0.5, 2.0)):
        expected = scipy.integrate.quad(slope, -depth, math.log(goal / (1 - goal)))[0] / (0.1 * hidden**2)
        assert plateau_steps(depth, loss, lr=0.1, goal=goal, hidden=hidden) == pytest.approx(expected, rel=1e-8)  # type: ignore[arg-type]


def test_walks_off_the_plateau_take_the_steps_of_the_closed_form() -> None:
    rows = {loss: measure_plateau(loss, (2.0, 5.0), max_steps=300) for loss in LOSSES}
    for row in rows.values():
        assert row["steps"] == pytest.approx(row["predicted"], rel=0.06)
        assert row["path"][0] == [4.0, -5.0]
    near, far = (rows["squared error"]["steps"][i] / rows["cross entropy"]["steps"][i] for i in (0, 1))
    assert far > 2 * near
    assert measure_plateau("squared error", (1.0, 9.0), max_steps=100)["steps"][1] is None, "not within the steps"


def test_descent_on_a_parabola_is_a_power_of_one_less_the_share() -> None:
    for share in (*SHARES, 0.05, 2.0):
        row = measure_rate(share, 37.0)
        assert row["best_rate"] == pytest.approx(share / 37)
        np.testing.assert_allclose(row["path"], (1 - share) ** np.arange(len(row["path"])), atol=1e-9, rtol=1e-9)
        assert row["contraction"] == pytest.approx(row["predicted"], abs=0.06 if share == 1 else 1e-9)


def test_wrong_arguments_are_refused_in_words() -> None:
    for call, message in (
        (lambda: two_weight_loss(torch.zeros(3)), "no such loss"),
        (lambda: two_weight_loss(torch.zeros(2), "hinge"), "no such loss"),  # type: ignore[arg-type]
        (lambda: two_weight_loss(torch.zeros(2), y=2.0), "no such loss"),
        (lambda: plateau_steps(3.0, lr=0.0), "no steps"),
        (lambda: plateau_steps(3.0, lr=1.0, goal=1.0), "no steps"),
    ):
        with pytest.raises(UserError, match=message):
            call()
