"""Image files that lie within other files: members of a tar, cells of a table."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class PackedImage:
    """One image file within another.

    Attributes:
        container: the file that it lies in.
        name: what it is called there.
        offset, size: its bytes in the container, where they lie there as they are.
        content: its bytes, where they had to be unpacked.
    """

    container: Path
    name: str
    offset: int = 0
    size: int = 0
    content: bytes | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{self.container}: {self.name}"

    def read(self) -> bytes:
        if self.content is not None:
            return self.content
        with self.container.open("rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


ImageFile = Path | PackedImage


def opened(file: ImageFile) -> Path | io.BytesIO:
    """What Pillow opens."""
    return file if isinstance(file, Path) else io.BytesIO(file.read())


def is_empty(file: ImageFile) -> bool:
    return file.stat().st_size == 0 if isinstance(file, Path) else not file.read()


def state_of(file: ImageFile) -> tuple[str | int, ...]:
    """What changes when the image does: place, length and time of change; OSError where the file is gone."""
    if isinstance(file, PackedImage) and file.content is not None:
        return (hashlib.blake2b(file.content, digest_size=16).hexdigest(),)
    container = file if isinstance(file, Path) else file.container
    state = container.stat()
    place = (str(container.resolve()), state.st_size, state.st_mtime_ns)
    return place if isinstance(file, Path) else (*place, file.offset, file.size)
