"""The tutorials are executed: the examples of a page in order and in one namespace, its commands, its images."""

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
PAGES = {  # by the pages and files that their commands leave
    "ground": ("graph.html", "neuron.html", "activations.png", "policies.svg", "plants.html"),
    "vision": ("why.html", "why-not-5.html", "runs/digits/export/model.onnx"),
    "own": ("both.html", "answers.csv", "runs/shapes/explain.html", "runs/shapes/export/model.pt2"),
}
ILLUSTRATED = ("ground", "vision")
IMAGES = r"!\[([^\]]+)\]\((figures/[^)]+)\)"
FLAGS = doctest.IGNORE_EXCEPTION_DETAIL

pytestmark = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="needs the repository")


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


@pytest.mark.parametrize("page", PAGES)
def test_the_tutorial_can_be_followed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown, commands = follow(text_of(page))
    assert shown > (15 if page in ILLUSTRATED else 5) and commands > 5
    for file in PAGES[page]:
        assert (tmp_path / file).stat().st_size > (100 if file.endswith(".csv") else 1000), file
    for run in (tmp_path / "runs").iterdir():
        assert (run / "report.html").is_file(), run


@pytest.mark.parametrize(
    "wrong",
    [
        "```python\n>>> 1 + 1\n3\n```\n",
        "```python\n>>> a = 1\n\n```\n\n```python\n>>> a + b\n1\n```\n",
        "```python\nprint(1)\n```\n",
        "```console\nchainrule trian ravine\n```\n",
        '```console\nchainrule explain "x*x" x=2\n```\n\n```text\nf = 5\n```\n',
        "```console\nchainrule list\n```\n\n```messages\nnot said\n```\n",
        "```sh\nls\n```\n",
        "```console 2\nchainrule list\n```\n",
    ],
)
def test_a_wrong_page_would_be_seen(wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        follow(wrong)


@pytest.mark.parametrize("page", ILLUSTRATED)
def test_its_images_are_small_and_made_by_the_program(page: str) -> None:
    named = re.findall(IMAGES, text_of(page))
    maker = (ROOT / "docs/figures/make.py").read_text("utf-8")
    assert len(named) >= 3
    for title, path in named:
        file = ROOT / "docs" / path
        assert title and 1_000 < file.stat().st_size < 100_000, path
        assert file.name in maker, path


def test_every_tutorial_is_followed() -> None:
    found = {file.stem.removeprefix("tutorial-") for file in (ROOT / "docs").glob("tutorial-*.md")}
    assert found == {*PAGES, "own.zh"}


def test_the_translation_has_the_same_examples() -> None:
    """What is run is the English page; the Chinese one shows the same."""
    english, chinese = ([block[:3] for block in blocks(text_of(page))] for page in ("own", "own.zh"))
    assert english == chinese
