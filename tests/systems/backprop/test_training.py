"""Training by hand: the loss curves of autograd, the recipes as a user has them, the models that hold the layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import chainrule
from chainrule.core.errors import UserError
from chainrule.models import build
from chainrule.reporting.learning_curves import group_of
from chainrule.systems.backprop.chain import Chain
from chainrule.systems.backprop.layers.criteria import CrossEntropy
from chainrule.systems.backprop.loop import delta_norms

pytestmark = pytest.mark.usefixtures("no_report")

STEPS = 50


class TorchRowReader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.out = nn.RNN(8, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.recurrent(x.transpose(1, 2).flatten(2))[0][:, -1])


class ScaledTanh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


def torch_mlp() -> nn.Module:
    made = nn.Sequential(nn.Flatten())
    for name, layer in {
        "fc1": nn.Linear(64, 20),
        "act1": ScaledTanh(),
        "fc2": nn.Linear(20, 10),
        "act2": ScaledTanh(),
        "out": nn.Linear(10, 10),
    }.items():
        made.add_module(name, layer)
    return made


NETS: dict[str, tuple[Callable[[], Chain], Callable[[], nn.Module], int, int, float]] = {
    "mlp-backprop": (lambda: build("mlp-backprop", size=8, hidden_sizes=(20, 10)), torch_mlp, 8, 32, 0.02),
    "lenet-backprop": (lambda: build("lenet-backprop"), lambda: build("lenet-caffe"), 28, 6, 0.002),
    "rnn-backprop": (lambda: build("rnn-backprop", size=8, hidden_size=16), TorchRowReader, 8, 32, 0.02),
}


@pytest.mark.parametrize("name", NETS)
def test_the_loss_curve_is_that_of_autograd(name: str) -> None:
    """The same weights at the start, the same digits, momentum SGD: fifty losses agree to 1e-9."""
    make, twin, size, batch_size, lr = NETS[name]
    torch.manual_seed(0)
    ours, theirs, criterion = make().double(), twin().double(), CrossEntropy()
    theirs.load_state_dict(ours.state_dict())
    digits = load_digits()
    x = F.interpolate(torch.tensor(digits.images / 8.0 - 1.0)[:, None], (size, size))
    y = torch.tensor(digits.target)
    mine = torch.optim.SGD(ours.parameters(), lr, momentum=0.9)
    other = torch.optim.SGD(theirs.parameters(), lr, momentum=0.9)
    curves: tuple[list[float], list[float]] = ([], [])
    for step in range(STEPS):
        part = slice(step * batch_size, (step + 1) * batch_size)
        losses = criterion(ours(x[part]), y[part])
        mine.zero_grad()
        ours.backward(criterion.backward(torch.full_like(losses, 1 / batch_size)))
        mine.step()
        loss = F.cross_entropy(theirs(x[part]), y[part])
        other.zero_grad()
        loss.backward()
        other.step()
        curves[0].append(float(losses.mean()))
        curves[1].append(loss.item())
    assert curves[0] == pytest.approx(curves[1], rel=1e-9, abs=1e-9)
    assert sum(curves[0][-5:]) < 0.9 * sum(curves[0][:5]), "something is learnt"


def test_the_perceptron_learns_digits(tmp_path: Path) -> None:
    run = chainrule.train("mlp-backprop", out=tmp_path / "run", device="cpu", seed=0, size=8, epochs=15, log_every=20)
    assert run.result()["metrics"]["accuracy"] > 0.95  # type: ignore[index]


def test_the_first_rows_are_remembered(tmp_path: Path) -> None:
    """Through all steps more is learnt than when the delta may go back over a single row."""
    found = {
        truncation: chainrule.train(
            "rnn-backprop",
            out=tmp_path / str(truncation),
            device="cpu",
            size=8,
            hidden_size=32,
            epochs=12,
            truncation=truncation,
        ).result()["metrics"]["accuracy"]  # type: ignore[index]
        for truncation in (0, 1)
    }
    assert found[0] > 0.8 and found[0] > found[1] + 0.03


def test_lenet_by_hand_learns_as_lenet_by_autograd(tmp_path: Path) -> None:
    """The recipes share seed, order, weights and settings: so their losses agree, in float32, as far as rounding lets them."""
    curves = []
    for recipe in ("lenet-backprop", "lenet-caffe"):
        run = chainrule.train(recipe, out=tmp_path / recipe, device="cpu", seed=1, epochs=1, log_every=1, compile="no")
        curves.append([line["loss"] for line in run.log_lines() if "loss" in line])
    assert len(curves[0]) == 11 and curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_the_deltas_of_training_are_logged_and_drawn_together(tmp_path: Path) -> None:
    run = chainrule.train(
        "rnn-backprop", out=tmp_path / "run", device="cpu", size=8, hidden_size=4, epochs=1, log_every=5
    )
    line = next(line for line in run.log_lines() if "loss" in line)
    deltas = {name for name in line if name.startswith("delta_")}
    assert deltas == {"delta_out", "delta_recurrent", "delta_recurrent_first_state", "delta_recurrent_last_state"}
    assert all(line[name] > 0 for name in deltas)
    assert {group_of(name) for name in deltas} == {"Norm of each layer's delta"}
    assert "Norm of each layer" in chainrule.report(run.folder).read_text("utf-8")


def test_delta_norms_by_hand() -> None:
    network = build("mlp-backprop", size=2, hidden_sizes=(3,), num_classes=2)
    network(torch.randn(4, 1, 2, 2))
    network.backward(torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0], [0.0, 0.0]]))
    norms = delta_norms(network)
    assert set(norms) == {"delta_out", "delta_fc1"} and float(norms["delta_out"]) == 5.0
    assert float(norms["delta_fc1"]) == pytest.approx(float(network.deltas["fc1"].square().sum().sqrt()))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_other_cells_train(cell: str, tmp_path: Path) -> None:
    run = chainrule.train("rnn-backprop", out=tmp_path / cell, device="cpu", size=8, hidden_size=8, epochs=1, cell=cell)
    assert json.loads((run.folder / "result.json").read_text())["metrics"]["accuracy"] > 0.1


@pytest.mark.parametrize("name", ["mlp-backprop", "lenet-backprop", "rnn-backprop"])
def test_one_batch_is_learnt_by_heart(name: str) -> None:
    """What the common test asks of the other models through autograd."""
    torch.manual_seed(0)
    network, criterion = build(name), CrossEntropy()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    x, y = torch.randn(4, 1, 28, 28), torch.tensor([0, 1, 2, 3])
    first = last = float("nan")
    for step in range(60):
        losses = criterion(network(x), y)
        last = float(losses.mean())
        first = last if step == 0 else first
        optimizer.zero_grad()
        network.backward(criterion.backward(torch.full_like(losses, 0.25)))
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
        optimizer.step()
    assert last < 0.2 * first


def test_wrong_settings_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no activation"):
        build("mlp-backprop", activation="tang")
    with pytest.raises(UserError, match="no recurrent cell"):
        build("rnn-backprop", cell="lstn")
    with pytest.raises(UserError, match="without units"):
        build("mlp-backprop", hidden_sizes=(3, 0))
    with pytest.raises(UserError, match="nothing that is compiled"):
        chainrule.train("mlp-backprop", out=tmp_path / "run", device="cpu", compile="yes")
    with pytest.raises(UserError, match="truncation"):
        chainrule.train("rnn-backprop", out=tmp_path / "run", device="cpu", truncation=-1)
