"""Fully connected layers, activations, criteria, normalisation, dropout and chains by hand, against autograd."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.systems import backprop
from chainrule.systems.backprop.chain import Chain, Residual
from chainrule.systems.backprop.layers.activations import (
    ELU,
    HardTanh,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from chainrule.systems.backprop.layers.convolution import Conv2d
from chainrule.systems.backprop.layers.criteria import CrossEntropy, SquaredError
from chainrule.systems.backprop.layers.dropout import Dropout
from chainrule.systems.backprop.layers.embedding import Embedding
from chainrule.systems.backprop.layers.layer import Layer
from chainrule.systems.backprop.layers.linear import Flatten, LastStep, Linear, Rows
from chainrule.systems.backprop.layers.normalization import BatchNorm, LayerNorm
from tests.systems.backprop.oracle import near, same_as_autograd


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(7, 5), (1, 5), (0, 5), (2, 3, 5), (5,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    same_as_autograd(Linear(5, 4, bias=bias), nn.Linear(5, 4, bias=bias), torch.randn(shape))


def test_linear_on_large_offsets() -> None:
    same_as_autograd(Linear(5, 4), nn.Linear(5, 4), torch.randn(6, 5) + 1e6)


ACTIVATIONS = [
    (Sigmoid(), torch.sigmoid),
    (Tanh(), torch.tanh),
    (ReLU(), F.relu),
    (LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    (Tanh(1.7159, 2 / 3), lambda x: 1.7159 * torch.tanh(2 / 3 * x)),
    (ELU(0.7), lambda x: F.elu(x, 0.7)),
    (Softplus(), F.softplus),
    (HardTanh(), F.hardtanh),
    (Softmax(), lambda x: F.softmax(x, -1)),
]


@pytest.mark.parametrize(
    ("ours", "theirs"), ACTIVATIONS, ids=lambda v: type(v).__name__ if isinstance(v, Layer) else ""
)
def test_activations(ours: Layer, theirs: object) -> None:
    """At random places, at the kinks, and far out, where nothing may overflow."""
    for x in (torch.randn(4, 6), torch.tensor([[-1.0, 0.0, 1.0, -0.0]]), torch.zeros(0, 3)):
        same_as_autograd(ours, theirs, x)  # type: ignore[arg-type]
    far = torch.tensor([[-800.0, -40.0, 40.0, 800.0]], dtype=torch.float64)
    assert torch.isfinite(ours(far)).all() and torch.isfinite(ours.backward(torch.ones_like(far))).all()


def test_softplus_far_out() -> None:
    """PyTorch turns linear above 20; the exact form is compared with the definition at high precision."""
    layer, x = Softplus(), torch.tensor([21.0, 35.0], dtype=torch.float64)
    near(layer(x), torch.tensor([math.log1p(math.exp(-v)) + v for v in x.tolist()], dtype=torch.float64), "softplus")


@pytest.mark.parametrize("shape", [(6, 3), (1, 3), (2, 4, 3), (0, 3), (3,), (5, 1)], ids=str)
def test_cross_entropy(shape: tuple[int, ...]) -> None:
    target = torch.randint(0, shape[-1], shape[:-1])

    def theirs(logits: Tensor, y: Tensor) -> Tensor:
        return -F.log_softmax(logits, -1).gather(-1, y[..., None])[..., 0]

    for offset in (0.0, 1e4, -1e4):
        same_as_autograd(CrossEntropy(), theirs, torch.randn(shape) * 5 + offset, target)


def test_softmax_then_log_is_cross_entropy() -> None:
    """The two parts one after another give the delta that the joined form gives: p - (k = y)."""
    z, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    softmax, joined = Softmax(), CrossEntropy()
    p = softmax(z)
    delta_p = torch.zeros_like(p)
    delta_p[range(5), y] = -1 / p[range(5), y]
    joined(z, y)
    near(softmax.backward(delta_p), joined.backward(torch.ones(5, dtype=torch.float64)), "delta at the logits")
    near(softmax(z) - F.one_hot(y, 4), softmax(z) - F.one_hot(y, 4).double(), "p - (k = y)")


@pytest.mark.parametrize("shape", [(6, 3), (1, 3), (4,), (0, 3), (2, 3, 2)], ids=str)
def test_squared_error(shape: tuple[int, ...]) -> None:
    def theirs(y: Tensor, t: Tensor) -> Tensor:
        return ((y - t) ** 2 / 2).reshape(len(y), math.prod(y.shape[1:])).sum(1)

    same_as_autograd(SquaredError(), theirs, torch.randn(shape), torch.randn(shape, dtype=torch.float64))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 4, 5), (1, 3, 2, 2)], ids=str)
def test_batch_norm(shape: tuple[int, ...], training: bool) -> None:
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
    ours = BatchNorm(3, eps=1e-3, momentum=0.3).train(training)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2.0)
        ours.bias.normal_()
        ours.running_mean.normal_()
        ours.running_var.uniform_(0.5, 2.0)
    theirs = kinds[len(shape)](3, eps=1e-3, momentum=0.3)
    same_as_autograd(ours, theirs, torch.randn(shape) * 3 + 100)


def test_batch_norm_of_a_constant_batch() -> None:
    """No variance at all: eps alone keeps the division finite."""
    same_as_autograd(BatchNorm(2), nn.BatchNorm1d(2), torch.full((4, 2), 7.0))


def test_batch_norm_gives_back_nothing_that_the_mean_would_take() -> None:
    layer = BatchNorm(3).double()
    layer(torch.randn(8, 3, dtype=torch.float64))
    back = layer.backward(torch.randn(8, 3, dtype=torch.float64))
    near(back.sum(0), torch.zeros(3, dtype=torch.float64), "sum of the delta over the batch")


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (1, 3), (3,), (0, 3)], ids=str)
def test_layer_norm(shape: tuple[int, ...]) -> None:
    ours = LayerNorm(3)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2.0)
        ours.bias.normal_()
    same_as_autograd(ours, nn.LayerNorm(3), torch.randn(shape) + 50)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_dropout(p: float, training: bool) -> None:
    same_as_autograd(Dropout(p).train(training), nn.Dropout(p), torch.randn(50, 4))


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    layer, x = Dropout(0.25), torch.ones(40_000)
    y = layer(x)
    assert abs(float((y == 0).double().mean()) - 0.25) < 0.01 and abs(float(y.mean()) - 1) < 0.02
    assert torch.equal(layer.backward(x), y), "what is dropped forward is dropped backward"


def test_embedding() -> None:
    for index in (torch.tensor([[0, 4, 4], [4, 1, 0]]), torch.tensor([2]), torch.zeros(0, dtype=torch.int64)):
        same_as_autograd(Embedding(5, 3), nn.Embedding(5, 3), index)


def test_layouts() -> None:
    same_as_autograd(Flatten(), lambda x: x.flatten(1), torch.randn(2, 3, 4, 5))
    same_as_autograd(LastStep(), lambda x: x[:, -1], torch.randn(2, 4, 3))
    same_as_autograd(Rows(), lambda x: x.transpose(1, 2).flatten(2), torch.randn(2, 3, 4, 5))
    image = torch.arange(12.0).view(1, 2, 2, 3)  # two channels of two rows
    assert Rows()(image).tolist() == [[[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]]


class TorchResidual(nn.Module):
    def __init__(self, branch: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + (x if self.shortcut is None else self.shortcut(x))


def test_chain_and_residual_sums() -> None:
    """Sums within sums, with and without a layer on the way past, normalisation and dropout among them."""

    def block(linear: type, norm: type, act: type, sequence: object, residual: type) -> nn.Module:
        inner = residual(sequence({"fc": linear(6, 6), "act": act()}), None)  # type: ignore[operator]
        return residual(sequence({"bn": norm(4), "fc": linear(4, 6), "inner": inner}), linear(4, 6))  # type: ignore[operator]

    def sequence(layers: dict[str, nn.Module]) -> nn.Module:
        made = nn.Sequential()
        for name, layer in layers.items():
            made.add_module(name, layer)
        return made

    ours = Chain({"block": block(Linear, BatchNorm, ReLU, Chain, Residual), "out": Linear(6, 2)})  # type: ignore[dict-item]
    theirs = sequence(
        {"block": block(nn.Linear, nn.BatchNorm1d, nn.ReLU, sequence, TorchResidual), "out": nn.Linear(6, 2)}
    )
    same_as_autograd(ours, theirs, torch.randn(9, 4))
    assert list(ours.deltas) == [
        "out",
        "block",
        "block.branch.inner",
        "block.branch.inner.branch.act",
        "block.branch.inner.branch.fc",
        "block.branch.fc",
        "block.branch.bn",
    ]


def test_the_deltas_are_the_derivatives_by_each_layers_output() -> None:
    layers: dict[str, Layer] = {"fc1": Linear(4, 5), "act": Sigmoid(), "fc2": Linear(5, 3), "soft": Softmax()}
    ours, x = Chain(layers).double(), torch.randn(6, 4, dtype=torch.float64)
    delta = torch.randn(6, 3, dtype=torch.float64)
    ours(x)
    ours.backward(delta)
    values, h = {}, x
    for name, function in (
        ("fc1", lambda v: F.linear(v, ours.fc1.weight.detach(), ours.fc1.bias.detach())),
        ("act", torch.sigmoid),  # type: ignore[union-attr]
        ("fc2", lambda v: F.linear(v, ours.fc2.weight.detach(), ours.fc2.bias.detach())),
        ("soft", lambda v: v.softmax(-1)),  # type: ignore[union-attr]
    ):
        h = function(h.requires_grad_(True) if name == "fc1" else h)
        h.retain_grad()
        values[name] = h
    h.backward(delta)
    assert list(ours.deltas) == ["soft", "fc2", "act", "fc1"]
    for name, value in values.items():
        near(ours.deltas[name], value.grad, name)


def test_the_delta_rule_by_hand() -> None:
    """Two inputs, two logistic hidden units, one logistic output, squared error: every number by the textbook's formulas."""
    network = Chain({"hidden": Linear(2, 2), "f": Sigmoid(), "out": Linear(2, 1), "g": Sigmoid()}).double()
    w, v = [[0.15, 0.20], [0.25, 0.30]], [0.40, 0.45]
    state = {"hidden.weight": w, "hidden.bias": [0.35, 0.35], "out.weight": [v], "out.bias": [0.60]}
    network.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()})
    x, t = (0.05, 0.10), 0.01

    y = [1 / (1 + math.exp(-(row[0] * x[0] + row[1] * x[1] + 0.35))) for row in w]
    z = 1 / (1 + math.exp(-(v[0] * y[0] + v[1] * y[1] + 0.60)))
    delta_out = (z - t) * z * (1 - z)
    delta_hidden = [v[h] * delta_out * y[h] * (1 - y[h]) for h in (0, 1)]

    criterion = SquaredError()
    loss = criterion(network(torch.tensor([x], dtype=torch.float64)), torch.tensor([[t]], dtype=torch.float64))
    network.backward(criterion.backward(torch.ones(1, dtype=torch.float64)))
    assert loss.item() == pytest.approx((z - t) ** 2 / 2, abs=1e-14)
    assert network.deltas["out"].tolist() == [[pytest.approx(delta_out, abs=1e-14)]]
    assert network.deltas["hidden"].tolist() == [pytest.approx(delta_hidden, abs=1e-14)]
    assert network.out.weight.grad.tolist() == [pytest.approx([delta_out * y[0], delta_out * y[1]], abs=1e-14)]  # type: ignore[union-attr]
    for h in (0, 1):
        assert network.hidden.weight.grad[h].tolist() == pytest.approx([delta_hidden[h] * i for i in x], abs=1e-14)  # type: ignore[union-attr,index]


def test_gradients_are_added_up() -> None:
    """Two passes before an update give the sum, as with autograd."""
    whole, parts, x = Linear(3, 2).double(), Linear(3, 2).double(), torch.randn(6, 3, dtype=torch.float64)
    parts.load_state_dict(whole.state_dict())
    delta = torch.randn(6, 2, dtype=torch.float64)
    whole(x)
    whole.backward(delta)
    for part in (slice(0, 4), slice(4, 6)):
        parts(x[part])
        parts.backward(delta[part])
    near(parts.weight.grad, whole.weight.grad, "weight")


def test_half_precision_stays_half() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        network = Chain({"fc": Linear(4, 4), "norm": LayerNorm(4), "act": Tanh()}).to(dtype)
        x = torch.randn(3, 4).to(dtype)
        assert network(x).dtype == network.backward(x).dtype == network.fc.weight.grad.dtype == dtype  # type: ignore[union-attr]


def test_nothing_is_kept_in_inference_mode_and_only_until_backward() -> None:
    layer, x = Linear(2, 2), torch.ones(1, 2)
    with torch.inference_mode():
        layer(x)
    with pytest.raises(UserError, match="no forward pass to go back through"):
        layer.backward(x)
    layer(x)
    layer.backward(x)
    with pytest.raises(UserError, match="one forward pass before each backward pass"):
        layer.backward(x)


def test_no_autograd_in_the_room() -> None:
    """The texts name nothing that differentiates, and every forward and backward is marked."""
    files = [*Path(backprop.__file__).parent.rglob("*.py")]
    assert len(files) > 10
    for file in files:
        text = file.read_text("utf-8")
        code = re.sub(r'"""(?:.|\n)*?"""|"[^"\n]*"', "", text)
        assert not re.search(r"autograd|requires_grad|enable_grad|vjp|jacrev|functional\.(?!pad\b)", code), file.name
        calls = re.findall(r"(\w+)\.backward\(", code)
        assert set(calls) <= {"layer", "branch", "shortcut", "copied", "criterion", "network"}, f"{file.name}: {calls}"
        for line, body in re.findall(r"\n    (.*)\n    def (?:forward|backward)\(([^)]*)\)", code):
            assert "@without_graph" in line or file.name == "layer.py", f"{file.name}: {body}"


WRONG = {
    "Linear without units": lambda: Linear(0, 3),
    "Linear, other width": lambda: Linear(3, 2)(torch.ones(2, 4)),
    "delta of another shape": lambda: _back(Linear(3, 2), torch.ones(2, 3), torch.ones(2, 3)),
    "Tanh constant": lambda: Tanh(0.0),
    "ELU flat": lambda: ELU(0.0),
    "Dropout above one": lambda: Dropout(1.1),
    "BatchNorm of one value": lambda: BatchNorm(2)(torch.ones(1, 2)),
    "BatchNorm, other channels": lambda: BatchNorm(2)(torch.ones(3, 3)),
    "BatchNorm momentum": lambda: BatchNorm(2, momentum=2.0),
    "LayerNorm, other width": lambda: LayerNorm(2)(torch.ones(3, 3)),
    "LayerNorm eps": lambda: LayerNorm(2, eps=0.0),
    "class out of range": lambda: CrossEntropy()(torch.ones(1, 3), torch.tensor([3])),
    "negative class": lambda: CrossEntropy()(torch.ones(1, 3), torch.tensor([-1])),
    "target not classes": lambda: CrossEntropy()(torch.ones(1, 3), torch.tensor([1.0])),
    "target of another shape": lambda: CrossEntropy()(torch.ones(2, 3), torch.tensor([1])),
    "squared error shapes": lambda: SquaredError()(torch.ones(2, 3), torch.ones(2, 1)),
    "empty table": lambda: Embedding(0, 1),
    "index out of range": lambda: Embedding(2, 1)(torch.tensor([2])),
    "index not whole": lambda: Embedding(2, 1)(torch.tensor([1.0])),
    "empty chain": lambda: Chain({}),
    "name taken": lambda: Chain({"backward": ReLU()}),
    "name with a dot": lambda: Chain({"a.b": ReLU()}),
    "layer of autograd": lambda: Chain({"a": nn.ReLU()}),  # type: ignore[dict-item]
    "residual shapes": lambda: Residual(Linear(3, 2))(torch.ones(1, 3)),
    "no image": lambda: Rows()(torch.ones(2, 3)),
    "no step": lambda: LastStep()(torch.ones(2, 0, 3)),
    "nothing to flatten": lambda: Flatten()(torch.ones(2)),
}


def _back(layer: Layer, x: Tensor, delta: Tensor) -> None:
    layer(x)
    layer.backward(delta)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_told(name: str) -> None:
    with pytest.raises(UserError, match="expected:"):
        WRONG[name]()  # type: ignore[no-untyped-call]


def test_a_layer_at_two_places_is_told() -> None:
    shared = ReLU()
    for make in (
        lambda: Chain({"a": shared, "b": Linear(2, 2), "c": shared}),
        lambda: Residual(shared, shared),
        lambda: Chain({"a": shared, "b": Residual(shared)}),
    ):
        with pytest.raises(UserError, match="two places"):
            make()


def test_a_new_layer_without_backward_is_told() -> None:
    class Square(Layer):
        def forward(self, x: Tensor) -> Tensor:
            return self.keep(x * x, x)

    with pytest.raises(NotImplementedError, match="Square has no backward pass"):
        Square().backward(torch.ones(1))


def test_channels_last_images_give_the_same() -> None:
    layer, x = Conv2d(2, 3, 3), torch.randn(2, 2, 6, 6)
    plain = layer(x)
    back = layer.backward(torch.ones_like(plain))
    last = layer(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, plain)
    torch.testing.assert_close(layer.backward(torch.ones_like(last)), back)
