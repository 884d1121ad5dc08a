"""What torchrun starts in a test: a training, one of whose processes dies the first time."""

from __future__ import annotations

import os
import signal
import sys

from chainrule import cli
from chainrule.run.run import Run

RANK, STEP = "1", 9


def main(words: list[str]) -> None:
    track = Run.track

    def track_and_die(run: Run, **values: object) -> None:
        if run.step == STEP:
            os.kill(os.getpid(), signal.SIGKILL)
        track(run, **values)  # type: ignore[arg-type]

    if os.environ["RANK"] == RANK and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        Run.track = track_and_die  # type: ignore[method-assign, assignment]
    cli.main(words)


if __name__ == "__main__":
    main(sys.argv[1:])
