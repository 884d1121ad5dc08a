"""Two processes under torchrun learn what one learns from the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule
from chainrule.run.run import Run

SETTINGS = {"epochs": 2, "log_every": 1, "batch_size": 99, "threads": 1}  # 99: the two parts of a batch are unequal


def losses(folder: Path) -> list[float]:
    return [
        line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line
    ]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same by a single process."""
    return chainrule.train("lenet5", out=tmp_path_factory.mktemp("processes") / "one", device="cpu", **SETTINGS)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.skipif(os.name != "posix", reason="torchrun with gloo")
def test_two_processes_give_the_curve_of_one(parallel: str, one: Run, tmp_path: Path) -> None:
    words = [f"{name}={value}" for name, value in SETTINGS.items()]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        "-m",
        "chainrule",
        "train",
        "lenet5",
        *words,
        f"parallel={parallel}",
        "--device",
        "cpu",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 1  # rank 0 alone answers
    result = json.loads(done.stdout)
    two = losses(tmp_path / result["run"])
    assert len(two) == len(losses(one.folder)) == 28
    assert two == pytest.approx(losses(one.folder), rel=1e-5)
    assert result["metrics"]["accuracy"] == pytest.approx(one.result()["metrics"]["accuracy"], abs=1e-6)
