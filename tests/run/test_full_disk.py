"""A disk that fills up while a run trains: told in words, exit status 1, and the last good checkpoint goes on."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import chainrule
from chainrule.cli import main
from chainrule.core.errors import RunFailed
from tests.run.test_files import refuse

SETTINGS = {"epochs": 2, "log_every": 1, "batch_size": 400, "checkpoint_s": 0, "threads": 1}


def losses(folder: Path) -> list[float]:
    return [
        line["loss"] for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "loss" in line
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    threads = torch.get_num_threads()
    chainrule.train("score-net", out=folder, device="cpu", **SETTINGS)
    torch.set_num_threads(threads)
    return folder


def test_the_run_goes_on_when_there_is_space_again(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        refuse(patch, "fsync", errno.ENOSPC, after=25)
        with pytest.raises(RunFailed) as caught:
            chainrule.train("score-net", out="run", device="cpu", **SETTINGS)
    words = str(caught.value)
    assert "the disk is full: free some space" in words and "chainrule resume run" in words
    assert caught.value.exit_status == 1
    latest = json.loads(Path("run/checkpoint/latest.json").read_text())
    assert 1 <= latest["step"] < 8 and (Path("run/checkpoint") / latest["folder"] / "state.safetensors").is_file()
    chainrule.resume("run")
    assert losses(Path("run")) == losses(whole)
    assert (
        json.loads(Path("run/result.json").read_text())["metrics"]
        == json.loads((whole / "result.json").read_text())["metrics"]
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds 800 kB, where one may be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.SubprocessError):
        mounted = False
    if not mounted:
        pytest.skip("no file system may be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=20)


def test_a_disk_that_is_really_full(
    small_disk: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two checkpoints of 47,034 weights with their moments, 560 kB each, are one too many."""
    monkeypatch.chdir(small_disk)
    words = [f"{key}={value}" for key, value in SETTINGS.items()]
    with pytest.raises(SystemExit) as caught:
        main(["train", "score-net", *words, "--out", "run", "--device", "cpu", "--json"])
    printed = capfd.readouterr()
    assert caught.value.code == 1 and "Traceback" not in printed.err and printed.out == ""
    assert "the disk is full" in printed.err and "chainrule resume run" in printed.err
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True, timeout=20)
    chainrule.resume("run")
    assert losses(Path("run")) == losses(whole)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs limits on the size of files")
def test_files_that_may_not_grow() -> None:
    """The operating system cuts a write short in the middle: a real partial file, without a disk to fill."""
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        "from chainrule.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    words = [f"{key}={value}" for key, value in SETTINGS.items()]
    command = [sys.executable, "-c", script, "train", "score-net", *words, "--out", "run", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and "could not be written" in done.stderr
    assert (
        not list(Path("run").rglob("*.partial")) and json.loads(Path("run/run.json").read_text())["status"] == "failed"
    )
