"""Two processes under torchrun learn what one learns from the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import chainrule
from chainrule.run.run import Run
from tests.run.together import together

pytestmark = pytest.mark.skipif(os.name != "posix", reason="torchrun with gloo, and forks")

SETTINGS = {"epochs": 2, "log_every": 1, "batch_size": 99, "threads": 1}  # 99: the two parts of a batch are unequal


def losses(folder: Path) -> list[float]:
    return [
        line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same by a single process."""
    return chainrule.train("lenet5", out=tmp_path_factory.mktemp("processes") / "one", device="cpu", **SETTINGS)


def assert_the_same(two: dict[str, Any], folder: Path, one: Run) -> None:
    assert len(losses(folder)) == len(losses(one.folder)) == 28
    assert losses(folder) == pytest.approx(losses(one.folder), rel=1e-5)
    assert two["metrics"]["accuracy"] == pytest.approx(one.result()["metrics"]["accuracy"], abs=1e-6)  # type: ignore[index]


def test_two_processes_of_torchrun_give_the_curve_of_one(one: Run, tmp_path: Path) -> None:
    words = [f"{name}={value}" for name, value in SETTINGS.items()]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [*torchrun, "-m", "chainrule", "train", "lenet5", *words, "--device", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 1  # rank 0 alone answers
    result = json.loads(done.stdout)
    assert_the_same(result, tmp_path / result["run"], one)


@pytest.mark.skipif(torch.cuda.is_available(), reason="forks, as autograd's threads for a GPU cannot")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_that_shard_give_the_curve_of_one(one: Run, tmp_path: Path) -> None:
    """Forked here, which saves two imports of everything."""
    folder = tmp_path / "two"
    together(
        lambda rank: chainrule.train("lenet5", out=folder, device="cpu", parallel="fsdp", **SETTINGS) and None, 240
    )
    record = json.loads((folder / "run.json").read_text("utf-8"))
    assert record["processes"] == 2 and record["common"]["parallel"] == "fsdp"
    assert_the_same(json.loads((folder / "result.json").read_text("utf-8")), folder, one)
