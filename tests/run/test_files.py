"""Files that are the old one or the new one, and checkpoints of which one is always whole."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chainrule.core.errors import ChainruleError, RunFailed, UserError
from chainrule.core.files import atomic
from chainrule.core.files.partials import partial_beside
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


def left_by(process: int, name: str) -> str:
    with partial_beside(Path(name)) as place:
        return place.name.replace(f"-{os.getpid()}-", f"-{process}-")


def test_two_writers_of_one_file_are_not_in_each_others_way(tmp_path: Path) -> None:
    with atomic.new_file(tmp_path / "a") as one, atomic.replaced(tmp_path / "a") as other:
        one.write("first")
        other.write_text("second")
        assert len(names(tmp_path)) == 2
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "first"  # which ends last


def test_what_writers_that_are_no_more_have_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    own, living = left_by(os.getpid(), "a"), left_by(os.getppid(), "a")
    elsewhere = living.replace(living.split(".")[2][:8], "0" * 8)
    old = elsewhere.replace("0" * 8, "1" * 8)
    others = [".b.partial", left_by(gone.pid, "b"), ".a.partials", "a.partial"]
    for name in (own, living, elsewhere, old, left_by(gone.pid, "a"), ".a.partial", *others):
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / old, (0, 0))
    atomic.write_text(tmp_path / "a", "whole")
    assert names(tmp_path) == sorted(
        ["a", living, elsewhere, *others]
    )  # of another machine nobody can be asked at once


def test_a_long_name_has_a_partial_one(tmp_path: Path) -> None:
    name = "名" * 80 + ".csv"
    atomic.write_text(tmp_path / name, "whole")
    with atomic.new_folder(tmp_path / ("f" * 255)) as place:
        (place / "one").touch()
    assert names(tmp_path) == sorted([name, "f" * 255])
    with pytest.raises(UserError, match="too long"):
        atomic.write_text(tmp_path / ("f" * 256), "")


def saved(folder: Path, step: int, value: float) -> None:
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder, step, {"net": {"w": torch.tensor([value])}}, {"step": step})


def loaded(folder: Path) -> tuple[int, float] | None:
    found = checkpoint.load(folder)
    return None if found is None else (found[1]["step"], float(found[0]["net"]["w"]))


def test_the_latest_checkpoint_and_the_one_before_are_kept(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    assert loaded(place) is None
    for step, value in ((3, 0.5), (7, 0.25), (9, 0.125)):
        saved(place, step, value)
        assert loaded(place) == (step, value)
    assert names(place) == ["latest.json", "step-000000007", "step-000000009"]
    checkpoint.drop_earlier(place)
    assert names(place) == ["latest.json", "step-000000009"] and loaded(place) == (9, 0.125)


def test_nothing_else_in_the_folder_is_removed(tmp_path: Path) -> None:
    """By its own names alone, and never through a link."""
    place, outside = tmp_path / "checkpoint", tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("kept")
    saved(place, 3, 0.5)
    others = ["my-step-1", "step-1", "step-old", "step-000000001-mine", ".step-x.partial", "stages", "best-parts-mine"]
    for name in others:
        (place / name).mkdir()
    (place / "step-000000001").symlink_to(outside)
    (place / ".step-000000002.partial").mkdir()
    for step in (4, 5):
        saved(place, step, 0.25)
    expected = ["latest.json", "step-000000004", "step-000000005", *others]
    assert names(place) == sorted(expected) and (outside / "mine").read_text() == "kept"


def test_a_step_may_be_saved_again_and_again(tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    for value in (0.5, 0.25, 0.125, 0.0625):
        saved(place, 3, value)
        assert loaded(place) == (3, value) and len(names(place)) <= 3
    saved(place, 4, 1.0)
    saved(place, 5, 2.0)
    assert loaded(place) == (5, 2.0) and names(place) == ["latest.json", "step-000000004", "step-000000005"]


@pytest.mark.parametrize("again", [False, True], ids=["next step", "same step"])
def test_whichever_write_fails_the_old_checkpoint_stays(
    again: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "checkpoint"
    saved(place, 3, 0.5)
    for after in range(8):  # fsync of weights, of state, of the folder, of the one above, of the pointer, of its folder
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
    assert after >= 4 and loaded(place) == (3 if again else 4, 0.25) and len(names(place)) == 3


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
        lambda place: (place / "latest.json").write_text('{"folder": "step-000000003", "step": 2}'),
        lambda place: (place / "latest.json").write_text('{"folder": "step-0'),
        lambda place: (place / "latest.json").write_text("{}"),
        lambda place: (place / "step-000000003" / "state.safetensors").unlink(),
        lambda place: (place / "step-000000003" / "weights.safetensors").unlink(),
        lambda place: (place / "step-000000003" / "state.safetensors").write_bytes(b"x"),
    ],
    ids=[
        "latest says two things",
        "latest cut short",
        "latest without a folder",
        "no state",
        "no weights",
        "state damaged",
    ],
)
def test_a_damaged_checkpoint_is_told_in_words(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    place = tmp_path / "checkpoint"
    saved(place, 3, 0.5)
    damage(place)
    with pytest.raises(ChainruleError) as caught:
        checkpoint.load(place)
    assert str(place) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["latest.json", "step-000000007/state.safetensors", "step-000000007/weights.safetensors"]
)
@pytest.mark.parametrize("content", [b"", b"{"], ids=["empty", "cut"])
def test_after_a_power_cut_the_one_before_is_taken(
    content: bytes, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pointer that is empty leads to the newest, which is whole; from one that is empty the way leads back."""
    place = tmp_path / "checkpoint"
    saved(place, 3, 0.5)
    saved(place, 7, 0.25)
    (place / name).write_bytes(content)
    found = checkpoint.load_whole(place)
    expected = 7 if name == "latest.json" else 3
    assert (
        found is not None and found[1] == {"step": expected} and f"step-00000000{expected}" in capsys.readouterr().err
    )
    assert loaded(place) == (expected, 0.25 if expected == 7 else 0.5)  # the pointer is mended
    saved(place, 8, 1.0)
    assert loaded(place) == (8, 1.0)
    for file in place.rglob("*.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(ChainruleError, match="step-000000008"):
        checkpoint.load_whole(place)


def test_a_link_in_the_place_of_a_partial_file_is_not_written_through(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("kept")
    for name in (".a.partial", ".f.partial", "log"):
        (tmp_path / name).symlink_to(mine)
    atomic.write_text(tmp_path / "a", "new")
    with atomic.new_file(tmp_path / "a") as handle:
        handle.write("newer")
    with atomic.new_folder(tmp_path / "f") as place:
        (place / "one").write_text("1")
    with pytest.raises(OSError, match="symbolic link"):
        atomic.open_to_append(tmp_path / "log")
    assert mine.read_text() == "kept" and (tmp_path / "a").read_text() == "newer" and not (tmp_path / "a").is_symlink()
    assert names(tmp_path) == ["a", "f", "log", "mine"]
