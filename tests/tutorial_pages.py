"""Goes through a tutorial as a reader would: its examples in order and in one namespace, its commands."""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chainrule.cli import cli

ROOT = Path(__file__).resolve().parent.parent
FLAGS = doctest.IGNORE_EXCEPTION_DETAIL


def text_of(page: str) -> str:
    return (ROOT / f"docs/tutorial-{page}.md").read_text("utf-8")


def blocks(text: str) -> Iterator[tuple[str, str, str, int]]:
    """Kind, title, content and line of every fenced block, in the order of the page."""
    for found in re.finditer(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", text, re.M | re.S):
        yield found[1], found[2] or "", found[3], text.count("\n", 0, found.start()) + 1


def run_examples(content: str, namespace: dict[str, Any], line: int) -> None:
    """Compares what the examples print with what the page says; the namespace goes on to the next block."""
    test = doctest.DocTestParser().get_doctest(content, namespace, f"line {line}", "the page", line)
    assert test.examples, f"line {line}: a Python block without an example"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    runner.run(test, out=said.append, clear_globs=False)
    assert not runner.failures, "".join(said)
    namespace.update(test.globs)


def run_command(line: str, status: int = 0) -> Result:
    words = shlex.split(line)
    assert words[0] == "chainrule", line
    done = CliRunner().invoke(cli, words[1:])
    ended = getattr(done.exception, "exit_status", done.exit_code)
    assert ended == status, f"{line}\n{done.output}\n{done.exception!r}"
    return done


def follow(text: str) -> tuple[int, int]:
    """Goes through the page as a reader would. Gives how many examples' blocks and commands there were."""
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    printed, told, shown, commands = "", [], 0, 0
    for kind, title, content, line in blocks(text):
        if kind == "python" and title:  # a file that the reader writes
            Path(title).write_text(content, "utf-8")
        elif kind == "python":
            run_examples(content, namespace, line)
            shown += 1
        elif kind == "console":
            done = [run_command(command, int(title or 0)) for command in content.splitlines()]
            printed = "".join(one.stdout for one in done)
            said = [f"{one.stderr}\nchainrule: {one.exception}" for one in done]  # as `main` tells an error
            told = [line.rstrip() for one in said for line in one.splitlines()]
            commands += len(content.splitlines())
        elif kind == "text":  # what the command before it prints
            assert printed == content, f"line {line}"
        elif kind == "messages":  # lines that it says on the way, among others
            assert content and set(content.splitlines()) <= set(told), f"line {line}: {told}"
        else:
            raise AssertionError(f"line {line}: a block of kind {kind!r} that nothing runs")
    return shown, commands


def check(page: str, folder: Path, *, examples: int, files: tuple[str, ...]) -> None:
    """That the page can be followed in this folder, by how many blocks of examples at least, and the files it leaves."""
    with pytest.MonkeyPatch.context() as patch:  # what a training draws at its end, tests/contracts looks at
        patch.setattr("chainrule.api.training._report", lambda run: (run.folder / "report.html").touch())
        shown, commands = follow(text_of(page))
    assert shown > examples and commands > 4
    for file in files:
        assert (folder / file).stat().st_size > (100 if file.endswith(".csv") else 1000), file
    for run in (folder / "runs").iterdir():
        assert (run / "report.html").is_file(), run
