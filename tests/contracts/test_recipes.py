"""What must hold for every recipe: it trains on its tiny settings and few rows, and then every verb answers.

What is trained, written and measured is the recipe's own, and asked of each. The verbs that a class of tasks answers
with are asked once for each class, kind of task and data, of the recipe that comes first: every recipe must build what
it is annotated with. Stops and resuming stand in test_stops.py.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import chainrule
from chainrule.api import measure
from chainrule.cli import cli
from chainrule.core.answers import flat
from chainrule.core.errors import UserError
from chainrule.core.recipe import Recipe
from chainrule.core.settings import parameters
from chainrule.core.task import Exports, Figure, Generates, Predicts, Prepares
from chainrule.core.verbs import verbs_of
from chainrule.models import all_cards
from chainrule.run.run import Run
from chainrule.run.settings import run_settings
from tests.contracts.every_recipe import RECIPES, first_of_each, listed, question, record, result, task_class, trained

pytestmark = pytest.mark.usefixtures("few_rows")
LOADS = re.compile(
    r"""(?:src|href|action|data|poster|srcset)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?\s*(?:https?:)?//|@import""",
    re.I,
)


ANSWERS = first_of_each(lambda recipe: (task_class(recipe), recipe.task, recipe.tiny.get("data", recipe.data)))


def of(names: list[str]) -> pytest.MarkDecorator:
    """The test is asked of these recipes alone."""
    return pytest.mark.parametrize("recipe", [RECIPES[name] for name in names], ids=names, indirect=True)


@pytest.fixture(params=RECIPES.values(), ids=lambda recipe: recipe.name)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return request.param


@pytest.fixture
def folder(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run; not to be written into."""
    return trained(recipe, tmp_path_factory)


@pytest.fixture
def locked(recipe: Recipe, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The run copied elsewhere and read-only: whatever is asked of it, it answers, and nothing in it changes."""
    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("copied run") / recipe.name))
    before, files = state_of(copy), [copy, *copy.rglob("*")]
    for file in reversed(files):
        file.chmod(file.stat().st_mode & ~0o222)
    yield copy
    try:
        assert state_of(copy) == before, "looking at a run has written into it"
    finally:
        for file in files:
            file.chmod(file.stat().st_mode | 0o200)


def is_experiment(recipe: Recipe) -> bool:
    """It measures points, with many models or none: there is no network to show, and nothing to choose."""
    return task_class(recipe) == "Study"


def state_of(folder: Path) -> dict[str, tuple[int, str]]:
    """When each file was written, and what it holds."""
    return {
        str(file.relative_to(folder)): (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_is_described(recipe: Recipe) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", recipe.name) and recipe.summary.endswith(".")
    assert recipe.model in all_cards() or is_experiment(recipe), "the recipe names a model that has no card"
    assert recipe.family and recipe.task and recipe.data and recipe.source
    if recipe.target:
        assert recipe.target.protocol and recipe.target.source and math.isfinite(recipe.target.value)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", recipe.target.metric)


def test_run_json_says_everything(recipe: Recipe, folder: Path) -> None:
    found = record(folder)
    assert found["status"] == "done" and found["recipe"] == recipe.name and found["seed"] == 3
    assert set(found["settings"]) == set(parameters(recipe.build)), "a setting is missing from run.json"
    assert set(found["common"]) == set(parameters(run_settings))
    for key, value in recipe.tiny.items():
        if key == "data":
            assert found["data"]["source"] == value
        else:
            assert {**found["settings"], **found["common"]}[key] == (list(value) if isinstance(value, tuple) else value)
    assert found["versions"]["torch"] == torch.__version__ and set(found["versions"]) == {
        "python",
        "torch",
        "chainrule",
    }
    assert found["hardware"] and found["device"] == "cpu" and found["threads"] >= 1
    assert found["data"]["spec"]["fingerprint"] and found["data"]["spec"]["counts"] and found["data"]["spec"]["splits"]


@of(["gaussian-mixture"])
def test_run_json_names_the_commit(folder: Path) -> None:
    command = ["git", "-C", str(Path(chainrule.__file__).parent), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert record(folder)["commit"] == (done.stdout.strip() if done.returncode == 0 else None)


def test_result_json_says_what_was_measured(recipe: Recipe, folder: Path) -> None:
    found = result(folder)
    keys = {"recipe", "metrics", "protocol", "chosen", "steps", "seconds", "parameters", "device", "data", "seed"}
    assert keys <= set(found) and found["recipe"] == recipe.name and found["steps"] > 0
    assert found["parameters"] > 0 or is_experiment(recipe)
    for name, value in found["metrics"].items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), f"{name} is no plain name"
        assert isinstance(value, (int, float)) and math.isfinite(value), f"{name} is {value}"
        if name in ("accuracy", "error", "f1", "miou", "map50"):
            assert 0 <= value <= 1, "a fraction, not a percentage"
    if recipe.target:
        assert recipe.target.metric in found["metrics"], "the target's metric is not measured"
    chosen = found["chosen"]
    assert (chosen is None) == ("no choice was made" in found["protocol"]), "the protocol must say what chose"
    assert chosen is None or ("chose" in found["protocol"] and chosen["step"] <= found["steps"])
    assert not chosen or "test" not in chosen["metric"], "the test split chooses nothing"
    assert ("test" in found["protocol"] or is_experiment(recipe)) and "once" in found["protocol"]


def test_nothing_but_the_contract_lies_in_the_folder(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()} - {"figures", "samples"}
    assert names == {"run.json", "metrics.jsonl", "result.json", "checkpoint", "report.html"}
    suffixes = {file.suffix for file in (folder / "checkpoint").rglob("*") if file.is_file()}
    assert suffixes <= {".json", ".safetensors"}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert lines and all({"step", "seconds"} <= set(line) for line in lines)
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)


def test_opened_it_is_what_it_says_and_measures_what_training_measured(recipe: Recipe, folder: Path) -> None:
    """Of the class that the recipe is annotated with, whose verbs are asked of one recipe for all."""
    run = Run.load(folder, "cpu")
    assert measure(run, None) == result(folder)["metrics"]
    assert type(run.task).__name__ == task_class(recipe)


@of(ANSWERS)
def test_its_own_data_by_name_are_its_test_split(locked: Path) -> None:
    """What a run has learnt from measures nothing."""
    source = record(locked)["data"]["source"]
    assert chainrule.evaluate(locked, device="cpu") == result(locked)["metrics"]
    assert chainrule.evaluate(locked, data=source, device="cpu") == result(locked)["metrics"]


@of(ANSWERS)
def test_predict(recipe: Recipe, locked: Path, tmp_path: Path) -> None:
    run = Run.load(locked, "cpu")
    if not isinstance(run.task, Predicts):
        with pytest.raises(UserError, match="does not predict"):
            chainrule.predict(locked, ["x"], device="cpu")
        pytest.skip(f"{recipe.name} does not predict")
    asked = question(recipe, locked, tmp_path)
    answers = chainrule.predict(locked, [asked, asked], out=tmp_path, device="cpu")
    assert len(answers) >= 2 and all(isinstance(answer, dict) and answer for answer in answers)
    one, other = answers[0], answers[len(answers) // 2]
    assert {k: v for k, v in one.items() if k != "input"} == {k: v for k, v in other.items() if k != "input"}
    json.dumps(answers)
    with pytest.raises(UserError, match="nothing to predict"):
        chainrule.predict(locked, [], device="cpu")


@of([name for name in ANSWERS if "predict" in verbs_of(RECIPES[name])])
def test_predict_takes_a_list_and_writes_a_table(recipe: Recipe, locked: Path, tmp_path: Path) -> None:
    """Images and series as files in a CSV, rows and texts as its lines: the table of answers is that of the JSON ones.

    Files have more of a classifier's answer than a list in memory: every class with its number.
    """
    spec = record(locked)["data"]["spec"]
    asked = listed(question(recipe, locked, tmp_path), spec, tmp_path)
    expected = chainrule.predict(locked, [asked], device="cpu")
    chainrule.predict(locked, [asked], out=tmp_path / "answers.jsonl", device="cpu")
    written = list(map(json.loads, (tmp_path / "answers.jsonl").read_text("utf-8").splitlines()))
    rest = [{name: line.pop(name, {}) for name in ("probabilities", "scores")} for line in written]
    assert written == expected and all(
        not each or set(expected[0]["top"]) <= set(each) for more in rest for each in more.values()
    )
    chainrule.predict(locked, [asked], out=tmp_path / "answers.csv", device="cpu")
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and [row["mine"] for row in rows] == ["a", "b"]
    for row, answer in zip(rows, expected, strict=True):
        assert row.items() >= {name: str(value) for name, value in flat(answer).items()}.items()
        beside = set(row) - set(flat(answer))
        assert all(name.startswith(("probability_", "score_")) for name in beside)


@of(ANSWERS)
def test_generate(recipe: Recipe, locked: Path, tmp_path: Path) -> None:
    task = Run.load(locked, "cpu").task
    if not isinstance(task, Generates):
        with pytest.raises(UserError, match="does not generate"):
            chainrule.generate(locked, device="cpu")
        pytest.skip(f"{recipe.name} does not generate")
    short = {"length": 20} if "length" in parameters(task.generate) else {}
    samples = [
        chainrule.generate(locked, count=2, seed=seed, out=tmp_path / str(number), device="cpu", **short)
        for number, seed in enumerate((1, 1, 2))
    ]
    json.dumps(samples)
    assert [len(some) for some in samples] == [2, 2, 2]
    written = [{f.name: f.read_bytes() for f in sorted((tmp_path / str(i)).rglob("*"))} for i in range(3)]
    assert written[0] and written[0] == written[1] != written[2], "the seed decides the samples, and nothing else does"
    with pytest.raises(UserError, match="out of range"):
        chainrule.generate(locked, count=0, out=tmp_path, device="cpu")


@of(ANSWERS)
def test_explain(recipe: Recipe, locked: Path, tmp_path: Path) -> None:
    run = Run.load(locked, "cpu")
    if is_experiment(recipe):
        with pytest.raises(UserError, match="is a study"):
            chainrule.explain(recipe.name)
        pytest.skip("a study has no one network")
    pages = [chainrule.explain(locked, out=tmp_path / "run.html", device="cpu"), chainrule.explain(recipe.name)]
    if isinstance(run.task, Prepares):
        asked = question(recipe, locked, tmp_path)
        pages.append(chainrule.explain(locked, [asked], out=tmp_path / "input.html", device="cpu"))
    for page in pages:
        text = page.read_text("utf-8")
        assert text.lstrip().lower().startswith("<!doctype html") and not LOADS.search(text), LOADS.search(text)
    for module in run.task.modules().values():
        held = [*module.named_parameters(), *module.named_buffers()]
        assert all(name in pages[0].read_text("utf-8") for name, _ in held)


@of(ANSWERS)
def test_report(locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, drawn = type(Run.load(locked, "cpu").task), []
    figures = kind.figures

    def watched(task: Any) -> list[Figure]:
        drawn.extend(found := figures(task))
        return found

    monkeypatch.setattr(kind, "figures", watched)
    again = chainrule.report(locked, out=tmp_path / "again.html").read_text("utf-8")
    for text in ((locked / "report.html").read_text("utf-8"), again):
        assert text.lstrip().lower().startswith("<!doctype html") and not LOADS.search(text), LOADS.search(text)
        assert all(name.replace("_", " ") in text.replace("_", " ") for name in result(locked)["metrics"])
    for figure in drawn:
        assert figure.title and (figure.png or figure.svg or figure.table)
        assert figure.png is None or figure.png.startswith(b"\x89PNG")
    assert os.listdir() == ["again.html"]  # noqa: PTH208  # nothing else is left where the command was given


@of(ANSWERS)
def test_export(recipe: Recipe, locked: Path, tmp_path: Path) -> None:
    if not isinstance(Run.load(locked, "cpu").task, Exports):
        with pytest.raises(UserError, match="nothing to export"):
            chainrule.export(locked, "torch")
        pytest.skip(f"{recipe.name} has nothing to export")
    found = chainrule.export(locked, "torch", out=tmp_path)
    assert (
        Path(found["file"]).is_file()
        and found["largest_difference"] <= found["tolerance"]
        and len(found["batches"]) > 1
    )


def test_show(recipe: Recipe) -> None:
    done = CliRunner().invoke(cli, ["show", recipe.name])
    assert done.exit_code == 0, done.exception
    card = all_cards().get(recipe.model or "")
    with torch.device("meta"):
        model = card.build() if card is not None else None
    if card is not None and isinstance(model, torch.nn.Module):
        assert re.search(r"[1-9][\d,]* (trainable parameters|numbers are estimated)", done.output)
        assert card.parameters is None or f"{card.parameters:,} trainable parameters" in done.output
    assert all(f"{name}=" in done.output for name in parameters(recipe.build, run_settings))
    assert f"chainrule train {recipe.name}" in done.output and recipe.summary in done.output


@of(["gaussian-mixture"])
def test_the_same_run_twice_is_the_same(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    """One for all: the tests of stops hold it for each."""
    again = chainrule.train(recipe.name, out=tmp_path / "again", device="cpu", seed=3, **recipe.tiny)
    other = chainrule.train(recipe.name, out=tmp_path / "other", device="cpu", seed=4, **recipe.tiny)
    assert again.result()["metrics"] == result(folder)["metrics"] != other.result()["metrics"]  # type: ignore[index]


@of(["gaussian-mixture"])
def test_a_run_that_is_done_does_not_resume(folder: Path) -> None:
    with pytest.raises(UserError, match="this run is done"):
        chainrule.resume(folder)
