"""A process that dies: torchrun starts all again, and the run continues from its last checkpoint."""

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
from chainrule.core.device import World
from chainrule.core.errors import RunFailed, UserError
from chainrule.run.distributed.restarts import lost_processes_told
from tests.run.together import can_fork, together

pytestmark = pytest.mark.usefixtures("no_report")

SETTINGS = {"epochs": 1, "hidden": (20,), "size": 8, "log_every": 2, "checkpoint_s": 0.0, "threads": 1}


def weights_and_lines(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], dict[str, float]]:
    """The files of weights, which are equal where the weights are, the lines of metrics, and the result's metrics."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line.pop("seconds")
    files = {f.name: f.read_bytes() for f in (folder / "checkpoint").rglob("*.safetensors") if f.stem != "state"}
    return files, lines, json.loads((folder / "result.json").read_text("utf-8"))["metrics"]


class TestOneOfTwoIsKilled:
    pytestmark = can_fork

    def test_the_run_continues_and_comes_out_the_same(self, tmp_path: Path) -> None:
        """By default in the folder that the first attempt claimed, though no word names it; with dropout's draws."""
        words = [f"{n}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for n, v in SETTINGS.items()]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
        command = [*torchrun, "--max-restarts", "1", "-m", "tests.run.restarted", "train", "mlp", *words]
        paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
        done = subprocess.run(
            [*command, "--device", "cpu", "--json"],
            capture_output=True,
            text=True,
            timeout=240,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(done.stdout.splitlines()) == 1  # rank 0 alone answers
        assert json.loads(done.stdout)["run"] == "runs/mlp-1"
        assert "resumes at step 8" in done.stderr and [f.name for f in (tmp_path / "runs").iterdir()] == ["mlp-1"]
        together(lambda rank: chainrule.train("mlp", out=tmp_path / "whole", device="cpu", **SETTINGS), 120)
        found, expected = (weights_and_lines(tmp_path / name) for name in ("runs/mlp-1", "whole"))
        assert found[1:] == expected[1:]
        assert found[0] == expected[0]


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose training ended before its result was written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")
    run = chainrule.train("linear-regression", device="cpu")
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    (run.folder / "run.json").write_text(json.dumps(record | {"status": "running"}), "utf-8")
    return run.folder


def test_only_the_same_command_of_the_same_launch_continues(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert chainrule.train("linear-regression", device="cpu", seed=1).folder.name == "linear-regression-2"
    with pytest.raises(UserError, match="already holds something"):
        chainrule.train("linear-regression", device="cpu", out=begun, tol=0.5)
    assert chainrule.train("linear-regression", device="cpu", out=begun).folder == begun
    assert json.loads((begun / "run.json").read_text("utf-8"))["status"] == "done"
    assert chainrule.train("linear-regression", device="cpu").folder == begun  # which is done: there is nothing to do
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another")
    assert chainrule.train("linear-regression", device="cpu").folder.name == "linear-regression-3"


def test_the_first_start_of_a_launch_continues_nothing(begun: Path) -> None:
    with pytest.raises(UserError, match="already holds something"):
        chainrule.train("linear-regression", device="cpu", out=begun)


def test_a_lost_process_is_told_in_words() -> None:
    words = r"is gone[\s\S]*closed by peer[\s\S]*--max-restarts"
    with pytest.raises(RunFailed, match=words), lost_processes_told(World(0, 2), Path("run")):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:13590")
    with pytest.raises(RuntimeError, match="shapes"), lost_processes_told(World(0, 2), Path("run")):
        raise RuntimeError("shapes cannot be multiplied")
    assert not torch.distributed.is_initialized()
