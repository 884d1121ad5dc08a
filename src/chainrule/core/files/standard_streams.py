"""stdout and stderr where they are closed, full, or read by nobody any more: a run continues, its numbers are in its folder."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from chainrule.core.language.translation import translate


def open_closed() -> None:
    """Opens what is closed of 0, 1 and 2 on the null device, that no file of a run gets its number; text that has no
    form in a stream's encoding is written with escapes."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = "r" if number == 0 else "w"
            handle = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def silence(stream: TextIO) -> None:
    """From now on all that is written to the stream, and what it still holds, goes to the null device."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def say(text: str) -> None:
    """A message to the person, on stderr: stdout belongs to results. Where it cannot be written nothing stops for it."""
    stream = sys.stderr
    if stream is None or stream.closed:
        return
    try:
        print(translate(text), file=stream, flush=True)
    except OSError:
        silence(stream)
