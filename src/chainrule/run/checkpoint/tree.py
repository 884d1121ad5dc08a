"""A nested state as one safetensors file and plain JSON, and back, bit for bit. No code can run from either."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.run.checkpoint.checksum import expect_all, expect_whole, write_sealed


@dataclass(frozen=True)
class InParts:
    """A tensor that several processes saved in parts, in the files of `folder`: not read yet."""

    folder: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype


def pack(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Splits a tree of dicts, lists, tuples, numbers, text, arrays and tensors into JSON and named tensors.

    Tensors are copied to the CPU; of those that are sharded over processes each has its part, as it is.
    """
    tensors: dict[str, Tensor] = {}

    def visit(node: Any, path: str) -> Any:
        if isinstance(node, np.ndarray):
            return {"$array": visit(torch.from_numpy(np.ascontiguousarray(node)), path)}
        if isinstance(node, Tensor):
            while path in tensors:  # keys with dots in them can look like a path
                path += "'"
            reference: dict[str, Any] = {"$tensor": path}
            value = node.detach()
            if is_sharded(value):
                tensors[path] = value
                return {"$parts": path, "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
            if (
                value.dim() == 4
                and not value.is_contiguous()
                and value.is_contiguous(memory_format=torch.channels_last)
            ):
                reference["channels_last"] = True
            tensors[path] = value.cpu().contiguous().clone()  # a clone: tied weights share no memory in the file
            return reference
        if isinstance(node, dict):
            if all(isinstance(key, str) and not key.startswith("$") for key in node):
                return {key: visit(value, f"{path}.{key}" if path else key) for key, value in node.items()}
            return {"$items": [[key, visit(value, f"{path}.{key}")] for key, value in node.items()]}
        if isinstance(node, tuple):
            return {"$tuple": [visit(value, f"{path}.{i}") for i, value in enumerate(node)]}
        if isinstance(node, list):
            return [visit(value, f"{path}.{i}") for i, value in enumerate(node)]
        if isinstance(node, np.generic):
            return node.item()
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        raise TypeError(f"{path}: a {type(node).__name__} cannot be saved as data")

    return visit(tree, ""), tensors


def is_sharded(value: object) -> bool:
    """Whether a tensor lies in parts in several processes."""
    return hasattr(value, "full_tensor")


def unpack(node: Any, tensors: dict[str, Tensor], parts: Path = Path()) -> Any:
    """The inverse of `pack`; what was saved in parts, in the folder `parts`, stays there: `InParts`."""
    if isinstance(node, list):
        return [unpack(value, tensors, parts) for value in node]
    if not isinstance(node, dict):
        return node
    if "$tensor" in node:
        # A copy stands in memory as a new tensor does; in the file's it would not, and there sums may round otherwise.
        form = torch.channels_last if node.get("channels_last") else torch.contiguous_format
        return tensors[node["$tensor"]].clone(memory_format=form)
    if "$parts" in node:
        dtype = getattr(torch, node["dtype"])
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"{node['dtype']} is no dtype")
        return InParts(parts, node["$parts"], tuple(node["shape"]), dtype)
    if "$array" in node:
        return unpack(node["$array"], tensors, parts).numpy()
    if "$tuple" in node:
        return tuple(unpack(value, tensors, parts) for value in node["$tuple"])
    if "$items" in node:
        return {key: unpack(value, tensors, parts) for key, value in node["$items"]}
    return {key: unpack(value, tensors, parts) for key, value in node.items()}


def save_tree(tree: Any, path: Path, parts: str = "", checksums: Mapping[str, str] | None = None) -> None:
    """Writes `tree` into the one file `path`: safetensors, with the JSON part and a checksum of the file in its metadata.

    Sharded tensors are left to `parts`, the folder beside it that `save_shared_tree` has written, with the `checksums` of
    the files in it.
    """
    skeleton, tensors = pack(tree)
    metadata = {"tree": json.dumps(skeleton)}
    if parts:
        metadata |= {"parts": parts, "parts-sha256": json.dumps(checksums or {})}
    write_sealed(path, safetensors.torch.save({n: t for n, t in tensors.items() if not is_sharded(t)}, metadata))


def load_tree(path: Path) -> Any:
    """Reads what `save_tree` wrote; UserError where it is not that any more."""
    tensors, metadata = read_safetensors(path)
    if "tree" not in metadata:
        raise UserError(
            "this safetensors file is not one that a run wrote", where=path, expected="a tree in its metadata"
        )
    parts = metadata.get("parts", "")
    try:
        if parts != Path(parts).name:
            raise ValueError(f"the folder of its parts is {parts}")
        expect_all(path.parent / parts, json.loads(metadata.get("parts-sha256", "{}")))
        return unpack(json.loads(metadata["tree"]), tensors, path.parent / parts)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
        raise UserError("the tree in the metadata of this file is damaged", where=path, found=error) from None


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. A pickle is refused by name, anything else broken in words."""
    if not path.is_file():
        raise UserError("there is no such file", where=path, expected="a safetensors file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in list(file.keys())}, dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        with path.open("rb") as file:
            head = file.read(2)
        if head in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise UserError(
                f"{path} is a pickle (the form of torch.save), and a pickle can run code when it is opened",
                expected="a safetensors file",
                cure="where you trust it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'out.safetensors')",
            ) from None
        raise UserError(f"{path} cannot be read as safetensors", found=str(error)) from None
    expect_whole(path)
    return found
