"""Where weights come from: the record of the run that learnt them, where they are taken from a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chainrule.core.discovery import all_recipes
from chainrule.run.folder.record import read_record


def run_of(weights: str | Path) -> Path | None:
    """The run whose folder this is, or whose checkpoint this file is; None where there is no such run."""
    path = Path(weights).resolve()
    place = path.parent.parent if path.parent.name == "stages" else path.parent
    folder = place.parent if place.name == "checkpoint" else path
    return folder if (folder / "run.json").is_file() else None


def record_of(weights: str | Path) -> dict[str, Any] | None:
    """The record of the run that weights are of; None where there is no such run."""
    folder = run_of(weights)
    return None if folder is None else read_record(folder)


def network_of(weights: str | Path) -> str | None:
    """The name of the network that the run learnt; None where there is no such run."""
    record, recipes = record_of(weights), all_recipes()
    if record is None or record["recipe"] not in recipes:
        return None
    return recipes[record["recipe"]].model_for(record["settings"])
