"""Each problem of a network and its healthy twin: found in the one, with its number and layer, and not in the other."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chainrule.core.errors import UserError
from chainrule.inspect import diagnose, graph
from chainrule.introspection.graph.diagnose import mean_shifts
from chainrule.introspection.graph.finding import Finding
from chainrule.systems.image_classification.lenet import LeNet5, LeNetCaffe
from chainrule.systems.image_classification.resnet_cifar import ResNetCifar

BATCH = 32


def data(width: int = 32, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, width, generator=generator), torch.randint(classes, (BATCH,), generator=generator)


def stack(depth: int, act: Callable[[], nn.Module], gain: float, bias: float = 0.0) -> nn.Sequential:
    """Layers of 32 units with weights of deviation gain / sqrt(32)."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(32, 32)
        nn.init.normal_(linear.weight, std=gain / 32**0.5)
        nn.init.constant_(linear.bias, bias)
        layers += [linear, act()]
    return nn.Sequential(*layers, nn.Linear(32, 4))


def found(net: nn.Module, optimizer: torch.optim.Optimizer | None = None, width: int = 32) -> dict[str, Finding]:
    findings = diagnose(net, data(width), F.cross_entropy, optimizer)
    assert all(
        f.remedy.endswith(".") and f.meaning.endswith(".") and f.layer and str(f).startswith(f.what) for f in findings
    )
    return {f.what: f for f in findings}


def test_the_mean_of_rectifiers_shifts() -> None:
    net = stack(3, nn.ReLU, 0.3, bias=2.0)
    shift = next(f for f in diagnose(net, data(), F.cross_entropy) if f.what == "mean shift")
    after = net[:2](data()[0]).detach()
    assert shift.layer == "1" and shift.number == pytest.approx(float(after.mean() / after.std(correction=0)), rel=1e-6)
    assert shift.number > 2 and "mean shift" not in found(stack(3, nn.ReLU, 2**0.5))
    assert "mean shift" not in found(stack(3, nn.ELU, 2**0.5))
    # Of inputs that are normal with mean 0 it is 1 / sqrt(pi - 1); what batch normalisation takes back is no shift.
    x = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.manual_seed(0)
    last = nn.Linear(8, 2).double()
    (number,) = mean_shifts(graph(nn.Sequential(nn.ReLU(), last), x)).values()
    assert number == pytest.approx(1 / (math.pi - 1) ** 0.5, rel=0.02)
    assert not mean_shifts(graph(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(8).double(), last), x))


# -- from layer to layer ------------------------------------------------------------------------------------------------


def test_a_deep_sigmoid_stack_vanishes() -> None:
    net = stack(20, nn.Sigmoid, 0.5)
    finding = found(net)["vanishing gradient"]
    assert finding.layer == "0" and "21 layers" in finding.meaning
    x, y = data()
    activations: list[Tensor] = []
    value = x
    for layer in net:
        value = layer(value)
        if isinstance(layer, nn.Linear):
            value.retain_grad()
            activations.append(value)
    F.cross_entropy(value, y).backward()
    norms = [float(a.grad.double().norm()) for a in activations if a.grad is not None]
    assert finding.number == pytest.approx(norms[0] / norms[-1], rel=1e-4) and finding.number < 1e-12
    assert found(stack(20, nn.Tanh, 1.0)) == {}


def test_large_weights_explode() -> None:
    finding = found(stack(20, nn.ReLU, 4.0))["exploding gradient"]
    assert finding.layer == "0" and finding.number > 1e3
    assert found(stack(8, nn.ReLU, 2**0.5)) == {}  # He initialisation


def test_the_worst_layer_is_named() -> None:
    net = stack(6, nn.Tanh, 1.0)
    with torch.no_grad():
        net[8].weight *= 1e-5
    # What reaches the layer before it is small.
    assert "the worst at 6" in found(net)["vanishing gradient"].meaning


# -- units --------------------------------------------------------------------------------------------------------------


def test_dead_units_are_counted() -> None:
    net = stack(2, nn.ReLU, 2**0.5)
    assert found(net) == {}
    with torch.no_grad():
        net[2].bias[:20] = -100
    finding = found(net)["dead units"]
    silent = (torch.relu(net[:3](data()[0])) == 0).all(0).float().mean()
    assert finding.layer == "3" and finding.number == pytest.approx(float(silent)) and finding.number >= 20 / 32


def test_dead_channels_of_a_convolution() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 36, 4)
    )
    batch = (torch.randn(BATCH, 1, 8, 8), data()[1])
    assert [f for f in diagnose(net, batch, F.cross_entropy) if not f.by_design] == []
    with torch.no_grad():
        net[1].bias[:4] = -100
    dead = [f for f in diagnose(net, batch, F.cross_entropy) if f.what == "dead units"]
    assert [(f.layer, f.number) for f in dead] == [("2", 0.5)]


@pytest.mark.parametrize("act", [nn.Tanh, nn.Sigmoid, nn.Hardtanh])
def test_saturated_units(act: Callable[[], nn.Module]) -> None:
    assert "saturated units" not in found(stack(2, act, 1.0))
    finding = found(stack(2, act, 100.0))["saturated units"]
    assert finding.layer in ("1", "3") and finding.number > 0.8


def test_a_sure_answer_is_no_problem() -> None:
    net = nn.Sequential(nn.Linear(32, 4), nn.Tanh())
    with torch.no_grad():
        net[0].weight *= 1000
    assert "saturated units" not in found(net)


# -- updates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "what"), [(1e-7, "update too small"), (0.02, None), (50.0, "update too large")])
def test_the_step_beside_the_weights(rate: float, what: str | None) -> None:
    net, (x, y) = stack(2, nn.ReLU, 2**0.5).double(), data()
    batch = x.double(), y
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    findings = diagnose(net, batch, F.cross_entropy, optimizer)
    assert {f.what for f in findings} == ({what} if what else set())
    if what:
        gradient = torch.autograd.grad(F.cross_entropy(net(batch[0]), y), net[0].weight)[0]
        first = next(f for f in findings if f.layer == "0.weight")
        assert first.number == pytest.approx(rate * float(gradient.norm() / net[0].weight.detach().norm()), rel=1e-6)
        assert ("Raise" if rate < 1 else "Lower") in first.remedy


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD])
def test_looking_changes_nothing(kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4))
    optimizer = kind(net.parameters(), lr=0.01, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))  # type: ignore[call-arg]
    x, y = data()
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict(), [p.grad for p in net.parameters()]))
    diagnose(net, (x, y), F.cross_entropy, optimizer)
    after = (net.state_dict(), optimizer.state_dict(), [p.grad for p in net.parameters()])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert net.training and net[1].training and not net[0]._forward_hooks


def test_a_parameter_that_the_optimiser_does_not_have() -> None:
    net = stack(1, nn.ReLU, 1.0)
    assert (
        found(net, torch.optim.SGD(net[0].parameters(), lr=0.02))["parameter not in the optimiser"].layer == "2.weight"
    )


# -- parameters without gradient ----------------------------------------------------------------------------------------


class Detached(nn.Module):
    def __init__(self, detach: bool) -> None:
        super().__init__()
        self.first, self.second, self.detach = nn.Linear(32, 8), nn.Linear(8, 4), detach

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x).tanh()
        return self.second(h.detach() if self.detach else h)


def test_parameters_without_gradient() -> None:
    torch.manual_seed(0)
    findings = diagnose(Detached(True), data(), F.cross_entropy)
    assert [(f.what, f.layer) for f in findings] == [
        ("parameter without gradient", n) for n in ("first.weight", "first.bias")
    ]
    assert diagnose(Detached(False), data(), F.cross_entropy) == []
    net = Detached(False)
    nn.init.zeros_(net.second.weight)
    assert {f.layer for f in diagnose(net, data(), F.cross_entropy) if f.what == "gradient of zero"} == {
        "first.weight",
        "first.bias",
    }
    frozen = Detached(True)
    frozen.first.requires_grad_(False)
    assert diagnose(frozen, data(), F.cross_entropy) == []


# -- numbers that are none ----------------------------------------------------------------------------------------------


class Logarithm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(self.linear(x).relu())


def test_the_first_value_that_is_no_number() -> None:
    torch.manual_seed(0)
    net, (x, y) = Logarithm(), data()
    findings = [f for f in diagnose(net, (x, y), F.cross_entropy) if f.what == "NaN or infinite value"]
    assert len(findings) == 1 and "log" in findings[0].meaning
    assert findings[0].number == int((net.linear(x) <= 0).sum()) > 0


# -- batch mixing -------------------------------------------------------------------------------------------------------


class Mixing(nn.Module):
    """The view that everybody writes once: it crosses the batch."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.first, self.second, self.wrong = nn.Linear(32, 8), nn.Linear(8, 4), wrong

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = h.T.reshape(len(x), 8) if self.wrong else h.reshape(len(x), 8)
        return self.second(h.tanh())


class OverTheBatch(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer, self.dim = nn.Linear(32, 4), dim

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).softmax(self.dim)


def test_batch_mixing() -> None:
    torch.manual_seed(0)
    finding = found(Mixing(True))["batch mixing"]
    assert finding.layer == "second" and not finding.by_design and finding.number > 0.1
    assert found(Mixing(False)) == {}
    assert not found(OverTheBatch(0))["batch mixing"].by_design
    assert found(OverTheBatch(1)) == {}


def test_batch_normalisation_mixes_by_design() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    finding = found(net)["batch mixing"]
    assert finding.layer == "1" and finding.by_design and "BatchNorm1d in training mode" in finding.meaning
    assert found(net.eval()) == {}
    layer_norm = nn.Sequential(nn.Linear(32, 8), nn.LayerNorm(8), nn.Dropout(0.5), nn.Linear(8, 4))
    assert found(layer_norm.train()) == {}, "dropout draws the same in both runs"


def test_rows_of_words() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 32), nn.Flatten(), nn.Linear(5 * 32, 4))
    words = torch.randint(9, (BATCH, 5))
    assert diagnose(net, (words, data()[1]), F.cross_entropy) == []
    rolled = nn.Sequential(nn.Embedding(9, 32), nn.Flatten(), Roll(), nn.Linear(5 * 32, 4))
    assert [f.what for f in diagnose(rolled, (words, data()[1]), F.cross_entropy)] == ["batch mixing"]


class Roll(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, 0)


# -- the published networks are healthy ---------------------------------------------------------------------------------


def healthy_networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    return {"lenet-caffe": (LeNetCaffe(), (1, 28, 28)), "resnet20": (ResNetCifar(20), (3, 32, 32))}


@pytest.mark.parametrize("name", ["lenet-caffe", "resnet20"])
def test_published_networks_are_healthy(name: str) -> None:
    net, shape = healthy_networks()[name]
    batch = torch.randn(16, *shape), torch.randint(10, (16,))
    findings = diagnose(net, batch, F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9))
    assert [f for f in findings if not f.by_design] == [], [str(f) for f in findings]


def test_lenet5_is_followed() -> None:
    torch.manual_seed(0)
    g = graph(LeNet5(), torch.randn(2, 1, 32, 32))
    assert all(n.gradient_norm is not None for n in g.nodes if n.kind == "parameter")


# -- form ---------------------------------------------------------------------------------------------------------------


def test_a_batch_of_one_and_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.layer(a * b)

    net, y = Two(), torch.zeros(1, dtype=torch.int64)
    assert diagnose(net, ((torch.ones(1, 4), torch.ones(1, 4)), y), F.cross_entropy) == []


def test_mistakes() -> None:
    net = nn.Linear(32, 4)
    with pytest.raises(UserError, match=r"no scalar(.|\n)*\(32,\)(.|\n)*its mean"):
        diagnose(net, data(), lambda out, y: F.cross_entropy(out, y, reduction="none"))
    with pytest.raises(UserError, match=r"no pair(.|\n)*Tensor"):
        diagnose(net, data()[0], F.cross_entropy)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"on a batch and its loss"):
        diagnose(net)  # type: ignore[call-overload]


def test_a_graph_alone_is_diagnosed() -> None:
    x, y = data()
    net = stack(20, nn.Sigmoid, 0.5)
    g = graph(lambda x: F.cross_entropy(net(x), y), x)
    assert [f.what for f in diagnose(g)] == ["vanishing gradient"]
