"""`fit` on batches of any form: images of all sizes with boxes, padded sentences, graphs in one tensor.

Each is stopped at every boundary between two steps, interrupted or dead, and resumed: bit for bit what it gives unstopped.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.device import World
from chainrule.core.errors import Interrupted, RunFailed
from chainrule.data.batches import BatchLoader, batch_mean, keep_mask, pad
from chainrule.data.samplers import ByLength, ByTotalSize, Shuffled
from chainrule.loops.supervised import fit
from chainrule.run.run import Run
from tests.contracts.test_stops import Died, stop_at
from tests.run import toy
from tests.run.test_two_processes import together

N = 14
Learner = tuple[nn.Module, BatchLoader[Any], Callable[[Any, nn.Module], Tensor]]


@dataclass(frozen=True)
class Scenes:
    """Images of all sizes, and how large each box in them is."""

    images: list[Tensor]  # (1, H, W) each
    boxes: list[Tensor]  # (n, 4) each
    index: Tensor
    count: int
    processes: int = 1
    mean = batch_mean


class Sentences(NamedTuple):
    """Padded sentences with their classes."""

    tokens: Tensor  # (b, T)
    lengths: Tensor  # (b,)
    y: Tensor  # (b,)
    index: Tensor  # type: ignore[assignment]
    count: int  # type: ignore[assignment]
    processes: int = 1

    def mean(self, losses: Tensor) -> Tensor:
        return batch_mean(self, losses)


@dataclass(frozen=True)
class Graphs:
    """Graphs in one tensor, node after node."""

    nodes: Tensor  # (sum of lengths, 3)
    lengths: Tensor  # (b,)
    y: Tensor  # (b,)
    index: Tensor
    count: int
    processes: int = 1
    mean = batch_mean


def sizes() -> Tensor:
    return torch.randint(1, 9, (N,), generator=torch.Generator().manual_seed(1))


def scenes(world: World, bad: int | None = None) -> Learner:
    g = torch.Generator().manual_seed(2)
    images = [torch.rand(1, 3 + int(size), 12 - int(size), generator=g) for size in sizes()]
    boxes = [torch.rand(int(size) % 4, 4, generator=g) for size in sizes()]
    if bad is not None:
        boxes[bad][-1, -1] = float("nan")

    def collate(index: Tensor, count: int, processes: int) -> Scenes:
        return Scenes([images[i] for i in index], [boxes[i] for i in index], index, count, processes)

    def objective(batch: Scenes, net: nn.Module) -> Tensor:
        found = torch.stack([net(image[None])[0].mean((1, 2)) for image in batch.images])  # (b, 4)
        wanted = torch.stack([part.sum(0) for part in batch.boxes])
        return batch.mean((found - wanted).square().mean(1))

    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Dropout(0.2))
    return net, BatchLoader(Shuffled(N, 4, seed=0), collate, world=world), objective


def sentences(world: World) -> Learner:
    g = torch.Generator().manual_seed(3)
    texts = [torch.randint(1, 7, (int(size),), generator=g) for size in sizes()]
    y = torch.stack([text.sum() % 2 for text in texts])

    def collate(index: Tensor, count: int, processes: int) -> Sentences:
        return Sentences(*pad([texts[i] for i in index]), y[index], index, count, processes)

    def objective(batch: Sentences, net: nn.Module) -> Tensor:
        mask = keep_mask(batch.lengths, batch.tokens.shape[1])[:, :, None]  # (b, T, 1)
        logits = (net(batch.tokens) * mask).sum(1) / batch.lengths[:, None]  # (b, T, 2) -> (b, 2)
        return batch.mean(F.cross_entropy(logits, batch.y, reduction="none"))

    net = nn.Sequential(nn.Embedding(7, 5), nn.Dropout(0.2), nn.Linear(5, 2))
    return net, BatchLoader(ByLength(sizes(), 4, seed=0, padding=0.3), collate, world=world), objective


def graphs(world: World, bad: int | None = None) -> Learner:
    g = torch.Generator().manual_seed(4)
    nodes = [torch.randn(int(size), 3, generator=g) for size in sizes()]
    y = torch.stack([part.sum() for part in nodes]).tanh()
    if bad is not None:
        nodes[bad][-1, -1] = float("nan")

    def collate(index: Tensor, count: int, processes: int) -> Graphs:
        return Graphs(torch.cat([nodes[i] for i in index]), sizes()[index], y[index], index, count, processes)

    def objective(batch: Graphs, net: nn.Module) -> Tensor:
        graph = torch.arange(len(batch.lengths)).repeat_interleave(batch.lengths)  # of each node
        total = torch.zeros(len(batch.lengths)).index_add(0, graph, net(batch.nodes)[:, 0])
        return batch.mean((total / batch.lengths - batch.y).square())

    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 1))
    return net, BatchLoader(ByTotalSize(sizes(), 16, seed=0), collate, world=world), objective


KINDS: dict[str, Callable[..., Learner]] = {"scenes": scenes, "sentences": sentences, "graphs": graphs}


def learn(run: Run, kind: str, epochs: int = 2) -> nn.Module:
    whole = KINDS[kind](World())[1]
    torch.manual_seed(run.seed)
    net, train, objective = KINDS[kind](run.world)

    @torch.no_grad()
    def validate() -> dict[str, float]:
        net.eval()
        return {"loss": sum(float(objective(batch, net)) for batch in whole.epoch(0)) / len(whole)}

    network = run.wrap_distributed(net)
    with run.active():
        fit(
            run,
            modules={"net": net},
            objective=lambda batch: objective(batch, network),
            optimizer=torch.optim.SGD(net.parameters(), 0.05, momentum=0.9),
            schedule=toy.EachStep(),  # type: ignore[arg-type]
            train=train,
            epochs=epochs,
            validate=validate,
            choose_by=("loss", True),
        )
        run.checkpoint()
    return net


def numbers(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Tensor], dict[str, Tensor]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        del line["seconds"]
    return lines, toy.weights_of(folder)["net"], toy.weights_of(folder, "best")["net"]


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_at_every_step_and_resumed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = toy.new(tmp_path / "whole", log_every=2)
    learn(whole, kind)
    steps = whole.step
    assert steps >= 8
    stop_at(range(1, steps + 1), monkeypatch)
    folder, lives, done = tmp_path / "run", 0, False
    while not done:
        lives += 1
        assert lives <= 4 * steps + 4, "it does not come to its end"
        with contextlib.suppress(Interrupted, Died):
            run = toy.new(folder, log_every=2) if lives == 1 else toy.reopened(folder)
            learn(run, kind)
            done = True
    assert lives > steps
    (lines, last, best), (their_lines, their_last, their_best) = numbers(tmp_path / "whole"), numbers(folder)
    assert lines == their_lines and len(lines) > steps / 2
    for ours, theirs in ((last, their_last), (best, their_best)):
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(last[name], value) for name, value in KINDS[kind](World())[0].state_dict().items())


@pytest.mark.parametrize("bound", [1e-3, None])
def test_clip_norm_bounds_the_step(bound: float | None, tmp_path: Path) -> None:
    """At a rate of 1 a step of plain descent is the gradient: as long as the bound, or as it is."""
    _, loader, objective = graphs(World())
    line, whole = nn.Linear(3, 1), next(loader.epoch(0))
    loss = objective(whole, line)
    gradient = torch.autograd.grad(loss, list(line.parameters()))
    before = nn.utils.parameters_to_vector(line.parameters()).detach().clone()
    run = toy.new(tmp_path / "run")
    with run.active():
        fit(
            run,
            modules={"line": line},
            objective=lambda batch: objective(whole, line),
            optimizer=torch.optim.SGD(line.parameters(), 1.0),
            schedule=toy.EachStep(),  # type: ignore[arg-type]
            train=BatchLoader(Shuffled(4, 4, seed=0), lambda index, count, processes: whole),
            epochs=1,
            validate=dict,
            choose_by=None,
            clip_norm=bound,
        )
    step = before - nn.utils.parameters_to_vector(line.parameters()).detach()
    full = nn.utils.parameters_to_vector(gradient)
    assert float(full.norm()) > 0.01
    torch.testing.assert_close(step, full if bound is None else full / full.norm() * bound, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize(("kind", "field", "number"), [("scenes", "boxes", 5), ("graphs", "nodes", 3)])
def test_a_bad_sample_is_named(
    kind: str, field: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, kind, partial(KINDS[kind], bad=number))
    with pytest.raises(RunFailed, match=rf"the input '{field}', sample {number} of the data"):
        learn(toy.new(tmp_path / "run"), kind)


@pytest.mark.skipif(os.name != "posix" or torch.cuda.is_available(), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("kind", ["sentences", "graphs"])  # those that call the network once a step, as DDP asks
def test_two_processes_give_the_weights_of_one(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)  # each process has draws of its own
    learn(toy.new(tmp_path / "one"), kind)
    together(lambda rank: learn(toy.new(tmp_path / "two"), kind))
    one, two = (toy.weights_of(tmp_path / name)["net"] for name in ("one", "two"))
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)
