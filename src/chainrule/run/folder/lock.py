"""One writer: a lock on a run's folder, which the operating system releases when its process ends, however that ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from chainrule.core.errors import UserError
from chainrule.core.files.atomic import PLAIN
from chainrule.core.files.standard_streams import say

NAME = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # by another process
_FAR = 1 << 30  # the byte that Windows locks: a locked one cannot be read, and the owner's name stands at the beginning

_held: weakref.WeakValueDictionary[tuple[int, Path], FolderLock] = weakref.WeakValueDictionary()


class FolderLock:
    """The lock of a run's folder, held until `release`, or until the process ends. `lock_folder` makes it.

    Args:
        path: the file that is locked; host and process stand in it.
        handle: of the open file; None where the file system has no locks.
    """

    def __init__(self, path: Path, handle: int | None) -> None:
        self.path, self.trains = path, False
        self._close = None if handle is None else weakref.finalize(self, os.close, handle)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """While a run trains; then the folder is free."""
        self.trains = True
        try:
            yield
        finally:
            self.trains = False
            self.release()

    def release(self) -> None:
        if self._close is None or not self._close.alive:
            return
        try:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)  # while it is still ours
        finally:
            self._close()

    @property
    def is_held(self) -> bool:
        return self._close is None or self._close.alive


def lock_folder(folder: Path) -> FolderLock:
    """The lock of `folder` for this process, which may hold it already where it has opened the run before.

    Raises:
        UserError: another process writes there, or this one trains there; with host and process.
    """
    key = os.getpid(), folder.resolve()
    held = _held.get(key)
    if held is None or not held.is_held:
        held = _held[key] = FolderLock(folder / NAME, _acquire(folder))
    elif held.trains:
        raise _taken(folder)
    return held


def _acquire(folder: Path) -> int | None:
    path = folder / NAME
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | PLAIN, 0o666)
        except OSError as error:
            raise UserError(
                "the run folder may not be written to", where=path, found=error.strerror, cure="its permissions"
            ) from None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UserError("this is no file", where=path, cure="remove it")
            _lock(handle)
            if _is_at(handle, path):
                with contextlib.suppress(OSError):  # a full disk: then others are not told who holds it
                    os.ftruncate(handle, 0)
                    os.write(handle, json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode())
                return handle
            os.close(handle)  # its owner has just ended, and taken the file away
        except OSError as error:
            os.close(handle)
            if error.errno in _TAKEN:
                raise _taken(folder) from None
            say(f"{folder}: this file system has no locks ({error.strerror}); let no other process write there")
            return None
        except BaseException:
            os.close(handle)
            raise


def _lock(handle: int) -> None:
    """OSError where another process has it."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        os.lseek(handle, 0, os.SEEK_SET)


def _is_at(handle: int, path: Path) -> bool:
    """Whether the open file is still that of this name."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _taken(folder: Path) -> UserError:
    process = None
    try:
        owner = json.loads((folder / NAME).read_text("utf-8"))
        process, host = int(owner["process"]), str(owner["host"])
        who = f"process {process} on {host}"
        here = host == socket.gethostname()
    except (OSError, ValueError, KeyError, TypeError):
        who, here = "a process that did not say its number", False
    ending = f", or end it: kill {process}" if here and process != os.getpid() else ""
    return UserError(
        "another process writes into this run folder", where=folder, found=who, cure=f"wait until it has ended{ending}"
    )
