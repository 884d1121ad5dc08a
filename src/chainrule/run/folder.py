"""A run's folder and its record, run.json: what was asked, on what, with which versions."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from chainrule.core.errors import UserError
from chainrule.core.recipe import Recipe


def claim(recipe: str, out: str | Path | None) -> tuple[Path, bool]:
    """The run's folder, and whether it was made here: the named one, new or empty, or the next free runs/RECIPE-N."""
    if out is None:
        number = 1
        while (folder := Path("runs") / f"{recipe}-{number}").exists():
            number += 1
    else:
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise UserError(
                "the run folder cannot be made", where=folder, found="a file of this name", cure="another --out"
            )
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                "the run folder already holds something",
                where=folder,
                expected="a new or an empty folder",
                cure=f"another --out, or: chainrule resume {folder}"
                if (folder / "run.json").is_file()
                else "another --out",
            )
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=out is not None)
    except FileExistsError:  # another run has just taken this number
        return claim(recipe, out)
    except OSError as error:
        raise UserError(
            "the run folder cannot be made", where=folder, found=error.strerror, cure="another --out"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError("the run folder may not be written to", where=folder, cure="another --out")
    return folder, made


def new_record(
    recipe: Recipe,
    settings: dict[str, Any],
    common: dict[str, Any],
    seed: int,
    source: str,
    target: str | None,
    weights: str | None,
) -> dict[str, Any]:
    """What a record says of what was asked."""
    return {
        "format": 1,
        "recipe": recipe.name,
        "settings": settings,
        "common": common,
        "seed": seed,
        "data": {"source": source, "target": target},
        "weights": weights,
    }


def read_record(folder: Path) -> dict[str, Any]:
    """What run.json in `folder` holds."""
    file = folder / "run.json"
    if not file.is_file():
        raise UserError("this is no run folder", where=folder, expected="a folder with run.json, as `train` writes")
    try:
        record = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise UserError("run.json is damaged", where=file, found=error) from None
    needed = ("recipe", "settings", "common", "seed", "data", "weights", "device", "threads", "status")
    if not isinstance(record, dict) or record.get("format") != 1 or not all(name in record for name in needed):
        raise UserError(
            "run.json is not that of a run", where=file, expected=f'an object with "format": 1, {", ".join(needed)}'
        )
    return record


def circumstances() -> dict[str, Any]:
    """What a record says of the software and the moment."""
    from chainrule.core.version import __version__

    by_command = Path(sys.argv[0]).stem in ("chainrule", "__main__")
    return {
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "chainrule": __version__},
        "platform": platform.platform(),
        "commit": _commit(),
        "command": shlex.join(["chainrule", *sys.argv[1:]]) if by_command else None,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str | None:
    """The commit of the code that runs, where it runs from a git checkout."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
