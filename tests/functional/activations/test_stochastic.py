"""Randomised and noisy activations against the papers' formulas, a number at a time, and the laws of what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.functional import activations as act
from chainrule.functional.activations import ACTIVATIONS


def tensor(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_rrelu_in_evaluation() -> None:
    x = tensor([-11.0, -1.0, 0.0, 5.0])
    torch.testing.assert_close(act.rrelu(x), F.rrelu(x))
    torch.testing.assert_close(act.rrelu(x, 0.2, 0.6), F.rrelu(x, 0.2, 0.6))
    assert act.rrelu(x, form="paper").tolist() == pytest.approx([-2, -2 / 11, 0, 5])  # x / 5.5
    assert act.rrelu(x, 2.0, 6.0, form="paper").tolist() == pytest.approx([-2.75, -0.25, 0, 5])


@pytest.mark.parametrize(("form", "lower", "upper"), [("torch", 1 / 8, 1 / 3), ("paper", 3, 8)])
def test_rrelu_draws_uniformly(form: str, lower: float, upper: float) -> None:
    """The slope is uniform in torch's form, what x is divided by in the paper's."""
    torch.manual_seed(1)
    x = -torch.ones(20_000, dtype=torch.float64, requires_grad=True)
    slope = -act.rrelu(x, training=True, form=form)  # type: ignore[arg-type]
    drawn = (slope if form == "torch" else 1 / slope).detach().numpy()
    assert scipy.stats.kstest(drawn, scipy.stats.uniform(lower, upper - lower).cdf).pvalue > 0.01
    assert torch.equal(torch.autograd.grad(slope.sum(), x)[0], -slope.detach())  # the gradient has the same draw
    assert torch.equal(act.rrelu(torch.ones(9), training=True), torch.ones(9))


def algorithm_1(x: float, xi: float, alpha: float, c: float, p: float, base: str, noise: str) -> float:
    """The paper's algorithm 1, a number at a time."""
    u = x if base == "hard_tanh" else 0.25 * x + 0.5
    h = max(min(u, 1.0), -1.0 if base == "hard_tanh" else 0.0)
    delta = h - u
    d = -math.copysign(1, x) * (1 if 1 - alpha >= 0 else -1)
    sigma = c * (1 / (1 + math.exp(-p * delta)) - 0.5) ** 2
    return alpha * h + (1 - alpha) * u + d * sigma * (abs(xi) if noise == "half_normal" else xi)


@pytest.mark.parametrize("base", ["hard_tanh", "hard_sigmoid"])
@pytest.mark.parametrize("noise", ["half_normal", "normal"])
@pytest.mark.parametrize("alpha", [0.85, 1.0, 1.15])
def test_noisy_is_the_papers_algorithm(base: str, noise: str, alpha: float) -> None:
    x = torch.linspace(-7, 7, 141, dtype=torch.float64)
    torch.manual_seed(3)
    xi = torch.randn_like(x)
    torch.manual_seed(3)
    settings = {"alpha": alpha, "c": 0.7, "base": base, "noise": noise}
    found = act.noisy(x, p=torch.tensor(1.6), training=True, **settings)  # type: ignore[arg-type]
    p = float(torch.tensor(1.6))
    hand = [algorithm_1(a, e, alpha, 0.7, p, base, noise) for a, e in zip(x.tolist(), xi.tolist(), strict=True)]
    np.testing.assert_allclose(found.numpy(), hand, rtol=1e-13, atol=1e-15)
    inside = x.abs() < (1 if base == "hard_tanh" else 2)
    h = x if base == "hard_tanh" else x / 4 + 0.5
    torch.testing.assert_close(found[inside], h[inside])  # no noise where nothing is saturated


@pytest.mark.parametrize("noise", ["half_normal", "normal"])
def test_noisy_in_evaluation_is_the_expectation(noise: str) -> None:
    """Integrated over the noise by the trapezium rule, and by drawing."""
    x = tensor([-4.0, -1.5, 0.2, 3.0])
    xi = np.linspace(-9, 9, 20_001)
    density = scipy.stats.norm.pdf(xi) * (xi[1] - xi[0])
    hand = [
        sum(w * algorithm_1(a, e, 1.15, 0.9, 2.0, "hard_tanh", noise) for e, w in zip(xi, density, strict=True))
        for a in x.tolist()
    ]
    expected = act.noisy(x, c=0.9, p=2.0, noise=noise)  # type: ignore[arg-type]
    np.testing.assert_allclose(expected.numpy(), hand, rtol=1e-6)
    torch.manual_seed(0)
    draws = act.noisy(x.expand(40_000, 4), c=0.9, p=2.0, noise=noise, training=True)  # type: ignore[arg-type]
    error = draws.std(0) / 200
    assert bool(((draws.mean(0) - expected).abs() <= 4 * error + 1e-12).all())


def test_gradients_of_p_and_x_through_the_noise() -> None:
    x = tensor([[-4.0, 0.3], [3.0, 1.7]]).requires_grad_()
    p = tensor([0.7, 1.4]).requires_grad_()

    def drawn(x: Tensor, p: Tensor) -> Tensor:
        torch.manual_seed(5)
        return act.noisy(x, p=p, training=True)

    assert torch.autograd.gradcheck(drawn, (x, p))
    slopes = torch.autograd.grad(drawn(x, p).sum(), p)[0]
    assert bool((slopes != 0).all())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nothing_is_drawn_outside_training(name: str) -> None:
    before = torch.get_rng_state()
    ACTIVATIONS[name](torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)
