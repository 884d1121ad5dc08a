"""A run's folder: how it is claimed and locked; each file is replaced in one step, and none through a link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chainrule.core.errors import RunFailed, UserError, in_english
from chainrule.core.files import atomic
from chainrule.core.files.partials import is_partial_of
from chainrule.run.folder.lock import NAME, FolderLock, lock_folder

# What the program writes into a run's folder and changes there; pages and exports are replaced whole.
WRITTEN = ("run.json", "metrics.jsonl", "result.json", "checkpoint", "figures", NAME)


def claim(recipe: str, out: str | Path | None) -> tuple[Path, bool, FolderLock]:
    """The run's folder, whether it was made here, its lock: the named one, new or empty, or the next free runs/RECIPE-N."""
    if out is None:
        number = 1
        while (folder := Path("runs") / f"{recipe}-{number}").exists():
            number += 1
    else:
        folder = Path(out)
        if folder.exists() and not folder.is_dir():
            raise UserError(
                "the run folder cannot be made", where=folder, found="a file of this name", cure="another --out"
            )
        _expect_empty(folder)
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=out is not None)
    except FileExistsError:  # another run has just taken this number
        return claim(recipe, out)
    except OSError as error:
        raise UserError(
            "the run folder cannot be made", where=folder, found=error.strerror, cure="another --out"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError("the run folder may not be written to", where=folder, cure="another --out")
    lock = lock_folder(folder)
    try:
        _expect_empty(folder)  # once more: another run may have taken it a moment ago
    except UserError:
        lock.release()
        raise
    return folder, made, lock


def _expect_empty(folder: Path) -> None:
    if folder.exists() and any(not _was_left(each.name) for each in folder.iterdir()):
        raise UserError(
            "the run folder already holds something",
            where=folder,
            expected="a new or an empty folder",
            cure=f"another --out, or: chainrule resume {folder}"
            if (folder / "run.json").is_file()
            else "another --out",
        )


def _was_left(name: str) -> bool:
    """Whether an entry of a run's folder may be left of a start that was killed."""
    return name == NAME or is_partial_of("run.json", name)


def expect_no_links(folder: Path) -> None:
    """UserError where a link, or what is no file, stands in the place of something that a run writes in its folder.

    A folder may come from anywhere, and what is written through a link lands outside of it.
    """
    for place in (folder / name for name in WRITTEN):
        inside = [
            path for parent, folders, files in os.walk(place) for path in (Path(parent, n) for n in folders + files)
        ]
        for path in [place, *(inside if not place.is_symlink() else ())]:
            expect_own(path)


def expect_own(path: Path) -> Path:
    """The path, of a file or folder of a run or of none yet; UserError where it is a link, a pipe, a device."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(
            "a run folder is not written through a link" if stat.S_ISLNK(mode) else "this is no file",
            where=path,
            expected="a file or a folder of the run's own",
            found=f"a link to {path.readlink()}" if stat.S_ISLNK(mode) else "a pipe, a socket or a device",
            cure="remove it, or put the file in its place",
        )
    return path


class RunFolder:
    """Writes into a run's folder, where this process may.

    Args:
        path: the folder.
        writes: whether this process is the one that writes run.json and result.json.
        made: whether the folder was made for this run.
        lock: of the folder, where this process writes.
    """

    def __init__(self, path: Path, *, writes: bool, made: bool = False, lock: FolderLock | None = None) -> None:
        self.path, self.writes, self.made, self._lock = path, writes, made, lock

    def training(self) -> contextlib.AbstractContextManager[object]:
        """While the run trains no other process writes into its folder; then it is free."""
        return contextlib.nullcontext() if self._lock is None else self._lock.training()

    @property
    def has_checkpoint(self) -> bool:
        return (self.path / "checkpoint" / "latest.json").is_file()

    def write_json(self, name: str, value: Any) -> None:
        if self.writes:
            atomic.write_json(self.path / name, value)

    def write(self, name: str, write: Callable[[Path], None], step: int) -> None:
        """Has `write` make the file beside its place, and moves it there when it is whole and on the disk."""
        path = self.path / name
        with self.mention_checkpoint(name, step):
            expect_own(path.parent).mkdir(parents=True, exist_ok=True)
            with atomic.replaced(path) as partial:
                write(partial)

    @contextlib.contextmanager
    def mention_checkpoint(self, what: str, step: int) -> Iterator[None]:
        """Adds to the error of a file that cannot be written that the last checkpoint is still there."""
        try:
            with atomic.explain_os_errors(self.path):
                yield
        except RunFailed as error:
            kept = f"\n  the last good checkpoint is kept; then: chainrule resume {self.path}"
            words = f"{what} of step {step}: {in_english(error)}"
            raise RunFailed(f"{words}{kept if self.has_checkpoint else ''}") from error.__cause__

    def discard(self) -> None:
        """Takes back a start that came to nothing: run.json, and the folder if it was made for the run."""
        if not self.writes or (self.path / "checkpoint").exists():
            return
        (self.path / "run.json").unlink(missing_ok=True)
        if self.made:
            with contextlib.suppress(OSError):  # something of the user's lies in it, or in the folder above
                self.path.rmdir()
                if self.path.parent == Path("runs"):
                    self.path.parent.rmdir()
