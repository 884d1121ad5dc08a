"""Ctrl-C and SIGTERM while training: the first is remembered until the step ends, the second stops at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainrule.core.errors import Interrupted
from chainrule.core.files.standard_streams import say


class Signals:
    """What has been caught; `caught` is the signal's number, or None."""

    def __init__(self) -> None:
        self.caught: int | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        old: dict[int, Any] = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not in the main thread: signals belong to the caller
                old[int(number)] = signal.signal(number, self._remember)
        try:
            yield
        finally:
            for watched, handler in old.items():
                signal.signal(watched, handler)

    def interrupted(self, where: str, folder: Path) -> Interrupted:
        """The error that ends the run in `folder` where it is: of what was caught here, or by another process."""
        return Interrupted(
            f"stopped after {where}; resume with:\n  chainrule resume {folder}", self.caught or signal.SIGINT
        )

    def _remember(self, number: int, frame: Any) -> None:
        if self.caught is not None:
            raise KeyboardInterrupt
        self.caught = number
        say("stopping after this step; once more to stop at once")
