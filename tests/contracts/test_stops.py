"""A run that is stopped between two steps and resumed gives, bit for bit, the numbers of one that was never stopped.

The stops are made in this process, at boundaries between steps that the test chooses. Every recipe is stopped at its
first, middle and last step and at its first validation; one of each family and task at `MOST` steps, so at every one
where it has no more, and by the slow tests at every step. Processes that are really killed: test_kill_and_resume.py.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Collection
from pathlib import Path

import pytest

import chainrule
from chainrule.core.errors import Interrupted
from chainrule.core.recipe import Recipe
from chainrule.run.run import Run
from tests.contracts.endurance import assert_same, is_done, numbers
from tests.contracts.every_recipe import RECIPES, first_of_each, result, task_class, trained

pytestmark = pytest.mark.usefixtures("few_rows")
MOST = 10  # stops of a run in the fast tests
FOR_THE_OTHERS = first_of_each(lambda recipe: (recipe.family, task_class(recipe)))
DRAWN = first_of_each(task_class)  # whose report is drawn after all the stops


class Died(BaseException):
    """The process is gone; what it would still write must not be needed."""


@pytest.fixture(params=RECIPES.values(), ids=lambda recipe: recipe.name)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return request.param


def spread(steps: int, most: int) -> set[int]:
    """At most `most` of the steps 1 to `steps`, first and last among them."""
    count = min(steps, most)
    return {1 + round(index * (steps - 1) / max(1, count - 1)) for index in range(count)}


def test_spread() -> None:
    assert spread(1, 3) == {1} and spread(2, 3) == {1, 2} and spread(4, 4) == {1, 2, 3, 4} and spread(9, 3) == {1, 5, 9}


def stop_at(steps: Collection[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends runs at the boundaries after these steps and, where one ends its epoch, at the boundary of that too.

    By turns: interrupted, as Ctrl-C does; and saved but dead at the next boundary, whose lines and step are then made
    once more. At every boundary that a run is resumed from, it was saved.
    """
    between_steps, set_status = Run._between_steps, Run.set_status
    seen: set[tuple[int, int, int]] = set()
    dying: set[Run] = set()

    def stopping(run: Run, boundary: bool = False) -> None:
        place = (run.step, run.epoch, run.position)
        dies = run in dying
        if not dies and run.step in steps and place not in seen:
            seen.add(place)
            if len(seen) % 2:
                run._signals.caught = signal.SIGINT
            else:
                run._saved_at = -math.inf  # so a checkpoint is due
                dying.add(run)
        between_steps(run, boundary)
        if dies:
            raise Died

    def silent(run: Run, status: str, reason: str | None = None) -> None:
        if status != "failed":
            set_status(run, status, reason)

    monkeypatch.setattr(Run, "_between_steps", stopping)
    monkeypatch.setattr(Run, "set_status", silent)


def check(recipe: Recipe, whole: Path, folder: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains into `folder` with stops at `most` steps and the first validation, and compares with the run in `whole`."""
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text("utf-8").splitlines()]
    validated = [line["step"] for line in lines if any(name.startswith("val_") for name in line)]
    steps = spread(result(whole)["steps"], most) | set(validated[:1])
    stop_at(steps, monkeypatch)
    lives = 0
    while not is_done(folder):
        lives += 1
        assert lives <= 4 * len(steps) + 4, "it does not come to its end"
        try:
            if lives == 1:
                # No checkpoint comes by the clock: what is saved is what the test has saved.
                chainrule.train(recipe.name, out=folder, device="cpu", seed=3, **{"checkpoint_s": 1e9, **recipe.tiny})
            else:
                chainrule.resume(folder, device="cpu")
        except (Interrupted, Died):
            pass
    # One that is saved after the last step of all has no boundary left to die at.
    assert lives >= len(steps), "it was stopped at fewer boundaries than asked for"
    assert_same(numbers(whole), numbers(folder))


def test_stopped_and_resumed(
    recipe: Recipe, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(recipe, tmp_path_factory)
    if recipe.name not in DRAWN:  # the report is drawn from what is compared
        monkeypatch.setattr("chainrule.api.training._report", lambda run: (run.folder / "report.html").touch())
    check(recipe, whole, tmp_path / "run", MOST if recipe.name in FOR_THE_OTHERS else 3, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [RECIPES[n] for n in FOR_THE_OTHERS], ids=FOR_THE_OTHERS, indirect=True)
def test_stopped_at_every_step_and_resumed(
    recipe: Recipe, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(recipe, tmp_path_factory)
    check(recipe, whole, tmp_path / "run", result(whole)["steps"], monkeypatch)
