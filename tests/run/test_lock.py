"""One writer: a second process is told who writes into a run's folder, and a process that dies leaves nothing locked."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from chainrule.core.errors import UserError
from chainrule.run.folder.folder import claim
from chainrule.run.folder.lock import lock_folder
from chainrule.run.run import Run
from tests.run.toy import PLAIN, learn, new, reopened, rows

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="forks"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def in_a_child(act: Callable[[], object]) -> str:
    """What `act` says in another process: its UserError, or nothing."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            act()
        except UserError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)  # as a kill: nothing is cleaned up
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as said:
        return said.read()


def test_a_second_process_is_told_who_writes(tmp_path: Path) -> None:
    run = new(tmp_path / "run", checkpoint_s=0.0)
    verbs = {
        "resume": lambda: Run.load(tmp_path / "run", "cpu", trains=True, recipe=PLAIN),
        "train": lambda: claim("toy", tmp_path / "run"),
    }
    for verb, act in verbs.items():
        words = in_a_child(act)
        assert "another process writes" in words or (verb == "train" and "already holds something" in words)
    said = in_a_child(verbs["resume"])
    assert f"process {os.getpid()} on {socket.gethostname()}" in said and f"kill {os.getpid()}" in said
    assert in_a_child(lambda: Run.load(tmp_path / "run", "cpu", recipe=PLAIN)) == ""  # to look at it, nothing is locked
    learn(run, *rows(), epochs=1)
    assert not (tmp_path / "run" / ".lock").exists() and in_a_child(verbs["resume"]) == ""


def test_a_process_that_dies_leaves_nothing_locked(tmp_path: Path) -> None:
    learn(new(tmp_path / "run"), *rows(), epochs=1)
    assert in_a_child(lambda: lock_folder(tmp_path / "run")) == ""
    assert (tmp_path / "run" / ".lock").is_file()  # of the dead one
    learn(reopened(tmp_path / "run"), *rows(), epochs=2)


def test_the_same_process_opens_its_run_again_but_does_not_train_it_twice(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    assert lock_folder(tmp_path / "run") is run._files._lock
    with run.active(), pytest.raises(UserError, match="another process writes"):
        reopened(tmp_path / "run")
    reopened(tmp_path / "run")


def test_two_that_start_in_one_empty_folder(tmp_path: Path) -> None:
    """Both have seen it empty; the second finds the lock taken, and once it is free a run in the folder."""
    (claimed, says_claimed), (may_end, says_end) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        lock = claim("toy", tmp_path / "run")[2]
        os.write(says_claimed, b"1")
        os.read(may_end, 1)
        (tmp_path / "run" / "run.json").write_text("{}")
        lock.release()
        os._exit(0)
    os.read(claimed, 1)
    with pytest.raises(UserError, match="another process writes"):
        claim("toy", tmp_path / "run")
    os.write(says_end, b"1")
    os.waitpid(child, 0)
    with pytest.raises(UserError, match="already holds something"):
        claim("toy", tmp_path / "run")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["run.json"]


def test_what_a_killed_start_left_blocks_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".run.json.partial").write_text('{"for')
    (folder / ".lock").write_text("")
    learn(new(folder), *rows(), epochs=1)
    assert json.loads((folder / "run.json").read_text())["recipe"] == "toy"
    assert {file.name for file in folder.iterdir()} == {"run.json", "metrics.jsonl", "checkpoint"}


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno
    import fcntl

    def refuses(handle: int, what: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuses)
    learn(new(tmp_path / "run"), *rows(), epochs=1)
    assert "no locks" in capsys.readouterr().err
