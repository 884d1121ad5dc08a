"""A run that continues longer than it was asked to: a new run, in a folder of its own, that names its parent.

It begins with what its parent's last checkpoint holds: weights, optimiser, counters, random numbers, the best so far. Its
rate is that of the new length at this step, as if it had been asked for from the beginning; with a constant rate every
number is that of a run of the whole length.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.core.recipe import Recipe
from chainrule.core.settings import bind
from chainrule.run.checkpoint.folder import latest_step
from chainrule.run.folder.folder import claim
from chainrule.run.folder.record import circumstances, read_record
from chainrule.run.folder.record_form import sealed
from chainrule.run.settings import run_settings

LENGTHS = ("epochs", "steps", "total_steps")  # settings that say how long a run learns
KEPT = ("checkpoint", "figures", "metrics.jsonl")  # of the parent's folder


def parent_of(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json says of the run that another one continues, or whose weights it starts from."""
    return {"folder": str(folder.resolve()), "recipe": record["recipe"], "step": latest_step(folder)}


def longer(folder: Path, recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run with the new length in them, checked.

    Raises:
        UserError: a setting that is not known, or is no length; no more than the run has learnt already; a run that
            cannot be made longer, because it learns in stages, or has not saved a step.
    """
    record = read_record(folder)
    checked = bind(given, recipe.build, run_settings, owner=f"the recipe {recipe.name}")
    settings = record["settings"]
    lengths = [n for n in LENGTHS if n in settings and isinstance(settings[n], int) and not recipe.is_study]
    other = next((name for name in given if name not in lengths), None)
    if other is not None or not given:
        raise UserError(
            f"resume continues {recipe.name} with other settings than how long"
            if other
            else f"resume --out continues {recipe.name} as a new run, which must learn longer",
            where=folder,
            expected=", ".join(f"{name}=, above {settings[name]}" for name in lengths)
            or "nothing: this recipe has no length to change",
            found=f"{other}={given[other]}" if other else None,
            cure=f"a new run that starts from its weights: chainrule train {recipe.name} --weights {folder}",
        )
    for name in given:
        if checked[name] <= settings[name]:
            raise UserError(
                "the run is as long as that already", where=folder, expected=f"{name} above {settings[name]}",
                found=f"{name}={checked[name]}",
            )  # fmt: skip
    if (folder / "checkpoint" / "stages").is_dir() or latest_step(folder) is None:
        raise UserError(
            "this run cannot be made longer",
            where=folder,
            found="it learns in stages" if latest_step(folder) is not None else "it has saved no step",
            cure=f"chainrule train {recipe.name} {' '.join(f'{name}={value}' for name, value in given.items())}",
        )
    return {**settings, **{name: checked[name] for name in given}}


def begin_longer(folder: Path, settings: Mapping[str, Any], out: str | Path | None) -> Path:
    """Makes the folder of the run that continues: what its parent keeps, and a run.json that says what it continues."""
    record = read_record(folder)
    made, _, lock = claim(record["recipe"], _next_to(folder) if out is None else out)
    with atomic.explain_os_errors(made):
        for name in KEPT:
            source = folder / name
            if source.is_dir():
                shutil.copytree(source, made / name)
            elif source.is_file():
                shutil.copyfile(source, made / name)
    parent = {**parent_of(folder, record), "longer": True}
    fresh = {**circumstances(), "settings": dict(settings), "parent": parent, "status": "interrupted", "reason": None}
    fresh["working_folder"] = record.get("working_folder")  # that from which the data are named
    kept = {name: value for name, value in record.items() if name not in ("launch", "planned_steps", "checksums")}
    atomic.write_json(made / "run.json", sealed({**kept, **fresh}))
    lock.release()
    return made


def _next_to(folder: Path) -> Path:
    """RUN-2 beside RUN, or the next number that is free."""
    place, number = folder.resolve(), 2
    while (found := folder.parent / f"{place.name}-{number}").exists():
        number += 1
    return found


def rates_from_start(schedule: LRScheduler, steps: int) -> list[float]:
    """The rates of a fresh schedule after so many steps, which it then has taken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimiser has taken these steps already, elsewhere
        for _ in range(steps):
            schedule.step()
    return [group["lr"] for group in schedule.optimizer.param_groups]
