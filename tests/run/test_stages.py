"""Stages: what each owns, what is left of it, which mistakes are told; the loops as they are, in stages."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from chainrule import api
from chainrule.api import training
from chainrule.core.errors import Interrupted, RunFailed, UserError
from chainrule.core.recipe import Recipe
from chainrule.data.batches import Batches
from chainrule.loops.experiment import Rows, experiment
from chainrule.loops.selection import select
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.run import Run
from chainrule.run.stages.stage import Stage
from chainrule.run.weights.files import read_weights
from chainrule.run.weights.loading import load_learnt
from chainrule.run.weights.provenance import record_of
from tests.run.staged_toy import STAGES, Mixture, Noisy, flat, learn, lines, numbers, stop_once, supervised, train
from tests.run.toy import EachStep, Net, new, reopened, rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages") / "whole"
    train(new(folder))
    return folder


# -- what a stage owns ------------------------------------------------------------------------------------------


def test_each_stage_has_its_own(whole: Path) -> None:
    found = lines(whole)
    assert list(dict.fromkeys(line["stage"] for line in found)) == list(STAGES)
    last = {name: [line for line in found if line["stage"] == name][-1] for name in STAGES}
    assert last["pretrain"]["epoch"] < 4, "patience did not stop it: the test would not see sticky stops"
    assert last["fine-tune"]["step"] == 6 and last["fine-tune"]["epoch"] == 3
    assert next(line["step"] for line in found if line["stage"] == "cluster") == 0
    result = json.loads((whole / "result.json").read_text())
    assert list(result["chosen"]) == list(STAGES)
    assert result["chosen"]["cluster"]["metric"] == "log_likelihood"
    assert result["steps"] == sum(line["step"] for line in last.values())
    assert reopened(whole).best == result["chosen"]["fine-tune"]  # after all of them, the last one's
    names = sorted(file.name for file in (whole / "checkpoint" / "stages").iterdir())
    assert names == sorted(f"{name}{what}.safetensors" for name in STAGES for what in ("", "-best"))


def test_a_stage_begins_with_numbers_of_its_own_wherever_it_stands(tmp_path: Path) -> None:
    def drawn(run: Run, *names: str) -> dict[str, float]:
        found = {}
        for name in names:
            with run.stage(name):
                found[name] = torch.rand(()).item()
        return found

    one, other = drawn(new(tmp_path / "a"), "one", "two"), drawn(new(tmp_path / "b"), "two")
    assert one["two"] == other["two"] != one["one"]
    assert drawn(new(tmp_path / "c", seed=1), "two") != other


def test_what_ended_is_not_written_again(tmp_path: Path) -> None:
    run = new(tmp_path / "run", checkpoint_s=0)
    place, seen = tmp_path / "run" / "checkpoint" / "stages" / "one.safetensors", []
    for name in ("one", "two", "three"):
        with run.stage(name):
            run.keep(net=Net())
            for _ in run.steps(3):
                pass
        seen.append((place.stat().st_mtime_ns, place.stat().st_ino))
    assert len(set(seen)) == 1
    latest = json.loads((tmp_path / "run" / "checkpoint" / "latest.json").read_text())
    assert latest["step"] == 9 and run.step == 9  # of all stages


def test_a_finished_stage_gives_its_state_and_does_nothing(whole: Path, tmp_path: Path) -> None:
    run = reopened(whole)
    before = lines(whole)
    with run.stage("pretrain") as stage:
        net = Noisy()
        optimizer = torch.optim.SGD(net.parameters(), 0.3, momentum=0.9)
        run.keep(net=net, optimizer=optimizer, schedule=EachStep())
        assert stage.finished and run.step == stage.step > 0 and run.best == stage.best is not None
        assert not list(run.epochs(99)) and not list(run.steps(99))
        assert not list(run.batches(Batches(*rows(), 4, seed=0)))
        run.track(x=1.0)
        run.log(x=1.0)
        run.flush()
        run.save_image("no", None)
        assert not run.keep_best({"net": Noisy()}, "val_x", -1.0, lower_is_better=True)
    saved = load_tree(whole / "checkpoint" / "stages" / "pretrain.safetensors")
    assert flat(net.state_dict()) == flat(saved["net"]) and optimizer.state_dict()["state"]
    assert lines(whole) == before and not (whole / "figures").exists()


def test_what_was_learnt_is_of_the_last_stage_that_kept_it(whole: Path) -> None:
    net, mixture = Noisy(), Mixture()
    load_learnt(whole, {"net": net, "mixture": mixture})
    for name, module in (("fine-tune", net), ("cluster", mixture)):
        best = load_tree(whole / "checkpoint" / "stages" / f"{name}-best.safetensors")
        assert flat(module.state_dict()) == flat(*best.values())
    record = record_of(whole / "checkpoint" / "stages" / "pretrain-best.safetensors")
    assert record is not None and record["recipe"] == "toy"
    tensors, _ = read_weights(whole)  # what --weights FOLDER reads
    assert torch.equal(tensors["net.net.first.weight"], net.net.first.weight)
    assert torch.equal(tensors["mixture.means"], mixture.means)
    with pytest.raises(UserError, match="no stage of this run has learnt other"):
        load_learnt(whole, {"other": net})


def test_the_best_of_a_stage_is_there_for_who_opens_the_run(whole: Path) -> None:
    from tests.run.toy import PLAIN

    net = Noisy()
    run = Run.load(whole, "cpu", recipe=PLAIN)
    run.load_best("pretrain", {"net": net})
    best = load_tree(whole / "checkpoint" / "stages" / "pretrain-best.safetensors")
    assert flat(net.state_dict()) == flat(best["net"])
    with pytest.raises(UserError, match="has not learnt mixture"):
        run.load_best("pretrain", {"mixture": net})
    with pytest.raises(UserError, match="no stage 'other'"):
        run.load_best("other", {"net": net})


def test_where_nothing_was_chosen_the_last_weights_count(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    with run.stage("one") as stage:
        net, other = Net(), Net()
        run.keep(net=net)
        stage.load_best({"net": other})
        assert flat(other.state_dict()) == flat(net.state_dict())
    third = Net()
    run.load_best("one", {"net": third})
    assert flat(third.state_dict()) == flat(net.state_dict())
    load_learnt(tmp_path / "run", {"net": third})


def test_an_unfinished_stage_answers_with_what_it_has(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    with pytest.raises(Interrupted), run.active():
        with run.stage("one"):
            run.keep(net=Net())
        with run.stage("two"):
            other = Net()
            run.keep(other=other)
            for step in run.steps(3):
                if step == 1:
                    os.kill(os.getpid(), signal.SIGINT)
    found, net = Net(), Net()
    load_learnt(tmp_path / "run", {"other": found, "net": net})
    assert flat(found.state_dict()) == flat(other.state_dict())


# -- mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "One", "a b", "a_b", "-a", "a-", "a--b", "../a", "a-best", "é"])
def test_a_name_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no name for a stage"), new(tmp_path / "run").stage(name):
        pass


def test_stages_stand_one_after_the_other(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    with run.stage("one"):
        with pytest.raises(UserError, match="two would begin within the stage one"), run.stage("two"):
            pass
        run.keep(net=Net())  # it is still this one
    with pytest.raises(UserError, match="one was there already"), run.stage("one"):
        pass
    acts: tuple[Callable[[], Any], ...] = (
        lambda: run.keep(net=Net()),
        lambda: run.epochs(1),
        lambda: run.log(x=1),
        lambda: run.track(x=1.0),
    )
    for outside in acts:
        with pytest.raises(UserError, match="within them alone"):
            outside()


def test_no_stage_after_a_loop_outside(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    run.keep(net=Net())
    with pytest.raises(UserError, match="learnt outside of any"), run.stage("one"):
        pass


def test_another_order_of_stages_is_told(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    with run.stage("one"):
        run.keep(net=Net())
        for _ in run.steps(2):
            pass
        run.checkpoint()
        run = reopened(tmp_path / "run")
    with pytest.raises(UserError, match="stopped in the stage one, and has now zero"), run.stage("zero"):
        pass


def test_a_failure_names_its_stage(tmp_path: Path) -> None:
    x, y = rows()
    run = new(tmp_path / "run")
    with run.stage("first"):
        run.keep(net=Net())
    with pytest.raises(RunFailed, match=r"^second: the loss became nan at step 0"), run.stage("second"):
        supervised(run, Noisy(), x, y * torch.nan, epochs=1, lr=0.1)


def test_a_spoiled_stage_does_not_end(tmp_path: Path) -> None:
    run, net = new(tmp_path / "run"), Net()
    with pytest.raises(RunFailed, match="weights are not finite"), run.stage("one"):
        run.keep(net=net)
        nn.init.constant_(net.last.bias, torch.nan)
    assert not (tmp_path / "run" / "checkpoint").exists()


class Task:
    """As much of one as training asks for."""

    def modules(self) -> dict[str, nn.Module]:
        self.made = {"net": Noisy(), "mixture": Mixture()}
        return self.made

    def train(self, run: Run) -> None:
        learn(run)

    def evaluate(self, data: str | None = None) -> dict[str, float]:
        return {"sum": float(self.made["net"].eval()(rows()[0]).detach().sum())}

    def protocol(self) -> str:
        return "the validation split chose"


def test_trained_and_resumed_as_recipes_are(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `train` and `resume` do around a task: weights of the last stages answer, the result says what each chose."""
    recipe = Recipe("toy", "toy", "digits", "toy", lambda run: Task(), "toy")
    monkeypatch.setattr("tests.run.toy.PLAIN", recipe)
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    monkeypatch.setattr("chainrule.run.run.get_recipe", lambda name: recipe)
    monkeypatch.setattr(Task, "made", {}, raising=False)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        stop_once(20, False, patch)
        training._train(new(tmp_path / "run"))
    assert "stopped after step" not in capsys.readouterr().err
    run = api.resume(tmp_path / "run")
    assert "resumes at step" in capsys.readouterr().err
    found, expected = run.result(), numbers(whole)["result"]
    assert found is not None and found["metrics"] == expected["metrics"]
    assert (found["chosen"], found["steps"]) == (expected["chosen"], expected["steps"])
    assert lines(tmp_path / "run") == lines(whole)


# -- other loops ------------------------------------------------------------------------------------------------


def others(run: Run) -> None:
    """Selection and an experiment, as they are, in one run."""
    net, measured = Net(), Rows()

    def set_bias(candidate: Any) -> dict[str, float]:
        nn.init.constant_(net.last.bias, candidate["bias"])
        return {"drawn": torch.rand(()).item()}

    def validate() -> dict[str, float]:
        return {"x": net.last.bias.item()}

    with run.stage("select"):
        candidates = [{"bias": value} for value in (3.0, 1.0, 2.0)]
        select(run, modules={"net": net}, candidates=candidates, fit=set_bias, validate=validate, choose_by=("x", True))
    with run.stage("measure"):
        points = [{"point": number} for number in range(4)]
        experiment(run, rows=measured, points=points, measure=lambda point: {"value": torch.rand(()).item()})


@pytest.mark.parametrize("at", range(1, 10))
def test_selection_and_experiment(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_it(run: Run) -> None:
        with run.active():
            others(run)
            run.finish({"metrics": {}}, report=lambda: None)

    run_it(new(tmp_path / "whole"))
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        stop_once(at, False, patch)
        run_it(new(tmp_path / "run"))
    run_it(reopened(tmp_path / "run"))
    assert numbers(tmp_path / "run") == numbers(tmp_path / "whole")
    best = load_tree(tmp_path / "run" / "checkpoint" / "stages" / "select-best.safetensors")
    assert best["net"]["last.bias"].tolist() == [1.0]


def test_a_stage_without_a_loop(tmp_path: Path) -> None:
    """A closed form: what it fitted comes back by `keep`, and is not fitted again."""

    def act(run: Run) -> tuple[Stage, nn.Module, float]:
        with run.stage("closed-form") as stage:
            net = Net()
            run.keep(net=net)
            if not stage.finished:
                nn.init.uniform_(net.last.bias)
        with run.stage("dear") as stage:
            if not stage.finished:  # all of it is left out
                run.keep(other=Net())
                torch.rand(3)
        return stage, net, torch.rand(()).item()

    stage, net, after = act(new(tmp_path / "run"))
    assert stage.finished
    again, other, same = act(reopened(tmp_path / "run"))
    assert again.finished and flat(other.state_dict()) == flat(net.state_dict()) and same == after
