"""A process that dies: torchrun starts all again, and the run continues from its last checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import chainrule
from chainrule.core.device import World
from chainrule.core.errors import RunFailed, UserError
from chainrule.run.distributed.restarts import lost_processes_told
from tests.run import restarted
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


def torchrun(words: list[str], folder: Path) -> tuple[int, str, str]:
    """The command `torchrun`, which imports everything five times over: (exit status, stdout, stderr)."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--max-restarts"]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run(
        [*command, "1", "-m", "tests.run.restarted", *words],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
    )
    return done.returncode, done.stdout, done.stderr


def agent(words: list[str], folder: Path) -> tuple[int, str, str]:
    """What the command starts, torch's elastic agent with its settings, forked here; and it forks the processes."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    def launch() -> None:
        for number, name in ((1, "out.txt"), (2, "err.txt")):
            with (folder.parent / f"{folder.name}-{name}").open("wb") as file:
                os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.chdir(folder)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=2,
            run_id="one",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=1,
            start_method="fork",
        )
        elastic_launch(config, restarted.main)(words)

    process = multiprocessing.get_context("fork").Process(target=launch)
    process.start()
    process.join(240)
    out, err = ((folder.parent / f"{folder.name}-{name}.txt").read_text("utf-8") for name in ("out", "err"))
    return process.exitcode or 0, out, err


class TestOneOfTwoIsKilled:
    pytestmark = can_fork

    @pytest.mark.parametrize("started_by", [agent, pytest.param(torchrun, marks=pytest.mark.slow)])
    def test_the_run_continues_and_comes_out_the_same(self, started_by: Callable[..., Any], tmp_path: Path) -> None:
        """By default in the folder that the first attempt claimed, though no word names it; with dropout's draws."""
        words = [f"{n}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for n, v in SETTINGS.items()]
        status, out, err = started_by(["train", "mlp", *words, "--device", "cpu", "--json"], tmp_path)
        assert status == 0, err[-3000:]
        assert len(out.splitlines()) == 1  # rank 0 alone answers
        assert json.loads(out)["run"] == "runs/mlp-1"
        assert "resumes at step 8" in err and [f.name for f in (tmp_path / "runs").iterdir()] == ["mlp-1"]
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
