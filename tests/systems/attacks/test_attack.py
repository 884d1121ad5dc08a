"""Attacks on trained classifiers, and a network that was trained against them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from chainrule import api
from chainrule.core.errors import UserError
from chainrule.run.checkpoint.tree import load_tree, save_tree
from chainrule.run.run import Run
from chainrule.tasks.images.classification import classifier_of_run
from tests.run.toy import new
from tests.trained import lenet_run

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Metrics of the attack on LeNet as it is usually trained, and as it is trained against attacks."""
    folder, found = tmp_path_factory.mktemp("attacks"), {}
    ways: dict[str, tuple[str, dict[str, int]]] = {
        "plain": ("lenet-caffe", {}),
        "hardened": ("adversarial-training", {"steps": 3}),
    }
    for name, (recipe, settings) in ways.items():
        api.train(recipe, epochs=3, batch_size=64, lr=0.02, out=folder / name, **settings)
        run = api.train(
            "attack", of=str(folder / name), epsilons=(8.0, 32.0), samples=60, out=folder / f"{name}-attack"
        )
        result = run.result()
        assert result is not None
        found[name] = result["metrics"]

    return found


def test_attacks_do_what_they_are_known_for(attacked: dict[str, dict[str, float]]) -> None:
    plain = attacked["plain"]
    assert plain["accuracy_clean"] > 0.85
    assert plain["accuracy_fast_gradient_sign_32"] < plain["accuracy_fast_gradient_sign_8"] <= plain["accuracy_clean"]
    assert plain["accuracy_iterative_32"] <= plain["accuracy_fast_gradient_sign_32"] < 0.5
    assert plain["accuracy_universal_32"] < plain["accuracy_clean"]
    assert plain["target_hit_32"] > plain["target_hit_8"]


def test_training_against_attacks_helps_against_them(attacked: dict[str, dict[str, float]]) -> None:
    plain, hardened = attacked["plain"], attacked["hardened"]
    assert hardened["accuracy_iterative_32"] > plain["accuracy_iterative_32"] + 0.2
    assert hardened["target_hit_32"] < plain["target_hit_32"]


def test_what_cannot_be_attacked(tmp_path: Path) -> None:
    api.train("lda", out=tmp_path / "rows")
    with pytest.raises(UserError, match="no image classifier"):
        api.train("attack", of=str(tmp_path / "rows"), out=tmp_path / "run")
    with pytest.raises(UserError, match="an epsilon is out of range"):
        api.train("attack", epsilons=(300.0,), out=tmp_path / "run")
    with pytest.raises(UserError):
        api.train("attack", of=str(tmp_path / "nothing"), out=tmp_path / "run")


def test_a_classifier_that_is_opened_takes_no_random_numbers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A resumed attack opens it at another point than one that was never stopped, and is to draw the same."""
    folder = lenet_run(tmp_path_factory)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    classifier_of_run(str(folder), "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_another_network_in_the_place_of_the_first_is_told(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Exchanged between a kill and the resume: the numbers would be of neither."""
    victim = Path(shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "victim"))
    run = new(tmp_path / "run")
    for _ in range(2):
        classifier_of_run(str(victim), "cpu", run)
    best = victim / "checkpoint" / "best.safetensors"
    weights = load_tree(best)
    next(iter(weights["model"].values())).add_(1e-3)
    save_tree(weights, best)
    again = Run.load(tmp_path / "run", "cpu", recipe=run.recipe)
    with pytest.raises(UserError, match="of is not what it was when this run began"):
        classifier_of_run(str(victim), "cpu", again)
