"""Three stages in one run, stopped at every step, killed at every border and at random: equal bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from chainrule.core.errors import Interrupted
from chainrule.run.run import Run
from tests.run.staged_toy import Died, numbers, place, stop_once, train
from tests.run.test_killed_writes import Killed, kill_at
from tests.run.together import can_fork, together
from tests.run.toy import Net, new, reopened

FORK = multiprocessing.get_context("fork" if os.name == "posix" else None)  # a child that has imported all


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages") / "whole"
    train(new(folder))
    return folder


# -- stops ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies", [False, True], ids=["a signal", "death after a checkpoint"])
def test_stopped_at_every_step(dies: bool, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.run.folder.record._commit", lambda: None)  # a process less for each run
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
    monkeypatch.setattr("chainrule.run.folder.record._commit", lambda: None)
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
    monkeypatch.setattr("chainrule.run.folder.record._commit", lambda: None)
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
