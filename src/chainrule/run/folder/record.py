"""A run's record, run.json: what was asked, on what, with which versions, and what came of it.

Without PyTorch at its top, so that the options of a run are checked before anything loads.
"""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from chainrule.core.data.request import DataRequest
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import UserError
from chainrule.core.recipe import Recipe
from chainrule.run.folder.folder import RunFolder
from chainrule.run.folder.record_form import opened, read_object, sealed


class Record(dict[str, Any]):
    """What run.json holds, to be read and added to as a dictionary; `write` writes it, where this process may."""

    def __init__(self, content: dict[str, Any], folder: RunFolder) -> None:
        super().__init__(content)
        self._folder = folder

    def write(self) -> None:
        self._folder.write_json("run.json", sealed(self))

    def describe_status(self, status: str, seconds: float, reason: str | None = None) -> None:
        """Notes whether the run is running, done, failed or interrupted, why, and after which time of training."""
        self.update(status=status, reason=reason, seconds=round(seconds, 3))


def new_record(
    recipe: Recipe,
    settings: dict[str, Any],
    common: dict[str, Any],
    seed: int,
    request: DataRequest,
    weights: str | None,
) -> dict[str, Any]:
    """What a record says of what was asked."""
    return {
        "format": 1,
        "recipe": recipe.name,
        "settings": settings,
        "common": common,
        "seed": seed,
        "data": request.to_record(),
        "weights": weights,
    }


def read_record(folder: Path) -> dict[str, Any]:
    """What run.json in `folder` holds; UserError where that is not what a run wrote, with the key."""
    file = folder / "run.json"
    if not file.is_file():
        raise UserError("this is no run folder", where=folder, expected="a folder with run.json, as `train` writes")
    return opened(read_object(file), file)


def recipe_of_run(folder: str | os.PathLike[str]) -> Recipe:
    """The recipe of the run in `folder`."""
    return get_recipe(read_record(Path(folder))["recipe"])


def circumstances() -> dict[str, Any]:
    """What a record says of the software and the moment."""
    import torch

    from chainrule.core.version import __version__

    by_command = Path(sys.argv[0]).stem in ("chainrule", "__main__")
    return {
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "chainrule": __version__},
        "platform": platform.platform(),
        "commit": _commit(),
        "working_folder": str(Path.cwd()),
        "command": shlex.join(["chainrule", *sys.argv[1:]]) if by_command else None,
        **({"launch": launch()} if launch() is not None else {}),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def launch() -> str | None:
    """What torchrun calls this launch, the same after a restart; None where torchrun did not start this process."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"none-{os.getppid()}" if name == "none" else name  # its name for all that were given none


def _commit() -> str | None:
    """The commit of the code that runs, where it runs from a git checkout."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    try:  # an installed package may lie below the checkout of another project, which does not know its files
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, timeout=5, check=True)
        found = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        return found.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
