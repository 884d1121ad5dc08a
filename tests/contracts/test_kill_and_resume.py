"""A process that is killed and resumed gives, bit for bit, the numbers of one that was never stopped.

`make test-slow` kills each loop by SIGKILL at twenty random instants; of these the fast tests keep one loop and three
kills. Stops between steps, for every recipe: test_stops.py.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from chainrule.core.recipe import Recipe
from tests.contracts.endurance import assert_same, numbers, start, train_whole, train_with_kills
from tests.contracts.every_recipe import RECIPES

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
# A recipe for each loop and each kind of state that it carries.
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


def killed(recipe: Recipe, folder: Path, kills: int) -> None:
    """Checkpoints at every step, so that many of the kills fall into the writing of one."""
    duration = train_whole(recipe, folder / "whole", checkpoint_s=0)
    expected = numbers(folder / "whole")
    draw, done, number = random.Random(f"{kills} {recipe.name}"), 0, 0
    while done < kills:
        run = folder / f"killed{number}"
        done += train_with_kills(recipe, run, kills - done, duration, draw, checkpoint_s=0)
        assert_same(expected, numbers(run))
        number += 1


def test_killed_thrice(tmp_path: Path) -> None:
    killed(RECIPES["gaussian-mixture"], tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(ONE_A_LOOP))
def test_killed_at_twenty_instants(name: str, tmp_path: Path) -> None:
    killed(RECIPES[name], tmp_path, 20)


def test_interrupt_saves_and_exits_130(tmp_path: Path) -> None:
    recipe = RECIPES["lenet-caffe"]
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
