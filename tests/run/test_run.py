"""The Run: its counters, its stops, what it keeps, and that it goes on in the middle of anything."""

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

import chainrule
from chainrule.core.device import choose_device, random_state, set_random_state
from chainrule.core.errors import Interrupted, UserError
from chainrule.data.batches import Batches
from chainrule.run.run import Run
from tests.run.toy import EachStep, Net, learn, new, reopened, rows, weights_of

pytestmark = pytest.mark.usefixtures("no_report")


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in found:
        del line["seconds"]
    return found


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


# -- counters and stops -----------------------------------------------------------------------------------------


def walk(
    run: Run, epochs: int, steps: int, visit: Callable[[int, int], Any] = lambda epoch, step: None
) -> list[tuple[int, int]]:
    seen = []
    with run.active():
        run.keep(net=Net())
        for epoch in run.epochs(epochs):
            for step in run.steps(steps):
                seen.append((epoch, step))
                visit(epoch, step)
                run.track(x=float(len(seen)))
            run.log(epochs=epoch + 1)
        run.checkpoint()
    return seen


def test_counters(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    assert walk(run, 3, 2) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert (run.step, run.epoch, run.position) == (6, 3, 0)
    # every fourth step, and at the end of an epoch what waits; then the epoch's own line
    assert lines(tmp_path / "run") == [
        {"step": 2, "epoch": 0, "x": 1.5},
        {"step": 2, "epoch": 0, "epochs": 1},
        {"step": 4, "epoch": 1, "x": 3.5},
        {"step": 4, "epoch": 1, "epochs": 2},
        {"step": 6, "epoch": 2, "x": 5.5},
        {"step": 6, "epoch": 2, "epochs": 3},
    ]


def test_steps_without_epochs(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    run.keep(net=Net())
    assert list(run.steps(5)) == [0, 1, 2, 3, 4] and (run.step, run.epoch) == (5, 0)
    run.checkpoint()
    again = reopened(tmp_path / "run")
    assert list(again.steps(5)) == [] and list(again.steps(7)) == [5, 6]


@pytest.mark.parametrize("at", range(1, 6))
def test_an_interrupted_walk_goes_on_at_the_next_step(at: int, tmp_path: Path) -> None:
    whole = walk(new(tmp_path / "whole"), 3, 2)
    seen: list[tuple[int, int]] = []

    def visit(epoch: int, step: int) -> None:
        seen.append((epoch, step))
        if len(seen) == at:
            interrupt()

    with pytest.raises(Interrupted) as caught:
        walk(new(tmp_path / "run"), 3, 2, visit)
    assert caught.value.exit_status == 130 and f"chainrule resume {tmp_path / 'run'}" in str(caught.value)
    assert len(seen) == at
    assert seen + walk(reopened(tmp_path / "run"), 3, 2) == whole


def test_stop_within_a_step_ends_the_steps(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    seen = walk(run, 2, 5, lambda epoch, step: run.stop() if step == 1 + epoch else None)
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]


def test_stop_between_epochs_ends_the_epochs(tmp_path: Path) -> None:
    run = new(tmp_path / "run")
    seen = []
    for epoch in run.epochs(9):
        seen += [(epoch, step) for step in run.steps(2)]
        if epoch == 2:
            run.stop()
    assert seen[-1] == (2, 1) and run.epoch == 3


def test_a_stop_is_remembered(tmp_path: Path) -> None:
    """Stopped and interrupted in the same step: the resumed run does not begin those steps again."""
    run = new(tmp_path / "run")

    def visit(epoch: int, step: int) -> None:
        if (epoch, step) == (0, 1):
            run.stop()
            interrupt()

    with pytest.raises(Interrupted):
        walk(run, 2, 5, visit)
    assert walk(reopened(tmp_path / "run"), 2, 3) == [(1, 0), (1, 1), (1, 2)]


def test_batches_go_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    x, y = rows(10)
    batches = Batches(x, y, 4, seed=3)
    run = new(tmp_path / "run")
    run.keep(net=Net())
    seen: list[list[int]] = []
    with pytest.raises(Interrupted), run.active():
        for _ in run.epochs(2):
            for batch in run.batches(batches):
                seen.append(batch.index.tolist())
                if len(seen) == 2:
                    interrupt()
    again = reopened(tmp_path / "run")
    again.keep(net=Net())
    for _ in again.epochs(2):
        seen += [batch.index.tolist() for batch in again.batches(batches)]
    assert [len(index) for index in seen] == [4, 4, 2, 4, 4, 2]
    for epoch in (seen[:3], seen[3:]):
        assert sorted(number for index in epoch for number in index) == list(range(10))
    assert seen[:3] != seen[3:]


# -- what is kept -----------------------------------------------------------------------------------------------


class Noisy(nn.Module):
    """Draws from the global generator in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.dropout = Net(), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(self.dropout(x))


@pytest.mark.parametrize("at", [1, 5, 6, 7, 13, 18])
def test_a_stop_changes_no_number(at: int, tmp_path: Path) -> None:
    """Weights, momentum, the generator, metrics that wait, the best: all go on as if nothing had been."""
    whole = learn(new(tmp_path / "whole"), *rows(), net=Noisy())
    with pytest.raises(Interrupted):
        learn(
            new(tmp_path / "run"), *rows(), net=Noisy(), each_step=EachStep(lambda n: interrupt() if n == at else None)
        )
    torch.manual_seed(99)
    run = reopened(tmp_path / "run")
    net = learn(run, *rows(), net=Noisy())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), whole.parameters(), strict=True))
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    best, expected = weights_of(tmp_path / "run", "best")["net"], weights_of(tmp_path / "whole", "best")["net"]
    assert all(torch.equal(best[name], expected[name]) for name in expected)


def test_the_same_seed_gives_the_same_numbers_and_another_others(tmp_path: Path) -> None:
    one, same, other = (
        learn(new(tmp_path / name, seed), *rows(), net=None) for name, seed in (("a", 4), ("b", 4), ("c", 5))
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert lines(tmp_path / "a") == lines(tmp_path / "b") != lines(tmp_path / "c")
    assert not torch.equal(one.first.weight, other.first.weight)  # type: ignore[attr-defined]


def kept(folder: Path, values: list[float], lower: bool) -> tuple[Run, list[bool]]:
    run, net = new(folder), Net()
    found = []
    for number in run.steps(len(values)):
        with torch.no_grad():
            net.last.bias.fill_(number)
        found.append(run.keep_best({"net": net}, "val_x", values[number], lower_is_better=lower))
    return run, found


@pytest.mark.parametrize(
    ("values", "lower", "better"),
    [
        ([3.0, 1.0, 2.0], True, [True, True, False]),
        ([3.0, 1.0, 4.0], False, [True, False, True]),
        ([2.0, 1.0, 1.0, 1.5], True, [True, True, True, False]),  # of equals the later
        ([2.0, 2.0], False, [True, True]),
        ([float("nan"), 1.0], True, [True, True]),
        ([1.0, float("nan"), 0.5], True, [True, False, True]),
        ([float("nan"), 1.0], False, [True, True]),
    ],
)
def test_the_best_is_kept(values: list[float], lower: bool, better: list[bool], tmp_path: Path) -> None:
    run, found = kept(tmp_path / "run", values, lower)
    last = max(i for i, flag in enumerate(better) if flag)
    assert found == better and run.best is not None
    assert run.best["metric"] == "val_x" and run.best["step"] == last
    assert weights_of(tmp_path / "run", "best")["net"]["last.bias"].tolist() == [last]


# -- devices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_not_here(kind: str, tmp_path: Path) -> None:
    if torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available():
        pytest.skip(f"{kind} is here")
    with pytest.raises(UserError, match=rf"offers PyTorch no {kind} device[\s\S]*--device auto"):
        chainrule.train("lenet-caffe", epochs=1, out=tmp_path / "run", device=kind)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["tpu", "", "CPU", "cuda0", "cpu:x", "cpu:-1", "cpu:", ":0"])
def test_a_device_that_does_not_exist(name: str) -> None:
    with pytest.raises(UserError, match="device"):
        choose_device(name)


def test_auto_is_one_that_is_here() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert torch.zeros(1, device=choose_device("auto")).sum() == 0


def test_the_random_numbers_of_a_mac_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its GPU draws from a generator of its own; here it is a stand-in."""
    held = [torch.tensor([1, 2], dtype=torch.uint8)]
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: held[-1])
    monkeypatch.setattr(torch.mps, "set_rng_state", held.append)
    mac = torch.device("mps")
    state = random_state(mac)
    held.append(torch.zeros(2, dtype=torch.uint8))
    set_random_state(mac, state)
    assert held[-1].tolist() == [1, 2]
