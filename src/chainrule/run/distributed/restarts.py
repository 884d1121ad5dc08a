"""Processes that torchrun has started again, because one of them died: they take up the run that they had begun.

`torchrun --max-restarts` gives all of them the same command once more. So they find the folder of their own earlier
attempt, by what was asked and by torchrun's name of this launch, and the run continues from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainrule.core.device import World, choose_device, join_world
from chainrule.core.errors import RunFailed, UserError
from chainrule.run.folder.record import launch, read_record

ASKED = ("recipe", "settings", "common", "seed", "weights")


def earlier_attempt(asked: dict[str, Any], out: str | Path | None, device: str) -> Path | None:
    """The folder of the run that these processes began before they were started again, the same for all of them.

    Args:
        asked: what `new_record` says of this command.
        out: the folder that it names; without one, those that the recipe's runs are given.
        device: of this process, which joins the others to agree.

    Returns:
        None where torchrun started this process for the first time, or there is no such folder.
    """
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT")
    if restarts is None:
        return None
    world = join_world(choose_device(device))
    if not any(int(count) for count in world.gather(restarts)):  # of several machines, one may count it alone
        return None
    return world.broadcast(_find(asked, out) if world.is_main_process else None)


def _find(asked: dict[str, Any], out: str | Path | None) -> Path | None:
    asked = json.loads(json.dumps(asked))  # as run.json has it
    folders = [Path(out)] if out is not None else sorted(Path("runs").glob(f"{asked['recipe']}-*"))
    for folder in folders:
        try:
            record = read_record(folder)
        except UserError:
            continue
        known = (launch(),) if out is None else (launch(), None)  # None: the first start was not torchrun's
        alike = all(record[name] == asked[name] for name in ASKED if name != "settings")
        alike &= all(value in (record["settings"].get(name), "auto") for name, value in asked["settings"].items())
        data = all(record["data"].get(name) == value for name, value in asked["data"].items())
        if alike and data and record.get("launch") in known:
            return folder
    return None


@contextlib.contextmanager
def lost_processes_told(world: World, folder: Path) -> Iterator[None]:
    """What PyTorch says where a message to another process cannot be sent, in words: RunFailed with the cure."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if world.size == 1 or not any(word in text for word in ("gloo", "Gloo", "Connection", "NCCL", "peer")):
            raise
        raise RunFailed(
            f"a process that trained together with this one is gone\n"
            f"  found:    {text.strip().splitlines()[0][:200]}\n"
            f"  cure:     torchrun --max-restarts=3, which continues from the last checkpoint; or: chainrule resume {folder}"
        ) from error
