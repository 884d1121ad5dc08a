"""The L1 penalty within any update rule: by hand, as a proximal step, and at scikit-learn's minimum of the lasso."""

from __future__ import annotations

import types
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import nn

from chainrule.core.errors import UserError
from chainrule.loops.penalty import penalize
from chainrule.optim.by_name import Rule, optimizer_of
from chainrule.optim.penalty import L1, smallest_subgradient

RATES = {"sgd": 0.3, "nesterov": 0.05, "adagrad": 1.0, "adadelta": 50.0, "rmsprop": 0.1, "adam": 0.2, "adamw": 0.2}


def test_the_subgradient_is_the_nearest_to_zero_of_all() -> None:
    """At w = 0 the subgradients are g + lambda s for every s from -1 to 1."""
    torch.manual_seed(0)
    w, g = torch.tensor([1.5, -0.2, 0.0, 0.0, 0.0]), torch.tensor([0.3, 0.3, 0.3, -0.9, 0.7])
    s = torch.linspace(-1, 1, 2001)
    found = smallest_subgradient(w, g, 0.7)
    for weight, gradient, one in zip(w.tolist(), g.tolist(), found.tolist(), strict=True):
        all_of_them = gradient + 0.7 * (s if weight == 0 else torch.tensor([weight]).sign())
        assert one == pytest.approx(float(all_of_them[all_of_them.abs().argmin()]), abs=1e-3)


def test_of_plain_descent_it_is_the_proximal_step() -> None:
    torch.manual_seed(0)
    w = nn.Parameter(torch.cat([torch.randn(200), torch.zeros(50)]))
    before, lr, strength = w.detach().clone(), 0.1, 2.0
    w.grad = torch.randn(250)
    moved = before - lr * w.grad
    proximal = moved.sign() * (moved.abs() - lr * strength).clamp_min(0)  # sign(v) max(|v| - lr lambda, 0)
    rule, penalty = torch.optim.SGD([w], lr), L1([w], strength)
    penalty.before()
    rule.step()
    penalty.after()
    same = (proximal == 0) | (before == 0) | (proximal.sign() == before.sign())  # the others overshoot 0 by more
    assert same.sum() > 240 and (proximal == 0).sum() > 40
    torch.testing.assert_close(w.detach()[same], proximal[same])
    assert not w.detach()[~same].any()


@pytest.mark.parametrize("name", get_args(Rule))
def test_every_rule_rests_at_the_minimum_of_the_lasso(name: str) -> None:
    """Of |y - X w|^2 / (2 n) + lambda sum |w|, with scikit-learn; two of the weights are exactly 0."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(40, 5)) @ (np.eye(5) + 0.3)
    y = X @ [2.0, 0.0, -1.0, 0.05, 0.5] + 0.1 * generator.normal(size=40)
    expected = Lasso(alpha=0.2, fit_intercept=False, tol=1e-10).fit(X, y).coef_
    assert (expected == 0).sum() == 2
    w = nn.Parameter(torch.full((1, 5), 0.3, dtype=torch.float64))
    rule = optimizer_of(name, [w], RATES[name], momentum=0.8 if name == "nesterov" else 0.0)
    penalize(counted(), rule, l1=0.2, epochs=1)
    inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
    for step in range(200):
        rule.param_groups[0]["lr"] = RATES[name] * 0.97**step
        rule.zero_grad()
        ((targets - inputs @ w[0]).square().mean() / 2).backward()
        rule.step()
    np.testing.assert_allclose(w.detach().numpy()[0], expected, atol=2e-3)
    assert ((w.detach().numpy()[0] == 0) == (expected == 0)).all()


def test_a_nan_is_not_taken_for_a_zero() -> None:
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.tensor([float("nan"), 5.0])
    rule, penalty = torch.optim.SGD([w], 1.0), L1([w], 1.0)
    penalty.before()
    rule.step()
    penalty.after()
    assert w.isnan().tolist() == [True, False] and w[1].item() == 0 and not w[1].signbit()


def counted(epoch: int = 0) -> Any:
    """A run as far as `penalize` looks into it."""
    tracked: dict[str, torch.Tensor] = {}
    return types.SimpleNamespace(epoch=epoch, track=lambda **values: tracked.update(values), tracked=tracked)


def test_nothing_is_penalised_before_its_epoch_nor_biases_ever() -> None:
    """Also where the optimiser's state comes from a checkpoint of an epoch without the penalty."""
    saved: dict[str, Any] = {}
    for epoch in (0, 1, 2):
        layer, run = nn.Linear(2, 1), counted(epoch)
        nn.init.ones_(layer.weight)
        nn.init.ones_(layer.bias)
        rule = optimizer_of("sgd", layer.parameters(), 0.1, weight_decay=0.5)
        penalize(run, rule, l1=1.0, penalty_from=2, epochs=3)
        if epoch == 2:
            rule.load_state_dict(saved)
        for p in layer.parameters():
            p.grad = torch.zeros_like(p)
        rule.step()
        saved = rule.state_dict()
        decayed, both = 1 - 0.1 * 0.5, 1 - 0.1 * (0.5 + 1.0)
        assert layer.bias.item() == pytest.approx(decayed if epoch == 2 else 1.0)
        assert layer.weight.tolist()[0] == pytest.approx([both if epoch == 2 else 1.0] * 2)
        assert float(run.tracked["zero_weights"]) == 0


def test_without_a_penalty_nothing_is_registered() -> None:
    rule = optimizer_of("sgd", [nn.Parameter(torch.ones(2, 2))], 0.1, weight_decay=0.5)
    penalize(counted(), rule, epochs=3)
    assert not rule._optimizer_step_pre_hooks and not rule._optimizer_step_post_hooks


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"penalty_from": 3}, "begin after the last epoch"),
        ({"l1": float("nan")}, "l1 cannot be nan"),
        ({"penalty_from": 1, "weight_decay": 0.0}, "no penalty that could begin late"),
    ],
)
def test_what_is_no_penalty_is_said(settings: dict[str, Any], words: str) -> None:
    decay = settings.pop("weight_decay", 0.1)
    rule = optimizer_of("sgd", [nn.Parameter(torch.ones(2, 2))], 0.1, weight_decay=decay)
    with pytest.raises(UserError, match=words):
        penalize(counted(), rule, epochs=3, **settings)
