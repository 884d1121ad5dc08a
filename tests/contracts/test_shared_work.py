"""Recipes whose work two processes share: they give what one process gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import chainrule
from tests.run.together import can_fork, together

pytestmark = can_fork


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
        assert other == pytest.approx(line, rel=rel, abs=rel)


def test_two_players(tmp_path: Path) -> None:
    """Unequal parts of a batch; noise, batch statistics, the average and the samples are those of one process."""
    settings = {"steps": 8, "width": 4, "batch_size": 33, "sample_every": 4, "log_every": 1, "ema": 0.9}
    one, two = by_one_and_by_two("dcgan", tmp_path, discriminator_steps=2, sync_batch_norm=True, **settings)
    assert_equal(one, two, 1e-5)
