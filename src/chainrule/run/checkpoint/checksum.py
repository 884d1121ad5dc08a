"""The checksum that a file of weights carries in its own header: file and checksum change in one step.

It is SHA-256 over the whole file, with zeros where the checksum itself stands, as the first entry of the metadata. A file
of an earlier version, or of another program, has none, and is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.core.files import atomic

_BEGINNING = b'{"__metadata__":{"chainrule-sha256":"'  # behind the eight bytes of the header's length
_BLANK = b"0" * 64
_CHUNK = 1 << 20


def write_sealed(path: Path, content: bytes) -> None:
    """Writes a new safetensors file of this content, its checksum added to the metadata."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    tensors = memoryview(content)[8 + size :]
    metadata = dict(sorted(header.pop("__metadata__", {}).items()))  # safetensors has them in any order
    seal = json.loads(_BEGINNING + _BLANK + b'"}}')["__metadata__"]
    head = json.dumps({"__metadata__": {**seal, **metadata}, **header}, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # tensors begin at a multiple of eight
    head = len(head).to_bytes(8, "little") + head
    digest = hashlib.sha256(head)
    digest.update(tensors)
    place = 8 + len(_BEGINNING)
    with atomic.open_new(path) as file:
        file.write(head[:place] + digest.hexdigest().encode() + head[place + 64 :])
        file.write(tensors)


def checksum_of(path: Path) -> str:
    """The checksum of a file: the one that it carries, after it was checked, else that of its content.

    Raises:
        UserError: the file is not what its checksum says.
    """
    with path.open("rb") as file:
        head = file.read(8 + len(_BEGINNING) + 64)
        sealed = head[8:].startswith(_BEGINNING) and len(head) == 8 + len(_BEGINNING) + 64
        digest = hashlib.sha256(head[:-64] + _BLANK if sealed else head)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if sealed and (carried := head[-64:].decode("ascii", "replace")) != found:
        raise damaged(path, carried, found)
    return found


def expect_whole(path: Path) -> None:
    """UserError where a file carries a checksum that is not its own."""
    with path.open("rb") as file:
        sealed = file.read(8 + len(_BEGINNING))[8:] == _BEGINNING
    if sealed:
        checksum_of(path)


def expect_all(folder: Path, checksums: Mapping[str, str]) -> None:
    """UserError where one of the files in `folder` is missing, or has another checksum."""
    for name, expected in checksums.items():
        if not (folder / name).is_file():
            raise UserError("the weights are incomplete", where=folder, expected=f"{name} in it")
        if (found := checksum_of(folder / name)) != expected:
            raise damaged(folder / name, expected, found)


def damaged(path: Path, expected: str, found: str) -> UserError:
    """The error for a file that has changed since it was written."""
    return UserError(
        "the file is damaged: it is not what was written",
        where=path,
        expected=f"SHA-256 {expected[:12]}...",
        found=f"{found[:12]}...",
        cure="a copy of it, or of the whole run folder, from a backup; else train anew",
    )
