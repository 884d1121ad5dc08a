"""Attacks against what is known of them: linear losses, where the best change can be written down, and their bounds."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.systems.attacks.perturbations import fgsm, pgd, universal_perturbation


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.numel(), 1, bias=False, dtype=torch.float64)
    layer.weight.data = weight[None]
    return layer


def test_a_linear_loss_rises_by_epsilon_times_the_sum_of_weights() -> None:
    w, x = torch.randn(6, dtype=torch.float64), 0.3 + 0.4 * torch.rand(5, 6, dtype=torch.float64)
    for attack in (fgsm, lambda *a, **k: pgd(*a, steps=7, random_start=True, **k)):
        found = attack(lambda z: z @ w, x, 0.1)
        assert torch.allclose((found - x) @ w, 0.1 * w.abs().sum().expand(5))


def test_no_corner_of_the_cube_is_better_on_a_linear_loss() -> None:
    w, x, epsilon = torch.randn(4, dtype=torch.float64), torch.rand(1, 4, dtype=torch.float64), 0.3
    corners = torch.tensor(list(itertools.product([-epsilon, epsilon], repeat=4)), dtype=torch.float64)
    best = float(((x + corners).clamp(0, 1) @ w).max())
    assert float(fgsm(lambda z: z @ w, x, epsilon) @ w) == pytest.approx(best)
    assert float(pgd(lambda z: z @ w, x, epsilon, steps=5) @ w) == pytest.approx(best)


def test_steps_beat_one_step_where_the_loss_bends_and_all_stay_within_bounds() -> None:
    network = nn.Sequential(nn.Linear(10, 40), nn.Tanh(), nn.Linear(40, 3))
    x, y = torch.rand(50, 10), torch.randint(0, 3, (50,))

    def loss(z: Tensor) -> Tensor:
        return nn.functional.cross_entropy(network(3 * z), y, reduction="none")

    once, often = fgsm(loss, x, 0.2), pgd(loss, x, 0.2, steps=20)
    means = [float(loss(z).detach().mean()) for z in (x, once, often)]
    assert means == sorted(means) and means[0] < means[1] < means[2]
    for found in (once, often, pgd(loss, x, 0.2, steps=3, random_start=True)):
        assert float((found - x).abs().max()) <= 0.2 + 1e-6 and float(found.min()) >= 0 and float(found.max()) <= 1
    wanted = (y + 1) % 3
    towards = pgd(lambda z: -nn.functional.cross_entropy(network(3 * z), wanted, reduction="none"), x, 0.2, steps=20)
    before, after = (network(3 * z).argmax(1) == wanted for z in (x, towards))
    assert int(after.sum()) > int(before.sum())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


def test_one_change_for_all() -> None:
    w = torch.randn(6)
    x = 0.4 + 0.2 * torch.rand(40, 6)
    order = [torch.arange(40)[part::4] for part in range(4)] * 3
    change = universal_perturbation(lambda z, _: z @ w, x, order, 0.1, step=0.05)
    assert torch.allclose(change, 0.1 * w.sign())
    seen: list[Tensor] = []
    universal_perturbation(lambda z, index: seen.append(index) or z.sum(1), x, order, 0.1, step=0.05)
    assert all(torch.equal(a, b) for a, b in zip(seen, order, strict=True))


def test_no_room_no_change() -> None:
    x = torch.rand(3, 4)
    assert torch.equal(fgsm(lambda z: z.sum(1), x, 0.0), x)
    assert torch.equal(pgd(lambda z: z.sum(1), x, 0.0, steps=2), x)


def test_bounds_out_of_range() -> None:
    with pytest.raises(UserError, match="epsilon of 0 or more"):
        fgsm(lambda z: z.sum(1), torch.rand(1, 2), -0.1)
    with pytest.raises(UserError, match="low below high"):
        pgd(lambda z: z.sum(1), torch.rand(1, 2), 0.1, steps=1, low=1.0, high=0.0)
    with pytest.raises(UserError, match="steps of 1 or more"):
        pgd(lambda z: z.sum(1), torch.rand(1, 2), 0.1, steps=0)
