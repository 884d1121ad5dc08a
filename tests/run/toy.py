"""Runs of a recipe that is never built, for loops that are a few lines; and a network that they can train."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.recipe import Recipe
from chainrule.data.batches import Batches
from chainrule.loops.supervised import fit
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.run import Run

COMMON = {
    "log_every": 4,
    "checkpoint_s": 1e9,
    "autocast": "no",
    "compile": "no",
    "parallel": "ddp",
    "sync_batch_norm": False,
    "threads": 0,
}

PLAIN = Recipe("toy", "toy", "digits", "toy", lambda run: None, "toy")


def new(folder: Path, seed: int = 0, **common: Any) -> Run:
    torch.manual_seed(seed)
    return Run.create(PLAIN, {}, COMMON | common, seed=seed, data=None, target=None, device="cpu", out=folder)


def reopened(folder: Path) -> Run:
    """The run in `folder`, at its last checkpoint."""
    run = Run.load(folder, "cpu", trains=True, recipe=PLAIN)
    run.resume()
    return run


def weights_of(folder: Path, name: str = "latest") -> dict[str, Any]:
    """What the latest checkpoint holds, or `best`."""
    import json

    place = folder / "checkpoint"
    if name == "best":
        return load_tree(place / "best.safetensors")
    latest = json.loads((place / "latest.json").read_text("utf-8"))["folder"]
    return load_tree(place / latest / "weights.safetensors")


class Net(nn.Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.first(x))).sum(1)  # of one; FSDP warns of a view


class EachStep:
    """In the place of a schedule: calls `act(n)` after the n-th update, counted from 1."""

    def __init__(self, act: Any = lambda count: None) -> None:
        self.act, self.count = act, 0

    def step(self) -> None:
        self.count += 1
        self.act(self.count)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def rows(count: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(count, 3, generator=generator)
    return x, x.sum(1).tanh()


def learn(
    run: Run,
    x: Tensor,
    y: Tensor,
    *,
    net: nn.Module | None = None,
    epochs: int = 3,
    each_step: EachStep | None = None,
    lr: float = 0.05,
) -> nn.Module:
    """Least squares by the loop of all supervised learning, six batches of four an epoch."""
    net = net or Net()
    with run.active() if run.step == 0 else contextlib.nullcontext():
        fit(
            run,
            modules={"net": net},
            objective=lambda batch: batch.mean((net(batch.x) - batch.y).square()),
            optimizer=torch.optim.SGD(net.parameters(), lr, momentum=0.9),
            schedule=each_step or EachStep(),  # type: ignore[arg-type]
            train=Batches(x, y, 4, seed=run.seed),
            epochs=epochs,
            validate=lambda: {"loss": float((net(x) - y).detach().square().mean())},
            choose_by=("loss", True),
        )
        run.checkpoint()
    return net
