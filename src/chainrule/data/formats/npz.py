"""NumPy's archives of arrays: opened without pickle, and the names by which the splits are found in them."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO

import numpy as np

from chainrule.core.errors import UserError
from chainrule.core.memory import expect_memory

# What the library raises of a damaged archive: a member cut short, encrypted, packed in an unknown way, no header, a
# header that is no literal, a size that no memory has.
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
LONGEST_HEADER = 2**16  # bytes; NumPy reads a header before it refuses one for its length


def read_npz(file: Path, expected: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name; UserError where it is none, is damaged, or holds pickled objects.

    What a header promises is compared with the bytes that are there, and with the memory, before an array is made.
    """
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no npz file, which is a zip archive of arrays")
        with file.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            names = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            expect_memory(sum(entry.file_size for entry in names), "the arrays", where=file)
            for entry in names:
                with archive.open(entry) as member:
                    _expect_true_header(member, entry.filename, entry.file_size)
            return {entry.filename.removesuffix(".npy"): _member(archive, entry) for entry in names}
    except UserError:
        raise
    except DAMAGED as error:
        text = str(error) or type(error).__name__
        found = "arrays of Python objects, which are a pickle" if "allow_pickle" in text else text
        raise UserError("the npz file cannot be read", where=file, expected=expected, found=found) from None


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):  # read to its end, where the checksum stands
            raise ValueError(f"{entry.filename} holds more than one array")
        return array


def _expect_true_header(stream: IO[bytes], name: str, size: int) -> None:
    shape, kind = _header(stream)
    if kind.hasobject:
        raise ValueError("allow_pickle")
    need = math.prod(shape) * kind.itemsize
    if any(length < 0 for length in shape) or need > size:
        raise ValueError(f"{name} says shape {shape} of {kind}, {need:,} bytes, and has {size:,}")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    length = int.from_bytes(stream.peek(4)[: 2 if version == (1, 0) else 4], "little")  # type: ignore[attr-defined]
    if length > LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(stream)
    return shape, kind


def split_arrays(names: Collection[str]) -> dict[str, tuple[str, str]]:
    """The names of inputs and targets of each split.

    >>> split_arrays(["x", "y", "x_test"])
    {'train': ('x', 'y'), 'val': ('x_val', 'y_val'), 'test': ('x_test', 'y_test')}
    """
    train = ("x", "y") if "x" in names else ("x_train", "y_train")
    return {"train": train, "val": ("x_val", "y_val"), "test": ("x_test", "y_test")}


def rank_of_inputs(file: Path) -> int | None:
    """How many axes x (or x_train) has, by its header alone; None where it is not there, or cannot be read."""
    try:
        with zipfile.ZipFile(file) as archive:
            name = split_arrays([entry.removesuffix(".npy") for entry in archive.namelist()])["train"][0]
            with archive.open(f"{name}.npy") as stream:
                return len(_header(stream)[0])
    except DAMAGED:
        return None  # the reader says what is wrong with it


def has_array(file: Path, name: str) -> bool:
    """Whether an npz file has an array of that name; False also where it cannot be read."""
    try:
        with zipfile.ZipFile(file) as archive:
            return f"{name}.npy" in archive.namelist()
    except DAMAGED:
        return False
