"""The files of a known data set, compared with the sums of the published ones: one flipped bit is other data."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.data.catalog.download import sha256_of
from chainrule.data.catalog.record import Source


def expect_published(source: Source, folder: Path) -> None:
    """UserError where a file of a known set is neither the published one nor as it was fetched; it names the file.

    Files of which no sum is known pass.
    """
    noted = _noted(folder)
    for name, published in source.files.items():
        file = folder / name
        known = [digest for digest in (published, noted.get(name)) if digest is not None]
        if not known or _sum(file) in known or (published and _sum_as_utf8(file) == published):
            continue
        raise UserError(
            f"a file of the data set {source.name!r} is not the published one",
            where=file,
            expected=f"SHA-256 {known[0]}",
            found=_sum(file),
            cure=f"remove it, and: chainrule data get {source.name}",
        )


def note_sums(folder: Path, files: Iterable[str]) -> None:
    """Notes the sums of files that have just been fetched, so that damage is seen where the publisher tells no sum."""
    with contextlib.suppress(OSError):
        atomic.write_json(_note(folder), {name: sha256_of(folder / name) for name in files})


def _note(folder: Path) -> Path:
    """Beside a folder of fetched files: their sums as they were fetched."""
    return folder.with_name(f".{folder.name}.sums.json")


def _noted(folder: Path) -> dict[str, str]:
    try:
        found = json.loads(_note(folder).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sum(file: Path) -> str:
    state = file.stat()
    return _sum_of(file, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sum_of(file: Path, size: int, changed: int) -> str:
    """The sum of a file in this state: several readers of a run ask for it."""
    return sha256_of(file)


def _sum_as_utf8(file: Path) -> str | None:
    """The sum that a text published in Latin-1, with the line ends of DOS, would have in UTF-8; None where it is none."""
    if file.suffix in (".gz", ".bin"):
        return None
    return hashlib.sha256(file.read_bytes().decode("latin-1").replace("\r\n", "\n").encode()).hexdigest()
