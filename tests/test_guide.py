"""docs/adding-a-system.md is followed in a copy of the repository: a family is added, and nothing central is edited."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_documents import ADDED, GENERATED, GUIDE, ROOT, added_by_guide, blocks

pytestmark = pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="needs the repository")


def copy_of_the_repository(place: Path) -> None:
    """What the guide is followed in: package, tests and documents."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("src", "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / folder, place / folder, ignore=unwanted)
    for file in ROOT.iterdir():
        if file.suffix in (".md", ".toml", ".txt") or file.name in ("Makefile", "LICENSE"):
            shutil.copy(file, place)


IN_TURN = """
import contextlib, io, json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = words
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            assert not end.code, (words, end.code, said.getvalue())
    print(json.dumps(said.getvalue()))
"""


def run_program(place: Path, words: list[str]) -> str:
    """Runs `python WORDS` with the package of the copy; it must end well."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(place / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done.stdout


def run_in(place: Path, words: list[str]) -> str:
    """Runs `python -m WORDS` in the copy."""
    return run_program(place, ["-m", *words])


def run_in_turn(place: Path, *commands: list[str]) -> list[str]:
    """What each `python -m WORDS` prints, one after another in one process, which imports everything once."""
    return [json.loads(line) for line in run_program(place, ["-c", IN_TURN, json.dumps(commands)]).splitlines()]


def follow_the_guide(place: Path) -> list[list[str]]:
    """Writes its files into a copy and the documents that follow from them; gives its commands."""
    copy_of_the_repository(place)
    files = added_by_guide()
    assert len(files) == 4
    for name, content in files.items():
        assert not (place / name).exists(), name
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content, "utf-8")
    lines = [line for block in blocks(GUIDE, "console") for line in block.splitlines()]
    found = [shlex.split(line.removeprefix("python -m ")) for line in lines]
    wanted = ("chainrule", "pytest", "chainrule.reporting.documents")
    return [words for words in found if words[0] in wanted and "mnist" not in words]


def test_the_guide_adds_a_family(tmp_path: Path) -> None:
    """Its files into a copy: the family is listed, shown, trained, and in every generated document."""
    *shown, _, contracts, write_documents = follow_the_guide(tmp_path)
    answers = run_in_turn(tmp_path, *shown, write_documents)
    assert any(line.startswith(f"{ADDED} ") for line in answers[0].splitlines())
    assert "1,233,610 trainable parameters" in answers[1]
    assert float(answers[2].split()[1]) > 0.85  # accuracy
    assert (tmp_path / "runs/maxout-first/report.html").is_file()
    assert contracts == ["pytest", "tests/contracts", "-k", ADDED]
    for name in ("README.md", "README.zh.md", *GENERATED[:4], f"docs/families/{ADDED}.md"):
        assert ADDED in (tmp_path / name).read_text("utf-8").lower(), name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_added_family_keeps_every_contract(tmp_path: Path) -> None:
    """Nothing central is edited: in a copy with the family its own test passes, the whole contract suite holds (of the
    slow part what concerns the family), and the documents are checked as they are here. `make test-guide`, a step of CI."""
    *_, test, contracts, write_documents = follow_the_guide(tmp_path)
    run_in(tmp_path, write_documents)
    shared_out = ["--numprocesses", "auto", "--dist", "loadgroup", "--no-loadscope-reorder"]
    whole = ["pytest", "tests/contracts", "-m", "not slow", *shared_out]
    documents = ["pytest", "tests/test_documents.py", "-k", "not example"]
    for words in (test, whole, [*contracts, "-m", "slow"], documents):
        assert "passed" in run_in(tmp_path, words)
