"""The images that `predict` and `explain` are given: files, folders, names on stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from chainrule.core.errors import UserError


def named_images(inputs: list[str]) -> Iterator[Path]:
    """The files named, those in the folders named, and for `-` those that stdin names, one a line."""
    from chainrule.data.images.decoding import SUFFIXES, image_files

    for name in inputs:
        if name == "-":
            named = [line.rstrip("\r\n") for line in sys.stdin]
            yield from named_images([line for line in named if line.strip() and line != "-"])
            continue
        path = Path(name)
        if path.is_dir():
            found = image_files(path)
            if not found:
                raise UserError(
                    "the folder holds no image", where=path, expected="files ending in " + " ".join(sorted(SUFFIXES))
                )
            yield from found
        else:
            yield path
