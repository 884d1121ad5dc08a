"""NumPy's archives of arrays: opened without pickle, and the names by which the splits are found in them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError


def read_npz(file: Path, expected: str) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name; UserError where it is none, is damaged, or holds pickled objects."""
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no npz file, which is a zip archive of arrays")
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        found = "arrays of Python objects, which are a pickle" if "allow_pickle" in str(error) else str(error)
        raise UserError("the npz file cannot be read", where=file, expected=expected, found=found) from None


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
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                return len(read(stream)[0])
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None  # the reader says what is wrong with it
