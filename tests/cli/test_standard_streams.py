"""stdout and stderr closed, full, read by nobody; no home; no working folder; names that are no UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.cli import main
from chainrule.data.catalog.places import cache_folder, find

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def exit_status(*words: str) -> int:
    try:
        main(words)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_training_continues_where_nothing_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as out, Path("/dev/full").open("w") as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        status = exit_status("train", "mlp-table", "--data", "iris", "epochs=1", "--out", str(tmp_path / "r"))
        assert status == 1  # the results were not written
    assert json.loads((tmp_path / "r" / "result.json").read_text())["metrics"]


def test_messages_lost_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as err:
        monkeypatch.setattr(sys, "stderr", err)
        assert exit_status("train", "nothing-of-the-sort") == 2
        assert exit_status("data", "list") == 0


def test_a_pipe_that_nobody_reads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert exit_status("list") == 141
    assert capsys.readouterr().err == ""


def test_closed_streams_leave_their_numbers_to_no_file() -> None:
    line = f"{sys.executable} -m chainrule list >&- 2>&- <&-"
    assert subprocess.run(["sh", "-c", line], timeout=60).returncode == 0


def test_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "CHAINRULE_DATA", "CHAINRULE_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def unknown_user() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown_user)
    assert find("mnist") is None
    assert exit_status("data", "get", "mnist") in (1, 2) and "CHAINRULE_CACHE" in capsys.readouterr().err
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_a_working_folder_that_is_gone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert exit_status("list") == 2 and "working folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "said"), [("a\udcff", "no UTF-8"), ("a" * 5000, "too long"), ("/proc/1/nothing", "cannot be made")]
)
def test_paths_that_cannot_be(out: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status("train", "mlp-table", "--data", "iris", "epochs=1", "--out", out) in (1, 2)
    assert said in capsys.readouterr().err
