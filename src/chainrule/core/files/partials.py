"""What is being written lies beside its place, under a name that no other writer has; what a kill left there goes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

_LONGEST_NAME = 200  # bytes of a name that stand in that of its partial file, which may have 255
_OF_ANOTHER_HOST = (
    24 * 3600.0
)  # seconds without a change after which a file is taken for left, whose writer cannot be asked
_MANY = 1000  # entries of a folder that is looked through once, and not at each of its files
_at_work: set[str] = set()  # names of this process that are written to
_looked_through: set[str] = set()


@contextlib.contextmanager
def partial_beside(path: Path, ending: str = "") -> Iterator[Path]:
    """A free place beside `path`, of a name that ends in `ending`, for what is not whole yet; afterwards it is free again.

    What writers that are no more have left of this file is removed first.
    """
    remove_left(path)
    name = f"{_beginning(path.name)}.{_host()}-{os.getpid()}-{secrets.token_hex(4)}.partial{ending}"
    _at_work.add(name)
    try:
        yield path.with_name(name)
    finally:
        _at_work.discard(name)
        with contextlib.suppress(OSError):
            remove(path.with_name(name))


def is_partial_of(name: str, entry: str) -> bool:
    """Whether an entry of a folder is what is being written, or was left, of the file called `name`.

    >>> is_partial_of("run.json", ".run.json.partial"), is_partial_of("run.json", "run.json")
    (True, False)
    """
    return _of(name).fullmatch(entry) is not None


def remove(path: Path) -> None:
    """Removes the file or the folder at `path`, if there is one; of a link the link, and nothing that it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_left(path: Path) -> None:
    """Removes what writers of the file that are no more have left beside it."""
    folder, pattern = path.parent, _of(path.name)
    if str(folder) in _looked_through:
        return
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except OSError:
        return
    if len(entries) > _MANY:
        _looked_through.add(str(folder))
    for entry in entries:
        match = pattern.fullmatch(entry) if entry.startswith(".") else None
        if match is not None and entry not in _at_work and _is_left(folder / entry, match):
            remove(folder / entry)


def _of(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(_beginning(name)) + r"(?:\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8})?\.partial(?:\.\w+)?")


def _is_left(entry: Path, match: re.Match[str]) -> bool:
    """Whether its writer has ended: a process of this machine is asked for; of another one it is told by the time."""
    host, process = match[1], match[2]
    if host is None or (host == _host() and int(process) == os.getpid()):
        return True  # by an earlier version; or by a process that had this one's number
    if host == _host() and os.name == "posix":
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # another user's
            return False
        return False
    try:
        return time.time() - entry.lstat().st_mtime > _OF_ANOTHER_HOST
    except OSError:
        return False


def _beginning(name: str) -> str:
    return "." + os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])


@functools.cache
def _host() -> str:
    return hashlib.blake2b(socket.gethostname().encode(), digest_size=4).hexdigest()
