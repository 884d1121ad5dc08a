"""Goodfellow's losses and Algorithm 1: the formulas, the loop against a plain one, a toy game, batches, averages."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.recipe import Recipe
from chainrule.data.batches import Batch, Batches
from chainrule.run.run import Run
from chainrule.systems.generative.loop import (
    discriminator_loss,
    endless,
    non_saturating_loss,
    train_gan,
    update_average,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def a_run(folder: Path) -> Run:
    """A run for a loop alone, of a recipe that is never built."""
    plain = Recipe("toy", "toy", "toy", "digits", "toy", lambda run: None, "toy")
    common = {"log_every": 50, "checkpoint_s": 1e9, "autocast": "no", "compile": "no", "parallel": "ddp", "threads": 0}
    return Run.create(plain, {}, common, seed=0, data=None, target=None, device="cpu", out=folder)


# -- the criterion ------------------------------------------------------------------------------------------------


def test_losses_and_their_gradients_are_those_of_the_formulas() -> None:
    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(9, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    d = discriminator_loss(real, fake)
    explicit = -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean())
    torch.testing.assert_close(d, explicit)
    for got, expected in zip(
        torch.autograd.grad(d, (real, fake)), torch.autograd.grad(explicit, (real, fake)), strict=True
    ):
        torch.testing.assert_close(got, expected)
    g = non_saturating_loss(fake)
    torch.testing.assert_close(g, -fake.sigmoid().log().mean())
    torch.testing.assert_close(torch.autograd.grad(g, fake)[0], (fake.sigmoid() - 1).detach() / 9)
    sure = torch.tensor([-1000.0])  # where sigmoid has underflowed, the loss is still finite
    assert float(non_saturating_loss(sure)) == 1000


# -- the loop -----------------------------------------------------------------------------------------------------


def toy_players() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    return nn.Linear(2, 1), nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))


@pytest.mark.parametrize("k", [1, 2])
def test_the_loop_is_algorithm_1(k: int, tmp_path: Path) -> None:
    data = torch.randn(24, 1, generator=torch.Generator().manual_seed(2)) + 3
    noise = torch.randn(100, 8, 2, generator=torch.Generator().manual_seed(3))
    batches = Batches(data, torch.zeros(24), 8, seed=0)
    G, D = toy_players()
    reference_g, reference_d = copy.deepcopy(G), copy.deepcopy(D)
    drawn = iter(noise)

    def d_objective(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return discriminator_loss(D(batch.x), D(G(next(drawn)))), {}

    def g_objective(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return non_saturating_loss(D(G(next(drawn)))), {}

    seen: list[int] = []
    train_gan(
        a_run(tmp_path / "run"),
        generator=G,
        discriminator=D,
        generator_objective=g_objective,
        discriminator_objective=d_objective,
        generator_optimizer=torch.optim.SGD(G.parameters(), 0.3),
        discriminator_optimizer=torch.optim.SGD(D.parameters(), 0.2),
        train=batches,
        steps=5,
        discriminator_steps=k,
        after_step=seen.append,
    )
    assert seen == [1, 2, 3, 4, 5]

    # The box of the paper, in its own words: ascend the sum of logs; then descend -log D(G(z)).
    drawn, order = iter(noise), endless(batches)
    for step in range(1, 6):
        x, z = next(order).x, next(drawn)
        value = (reference_d(x).sigmoid().log() + (1 - reference_d(reference_g(z)).sigmoid()).log()).mean()
        gradients = torch.autograd.grad(value, list(reference_d.parameters()))
        with torch.no_grad():
            for p, gradient in zip(reference_d.parameters(), gradients, strict=True):
                p += 0.2 * gradient
        if step % k == 0:
            value = -reference_d(reference_g(next(drawn))).sigmoid().log().mean()
            gradients = torch.autograd.grad(value, list(reference_g.parameters()))
            with torch.no_grad():
                for p, gradient in zip(reference_g.parameters(), gradients, strict=True):
                    p -= 0.3 * gradient
    for ours, theirs in ((G, reference_g), (D, reference_d)):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_a_game_on_the_line_finds_the_mean_and_the_spread(tmp_path: Path) -> None:
    data = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0)) * 0.5 + 3
    torch.manual_seed(0)
    G = nn.Linear(1, 1)
    D = nn.Sequential(nn.Linear(1, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    late: list[Tensor] = []

    def d_objective(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        fake = G(torch.randn(len(batch.x), 1)).detach()
        return discriminator_loss(D(batch.x), D(fake)), {}

    def g_objective(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return non_saturating_loss(D(G(torch.randn(len(batch.x), 1)))), {}

    def after_step(step: int) -> None:
        if step > 500:  # the players circle around the equilibrium: look at their mean
            late.append(torch.stack([G.bias.detach()[0], G.weight.detach()[0, 0].abs()]))

    train_gan(
        a_run(tmp_path / "run"),
        generator=G,
        discriminator=D,
        generator_objective=g_objective,
        discriminator_objective=d_objective,
        generator_optimizer=torch.optim.Adam(G.parameters(), 5e-3, (0.5, 0.999)),
        discriminator_optimizer=torch.optim.Adam(D.parameters(), 5e-3, (0.5, 0.999)),
        steps=800,
        train=Batches(data, torch.zeros(2000), 128, seed=0),
        after_step=after_step,
    )
    mean, spread = torch.stack(late).mean(0).tolist()
    assert mean == pytest.approx(3, abs=0.15)
    assert spread == pytest.approx(0.5, abs=0.15)


def test_endless_batches_start_at_any_number() -> None:
    loader = Batches(torch.arange(10)[:, None], torch.zeros(10), 4, seed=0, drop_last=True)
    assert len(loader) == 2  # the last two are left out in each epoch
    batches = endless(loader)
    first = [next(batches).x.flatten().tolist() for _ in range(7)]
    assert all(len(x) == 4 for x in first)
    assert len({tuple(x) for x in first}) == 7
    for start in range(7):
        assert next(endless(loader, start)).x.flatten().tolist() == first[start]


def test_the_average_follows() -> None:
    slow, fast = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        fast.weight.fill_(3.0)
        fast.running_mean.fill_(10.0)  # type: ignore[union-attr]
        fast.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    update_average(slow, fast, 0.9, step=1)  # (1 + 1) / (10 + 1) of the old, as long as that is less than 0.9
    assert float(slow.weight.detach()) == pytest.approx(1 * 2 / 11 + 3 * 9 / 11)
    assert float(slow.running_mean) == pytest.approx(10 * 9 / 11)  # type: ignore[arg-type]
    assert int(slow.num_batches_tracked) == 7  # type: ignore[arg-type]
    before = float(slow.weight.detach())
    update_average(slow, fast, 0.9, step=1000)
    assert float(slow.weight.detach()) == pytest.approx(0.9 * before + 0.1 * 3)
