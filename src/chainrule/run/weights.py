"""Weights from files into modules: those that a run has learnt, and those that a training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from chainrule.errors import UserError
from chainrule.run import checkpoint, parallel
from chainrule.run.tree import load_tree, read_safetensors


def load_learnt(folder: Path, modules: Mapping[str, nn.Module]) -> None:
    """The weights that the validation chose in the run in `folder`, else the latest."""
    best = folder / "checkpoint" / "best.safetensors"
    if best.is_file():
        weights = load_tree(best)
    else:
        loaded = checkpoint.load(folder / "checkpoint")
        if loaded is None:
            raise UserError("this run has no checkpoint yet", where=folder, cure=f"chainrule resume {folder}")
        weights = loaded[0]
    for name, module in modules.items():
        parallel.load_state(module, weights[name])


def load_file(file: str | Path, modules: Mapping[str, nn.Module], model: str) -> None:
    """The weights of a safetensors file; every name and shape must fit.

    A file that a run wrote holds a state for each of the modules; any other holds the one module's own names.
    """
    tensors, metadata = read_safetensors(Path(file))
    for name, module in modules.items():
        prefix = f"{name}."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            module.load_state_dict(own if "tree" in metadata else tensors)
        except RuntimeError as error:
            raise UserError(f"these weights are not those of {model}", where=file, found=error) from None
