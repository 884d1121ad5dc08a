"""A run that is killed and resumed gives, bit for bit, the numbers of one that was never stopped. For every recipe; quickly, for every loop."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from chainrule.core.discovery import all_recipes
from tests.contracts.endurance import assert_same, numbers, start, train_whole, train_with_kills

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
RECIPES = list(all_recipes().values())
# A recipe for each loop and each kind of state that it carries; the others share theirs and are killed by the slow tests.
ONE_A_LOOP = {
    "lenet-caffe",
    "char-lstm",
    "gaussian-mixture",
    "dcgan",
    "dqn",
    "mlp-backprop",
    "mlp-table",
    "mlp-series",
    "kernel-svm",
    "ravine",
    "style",
}


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.name in ONE_A_LOOP], ids=lambda r: r.name)
def test_killed_thrice(recipe, tmp_path: Path) -> None:
    duration = train_whole(recipe, tmp_path / "whole", checkpoint_s=0)
    train_with_kills(recipe, tmp_path / "killed", 3, duration, random.Random(recipe.name), checkpoint_s=0)
    assert_same(numbers(tmp_path / "whole"), numbers(tmp_path / "killed"))


def test_one_a_loop_names_recipes() -> None:
    assert {recipe.name for recipe in RECIPES} >= ONE_A_LOOP


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_killed_at_twenty_instants(recipe, tmp_path: Path) -> None:
    """Checkpoints at every step, so that many of the kills fall into the writing of one."""
    duration = train_whole(recipe, tmp_path / "whole", checkpoint_s=0)
    expected = numbers(tmp_path / "whole")
    draw, kills, number = random.Random(f"twenty {recipe.name}"), 0, 0
    while kills < 20:
        folder = tmp_path / f"killed{number}"
        kills += train_with_kills(recipe, folder, 20 - kills, duration, draw, checkpoint_s=0)
        assert_same(expected, numbers(folder))
        number += 1


def test_interrupt_saves_and_exits_130(tmp_path: Path) -> None:
    recipe = all_recipes()["lenet-caffe"]
    train_whole(recipe, tmp_path / "whole", epochs=4)
    child = start(recipe, tmp_path / "stopped", epochs=4)
    while not (tmp_path / "stopped" / "metrics.jsonl").is_file():
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGINT)
    child.join()
    assert child.exitcode != 0
    assert json.loads((tmp_path / "stopped" / "run.json").read_text())["status"] == "interrupted"
    assert (tmp_path / "stopped" / "checkpoint" / "latest.json").is_file()
    train_whole(recipe, tmp_path / "stopped")
    assert_same(numbers(tmp_path / "whole"), numbers(tmp_path / "stopped"))
