"""The gradient check: it passes what is right, finds what is wrong, and says where."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.systems.backprop.chain import Chain, Residual
from chainrule.systems.backprop.check import gradient_check, layer_check
from chainrule.systems.backprop.layers.activations import ReLU, Softmax, Tanh
from chainrule.systems.backprop.layers.convolution import Conv1d, Conv2d, ConvTranspose2d
from chainrule.systems.backprop.layers.criteria import CrossEntropy, SquaredError
from chainrule.systems.backprop.layers.dropout import Dropout
from chainrule.systems.backprop.layers.embedding import Embedding
from chainrule.systems.backprop.layers.layer import Layer
from chainrule.systems.backprop.layers.linear import Linear
from chainrule.systems.backprop.layers.normalization import BatchNorm, LayerNorm
from chainrule.systems.backprop.layers.pooling import AvgPool2d, MaxPool2d
from chainrule.systems.backprop.layers.recurrent import GRU, LSTM, RNN
from chainrule.systems.backprop.networks import lenet


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


LAYERS: dict[str, tuple[Layer, tuple[Tensor, ...]]] = {
    "linear": (Linear(3, 2), (torch.linspace(-1, 2, 12).view(4, 3),)),
    "tanh": (Tanh(1.7, 0.6), (torch.linspace(-3, 3, 7),)),
    "softmax": (Softmax(), (torch.linspace(-1, 1, 6).view(2, 3),)),
    "convolution": (Conv2d(2, 4, 3, 2, 1, groups=2), (torch.linspace(-1, 1, 50).view(1, 2, 5, 5),)),
    "sequence": (Conv1d(2, 3, 2, dilation=2), (torch.linspace(-1, 1, 12).view(1, 2, 6),)),
    "transposed": (ConvTranspose2d(2, 2, 2, 2), (torch.linspace(-1, 1, 12).view(1, 2, 2, 3),)),
    "maximum": (MaxPool2d(2), (torch.linspace(-1, 1, 36).view(1, 1, 6, 6).sin(),)),
    "mean": (AvgPool2d(3, 2, 1, ceil_mode=True), (torch.linspace(-1, 1, 36).view(1, 1, 6, 6),)),
    "batch norm": (BatchNorm(2), (torch.linspace(-1, 1, 12).view(3, 2, 2).exp(),)),
    "batch norm, evaluation": (BatchNorm(2).eval(), (torch.linspace(-1, 1, 12).view(3, 2, 2),)),
    "layer norm": (LayerNorm(4), (torch.linspace(-1, 1, 8).view(2, 4).exp(),)),
    "dropout": (Dropout(0.4), (torch.linspace(-1, 1, 20),)),
    "embedding": (Embedding(4, 2), (torch.tensor([1, 3, 1]),)),
    "rnn": (RNN(2, 3), (torch.linspace(-1, 1, 16).view(2, 4, 2),)),
    "lstm": (LSTM(2, 3), (torch.linspace(-1, 1, 16).view(2, 4, 2),)),
    "gru": (GRU(2, 3), (torch.linspace(-1, 1, 16).view(2, 4, 2),)),
    "cross entropy": (CrossEntropy(), (torch.linspace(-2, 2, 12).view(4, 3), torch.tensor([0, 2, 1, 1]))),
    "squared error": (SquaredError(), (torch.linspace(-2, 2, 6).view(2, 3), torch.ones(2, 3, dtype=torch.float64))),
    "sum": (Chain({"a": Residual(Chain({"fc": Linear(3, 3), "f": Tanh()})), "b": Linear(3, 1)}), (torch.linspace(-1, 1, 6).view(2, 3),)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_passes(name: str) -> None:
    layer, inputs = LAYERS[name]
    before = copy.deepcopy(layer.state_dict())
    found = layer_check(layer, *inputs)
    assert found.passed, str(found)
    assert found.count == sum(p.numel() for p in layer.parameters()) + inputs[0].numel() * inputs[0].is_floating_point()
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items()), "the layer is left alone"
    assert all(p.grad is None for p in layer.parameters())


class Halved(Layer):
    """Linear with a mistake: half of the third row of the weight's gradient is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.keep(self.inner(x))

    def backward(self, delta: Tensor) -> Tensor:
        self.recall(delta)
        back = self.inner.backward(delta)
        assert self.inner.weight.grad is not None
        self.inner.weight.grad[2] *= 0.5
        return back


def test_a_mistake_is_found_and_named() -> None:
    found = layer_check(Halved(), torch.randn(5, 3))
    assert not found.passed and found.name == "inner__weight" and found.index[0] == 2
    assert found.given == pytest.approx(found.numeric / 2, rel=1e-6)
    assert "is wrong" in str(found) and f"inner__weight[2, {found.index[1]}]" in str(found)


def test_the_derivative_of_a_cubic_by_hand() -> None:
    x = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    right = gradient_check(lambda x, a: (a * x**3).sum(), {"x": x, "a": torch.tensor(2.0)}, {"x": 6 * x**2})
    assert right.passed and right.difference < 1e-8 and right.count == 4
    wrong = gradient_check(lambda x: (x**3).sum(), {"x": x}, {"x": 3 * x**2 + torch.tensor([[0, 0], [0.1, 0]])})
    assert (wrong.passed, wrong.index, wrong.name) == (False, (1, 0), "x")
    assert wrong.given == pytest.approx(0.85) and wrong.numeric == pytest.approx(0.75)
    assert x.tolist() == [[1.0, -2.0], [0.5, 3.0]] and x.dtype == torch.float32


def test_a_gradient_that_is_no_number_fails() -> None:
    found = gradient_check(lambda x: (x**2).sum(), {"x": torch.ones(3)}, {"x": torch.tensor([2.0, torch.nan, 2.0])})
    assert not found.passed and found.index == (1,)


def test_a_kink_fails() -> None:
    assert not layer_check(ReLU(), torch.tensor([0.0, 1.0])).passed


def test_a_transposed_input_is_varied_at_the_right_place() -> None:
    x = torch.arange(6.0).view(2, 3).T
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert gradient_check(lambda x: (weights * x).sum(), {"x": x}, {"x": weights}).passed


def test_a_whole_lenet_on_a_few_of_its_weights() -> None:
    """The bias of the first convolution: its gradient comes through every layer."""
    network = lenet(3).double()
    criterion, x, y = CrossEntropy(), torch.randn(2, 1, 28, 28, dtype=torch.float64), torch.tensor([0, 2])
    criterion(network(x), y)
    network.backward(criterion.backward(torch.full((2,), 0.5, dtype=torch.float64)))

    def loss(bias: Tensor) -> Tensor:
        other = copy.deepcopy(network)
        other.conv1.bias.copy_(bias)  # type: ignore[union-attr,operator]
        return criterion(other(x), y).mean()

    bias = network.conv1.bias
    found = gradient_check(loss, {"bias": bias.detach()}, {"bias": bias.grad}, step=1e-6)  # type: ignore[union-attr,dict-item,operator]
    assert found.passed, str(found)


WRONG = {
    "nothing": lambda: gradient_check(lambda x: x.sum(), {"x": torch.ones(2)}, {}),
    "no element": lambda: gradient_check(lambda x: x.sum(), {"x": torch.ones(0)}, {"x": torch.ones(0)}),
    "no such input": lambda: gradient_check(lambda x: x.sum(), {"x": torch.ones(2)}, {"y": torch.ones(2)}),
    "another shape": lambda: gradient_check(lambda x: x.sum(), {"x": torch.ones(2)}, {"x": torch.ones(3)}),
    "no scalar": lambda: gradient_check(lambda x: x, {"x": torch.ones(2)}, {"x": torch.ones(2)}),
    "whole numbers": lambda: gradient_check(lambda x: x.sum(), {"x": torch.tensor([1])}, {"x": torch.ones(1)}),
    "step": lambda: gradient_check(lambda x: x.sum(), {"x": torch.ones(1)}, {"x": torch.ones(1)}, step=0.0),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_told(name: str) -> None:
    with pytest.raises(UserError, match="found:"):
        WRONG[name]()  # type: ignore[no-untyped-call]
