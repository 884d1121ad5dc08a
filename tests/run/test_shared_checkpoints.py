"""Checkpoints of several processes: resumed by as many, by fewer and by more; of sharded weights each writes its part."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.errors import Interrupted
from chainrule.data.batches import Batches
from chainrule.loops.supervised import fit
from chainrule.nn.dropout import Dropout
from chainrule.run.checkpoint.sharded import whole
from chainrule.run.run import Run
from chainrule.run.weights.files import read_weights
from tests.run import toy
from tests.run.together import can_fork, together

pytestmark = can_fork

EPOCHS, STOP_AFTER = 3, 8  # of six batches each: in the middle of the second epoch


class Net(nn.Module):
    """A layer whose weight has one row, which four processes cannot all have a part of; running averages; dropout."""

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(3, 5, bias=False),
            nn.BatchNorm1d(5),
            Dropout(drop),
            nn.Linear(5, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(self.norm(self.first(x)).relu())).sum(1)


def learn(run: Run, drop: float = 0.0, stop_after: int = 0) -> None:
    """Adam on batches of four; with `stop_after` a checkpoint after that many steps, and the end."""
    x, y = toy.rows()
    net = run.place(Net(drop))
    shared = run.wrap_distributed(net)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)

    def act(count: int) -> None:
        run._signals.caught = 2 if count == stop_after else None  # as SIGINT would

    def validate() -> dict[str, float]:
        net.eval()
        with torch.no_grad():
            return {"loss": float((run.world.map_rows(net, x) - y).square().mean())}

    with run.active() if run.step == 0 else contextlib.nullcontext(), contextlib.suppress(Interrupted):
        fit(
            run,
            modules={"net": net},
            objective=lambda batch: batch.mean((shared(batch.x) - batch.y).square()),
            optimizer=optimizer,
            schedule=toy.EachStep(act),  # type: ignore[arg-type]
            train=Batches(x, y, 4, seed=run.seed, world=run.world),
            epochs=EPOCHS,
            validate=validate,
            choose_by=("loss", True),
        )
        run.checkpoint()


def result(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Latest and best weights, and the lines of metrics.jsonl."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line.pop("seconds")
    return {name: whole(toy.weights_of(folder, name)) for name in ("latest", "best")}, lines


def new(folder: Path, parallel: str) -> Run:
    return toy.new(folder, parallel=parallel, sync_batch_norm=True, log_every=1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What one process learns, never stopped."""
    folder = tmp_path_factory.mktemp("processes") / "alone"
    learn(toy.new(folder, log_every=1))
    return result(folder)


def by(count: int, act: Callable[[], None]) -> None:
    if count == 1:
        act()
    else:
        together(lambda rank: act(), count=count)


@pytest.mark.parametrize(("parallel", "later"), [("ddp", 1), ("ddp", 4), ("fsdp", 1), ("fsdp", 2), ("fsdp", 4)])
def test_a_run_of_two_is_resumed_by_others(parallel: str, later: int, alone: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    by(2, lambda: learn(new(folder, parallel), stop_after=STOP_AFTER))
    latest = folder / "checkpoint" / json.loads((folder / "checkpoint/latest.json").read_text())["folder"]
    written = {str(file.relative_to(latest)) for file in latest.rglob("*") if file.is_file()}
    files = {"weights.safetensors", "state.safetensors"}
    parts = {f"{n}-parts/shard-0000{k}-model-00001-of-00001.safetensors" for n in ("weights", "state") for k in (1, 2)}
    assert written == (files | parts if parallel == "fsdp" else files)
    by(later, lambda: learn(toy.reopened(folder)))
    torch.testing.assert_close(result(folder), alone, rtol=1e-5, atol=1e-5)
    left = [file.name for file in (folder / "checkpoint").iterdir()]
    assert sum(name.startswith("step-") for name in left) == 2  # the latest and the one before
    assert sum(name.startswith("best-") for name in left) == (parallel == "fsdp" and later > 1)  # none of the old ones


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_draws_of_dropout_survive_a_stop(parallel: str, tmp_path: Path) -> None:
    """With as many processes the stopped run is the other one bit for bit."""
    by(2, lambda: learn(new(tmp_path / "run", parallel), drop=0.5))
    by(2, lambda: learn(new(tmp_path / "cut", parallel), drop=0.5, stop_after=STOP_AFTER))
    assert len(result(tmp_path / "cut")[1]) < len(result(tmp_path / "run")[1])
    by(2, lambda: learn(toy.reopened(tmp_path / "cut"), drop=0.5))
    torch.testing.assert_close(result(tmp_path / "cut"), result(tmp_path / "run"), rtol=0, atol=0)


def test_sharded_weights_are_taken_to_start_from(tmp_path: Path) -> None:
    by(2, lambda: learn(new(tmp_path / "run", "fsdp")))
    tensors, _ = read_weights(tmp_path / "run")
    expected = {f"net.{name}": value for name, value in result(tmp_path / "run")[0]["best"]["net"].items()}
    torch.testing.assert_close(tensors, expected, rtol=0, atol=0)
