"""Two processes learn what one learns from the same global batch; forked here, which saves imports of everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chainrule
from chainrule.run.run import Run
from tests.run.together import can_fork, together

pytestmark = [*can_fork, pytest.mark.usefixtures("no_report")]

SETTINGS = {"epochs": 1, "log_every": 1, "batch_size": 99, "threads": 1}  # 99: the two parts of a batch are unequal


def losses(folder: Path) -> list[float]:
    return [
        line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same by a single process."""
    return chainrule.train("lenet5", out=tmp_path_factory.mktemp("processes") / "one", device="cpu", **SETTINGS)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_give_the_curve_of_one(parallel: str, one: Run, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    together(lambda rank: chainrule.train("lenet5", out=folder, device="cpu", parallel=parallel, **SETTINGS), 240)
    record = json.loads((folder / "run.json").read_text("utf-8"))
    assert record["processes"] == 2 and record["common"]["parallel"] == parallel
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert len(losses(folder)) == len(losses(one.folder)) == 14
    assert losses(folder) == pytest.approx(losses(one.folder), rel=1e-5)
    expected = one.result()
    assert expected is not None
    assert result["metrics"]["accuracy"] == pytest.approx(expected["metrics"]["accuracy"], abs=1e-6)
    # Opened by one process, sharded or not.
    assert chainrule.evaluate(folder, device="cpu") == pytest.approx(result["metrics"], rel=1e-5)
    assert chainrule.export(folder, "torch", out=tmp_path / "export")
