"""Runs that an earlier program wrote, in format 1: they open, answer and resume.

In format_1/ stand two of the same training (`mlp-table` on iris): one that is done, and one interrupted at step 57 of
240. Another machine may add in another order, so numbers are compared as far as rounding lets them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import chainrule
from chainrule.run.run import Run

FORMAT_1 = Path(__file__).with_name("format_1")


@pytest.fixture
def done(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FORMAT_1 / "done", tmp_path / "done"))


def read(folder: Path, name: str = "result.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text("utf-8"))


def lines(folder: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    for line in found:
        del line["seconds"]
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_it_opens(done: Path) -> None:
    run = Run.load(done, "cpu")
    assert run.record["format"] == 1 and run.record["status"] == "done" and run.recipe.name == "mlp-table"
    assert run.result() == read(done) and run.log_lines()[-1]["step"] == 240
    assert sum(p.numel() for m in run.open_task().modules().values() for p in m.parameters()) == 51


def test_it_answers_and_stays_as_it_is(done: Path) -> None:
    before = files(done)
    found, old = chainrule.evaluate(done, device="cpu"), read(done)["metrics"]
    assert {name: found[name] for name in old} == pytest.approx(old, abs=1e-6)  # there may be more by now
    answers = chainrule.predict(done, ["5.1,3.5,1.4,0.2", "6.7,3.0,5.2,2.3"], device="cpu")
    assert [answer["class"] for answer in answers] == ["setosa", "virginica"]
    assert files(done) == before


def test_it_is_explained_exported_and_reported(done: Path) -> None:
    assert "51" in chainrule.explain(done, device="cpu").read_text("utf-8")
    found = chainrule.export(done, "torch")
    assert found["largest_difference"] <= found["tolerance"]
    assert "virginica" in chainrule.report(done).read_text("utf-8")


def test_a_stopped_one_resumes(done: Path, tmp_path: Path) -> None:
    stopped = Path(shutil.copytree(FORMAT_1 / "stopped", tmp_path / "stopped"))
    assert read(stopped, "run.json")["status"] == "interrupted" and not (stopped / "result.json").exists()
    chainrule.resume(stopped, device="cpu")
    assert read(stopped, "run.json")["status"] == "done"
    found, old = read(stopped)["metrics"], read(done)["metrics"]
    assert {name: found[name] for name in old} == pytest.approx(old, rel=1e-5)
    found, expected = lines(stopped), lines(done)
    assert len(found) == len(expected)
    for line, other in zip(found, expected, strict=True):
        assert {name: line[name] for name in other} == pytest.approx(other, rel=1e-5)
