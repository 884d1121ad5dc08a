"""Files of weights as named tensors: safetensors, and state dicts that torch.save wrote. No code can run from either."""

from __future__ import annotations

import contextlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.core.files.git_lfs import POINTER, expect_no_pointer
from chainrule.core.memory import expect_memory
from chainrule.run.checkpoint.sharded import whole
from chainrule.run.checkpoint.tree import load_tree, pack, read_safetensors
from chainrule.run.weights.learnt import learnt

WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and DDP, and of torch.compile
PICKLED = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # how zip archives and pickles begin


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, on the CPU, and the metadata of a safetensors file.

    What the file is, is told by its beginning, not by its name. From a `.pth` or `.pt` a plain state dict is read, by
    PyTorch's restricted reader. The prefixes that DataParallel and torch.compile leave on every name, `module.` and
    `_orig_mod.`, are taken off. The folder of a run stands for the weights that its validation chose, the last where it
    chose none; of one with stages, each network's of the last that kept it.

    Raises:
        UserError: where there is no such file; it is empty, cut off or of another kind; it holds anything but tensors
            by name, or would run code.
    """
    if path.is_dir():
        folder, path = path, path / "checkpoint" / "best.safetensors"
        if not path.is_file():
            if any(
                (folder / "checkpoint" / name).exists() for name in ("stages", "latest.json")
            ):  # it chose none: its last
                return pack(whole(learnt(folder)))[1], {"tree": ""}
            raise UserError(
                "the folder holds no weights that a run has chosen",
                where=folder,
                expected="a file of weights, or a run folder with checkpoint/best.safetensors",
            )
    expect_file(path)
    with path.open("rb") as file:
        head = file.read(len(POINTER))
    if not head:
        raise UserError("the file of weights is empty", where=path, cure="fetch or copy it again")
    expect_no_pointer(head, path)
    if head[:2] in PICKLED and not begins_as_safetensors(head):
        return _unwrapped(_read_state_dict(path)), {}
    tensors, metadata = read_safetensors(path)
    if "parts" in metadata:  # several processes wrote a part each
        tensors = pack(whole(load_tree(path)))[1]
    return tensors if "tree" in metadata else _unwrapped(tensors), metadata


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names without what wrappers put in front of all of them, in whatever order and however often.

    What torch.compile puts into the name of a part that was compiled is taken out as well: `conv._orig_mod.weight`.
    """
    state = {name.replace("._orig_mod.", "."): value for name, value in state.items()}
    while prefix := next((p for p in WRAPPERS if state and all(name.startswith(p) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def begins_as_safetensors(head: bytes) -> bool:
    r"""Whether bytes begin as such a file does: the length of a header below 4 GiB in eight bytes, then its brace.

    >>> begins_as_safetensors(b"\x80\x02" + bytes(6) + b"{"), begins_as_safetensors(b"\x80\x02}q\x00.")
    (True, False)
    """
    return head[4:9] == b"\0\0\0\0{"


def expect_file(path: Path) -> None:
    """UserError where there is no such file, or it is a pipe or a device, which might never end."""
    if not path.is_file():
        raise UserError(
            "weights are read from a file" if path.exists() else "there is no such file",
            where=path,
            expected="a safetensors file, or a state dict of torch.save",
            found="a pipe, a socket or a device" if path.exists() else None,
        )


def is_caffemodel(path: Path) -> bool:
    """Whether a file is one of Caffe's: by its ending, else by its beginning, the name of a network.

    Of safetensors the ninth byte is a brace, after a length of eight.
    """
    if path.suffix == ".caffemodel":
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    return head[:1] == b"\n" and head[8:] != b"{"


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:  # else torch.load says why
        expect_memory(sum(part.file_size for part in archive.infolist()), "the weights", where=path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.load's advice is for those who call it
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a restricted reader stumbles over in a hostile or broken file can be anything
        raise _unreadable(path, str(error)) from error
    if not isinstance(content, Mapping):
        raise UserError(
            "the file holds no state dict", where=path, expected="tensors by name", found=f"a {type(content).__name__}"
        )
    strange = [
        str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))
    ]
    if strange or not content:
        raise _no_state_dict(path, content, strange)
    return {name: _plain(value, name, path) for name, value in content.items()}


def _plain(value: Tensor, name: str, path: Path) -> Tensor:
    """A tensor as all its numbers, also where it is sparse or quantised; UserError where it has none."""
    if value.is_meta or value.is_nested:
        raise UserError(
            "a tensor in the file is without its values",
            where=f"{path}: {name}",
            found="a meta tensor" if value.is_meta else "a nested tensor",
            cure="save the state dict of a module that has its weights",
        )
    value = value.dequantize() if value.is_quantized else value
    return value if value.layout is torch.strided else value.to_dense()


def _unreadable(path: Path, message: str) -> UserError:
    """torch.load's failure in words: what the file would have run, or that it is broken."""
    name = re.search(r"GLOBAL ([\w.]+)", message)
    if name is not None:
        return UserError(
            f"{path} is a pickle that holds more than tensors, and a pickle can run code when it is opened",
            expected="a state dict: tensors by name",
            found=f"a call of {name[1]}",
            cure="where you trust it, have its maker save the state dict alone, or safetensors",
        )
    lines = [line for line in message.strip().splitlines() if line.strip()]
    return UserError(
        f"{path} is a pickle or an archive, but cannot be read as a state dict: it is cut off, or something else",
        expected="what torch.save(model.state_dict(), FILE) writes",
        found=lines[0].partition(". ")[0] if lines else "its end too soon",
        cure="fetch or copy it again",
    )


def _no_state_dict(path: Path, content: Mapping[Any, Any], strange: list[str]) -> UserError:
    inner = next(
        (n for n in ("state_dict", "model_state_dict", "model", "net") if isinstance(content.get(n), Mapping)), None
    )
    shown = ", ".join(strange[:5]) + (f" and {len(strange) - 5} more" if len(strange) > 5 else "")
    return UserError(
        "the file holds something else than a state dict" if content else "the state dict in the file is empty",
        where=path,
        expected="tensors by name",
        found=f"also {shown}" if strange else None,
        cure=f"torch.save(torch.load({path.name!r}, weights_only=True)[{inner!r}], 'weights.pth')" if inner else None,
    )
