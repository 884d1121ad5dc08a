"""Runs that are killed: a child process trains, SIGKILL comes at a random instant, another child resumes.

Children are forked from a server that has imported PyTorch, so that a kill costs no start-up.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import torch

from chainrule.core.recipe import Recipe
from chainrule.run.checkpoint.tree import read_safetensors

CONTEXT = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    CONTEXT.set_forkserver_preload(["chainrule.api", "chainrule.tasks.images.classification"])


def _child(recipe: str, folder: str, settings: dict[str, Any]) -> None:
    """Trains, or resumes where run.json shows that a run has begun."""
    import chainrule

    torch.set_num_threads(1)
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 2)
    if (Path(folder) / "run.json").is_file():
        chainrule.resume(folder)
    else:
        chainrule.train(recipe, out=folder, device="cpu", **settings)


def start(recipe: Recipe, folder: Path, **settings: Any) -> Any:
    child = CONTEXT.Process(target=_child, args=(recipe.name, str(folder), {"threads": 1, **recipe.tiny, **settings}))
    child.start()
    return child


def is_done(folder: Path) -> bool:
    file = folder / "run.json"
    return file.is_file() and json.loads(file.read_text())["status"] == "done"


def train_whole(recipe: Recipe, folder: Path, **settings: Any) -> float:
    """Trains without a stop; gives the seconds it took."""
    begun = time.monotonic()
    child = start(recipe, folder, **settings)
    child.join()
    assert child.exitcode == 0
    return time.monotonic() - begun


def train_with_kills(
    recipe: Recipe, folder: Path, kills: int, duration_s: float, draw: random.Random, **settings: Any
) -> int:
    """Kills the run at up to `kills` random instants, then lets it finish; gives how many kills it took."""
    done = 0
    while done < kills and not is_done(folder):
        child = start(recipe, folder, **settings)
        child.join(timeout=draw.uniform(0.02, duration_s))
        if not child.is_alive():
            assert child.exitcode == 0
            break
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        done += 1
    if not is_done(folder):
        train_whole(recipe, folder, **settings)
    return done


def numbers(folder: Path) -> dict[str, Any]:
    """Everything that must be equal: every logged number but the clock's, results, weights, images."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("seconds")
    latest = json.loads((folder / "checkpoint" / "latest.json").read_text())["folder"]
    weights = {}
    for file in (folder / "checkpoint" / latest / "weights.safetensors", folder / "checkpoint" / "best.safetensors"):
        if file.is_file():
            tensors, _ = read_safetensors(file)
            weights |= {f"{file.name}:{name}": tensor for name, tensor in tensors.items()}
    images = {file.name: file.read_bytes() for file in sorted((folder / "figures").glob("*.png"))}
    return {
        "lines": lines,
        "metrics": json.loads((folder / "result.json").read_text())["metrics"],
        "weights": weights,
        "images": images,
        "report": (folder / "report.html").is_file(),
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert json.dumps(one["lines"]) == json.dumps(other["lines"])
    assert json.dumps(one["metrics"]) == json.dumps(other["metrics"])
    assert one["weights"].keys() == other["weights"].keys()
    for name, tensor in one["weights"].items():
        assert torch.equal(tensor, other["weights"][name]), name
    assert one["images"] == other["images"]
    assert one["report"] and other["report"]
