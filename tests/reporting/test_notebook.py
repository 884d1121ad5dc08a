"""What a notebook shows of a run, and reports of runs with stages."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import chainrule
from chainrule.core.recipe import Recipe
from chainrule.core.task import Figure
from chainrule.reporting.comparison import compare
from chainrule.reporting.learning_curves import curves_by_stage
from chainrule.reporting.report import describe_run, write_report
from chainrule.run.run import Run
from tests.run import toy
from tests.run.staged_toy import Mixture, Noisy, learn
from tests.trained import lenet_run


def images(html: str) -> list[str]:
    """The texts of the SVG images in a page, each of them well-formed."""
    found = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    texts = [base64.b64decode(each).decode() for each in found]
    assert all(ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg" for text in texts)
    return texts


def test_a_run_shows_its_head_and_curves(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_task(run: Run) -> None:
        raise AssertionError("it opens data and weights")

    run = chainrule.Run.load(lenet_run(tmp_path_factory))
    monkeypatch.setattr(Run, "open_task", no_task)
    html = run._repr_html_()
    result = run.result()
    assert result is not None
    assert run.recipe.name in html and "done" in html and f"{result['metrics']['error']:.4g}" in html
    drawn = images(html)
    assert len(drawn) >= 2 and any("val_loss" in text for text in drawn)
    assert not re.search(r"<(script|style|link)|\bid=|src=\"(?!data:)|href=", html), "it meets what other cells show"


def test_a_run_that_wrote_nothing_shows_itself(tmp_path: Path) -> None:
    run = toy.new(tmp_path / "run")
    run.set_status("failed", "a < b")
    html = run._repr_html_()
    assert "toy" in html and "failed" in html and "a &lt; b" in html and not images(html)


class Task:
    """As much of one as a report asks for."""

    def modules(self) -> dict[str, nn.Module]:
        return {"net": Noisy(), "mixture": Mixture()}

    def figures(self) -> list[Figure]:
        return []


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three stages, opened as `report` opens it."""
    recipe = Recipe("toy", "toy", "digits", "toy", lambda run: Task(), "lenet-caffe")
    folder = tmp_path_factory.mktemp("staged") / "run"
    run = toy.new(folder, log_every=1)
    with run.active():
        learn(run)
        result: dict[str, Any] = {"metrics": {"sum": 0.25}, "chosen": run.chosen, "steps": run.step}
        run.finish({**result, "parameters": 20, "protocol": "p", "seconds": 1.0}, report=lambda: None)
    return Run.load(folder, "cpu", recipe=recipe)


def test_curves_by_stage(staged: Run, tmp_path: Path) -> None:
    curves = curves_by_stage(staged)
    assert list(curves) == ["pretrain", "cluster", "fine-tune"]
    assert [figure.title for figure in curves["cluster"]] == ["Log-likelihood, nats a sample"]
    assert curves["pretrain"][0].title == curves["fine-tune"][0].title == "Loss"
    page = write_report([staged], tmp_path / "report.html").read_text("utf-8")
    heads = re.findall(r'<h3 class="stage">(.*?)</h3>', page)
    assert heads == ["pretrain", "cluster", "fine-tune"]
    assert "What was tried in cluster" in page and page.count("kept") == 1
    assert "weights chosen in pretrain" in page and "weights chosen in fine-tune" in page
    clips = re.findall(r'<clipPath id="([^"]+)"', page)
    assert len(clips) == len(set(clips)) > 3, "two figures of one name share their ids"
    html = staged._repr_html_()
    assert [html.index(f"<b>{name}</b>") for name in heads] == sorted(html.index(f"<b>{name}</b>") for name in heads)


def test_steps_of_a_run_that_has_not_ended(staged: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = staged.result()
    assert result is not None
    monkeypatch.setattr(Run, "result", lambda run: None)
    assert describe_run(staged, "run", alone=False)["about"]["steps"] == result["steps"]


def test_stages_side_by_side(staged: Run) -> None:
    titles = [figure.title for figure in compare([staged, staged], ["a", "b"])["curves"]]
    assert "pretrain: validation loss" in titles and "fine-tune: validation loss" in titles
    assert titles[-1].endswith("lr")
