"""Where weights come from: the record of the run that learnt them, where they are taken from a run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.core.discovery import all_recipes
from chainrule.run.folder import read_record

if TYPE_CHECKING:
    from chainrule.run.run import Run

Pixels = tuple[Sequence[float], Sequence[float]]


def record_of(weights: str | Path) -> dict[str, Any] | None:
    """The record of the run whose folder this is, or whose checkpoint this file is; None where there is no such run."""
    path = Path(weights).resolve()
    folder = path.parent.parent if path.parent.name == "checkpoint" else path
    return read_record(folder) if (folder / "run.json").is_file() else None


def network_of(weights: str | Path) -> str | None:
    """The name of the network that the run learnt; None where there is no such run."""
    record, recipes = record_of(weights), all_recipes()
    if record is None:
        return None
    network: str | None = record["settings"].get("network")
    return network or (recipes[record["recipe"]].model if record["recipe"] in recipes else None)


def input_normalization(run: Run, data: Pixels, published: Pixels | None = None) -> tuple[list[float], list[float]]:
    """Mean and deviation a channel that a run brings pixels to its network by: those that its weights were learnt with.

    They are the published ones, or those of the run whose weights it starts from, or else those of its data. The record
    keeps them, so that the run answers when that other is gone; a run of a record without them has learnt on its data's.

    Args:
        run: the run.
        data: mean and deviation of its training images, or of photographs.
        published: those that belong to published weights, where it starts from such.
    """
    if "pixels" not in run.record:
        before = (record_of(run.record["weights"]) or {}) if run.record["weights"] and run.fresh else {}
        spec = before.get("data", {}).get("spec") or {}
        learnt = published or before.get("pixels") or (spec.get("mean", []), spec.get("std", []))
        fits = len(learnt[0]) == len(data[0])
        run.record["pixels"] = [list(part) for part in (learnt if fits else data)]
    mean, std = run.record["pixels"]
    return mean, std
