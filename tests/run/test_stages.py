"""Stages: three loops of different kinds in one run, stopped at every step and killed, equal bit for bit."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.device import World
from chainrule.core.errors import Interrupted, RunFailed, UserError
from chainrule.data.batches import Batches
from chainrule.loops.experiment import Rows, experiment
from chainrule.loops.selection import select
from chainrule.loops.supervised import fit
from chainrule.run.checkpoint.sharded import whole as whole_tree
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.run import Run
from chainrule.run.stage import Stage
from chainrule.run.weights.files import read_weights
from chainrule.run.weights.loading import load_learnt
from chainrule.run.weights.provenance import record_of
from chainrule.systems.graphical.em import em
from tests.run.test_killed_writes import Killed, kill_at
from tests.run.together import can_fork, together
from tests.run.toy import EachStep, Net, new, reopened, rows

FORK = multiprocessing.get_context("fork" if os.name == "posix" else None)  # a child that has imported all
STAGES = ("pretrain", "cluster", "fine-tune")


class Noisy(nn.Module):
    """Draws from the global generator in each call of training."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.dropout = Net(), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.dropout(x))


class Found(NamedTuple):
    log_likelihood: Tensor
    shares: Tensor  # (N, 2)
    x: Tensor


class Mixture(nn.Module):
    """Two Gaussians of deviation 1 with equal shares."""

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(2, 3))

    def expectation(self, x: Tensor, world: World | None = None) -> Found:
        log = -0.5 * (x[:, None] - self.means).square().sum(2) - math.log(2)  # (N, 2)
        return Found(log.logsumexp(1).mean(), log.softmax(1), x)

    def maximisation(self, found: Found) -> None:
        self.means = found.shares.T @ found.x / found.shares.sum(0)[:, None]


def supervised(run: Run, net: nn.Module, x: Tensor, y: Tensor, *, epochs: int, lr: float, patience: int = 0) -> None:
    def validate() -> dict[str, float]:
        net.eval()
        return {"loss": float((net(x) - y).detach().square().mean())}

    fit(
        run,
        modules={"net": net},
        objective=lambda batch: batch.mean((net(batch.x) - batch.y).square()),
        optimizer=torch.optim.SGD(net.parameters(), lr, momentum=0.9),
        schedule=EachStep(),  # type: ignore[arg-type]
        train=Batches(x, y, 12, seed=run.seed),
        epochs=epochs,
        validate=validate,
        choose_by=("loss", True),
        patience=patience,
    )


def learn(run: Run, epochs: int = 4) -> float:
    """Pretraining that stops early, EM on noisy rows, fine-tuning of the best of the first for what EM found."""
    x, y = rows()
    with run.stage("pretrain"):
        net = Noisy()
        supervised(run, net, x, y, epochs=epochs, lr=0.3, patience=1)
        noisy = x + torch.randn_like(x)  # drawn after the loop, and what the next stage learns from
        run.log(spread=noisy.std())
    between = torch.rand(()).item()

    with run.stage("cluster"):
        mixture = Mixture()

        def start(number: int) -> None:
            mixture.means = torch.randn(2, 3)

        em(
            run,
            model=mixture,
            modules={"mixture": mixture},
            x=noisy,
            starts=2,
            start=start,
            max_iterations=epochs,
            tolerance=1e-3,
            measure=lambda: {"log_likelihood": float(mixture.expectation(noisy).log_likelihood)},
            choose_by=("log_likelihood", False),
        )
        run.load_best("cluster", {"mixture": mixture})
        shares = mixture.expectation(x).shares[:, 0]

    with run.stage("fine-tune") as stage:
        tuned = Noisy()
        run.load_best("pretrain", {"net": tuned})
        supervised(run, tuned, x, shares, epochs=epochs - 1, lr=0.01)
        stage.load_best({"net": tuned})
        tuned.eval()
        run.log(between=between, drawn=torch.rand(()))
    return float(tuned(x).detach().sum())


def train(run: Run, epochs: int = 4) -> float:
    with run.active():
        found = learn(run, epochs)
        run.checkpoint()
        run.finish({"metrics": {"sum": found}, "chosen": run.chosen, "steps": run.step}, report=lambda: None)
    return found


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]


def flat(tree: Any, name: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {k: v for key, node in tree.items() for k, v in flat(node, f"{name}.{key}").items()}
    return {name: tree.tolist() if isinstance(tree, Tensor) else tree}


def numbers(folder: Path) -> dict[str, Any]:
    """Lines without seconds, the result, and all that the stages left: weights, optimisers, best weights."""
    files = sorted((folder / "checkpoint" / "stages").glob("*.safetensors"))
    left = {file.name: flat(whole_tree(load_tree(file))) for file in files}
    return {"lines": lines(folder), "result": json.loads((folder / "result.json").read_text()), **left}


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


# -- stops ------------------------------------------------------------------------------------------------------


class Died(BaseException):
    """The process is gone; what it would still write must not be needed."""


def place(run: Run) -> tuple[str, int, int, int]:
    return run._stages.current.name, run.step, run.epoch, run.position


def stop_once(at: int, dies: bool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The run is stopped at boundary number `at`: by a signal, or it is saved there and dies at the next one."""
    true, count = Run._between_steps, [0]

    def between(run: Run, boundary: bool) -> None:
        count[0] += 1
        if count[0] == at:
            if dies:
                run._saved_at = -math.inf  # so a checkpoint is due
            else:
                run._signals.caught = signal.SIGINT
        true(run, boundary)
        if dies and count[0] == at + 1:
            raise Died

    monkeypatch.setattr(Run, "_between_steps", between)
    return count


@pytest.mark.parametrize("dies", [False, True], ids=["a signal", "death after a checkpoint"])
def test_stopped_at_every_step(dies: bool, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.run.record._commit", lambda: None)  # a process less for each run
    expected, at, stopped = numbers(whole), 0, True
    while stopped:
        at += 1
        folder = tmp_path / str(at)
        with monkeypatch.context() as patch:
            stop_once(at, dies, patch)
            try:
                train(new(folder))
                stopped = False
            except (Interrupted, Died):
                pass
        if stopped:
            torch.manual_seed(at)
            train(reopened(folder))
        assert numbers(folder) == expected, f"stopped at boundary {at}"
    assert at > 20, "there were fewer boundaries than the stages have"


def test_stopped_again_and_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run that never makes two steps in one life."""
    true, seen, lives = Run._between_steps, set(), 0

    def between(run: Run, boundary: bool) -> None:
        if place(run) not in seen:
            seen.add(place(run))
            run._signals.caught = signal.SIGTERM
        true(run, boundary)

    monkeypatch.setattr(Run, "_between_steps", between)
    monkeypatch.setattr("chainrule.run.record._commit", lambda: None)
    folder = tmp_path / "run"
    while not (folder / "result.json").exists():
        lives += 1
        try:
            train(reopened(folder) if lives > 1 else new(folder))
        except Interrupted as stop:
            assert stop.exit_status == 143
    assert lives == len(seen) + 1 > 20
    assert numbers(folder) == numbers(whole)


def test_a_signal_after_the_last_step_of_a_stage(tmp_path: Path) -> None:
    """The stage ends, is saved, and the next does not begin."""
    run = new(tmp_path / "run")
    with pytest.raises(Interrupted, match="stopped after step 2"), run.active():
        with run.stage("one"):
            run.keep(net=Net())
            for _ in run.steps(2):
                pass
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went into the next stage")
    with reopened(tmp_path / "run").stage("one") as stage:
        assert stage.finished


def borders(run: Run) -> None:
    """Two stages of two steps; nothing is written but lines, the best, and what ends a stage."""
    with run.active():
        for name in ("one", "two"):
            with run.stage(name):
                net = Net()
                run.keep(net=net)
                for _ in run.epochs(1):
                    for _ in run.steps(2):
                        nn.init.normal_(net.last.bias)
                        run.track(bias=net.last.bias)
                run.keep_best({"net": net}, "bias", net.last.bias.item(), lower_is_better=True)
                run.log(drawn=torch.rand(()))
        run.finish({"metrics": {"drawn": torch.rand(()).item()}}, report=lambda: None)


def test_killed_at_every_operation_of_the_borders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.run.record._commit", lambda: None)
    borders(new(tmp_path / "whole"))
    expected, number, was_killed = numbers(tmp_path / "whole"), 0, True
    while was_killed:
        folder = tmp_path / str(number)
        run = new(folder)
        with monkeypatch.context() as patch:
            begun = kill_at(number, patch)
            try:
                borders(run)
                was_killed = False
            except Killed:
                pass
        if was_killed:
            borders(reopened(folder))
        assert numbers(folder) == expected, f"killed at operation {number}, {begun[-1]}"
        number += 1
    assert number > 50, "it hardly wrote anything"


def _child(folder: str) -> None:
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 2)
    path = Path(folder)
    if (path / "run.json").is_file():
        train(reopened(path))
    else:  # killed before it had begun
        shutil.rmtree(path, ignore_errors=True)
        train(new(path, checkpoint_s=0.0))


def killed(folder: Path, kills: int, duration_s: float) -> int:
    """Trains in children that are killed at random instants, at most `kills` times; gives how many kills it took."""
    draw, done = random.Random(folder.name), 0
    while not (folder / "result.json").is_file():
        child = FORK.Process(target=_child, args=(str(folder),))
        child.start()
        if done < kills:
            child.join(timeout=draw.uniform(0.02, duration_s))
        else:
            child.join()
        if child.is_alive():
            assert child.pid
            os.kill(child.pid, signal.SIGKILL)
            done += 1
        elif child.exitcode != 0:
            pytest.fail(f"it ended with status {child.exitcode}")
        child.join()
    return done


@can_fork[0]
@can_fork[1]
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random(kills: int, whole: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    killed(tmp_path / "never", 0, 0)
    duration_s, done, number = time.monotonic() - begun, 0, 0
    while done < kills:
        folder = tmp_path / f"killed-{number}"
        done += killed(folder, kills - done, duration_s)
        assert numbers(folder) == numbers(whole)
        number += 1


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


# -- several processes ------------------------------------------------------------------------------------------


@can_fork[0]
@can_fork[1]
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_go_through_stages(parallel: str, tmp_path: Path) -> None:
    """Stopped in the second stage by a signal that one of them catches, and resumed by both."""
    folder = tmp_path / "run"

    def act(run: Run, stop: int | None) -> None:
        with run.active():
            for name in ("one", "two"):
                with run.stage(name) as stage:
                    net = run.place(Net())
                    if name == "two":
                        run.load_best("one", {"net": net})
                    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
                    run.keep(net=net, optimizer=optimizer)
                    for step in run.steps(4):
                        optimizer.zero_grad()
                        net(torch.randn(2, 3)).sum().backward()
                        optimizer.step()
                        run.track(loss=float(step))
                        if name == "two" and step == stop:
                            os.kill(os.getpid(), signal.SIGINT)
                    run.keep_best({"net": net}, "x", float(run.world.rank), lower_is_better=True)
                    stage.load_best({"net": net})
            run.finish({"metrics": {}}, report=lambda: None)

    def first(rank: int) -> None:
        with pytest.raises(Interrupted):
            act(new(folder, parallel=parallel, log_every=1), 1 if rank else None)

    def second(rank: int) -> None:
        act(reopened(folder), None)

    together(first)
    together(second)
    together(lambda rank: act(new(tmp_path / "whole", parallel=parallel, log_every=1), None))
    found, expected = numbers(folder), numbers(tmp_path / "whole")
    assert found == expected and len(found) == 6
