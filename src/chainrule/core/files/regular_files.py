"""What may be read: files and folders. A named pipe waits for ever, a device has no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chainrule.core.errors import UserError

_OTHERS = {stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def expect_regular(path: str | os.PathLike[str]) -> None:
    """UserError where something lies at the path that is neither a file nor a folder, also through a link.

    >>> expect_regular("/dev/null")
    Traceback (most recent call last):
        ...
    chainrule.core.errors.UserError: only files and folders are read
      where:    /dev/null
      found:    a device
      cure:     a file; what another program writes, on stdin: -
    """
    found = other_than_regular(path)
    if found is not None:
        raise UserError(
            "only files and folders are read",
            where=path,
            found=found,
            cure="a file; what another program writes, on stdin: -",
        )


def other_than_regular(path: str | os.PathLike[str]) -> str | None:
    """What lies at the path, where that is neither a file nor a folder."""
    try:
        return _OTHERS.get(stat.S_IFMT(Path(path).stat().st_mode))
    except (OSError, ValueError):  # nothing, or no path at all
        return None
