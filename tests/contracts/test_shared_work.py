"""Recipes whose work two processes share: they give what one process gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chainrule
from tests.run.together import can_fork, together

pytestmark = [*can_fork, pytest.mark.usefixtures("no_report")]


def learnt(folder: Path) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metrics of result.json, and the lines of metrics.jsonl without the seconds."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line.pop("seconds", None)
    return json.loads((folder / "result.json").read_text("utf-8"))["metrics"], lines


def by_one_and_by_two(recipe: str, place: Path, **settings: Any) -> tuple[Path, Path]:
    one, two = place / "one", place / "two"
    chainrule.train(recipe, out=one, device="cpu", threads=1, **settings)
    together(lambda rank: chainrule.train(recipe, out=two, device="cpu", threads=1, **settings), 120)
    return one, two


def assert_equal(one: Path, two: Path, rel: float) -> None:
    metrics, lines = learnt(one)
    other_metrics, other_lines = learnt(two)
    assert other_metrics == pytest.approx(metrics, rel=rel, abs=rel)
    assert len(lines) == len(other_lines)
    for line, other in zip(lines, other_lines, strict=True):
        numbers = {name for name, value in line.items() if isinstance(value, (int, float))}
        assert other.keys() == line.keys() and all(other[name] == line[name] for name in line.keys() - numbers)
        expected = pytest.approx({name: line[name] for name in numbers}, rel=rel, abs=rel)
        assert {name: other[name] for name in numbers} == expected


def test_two_players(tmp_path: Path) -> None:
    """Unequal parts of a batch; noise, batch statistics, the average and the samples are those of one process."""
    settings = {"steps": 6, "width": 4, "batch_size": 33, "sample_every": 6, "log_every": 1, "ema": 0.9}
    one, two = by_one_and_by_two("dcgan", tmp_path, discriminator_steps=2, sync_batch_norm=True, **settings)
    assert_equal(one, two, 1e-5)


SHARED: dict[str, tuple[dict[str, Any], float]] = {
    "gaussian-mixture": ({"components": 3, "components_to": 4, "max_iterations": 20, "covariance": "full"}, 1e-9),
    "lda": ({"shrinkage": ("none", "auto")}, 1e-6),
    "char-lstm": (
        {"hidden_size": 8, "num_layers": 1, "dropout": 0.0, "length": 50, "batch_size": 9, "epochs": 1, "data": "TEXT"},
        1e-5,
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_training_and_evaluation(name: str, tmp_path: Path) -> None:
    """Rows, and streams of a text, are shared: sums of EM and of an estimator, gradients, and every evaluation."""
    settings, rel = SHARED[name]
    if settings.get("data") == "TEXT":
        text = tmp_path / "text.txt"
        text.write_text("".join("a rose is a sad is rose "[k * k % 23] for k in range(9000)), "utf-8")
        settings = {**settings, "data": str(text)}
    assert_equal(*by_one_and_by_two(name, tmp_path, **settings), rel)
