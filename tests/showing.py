"""`chainrule show` in tests: its exit status, and what it says on stdout and stderr."""

from __future__ import annotations

import pytest

from chainrule.cli import main


def show(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        main(["show", *words])
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err
