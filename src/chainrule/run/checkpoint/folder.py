"""Checkpoints: a new folder each, then a pointer that moves in one step, then the old folder goes.

A kill at any instant leaves `latest.json` pointing at a complete checkpoint, or no checkpoint at all.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from chainrule.core import atomic
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError
from chainrule.run.checkpoint.sharded import save_shared_tree
from chainrule.run.checkpoint.tree import load_tree, save_tree


def save(folder: Path, step: int, weights: dict[str, Any], state: dict[str, Any], world: World = ONE_PROCESS) -> None:
    """Writes the checkpoint of `step` below `folder` and makes it the latest.

    Where weights are sharded all processes of `world` call it, and each writes its part.
    """
    if not world.is_main_process:
        _write(Path(world.broadcast("")), weights, state, world)
        return
    name = f"step-{step:09d}"
    old = _latest(folder)
    if old is not None and old.name == name:
        name += "-again"  # a second checkpoint of one step: at a signal, or at the end of an epoch
    with atomic.new_folder(folder / name) as partial:
        _write(Path(world.broadcast(str(partial))), weights, state, world)
    atomic.write_json(folder / "latest.json", {"folder": name, "step": step})
    for other in folder.iterdir():
        if other.is_dir() and "step-" in other.name and other.name != name:  # stages/ stays
            shutil.rmtree(other, ignore_errors=True)


def _write(partial: Path, weights: dict[str, Any], state: dict[str, Any], world: World) -> None:
    for name, tree in (("weights", weights), ("state", state)):
        path = partial / f"{name}.safetensors"
        if world.size == 1:
            save_tree(tree, path)
        else:
            save_shared_tree(tree, path, world, f"{name}-parts")


def load(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Weights and state of the latest checkpoint below `folder`, or None where there is none yet."""
    latest = _latest(folder)
    if latest is None:
        return None
    for part in ("weights", "state"):
        if not (latest / f"{part}.safetensors").is_file():
            raise UserError("the checkpoint is incomplete", where=latest, expected=f"{part}.safetensors in it")
    return load_tree(latest / "weights.safetensors"), load_tree(latest / "state.safetensors")


def latest_step(run: Path) -> int | None:
    """The step of the latest checkpoint of the run in a folder; None where there is none that can be read."""
    try:
        return int(json.loads((run / "checkpoint" / "latest.json").read_text("utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _latest(folder: Path) -> Path | None:
    pointer = folder / "latest.json"
    if not pointer.is_file():
        return None
    try:
        return folder / json.loads(pointer.read_text("utf-8"))["folder"]
    except (ValueError, KeyError, TypeError):
        found = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
        raise UserError(
            "the pointer to the latest checkpoint is damaged",
            where=pointer,
            expected='{"folder": "step-N", ...}',
            found=", ".join(found) or "no checkpoint beside it",
            cure="write the name of the newest one into it",
        ) from None


TOPICS = (Topic("Checkpoints and exact resume", code=("save",)),)
