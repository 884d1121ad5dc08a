"""Batch sizes: the variance of a batch's gradient against all batches, the curves against a loop by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import chainrule
from chainrule.core.errors import UserError
from chainrule.systems.studies.image_rows import LabelledRows
from chainrule.systems.studies.optimization.batch_size import (
    conclude,
    gradient_variance,
    measure_descent,
    measure_noise,
)

pytestmark = pytest.mark.usefixtures("no_report")


def rows() -> LabelledRows:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    return LabelledRows(x, (x[:, 0] > 0).long() + (x[:, 1] > 0))


def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.mark.parametrize("size", range(1, 7))
def test_the_variance_is_that_of_all_batches(size: int) -> None:
    gradients = np.random.default_rng(0).normal(size=(6, 3))
    batches = [gradients[list(batch)].mean(0) for batch in itertools.combinations(range(6), size)]
    expected = np.mean([((b - gradients.mean(0)) ** 2).sum() for b in batches])
    assert gradient_variance(torch.from_numpy(gradients), size) == pytest.approx(expected, abs=1e-15)


def test_measured_noise_is_the_closed_form_of_gradients_taken_one_by_one() -> None:
    network, data = net(), rows()
    each = []
    for i in range(30):
        network.zero_grad()
        cross_entropy(network(data.x[i : i + 1]), data.y[i : i + 1]).backward()
        each.append(torch.cat([p.grad.flatten() for p in network.parameters()]))  # type: ignore[union-attr]
    for size in (1, 10, 30):
        row = measure_noise(network, data, size)
        assert row["predicted"] == pytest.approx(gradient_variance(torch.stack(each), size), rel=1e-5, abs=1e-12)
        assert row["variance"] == pytest.approx(row["predicted"], rel=0.3, abs=1e-12)


def test_the_curves_are_those_of_a_loop_by_hand() -> None:
    data, network, twin = rows(), net(), net()
    row = measure_descent(network, data, size=30, lr=0.5, epochs=5, goal=0.8)
    losses = []
    for _ in range(6):
        loss = cross_entropy(twin(data.x), data.y)
        losses.append(loss.item())
        for p, g in zip(twin.parameters(), torch.autograd.grad(loss, list(twin.parameters())), strict=True):
            p.data -= 0.5 * g
    assert row["losses"] == pytest.approx(losses) and row["batch_losses"] == pytest.approx(losses[:5])
    assert row["epochs_measured"] == [0, 1, 2, 3, 4, 5]
    reached = next((i for i, value in enumerate(losses) if value <= 0.8), None)
    assert row["updates"] == row["epochs"] == reached
    small = measure_descent(net(), data, size=5, lr=0.5, epochs=2, goal=0.0)
    assert small["updates"] is None and len(small["batch_losses"]) == 12
    assert small["epochs_measured"] == pytest.approx([u / 6 for u in range(0, 13, 2)])
    lost = measure_descent(net(), data, size=5, lr=1e30, epochs=2, goal=0.0)
    assert np.isfinite([*lost["losses"], *lost["batch_losses"]]).all()


def test_the_conclusion_by_hand() -> None:
    def row(batch_size: int, updates: int | None, epochs: float | None) -> dict:
        some = {"what": "same rate", "batch_size": batch_size, "last_loss": 0.25}
        return {**some, "updates": updates, "epochs": epochs}

    noise = [
        {"what": "noise", "batch_size": b, "variance": v, "predicted": p} for b, v, p in ((2, 1.1, 1.0), (0, 0.0, 0.0))
    ]
    found = conclude([*noise, row(2, 10, 1.0), row(2, 20, 2.0), row(0, 8, 8.0), row(0, None, None)])
    assert found == {
        "batch_2_last_loss": 0.25,
        "batch_2_epochs": 1.5,
        "batch_2_updates": 15.0,
        "batch_all_last_loss": 0.25,
        "largest_relative_gap_of_variance": pytest.approx(0.1),
    }


def test_wrong_settings_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to measure"):
        chainrule.train("batch-size", out=tmp_path / "run", device="cpu", sizes=())
    assert not (tmp_path / "run").exists()
    for size in (0, 4):
        with pytest.raises(UserError, match="no batch"):
            gradient_variance(torch.ones(3, 2), size)
