"""Trees of which each process holds a part: every one writes its own, and reads what it needs, by PyTorch's DCP.

The parts of a tree's sharded tensors lie in a folder beside its file. They are safetensors in the form that
`torch.distributed.checkpoint` has for Hugging Face: the header of each file says where in the whole its parts belong, so
any number of processes can read them, and nothing of it is a pickle, as DCP's own form is. No process gathers the whole.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.run.checkpoint.checksum import checksum_of
from chainrule.run.checkpoint.tree import InParts, is_sharded, pack, save_tree


def save_shared_tree(tree: Any, path: Path, world: World, parts: str) -> None:
    """Writes `tree` into the file `path` and the folder `parts` beside it; every process calls it, and writes a part.

    The first one writes the file when all parts are there. Its folder must exist, and none of the name `parts`.
    """
    tensors = {name: tensor for name, tensor in pack(tree)[1].items() if is_sharded(tensor)}
    if tensors:
        _write(tensors, path.with_name(parts))
    if world.is_main_process:
        folder = path.with_name(parts)
        files = sorted(folder.iterdir()) if tensors else []
        for file in files:
            atomic.sync_file(file)
        checksums = {file.name: checksum_of(file) for file in files}
        save_tree(tree, path, parts, checksums)
    world.barrier()


def new_parts(path: Path, step: int) -> str:
    """The name of a new folder of parts for the file `path`, other than that which the file has now.

    One that is there already was left by a kill, and goes.
    """
    name = f"{path.stem}-parts-{step:09d}"
    if name == parts_of(path):
        name += "-again"
    atomic.remove(path.with_name(name))
    return name


def parts_of(path: Path) -> str:
    """The name of the folder beside the file `path` that holds its parts; empty where it has none, or is damaged."""
    import safetensors

    if not path.is_file():
        return ""
    with contextlib.suppress(safetensors.SafetensorError), safetensors.safe_open(path, framework="pt") as file:
        return (file.metadata() or {}).get("parts", "")
    return ""


def drop_old_parts(path: Path) -> None:
    """Removes all folders of parts of the file `path` but its own."""
    own = re.compile(re.escape(path.stem) + r"-parts-\d{9,}(-again)?")
    for other in path.parent.iterdir():
        if own.fullmatch(other.name) and other.name != parts_of(path):
            atomic.remove(other)


def whole(tree: Any) -> Any:
    """The tree with every tensor that was saved in parts read whole."""
    reads: list[tuple[InParts, Tensor]] = []

    def visit(node: Any) -> Any:
        if isinstance(node, InParts):
            reads.append((node, torch.empty(node.shape, dtype=node.dtype)))
            return reads[-1][1]
        if isinstance(node, dict):
            return {key: visit(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(visit(value) for value in node)
        return node

    found = visit(tree)
    read(reads)
    return found


def read(reads: Iterable[tuple[InParts, Tensor]]) -> None:
    """Fills tensors with what was saved: whole ones, or sharded ones, of which this process reads its own part alone."""
    folders: dict[Path, dict[str, Tensor]] = {}
    for saved, tensor in reads:
        folders.setdefault(saved.folder, {})[saved.name] = tensor
    for folder, tensors in folders.items():
        if not any(folder.glob("*.safetensors")):
            raise UserError(
                "the weights are incomplete", where=folder, expected="a file of each process that saved them"
            )
        from torch.distributed import checkpoint

        with _quiet():
            checkpoint.load(tensors, storage_reader=checkpoint.HuggingFaceStorageReader(str(folder)), no_dist=True)


def _write(tensors: dict[str, Tensor], folder: Path) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.api import CheckpointException

    writer = checkpoint.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _quiet():
            checkpoint.save(tensors, storage_writer=writer)
    except CheckpointException as error:  # the same in all processes: what failed in one of them
        raise next(iter(error.failures.values()))[0] from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without DCP's remarks that it reads for one process, and that it writes no index: both are meant."""
    logger = logging.getLogger("torch.distributed.checkpoint")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
