"""Files that are either the old one or the new one, whatever happens while they are written.

A folder that comes from elsewhere may hold links: what is written here never goes through one.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from chainrule.core.errors import RunFailed, UserError
from chainrule.core.files.finite_json import to_json
from chainrule.core.files.partials import partial_beside
from chainrule.core.files.partials import remove as remove

OF_THE_NAME = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
# Of a file that is opened here: no link is followed, no child process keeps it open.
PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal to write into a RunFailed that says the cause and the cure.

    A path at which no such file can be is a UserError: its name is too long, a folder lies there, or a file where a
    folder is wanted.
    """
    try:
        yield
    except OSError as error:
        if error.errno in OF_THE_NAME:
            raise UserError(f"{path} could not be written", found=error.strerror, cure="another name") from error
        cures = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EDQUOT: "the disk quota is used up: free some space",
            errno.EROFS: "the file system is read-only: name another folder with --out",
            errno.EACCES: "the folder may not be written to: change its permissions, or name another with --out",
            errno.EPERM: "the folder may not be written to: change its permissions, or name another with --out",
            errno.ELOOP: "a link lies there, and no link is followed: remove it",
        }
        cure = cures.get(error.errno or 0, error.strerror or str(error))
        raise RunFailed(f"{path} could not be written: {cure}") from error


def sync_folder(folder: Path) -> None:
    """Makes a rename inside `folder` survive a power cut, where the platform can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_file(file: Path) -> None:
    """Makes what was written into `file` survive a power cut."""
    handle = os.open(file, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_new(path: Path) -> IO[bytes]:
    """A new file at `path`, to be written, in the place of whatever lies there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN
    try:
        handle = os.open(path, flags, 0o666)
    except FileExistsError:  # what a kill left, or a link
        remove(path)
        handle = os.open(path, flags, 0o666)
    return os.fdopen(handle, "wb")


def open_to_append(path: Path) -> IO[bytes]:
    """The file at `path`, to be written at its end; OSError where that is a link."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | PLAIN, 0o666), "ab")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A place beside `path`, free, to write a file at: when that is whole and on the disk it moves to `path` in one step."""
    with explain_os_errors(path):
        with partial_beside(path) as partial:
            yield partial
            sync_file(partial)
            partial.replace(path)
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` in one step; a kill leaves the old file or the new one."""
    with replaced(path) as partial, open_new(partial) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, to_json(value, indent=2) + "\n")


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[str]]:
    """A text file that appears at `path` complete or not at all, for what is too long to be in memory."""
    with partial_beside(path) as partial:
        with explain_os_errors(path):
            handle = io.TextIOWrapper(open_new(partial), encoding="utf-8", newline="")
        with handle:
            yield handle
            with explain_os_errors(path):
                handle.flush()
                os.fsync(handle.fileno())
        with explain_os_errors(path):
            partial.replace(path)
            sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path` complete or not at all: write into what is given."""
    with explain_os_errors(path):
        with partial_beside(path) as partial:
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                sync_folder(file) if file.is_dir() else sync_file(file)
            sync_folder(partial)
            remove(path)
            partial.rename(path)
        sync_folder(path.parent)
