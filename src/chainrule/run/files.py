"""The files of a run's folder: each is replaced in one step, and what cannot be written is told with what is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from chainrule.core import atomic
from chainrule.core.errors import RunFailed


class RunFiles:
    """Writes into a run's folder, where this process may.

    Args:
        folder: the run's.
        writes: whether this process is the one that writes run.json and result.json.
    """

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self.folder, self.writes = folder, writes

    @property
    def has_checkpoint(self) -> bool:
        return (self.folder / "checkpoint" / "latest.json").is_file()

    def write_json(self, name: str, value: Any) -> None:
        if self.writes:
            atomic.write_json(self.folder / name, value)

    def write(self, name: str, write: Callable[[Path], None], step: int) -> None:
        """Has `write` make the file beside its place, and moves it there when it is whole."""
        path = self.folder / name
        with self.mention_checkpoint(name, step):
            path.parent.mkdir(exist_ok=True)
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
            with atomic.explain_os_errors(self.folder):
                yield
        except RunFailed as error:
            kept = f"\n  the last good checkpoint is kept; then: chainrule resume {self.folder}"
            raise RunFailed(f"{what} of step {step}: {error}{kept if self.has_checkpoint else ''}") from error.__cause__

    def discard(self, made_folder: bool) -> None:
        """Takes back a start that came to nothing: run.json, and the folder if it was made for the run."""
        if not self.writes or (self.folder / "checkpoint").exists():
            return
        (self.folder / "run.json").unlink(missing_ok=True)
        if made_folder:
            with contextlib.suppress(OSError):  # something of the user's lies in it, or in the folder above
                self.folder.rmdir()
                if self.folder.parent == Path("runs"):
                    self.folder.parent.rmdir()
