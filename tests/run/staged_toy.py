"""A run of three stages with loops of different kinds, what is compared of it, and how it is stopped."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.device import World
from chainrule.data.batches import Batches
from chainrule.loops.supervised import fit
from chainrule.run.checkpoint.sharded import whole as whole_tree
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.run import Run
from chainrule.systems.graphical.em import em
from tests.run.toy import EachStep, Net, rows

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
