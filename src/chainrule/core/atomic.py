"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from chainrule.core.errors import RunFailed
from chainrule.core.finite_json import to_json


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal to write into a RunFailed that says the cause and the cure."""
    try:
        yield
    except OSError as error:
        cures = {
            errno.ENOSPC: "the disk is full: free some space",
            errno.EDQUOT: "the disk quota is used up: free some space",
            errno.EROFS: "the file system is read-only: name another folder with --out",
            errno.EACCES: "the folder may not be written to: change its permissions, or name another with --out",
            errno.EPERM: "the folder may not be written to: change its permissions, or name another with --out",
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


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces `path` in one step; a kill leaves the old file or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    with explain_os_errors(path):
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, to_json(value, indent=2) + "\n")


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[str]]:
    """A text file that appears at `path` complete or not at all, for what is too long to be in memory."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with explain_os_errors(path):
            handle = partial.open("w", encoding="utf-8", newline="")
        with handle:
            yield handle
            with explain_os_errors(path):
                handle.flush()
                os.fsync(handle.fileno())
        with explain_os_errors(path):
            partial.replace(path)
            sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path` complete or not at all: write into what is given."""
    partial = path.with_name(f".{path.name}.partial")
    with explain_os_errors(path):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            yield partial
            for file in partial.rglob("*"):
                if file.is_dir():
                    continue
                handle = os.open(file, os.O_RDWR)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(path.parent)
