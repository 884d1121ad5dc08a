"""`chainrule show losses`: the losses of two classes over the margin, against their equations."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from chainrule.reporting.loss_tables import AT, MARGIN_LOSSES, loss_rows, write_losses
from tests.showing import show

BY_HAND = {
    "0-1": lambda m: float(m <= 0),
    "perceptron": lambda m: max(0.0, -m),
    "hinge": lambda m: max(0.0, 1 - m),
    "squared hinge": lambda m: max(0.0, 1 - m) ** 2,
    "logistic": lambda m: math.log1p(math.exp(-m)),
    "squared": lambda m: (1 - m) ** 2,
    "exponential": lambda m: math.exp(-m),
}
SLOPES = {"0-1": "a step", "perceptron": "-1", "hinge": "-1", "logistic": "-0.5", "exponential": "-1"}


def test_the_losses_are_their_equations() -> None:
    assert [loss.name for loss in MARGIN_LOSSES] == list(BY_HAND)
    for loss in MARGIN_LOSSES:
        margins = torch.linspace(-4, 4, 33, dtype=torch.float64)
        expected = [BY_HAND[loss.name](m) for m in margins.tolist()]
        assert loss.of_scores(margins).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12), loss.name


def test_the_table_and_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row[0]: row for row in loss_rows()[1:]}
    assert {name: rows[name][2 + len(AT)] for name in SLOPES} == SLOPES
    assert rows["squared"][2 + len(AT)] == rows["squared hinge"][2 + len(AT)] == "-2"
    status, out, _ = show(capsys, "losses")
    assert status == 0 and all(name in out for name in BY_HAND) and "m = y s is the margin" in out
    page = write_losses(tmp_path / "losses.html").read_text("utf-8")
    assert all(f">{name}<" in page for name in BY_HAND) and "<table>" in page
