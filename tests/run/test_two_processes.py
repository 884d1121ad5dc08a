"""Two processes that train together, forked here: what they must agree on, and what each must not wait for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from chainrule.core.errors import UserError
from chainrule.data.batches import Batches
from chainrule.loops.supervised import fit
from chainrule.nn.frozen import Frozen
from chainrule.optim.by_name import has_fused
from tests.run import toy
from tests.run.together import can_fork, together

pytestmark = can_fork


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_best_is_what_the_first_process_measured(parallel: str, tmp_path: Path) -> None:
    """Where the processes measured otherwise, one alone would gather the weights of both, and wait for ever."""

    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run", parallel=parallel)
        net = run.place(toy.Net())
        kept = [
            run.keep_best({"net": net}, "val_error", value, lower_is_better=True)
            for value in ((0.3, 0.2), (0.2, 0.3))[rank]
        ]
        assert kept == [True, True]
        assert run.best is not None and run.best["value"] == 0.2

    together(act)
    assert set(toy.weights_of(tmp_path / "run", "best")["net"]) == set(toy.Net().state_dict())


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_frozen_parts_rest_and_wake(parallel: str, tmp_path: Path) -> None:
    """The same weights as one process gives: frozen for four steps, then not for four."""
    x, y = torch.randn(24, 3), torch.randn(24)

    def learnt(run: toy.Run) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        net = run.place(toy.Net())
        frozen, shared = Frozen(net, ["first"]), run.wrap_distributed(net, rests=True)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for number, batch in enumerate(Batches(x, y, 3, seed=0, world=run.world).epoch(0)):
            frozen.hold() if number < 4 else frozen.release()
            optimizer.zero_grad()
            batch.mean((shared(batch.x) - batch.y).square()).backward()
            optimizer.step()
        assert number == 7
        return {name: p.full_tensor() if hasattr(p, "full_tensor") else p for name, p in net.state_dict().items()}

    expected = learnt(toy.new(tmp_path / "one"))

    def act(rank: int) -> None:
        torch.testing.assert_close(learnt(toy.new(tmp_path / "two", parallel=parallel)), expected)

    together(act)


def test_a_sharded_resnet_learns(tmp_path: Path) -> None:
    from chainrule.systems.image_classification.recipes.resnet_cifar import resnet20

    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run", parallel="fsdp")
        task = resnet20.build(run, depth=8, epochs=1)
        images = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
        before = [p.full_tensor().clone() for p in task.model.parameters()]
        task.model(task.normalize(images)).square().mean().backward()
        task.optimizer.step()
        assert not has_fused("sgd", list(task.model.parameters()))
        assert all((p.full_tensor() != old).any() for p, old in zip(task.model.parameters(), before, strict=True))

    together(act)


def test_what_looks_at_whole_matrices_is_not_sharded(tmp_path: Path) -> None:
    from chainrule.systems.image_classification.recipes.cifar_speed import cifar_speed

    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run", parallel="fsdp")
        with pytest.raises(UserError, match="does not shard"):
            cifar_speed.build(run, widths=(8, 8, 8))

    together(act)


def test_numbers_and_tensors_of_the_processes_are_averaged(tmp_path: Path) -> None:
    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run")
        run.track(loss=torch.tensor(float(rank)), lr=0.5)
        run.flush()

    together(act)
    assert [(line["loss"], line["lr"]) for line in toy.Run.load(tmp_path / "run", recipe=toy.PLAIN).log_lines()] == [
        (0.5, 0.5)
    ]


def test_a_layer_without_gradient_is_not_waited_for(tmp_path: Path) -> None:
    """Without `rests` DDP says so at the second step: the test above would notice."""

    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run")
        net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        shared = run.wrap_distributed(net)
        net[0].requires_grad_(False)
        shared(torch.ones(1, 2)).sum().backward()
        with pytest.raises(RuntimeError, match="finished reduction"):
            shared(torch.ones(1, 2))

    together(act)


def test_an_evaluation_is_of_one_network(tmp_path: Path) -> None:
    """Each process keeps running averages of its own part of the batches; when they evaluate, all have the first's."""
    x = torch.arange(24.0).reshape(8, 3)

    def act(rank: int) -> None:
        run = toy.new(tmp_path / "run")
        net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1), nn.Flatten(0))
        network, seen = run.wrap_distributed(net), []

        def validate() -> dict[str, float]:
            seen.append(run.world.gather(net[0].running_mean))
            return {"loss": float(net[0].running_mean.sum())}

        fit(
            run,
            modules={"net": net},
            objective=lambda batch: batch.mean((network(batch.x) - batch.y).square()),
            optimizer=torch.optim.SGD(net.parameters(), 0.01),
            schedule=toy.EachStep(),  # type: ignore[arg-type]
            train=Batches(x, x.sum(1), 8, seed=0, world=run.world),
            epochs=2,
            validate=validate,
            choose_by=("loss", True),
        )
        for first, second in seen:
            assert torch.equal(first, second)

    together(act)
