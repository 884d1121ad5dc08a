"""Checkpoints: a new folder each, then a pointer that moves in one step. The one before is kept until the next is due.

A kill at any instant leaves `latest.json` pointing at a complete checkpoint, or no checkpoint at all. Where a power cut or
a bad disk has spoiled the latest all the same, a run resumes from the one before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import ChainruleError, UserError
from chainrule.core.files import atomic
from chainrule.core.files.partials import is_partial_of
from chainrule.core.files.standard_streams import say
from chainrule.run.checkpoint.sharded import save_shared_tree
from chainrule.run.checkpoint.tree import load_tree, read_safetensors, save_tree
from chainrule.run.folder.command import command_of
from chainrule.run.folder.record import read_record

_NAME = re.compile(r"step-(\d{9,})(-again)?")
_LEFT = re.compile(r"\.(step-\d{9,}(?:-again)?)(?:\..+)?\.partial")  # by a kill

Trees = tuple[dict[str, Any], dict[str, Any]]


def save(folder: Path, step: int, weights: dict[str, Any], state: dict[str, Any], world: World = ONE_PROCESS) -> None:
    """Writes the checkpoint of `step` below `folder` and makes it the latest.

    Where weights are sharded all processes of `world` call it, and each writes its part.
    """
    if not world.is_main_process:
        _write(Path(world.broadcast("")), weights, state, world)
        return
    drop_earlier(folder)
    name = f"step-{step:09d}"
    if (folder / name).exists():
        name += "-again"  # a second checkpoint of one step: at a signal, or at the end of an epoch
    with atomic.new_folder(folder / name) as partial:
        _write(Path(world.broadcast(str(partial))), weights, state, world)
    _point_at(folder, name)


def _write(partial: Path, weights: dict[str, Any], state: dict[str, Any], world: World) -> None:
    for name, tree in (("weights", weights), ("state", state)):
        path = partial / f"{name}.safetensors"
        if world.size == 1:
            save_tree(tree, path)
        else:
            save_shared_tree(tree, path, world, f"{name}-parts")


def _point_at(folder: Path, name: str) -> None:
    match = _NAME.fullmatch(name)
    assert match is not None
    atomic.write_json(folder / "latest.json", {"folder": name, "step": int(match[1])})


def drop_earlier(folder: Path) -> None:
    """Removes all checkpoints but the latest, by the names that they have here: what else lies there stays."""
    try:
        latest = _latest(folder)
    except UserError:
        return
    for other in folder.iterdir() if folder.is_dir() else ():
        if _is_left(other.name) or (_NAME.fullmatch(other.name) and latest is not None and other != latest):
            atomic.remove(other)


def _is_left(name: str) -> bool:
    match = _LEFT.fullmatch(name)
    return match is not None and is_partial_of(match[1], name)


def load(folder: Path) -> Trees | None:
    """Weights and state of the latest checkpoint below `folder`, or None where there is none yet."""
    latest = _latest(folder)
    return None if latest is None else _read(latest)


def load_to_answer(folder: Path) -> Trees | None:
    """What a run answers with: the latest checkpoint; the only one, where no pointer says which one that is.

    Raises:
        UserError: it is damaged; what can be done is told.
    """
    there = _newest_first(folder)
    try:
        latest = _latest(folder)
    except UserError:
        if len(there) != 1:
            raise
        latest = None
    place = latest if latest is not None else there[0] if len(there) == 1 else None
    if place is None:
        return None
    try:
        return _read(place)
    except UserError as error:
        raise _damaged(folder, {place: error}) from None


def load_whole(folder: Path, world: World = ONE_PROCESS) -> Trees | None:
    """What a run resumes from: the latest checkpoint, or where that is damaged the one before, which is said.

    Raises:
        UserError: there are checkpoints, and all of them are damaged; what can be done is told.
    """
    first: UserError | None = None
    found_damaged: dict[Path, UserError] = {}
    try:
        latest = _latest(folder)
    except UserError as error:
        latest, first = None, error
    others = [other for other in _newest_first(folder) if other != latest]
    for place in [*([latest] if latest is not None else []), *others]:
        try:
            found = _read(place)
        except UserError as error:
            first, found_damaged[place] = first or error, error
            continue
        if place != latest:
            _take_instead(folder, place, first, world)
        return found
    if found_damaged:
        raise _damaged(folder, found_damaged)
    if first is not None:
        raise first
    return None


def _damaged(folder: Path, errors: Mapping[Path, UserError]) -> UserError:
    """The error for checkpoints of which none can be read: what else is there, and what can be done."""
    run, best = folder.parent, folder / "best.safetensors"
    others = [place for place in _newest_first(folder) if place not in errors and _is_whole(place)]
    if others:
        cures = [f"chainrule resume {run}, which takes {others[0].name}"]
    else:
        cures = ["a copy of it from a backup", *_ways_on(run)]
    if best.is_file() and _is_whole(best):
        cures.append(
            f"the weights in {best.name} are whole: predict and evaluate answer with them, --weights {run} too"
        )
    return UserError(
        "the checkpoint is damaged" if others else "no checkpoint is whole",
        where=folder,
        expected="a checkpoint that can be read",
        found="; ".join(f"{place.name}: {_in_a_line(error)}" for place, error in errors.items()),
        cure="\n            ".join(cures),
    )


def _in_a_line(error: UserError) -> str:
    """What is wrong, and in which file."""
    what, *others = str(error).splitlines()
    where = next((line.rpartition("/")[2] for line in others if line.startswith("  where:")), "")
    return f"{what} ({where})" if where else what


def _ways_on(run: Path) -> list[str]:
    """How the run is begun again, where run.json says what was asked."""
    try:
        return [f"begin again: {command_of(read_record(run))}"]
    except ChainruleError:
        return []


def _is_whole(place: Path) -> bool:
    try:
        _read(place) if place.is_dir() else read_safetensors(place)
    except UserError:
        return False
    return True


def _take_instead(folder: Path, place: Path, error: UserError | None, world: World) -> None:
    """Makes an earlier checkpoint the latest, and says why."""
    if world.is_main_process:
        why = str(error) if error else "no pointer says which one is the latest"
        say(f"the latest checkpoint is not taken: {why}\nresuming from {place}, which is whole")
        _point_at(folder, place.name)
    world.barrier()


def _read(place: Path) -> Trees:
    for part in ("weights", "state"):
        if not (place / f"{part}.safetensors").is_file():
            raise UserError("the checkpoint is incomplete", where=place, expected=f"{part}.safetensors in it")
    weights, state = load_tree(place / "weights.safetensors"), load_tree(place / "state.safetensors")
    for part, tree in (("weights", weights), ("state", state)):
        if not isinstance(tree, dict):
            raise UserError("the checkpoint is damaged", where=place, expected=f"parts by name in {part}.safetensors")
    return weights, state


def _newest_first(folder: Path) -> list[Path]:
    places = [each for each in (folder.iterdir() if folder.is_dir() else ()) if _NAME.fullmatch(each.name)]
    return sorted((each for each in places if each.is_dir() and not each.is_symlink()), key=_age, reverse=True)


def _age(place: Path) -> tuple[int, float]:
    match = _NAME.fullmatch(place.name)
    assert match is not None
    return int(match[1]), place.stat().st_mtime


def latest_step(run: Path) -> int | None:
    """The step of the latest checkpoint of the run in a folder; None where there is none that can be read."""
    pointer = run / "checkpoint" / "latest.json"
    if not pointer.is_file():  # a pipe would be waited for
        return None
    try:
        return int(json.loads(pointer.read_text("utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _latest(folder: Path) -> Path | None:
    """The folder that `latest.json` names; None where there is no such file."""
    pointer = folder / "latest.json"
    if not pointer.is_file():
        return None
    try:
        content = json.loads(pointer.read_text("utf-8"))
        match = _NAME.fullmatch(content["folder"])
        if match is None or int(match[1]) != content.get("step", int(match[1])):
            raise ValueError(content)
        return folder / match[0]
    except (ValueError, KeyError, TypeError, AttributeError):
        found = [each.name for each in _newest_first(folder)]
        raise UserError(
            "the pointer to the latest checkpoint is damaged",
            where=pointer,
            expected='{"folder": "step-N", "step": N}',
            found=", ".join(found) or "no checkpoint beside it",
            cure=f"chainrule resume {folder.parent}",
        ) from None


TOPICS = (Topic("Checkpoints and exact resume", code=("save",)),)
