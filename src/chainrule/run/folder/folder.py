"""A run's folder: how it is claimed; each file is replaced in one step, and what cannot be written is told with what is kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chainrule.core import atomic
from chainrule.core.errors import RunFailed, UserError


def claim(recipe: str, out: str | Path | None) -> tuple[Path, bool]:
    """The run's folder, and whether it was made here: the named one, new or empty, or the next free runs/RECIPE-N."""
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
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                "the run folder already holds something",
                where=folder,
                expected="a new or an empty folder",
                cure=f"another --out, or: chainrule resume {folder}"
                if (folder / "run.json").is_file()
                else "another --out",
            )
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
    return folder, made


class RunFolder:
    """Writes into a run's folder, where this process may.

    Args:
        path: the folder.
        writes: whether this process is the one that writes run.json and result.json.
        made: whether the folder was made for this run.
    """

    def __init__(self, path: Path, *, writes: bool, made: bool = False) -> None:
        self.path, self.writes, self.made = path, writes, made

    @property
    def has_checkpoint(self) -> bool:
        return (self.path / "checkpoint" / "latest.json").is_file()

    def write_json(self, name: str, value: Any) -> None:
        if self.writes:
            atomic.write_json(self.path / name, value)

    def write(self, name: str, write: Callable[[Path], None], step: int) -> None:
        """Has `write` make the file beside its place, and moves it there when it is whole."""
        path = self.path / name
        with self.mention_checkpoint(name, step):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            with atomic.explain_os_errors(path):
                try:
                    write(partial)
                    partial.replace(path)
                finally:
                    with contextlib.suppress(OSError):
                        partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def mention_checkpoint(self, what: str, step: int) -> Iterator[None]:
        """Adds to the error of a file that cannot be written that the last checkpoint is still there."""
        try:
            with atomic.explain_os_errors(self.path):
                yield
        except RunFailed as error:
            kept = f"\n  the last good checkpoint is kept; then: chainrule resume {self.path}"
            raise RunFailed(f"{what} of step {step}: {error}{kept if self.has_checkpoint else ''}") from error.__cause__

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
