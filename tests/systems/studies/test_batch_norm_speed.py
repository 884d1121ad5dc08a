"""The study of batch normalisation: equal starts, the fastest rate, what is measured, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import chainrule
from chainrule.core.errors import UserError
from chainrule.systems.studies.optimization import batch_norm_speed

pytestmark = pytest.mark.usefixtures("no_report")


def metrics(recipe: str, folder: Path, **settings: Any) -> dict[str, float]:
    found = chainrule.train(recipe, out=folder / "run", device="cpu", seed=0, **settings).result()
    assert found is not None
    return found["metrics"]


def test_the_normalised_net_starts_from_the_same_weights() -> None:
    torch.manual_seed(0)
    plain = batch_norm_speed.perceptron(4, 3, 2, 2, False)
    torch.manual_seed(0)
    normed = batch_norm_speed.perceptron(4, 3, 2, 2, True)
    assert [type(m).__name__ for m in normed] == ["Linear", "BatchNorm", "Sigmoid"] * 2 + ["Linear"]
    layers = [[m for m in network if isinstance(m, nn.Linear)] for network in (plain, normed)]
    for without, with_norm in zip(*layers, strict=True):
        torch.testing.assert_close(without.weight, with_norm.weight, rtol=0, atol=0)
        bound = math.sqrt(6 / (without.in_features + without.out_features))
        assert without.weight.detach().abs().max() <= bound and not without.bias.detach().any()
    assert [layer.bias is None for layer in layers[1]] == [True, True, False]


def test_the_fastest_is_who_reached_first_else_who_came_nearest() -> None:
    rows = [
        {"reached": False, "steps_taken": 50, "val_accuracy": 0.7, "rate": 1},
        {"reached": False, "steps_taken": 50, "val_accuracy": 0.8, "rate": 2},
    ]
    assert batch_norm_speed.fastest(rows)["rate"] == 2
    rows += [
        {"reached": True, "steps_taken": 50, "val_accuracy": 0.9, "rate": 3},
        {"reached": True, "steps_taken": 30, "val_accuracy": 0.9, "rate": 4},
    ]
    assert batch_norm_speed.fastest(rows)["rate"] == 4


def test_batch_norm_measured(tmp_path: Path) -> None:
    found = metrics(
        "batch-norm-speed", tmp_path, depths=(3,), rates=(0.3, 1.0), hidden=50, accuracy=0.9, steps=600, every=10
    )
    assert found["depth_3_reached_with"] == 1.0 and found["depth_3_steps_with"] < 150
    assert found["depth_3_ratio_of_steps"] > 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"depths": (0,)}, "depths and rates"),
        ({"rates": (-1.0,)}, "depths and rates"),
        ({"batch_size": 1}, "no variance"),
    ],
)
def test_batch_norm_refuses(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        metrics("batch-norm-speed", tmp_path, **settings)


def test_figures_where_nothing_was_reached() -> None:
    """Logarithmic axes without a point that they could show."""
    row = {"depth": 1, "reached": False, "steps_taken": 4, "val_accuracy": 0.0, "at": [2, 4], "accuracies": [0.0, 0.0]}
    rows = [{**row, "rate": rate, "batch_norm": side} for rate in (0.1, 1.0) for side in (False, True)]
    assert all("<svg" in (figure.svg or "") for figure in batch_norm_speed.draw(rows, 0.9))
