"""Files that are the old one or the new one, and checkpoints of which one is always whole."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chainrule.core import atomic
from chainrule.core.errors import ChainruleError, RunFailed
from chainrule.run.checkpoint import folder as checkpoint


def refuse(monkeypatch: pytest.MonkeyPatch, function: str, code: int, after: int = 0) -> None:
    """From the call number `after` on, counted from 0, `os.<function>` fails as the operating system would."""
    true, calls = getattr(os, function), [0]

    def fails(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(code, os.strerror(code))
        return true(*args, **kwargs)

    monkeypatch.setattr(os, function, fails)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota is used up"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may not be written to"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_a_failure_leaves_the_old_file(code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    atomic.write_json(file, {"old": "文"})
    refuse(monkeypatch, "fsync", code)
    with pytest.raises(RunFailed, match=words) as caught:
        atomic.write_json(file, {"new": 1})
    assert str(file) in str(caught.value) and caught.value.exit_status == 1
    assert json.loads(file.read_text("utf-8")) == {"old": "文"} and names(tmp_path) == ["a.json"]


def test_a_failure_of_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    atomic.write_bytes(file, b"old")

    def full(self: Path, other: Path) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunFailed):
        atomic.write_bytes(file, b"new")
    assert file.read_bytes() == b"old" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("breaks", ["inside", "at the sync"])
def test_a_new_folder_is_whole_or_not_there(breaks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic.new_folder(tmp_path / "f") as place:
        (place / "one").write_text("old")
        assert not (tmp_path / "f").exists()
    assert (tmp_path / "f" / "one").read_text() == "old"
    if breaks == "at the sync":
        refuse(monkeypatch, "fsync", errno.ENOSPC)
    with pytest.raises(RunFailed, match="disk is full"), atomic.new_folder(tmp_path / "f") as place:
        (place / "one").write_text("new")
        if breaks == "inside":
            raise OSError(errno.ENOSPC, "no space")
    assert names(tmp_path) == ["f"] and (tmp_path / "f" / "one").read_text() == "old"


def test_what_a_kill_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".f.partial").mkdir()
    (tmp_path / ".f.partial" / "rest").write_text("of a write that was killed")
    (tmp_path / ".a.partial").write_text("half")
    atomic.write_text(tmp_path / "a", "whole")
    with atomic.new_folder(tmp_path / "f") as place:
        (place / "one").write_text("1")
    assert names(tmp_path) == ["a", "f"] and names(tmp_path / "f") == ["one"]


def saved(folder: Path, step: int, value: float) -> None:
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder, step, {"net": {"w": torch.tensor([value])}}, {"step": step})


def loaded(folder: Path) -> tuple[int, float] | None:
    found = checkpoint.load(folder)
    return None if found is None else (found[1]["step"], float(found[0]["net"]["w"]))


def test_the_latest_checkpoint_is_kept_and_no_other(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    assert loaded(place) is None
    saved(place, 3, 0.5)
    assert loaded(place) == (3, 0.5)
    saved(place, 7, 0.25)
    assert loaded(place) == (7, 0.25)
    assert names(place) == ["latest.json", "step-000000007"]


def test_a_step_may_be_saved_again_and_again(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    for value in (0.5, 0.25, 0.125, 0.0625):
        saved(place, 3, value)
        assert loaded(place) == (3, value) and len(names(place)) == 2
    saved(place, 4, 1.0)
    assert loaded(place) == (4, 1.0) and names(place) == ["latest.json", "step-000000004"]


@pytest.mark.parametrize("again", [False, True], ids=["next step", "same step"])
def test_whichever_write_fails_the_old_checkpoint_stays(
    again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "checkpoint"
    saved(place, 3, 0.5)
    for after in range(8):  # fsync of weights, of state, of the folder, of the pointer, of its folder
        with monkeypatch.context() as patch:
            refuse(patch, "fsync", errno.ENOSPC, after)
            try:
                saved(place, 3 if again else 4, 0.25)
            except RunFailed:
                found = loaded(place)
                assert found == (3, 0.5) or found == (3 if again else 4, 0.25)
                assert not [name for name in names(place) if "partial" in name]
                continue
        break
    else:
        pytest.fail("it never succeeded")
    assert after >= 4 and loaded(place) == (3 if again else 4, 0.25) and len(names(place)) == 2


@pytest.mark.parametrize("step", [3, 4], ids=["same step", "next step"])
def test_the_old_checkpoint_is_there_until_the_new_one_is(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill just before the new folder gets its name: nothing old may have gone by then."""
    place = tmp_path / "checkpoint"
    saved(place, 3, 0.5)

    def killed(self: Path, other: Path) -> None:
        assert loaded(place) == (3, 0.5), "the old checkpoint went before the new one was there"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        saved(place, step, 0.25)
    assert loaded(place) == (3, 0.5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "latest.json").write_text('{"folder": "step-0'),
        lambda place: (place / "latest.json").write_text("{}"),
        lambda place: (place / "step-000000003" / "state.safetensors").unlink(),
        lambda place: (place / "step-000000003" / "weights.safetensors").unlink(),
        lambda place: (place / "step-000000003" / "state.safetensors").write_bytes(b"x"),
    ],
    ids=["latest cut short", "latest without a folder", "no state", "no weights", "state damaged"],
)
def test_a_damaged_checkpoint_is_told_in_words(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    saved(place, 3, 0.5)
    damage(place)
    with pytest.raises(ChainruleError) as caught:
        checkpoint.load(place)
    assert str(place) in str(caught.value)
