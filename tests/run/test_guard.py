"""A loss that is no number: named is where it came from, and the run stops at that very step, its checkpoint whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.errors import RunFailed
from chainrule.data.batches import Batches
from chainrule.run.guard import bad_samples, first_bad_layer
from chainrule.systems.reinforcement.replay import Transitions
from tests.data.batches.examples import graphs, scenes, sentences
from tests.run.toy import EachStep, Net, learn, new, reopened, rows, weights_of

NAN, INF = float("nan"), float("inf")


def status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text("utf-8"))["status"]


def latest_step(folder: Path) -> int:
    return json.loads((folder / "checkpoint" / "latest.json").read_text("utf-8"))["step"]


def finite(folder: Path) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in weights_of(folder)["net"].values())


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_bad_sample_is_named_by_its_number(value: float, tmp_path: Path) -> None:
    x, y = rows()
    x[17, 1] = value
    run = new(tmp_path / "run", checkpoint_s=0)
    with pytest.raises(RunFailed, match=r"the input 'x', sample 17 of the data") as caught:
        learn(run, x, y)
    words = str(caught.value)
    assert f"at step {run.step} (epoch 1)" in words and run.step < 6 and caught.value.exit_status == 1
    assert status(tmp_path / "run") == "failed"
    if run.step:
        assert latest_step(tmp_path / "run") == run.step and finite(tmp_path / "run")


def test_the_first_of_several_inputs_is_named() -> None:
    good, bad = torch.zeros(3, 2), torch.tensor([[0.0, 0], [0, NAN], [INF, 0]])
    assert bad_samples({"a": good, "b": bad}, torch.tensor([40, 50, 60])) == "the input 'b', sample 50 of the data"
    assert bad_samples({"a": good, "b": bad}) == "the input 'b', row 1 of 3"
    assert bad_samples({"a": good, "tokens": torch.tensor([1, 2])}) is None


def test_a_bad_target_is_named_by_its_number(tmp_path: Path) -> None:
    x, y = rows()
    y[5] = NAN
    with pytest.raises(RunFailed, match=r"the input 'y', sample 5 of the data"):
        learn(new(tmp_path / "run"), x, y)


def test_the_criterion_is_named_where_everything_else_is_finite(tmp_path: Path) -> None:
    x, y = rows()
    with pytest.raises(RunFailed, match=r"the criterion: every layer's output is finite"):
        learn(new(tmp_path / "run"), x, y.fill_(1e30))


def spoilt(batch: Any, *path: Any) -> Any:
    """The batch with a NaN at the end of a tensor, which is found by names and places."""
    value = batch
    for step in path:
        value = getattr(value, step) if isinstance(step, str) and not isinstance(value, dict) else value[step]
    value.view(-1)[-1] = NAN
    return batch


@pytest.mark.parametrize(
    ("batch", "path", "words"),
    [
        (scenes(), ("images", 2), "the input 'images', sample 102 of the data"),
        (scenes(), ("target", "boxes", 1), "the input 'target.boxes', sample 101 of the data"),
        (scenes(), ("target", "crowd"), "the input 'target.crowd', sample 103 of the data"),
        (sentences(), ("x",), "the input 'x', sample 12 of the data"),
        (sentences(), ("state", 1), "the input 'state.1', sample 12 of the data"),
        (sentences(), ("scale",), "the input 'scale'"),
        (graphs(), ("nodes",), "the input 'nodes', sample 9 of the data"),
        (graphs(), ("extra", "y"), "the input 'extra.y', sample 9 of the data"),
        (Transitions(*(torch.ones(4, 2) for _ in range(5))), ("reward",), "the input 'reward', row 3 of 4"),
        ([torch.ones(2), torch.ones(2)], (1,), "the input '', entry 1"),
        ({"x": torch.ones(2, 2).to_sparse()}, (), None),
    ],
)
def test_the_field_and_the_sample_are_named_in_any_record(batch: Any, path: tuple[Any, ...], words: str | None) -> None:
    assert bad_samples(batch) is None
    assert bad_samples(spoilt(batch, *path) if path else batch) == words


def test_of_samples_in_one_tensor_the_one_that_has_the_row_is_named() -> None:
    for row, number in enumerate((7, 7, 9, 9, 9)):  # two nodes, none, three
        batch = graphs()
        batch.nodes[row, 0] = NAN
        assert bad_samples(batch) == f"the input 'nodes', sample {number} of the data"


def test_where_the_device_is_not_waited_for_the_batch_of_that_step_is_looked_at(tmp_path: Path) -> None:
    """The losses of several steps are looked at together; the batch that spoiled the first of them is made again."""
    x, y = rows()
    x[17, 1] = NAN
    run = new(tmp_path / "run", log_every=100)
    guard, batches = run._guard, Batches(x, y, 4, seed=0)
    run.keep(net=Net())
    first = None
    for epoch in run.epochs(2):
        for batch in run.batches(batches):
            guard.remember(run.step, epoch, run.position, batch.x.sum())
            if first is None and bad_samples(batch):
                first = run.step
        with pytest.raises(RunFailed, match="sample 17 of the data") as caught:
            guard.check({}, lambda: None, None, run._batch_at)
        assert f"at step {first} (epoch 1)" in str(caught.value)
        break


def spoil(net: Net, at: int, value: float) -> EachStep:
    def act(count: int) -> None:
        if count == at:
            with torch.no_grad():
                net.last.bias.fill_(value)

    return EachStep(act)


def test_a_spoiled_weight_is_named_at_the_very_next_step(tmp_path: Path) -> None:
    net, run = Net(), new(tmp_path / "run")
    with pytest.raises(RunFailed, match=r"the parameter net\.last\.bias, which the update before had already spoiled"):
        learn(run, *rows(), net=net, each_step=spoil(net, 9, NAN))
    assert run.step == 9  # nine updates were made, and no tenth


def test_the_checkpoint_that_is_kept_is_good(tmp_path: Path) -> None:
    """The update that spoils the weights comes before a checkpoint that is due: what is kept goes on nonetheless."""
    net, folder = Net(), tmp_path / "run"
    with pytest.raises(RunFailed, match=r"last good checkpoint is kept"):
        learn(new(folder, checkpoint_s=0), *rows(), net=net, each_step=spoil(net, 9, NAN))
    assert finite(folder), "the checkpoint that the error calls good holds weights that are no numbers"
    assert latest_step(folder) == 8
    net = learn(reopened(folder), *rows())
    assert all(bool(torch.isfinite(p).all()) for p in net.parameters())


def test_an_overflow_in_the_middle_names_the_layer(tmp_path: Path) -> None:
    net = Net()
    with torch.no_grad():
        net.first.weight.fill_(1e30)
        net.last.weight.fill_(1e30)
    with pytest.raises(RunFailed, match=r"the output of layer net\.last \(Linear\)"):
        learn(new(tmp_path / "run"), *rows(), net=net)


class Divides(nn.Module):
    """Its own arithmetic gives nan between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last((h - h) / (h - h))[:, 0]


def test_arithmetic_between_layers_names_the_layer_that_it_reaches(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"the input of layer net\.last \(Linear\)"):
        learn(new(tmp_path / "run"), *rows(), net=Divides())


def test_looking_for_the_layer_leaves_no_hook_and_no_gradient() -> None:
    net = Net()
    assert first_bad_layer({"net": net}, lambda: net(torch.ones(2, 3))) is None
    assert not any(layer._forward_hooks for layer in net.modules())
    with pytest.raises(ZeroDivisionError):
        first_bad_layer({"net": net}, lambda: 1 / 0)
    assert not any(layer._forward_hooks for layer in net.modules())
    assert all(p.grad is None for p in net.parameters())


def test_a_rate_that_is_too_high_ends_in_words(tmp_path: Path) -> None:
    run = new(tmp_path / "run", checkpoint_s=0)
    with pytest.raises(RunFailed, match=r"a smaller lr"):
        learn(run, *rows(), lr=1e6, epochs=50)
    assert finite(tmp_path / "run")
