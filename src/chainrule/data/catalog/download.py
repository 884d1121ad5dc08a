"""A published file, fetched and checked."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path

from chainrule.core.errors import UserError

PIECE = 1 << 20  # bytes that are held at a time


def download(address: str, file: Path, *, sha256: str | None, what: str, cure: str) -> None:
    """Fetches `address` into `file`, which appears complete and checked or not at all.

    Args:
        address: one that the project knows, never the user's.
        file: where it goes; its folder is made.
        sha256: the sum in hexadecimal digits, or its beginning.
        what, cure: what the file is, and what to do where it cannot be fetched, for the error.

    Raises:
        UserError: where the address does not answer, or what it gives is not the published file.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")  # several processes of a run may fetch at once
    found = hashlib.sha256()
    try:
        with urllib.request.urlopen(address, timeout=30) as reply:
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as out:
                while piece := reply.read(PIECE):
                    found.update(piece)
                    out.write(piece)
            if getattr(reply, "length", None):  # bytes that were promised; read by pieces, their lack is no error
                raise OSError("the connection ended too soon")
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{what} is not here and could not be fetched",
            where=address,
            found=getattr(error, "reason", error),
            cure=cure,
        ) from None
    if sha256 is not None and not found.hexdigest().startswith(sha256):
        partial.unlink()
        raise UserError(
            "a fetched file is not the published one",
            where=address,
            expected=f"SHA-256 {sha256}",
            found=found.hexdigest(),
        )
    partial.replace(file)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
