"""Files packed by gzip, unpacked within the memory: a small one may hold a thousand times its size."""

from __future__ import annotations

import gzip
from pathlib import Path

from chainrule.core.memory import expect_memory

SMALL = 2**26  # bytes that are kept while they are counted; of a larger file the size is known before it is kept
PIECE = 2**20


def read_unpacked(file: Path) -> bytes:
    """The bytes of a file, unpacked where its name ends in .gz.

    Raises:
        UserError: unpacked they need more memory than there is; counted while they are read, and none of them is kept.
        OSError, EOFError, zlib.error: the file cannot be read, or is damaged.
    """
    if file.suffix.lower() != ".gz":
        expect_memory(file.stat().st_size, "the file", where=file)
        return file.read_bytes()
    with gzip.open(file) as stream:
        content = stream.read(SMALL + 1)
        size = len(content)
        if size <= SMALL:
            return content
        content = b""
        while piece := stream.read(PIECE):
            size += len(piece)
            expect_memory(size, "what the file holds unpacked", where=file, cure="less of it, or more memory")
    with gzip.open(file) as stream:
        return stream.read()
