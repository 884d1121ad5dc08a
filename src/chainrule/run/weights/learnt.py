"""The weights that a run has learnt, from its folder: those that the validation chose, else the latest.

A run that has no stages keeps the chosen ones in checkpoint/best.safetensors. Of a run with stages each stage has a file
of its own, checkpoint/stages/NAME.safetensors, with all that it kept, and NAME-best.safetensors where it chose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError
from chainrule.run.checkpoint import folder as checkpoint
from chainrule.run.checkpoint.checksum import checksum_of
from chainrule.run.checkpoint.tree import load_tree, read_safetensors


def best_name(stage: str) -> str:
    """The file of the chosen weights, below the run's folder; of a run without stages where `stage` is empty.

    >>> best_name(""), best_name("pretrain")
    ('checkpoint/best.safetensors', 'checkpoint/stages/pretrain-best.safetensors')
    """
    return f"checkpoint/stages/{stage}-best.safetensors" if stage else "checkpoint/best.safetensors"


def last_name(stage: str) -> str:
    """The file of the state in which a stage ended."""
    return f"checkpoint/stages/{stage}.safetensors"


def learnt(folder: Path, names: Collection[str] | None = None) -> dict[str, Any]:
    """The states of the modules `names`, by name; of all that are saved where none are named.

    Of a run with stages each is that of the last stage which kept the module: its best where it chose, else its last.

    Raises:
        UserError: there is no checkpoint yet, or no stage so far kept one of the modules; a file is missing or damaged.
    """
    best = folder / best_name("")
    if best.is_file():
        return _modules_in(load_tree(best), best)
    loaded = checkpoint.load_to_answer(folder / "checkpoint")
    if loaded is None:
        raise UserError("this run has no checkpoint yet", where=folder, cure=f"chainrule resume {folder}")
    weights, state = loaded
    expect_best(folder, "", state)
    if "stages" not in state:
        return weights
    found: dict[str, Any] = {}
    for stage, entry in reversed(state["stages"].items()):
        if names is None or any(name not in found for name in names):
            found = of_stage(folder, stage, entry, weights) | found
    missing = [name for name in names or () if name not in found]
    if missing:
        raise UserError(
            f"no stage of this run has learnt {missing[0]} yet", where=folder, cure=f"chainrule resume {folder}"
        )
    return found


def expect_best(folder: Path, stage: str, entry: Mapping[str, Any]) -> None:
    """UserError where the validation chose weights in a stage, of state `entry`, and their file is missing or damaged."""
    best = folder / best_name(stage)
    if entry.get("best") and not best.is_file():
        raise UserError(
            "the weights that the validation chose are missing",
            where=best,
            expected=", ".join(f"{name} {value}" for name, value in entry["best"].items()),
            cure="put the file back; without it the run cannot answer as it did, nor resume",
        )
    if entry.get("best"):
        read_safetensors(best)


def fingerprint(folder: Path) -> str:
    """One checksum of all that the run in `folder` answers with; it changes when any weight does.

    Raises:
        UserError: a file is damaged.
    """
    files = [folder / best_name("")]
    if not files[0].is_file():
        files = sorted((folder / "checkpoint").rglob("*.safetensors"))
    return hashlib.sha256(" ".join(map(checksum_of, files)).encode()).hexdigest()


def _modules_in(tree: Any, file: Path) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise UserError("this file holds no weights of a run", where=file, expected="networks by name")
    return tree


def of_stage(folder: Path, stage: str, entry: dict[str, Any], weights: dict[str, Any]) -> dict[str, Any]:
    """What a stage has learnt, by name; `entry` is its state, and `weights` its last ones where it has not ended."""
    last = load_tree(folder / last_name(stage)) if entry["finished"] else weights
    return {**last, **load_tree(folder / best_name(stage))} if entry["best"] else last
