"""Networks under the computational graph: gradients of every parameter and layer against plain autograd."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from chainrule.inspect import check, graph, to_svg, to_text


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain(f: Callable[..., Any], *inputs: Tensor) -> list[Tensor | None]:
    """The gradients of the sum of all outputs by each floating-point input, without any tracing."""
    given = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    found = f(*[x.clone() for x in given])
    outputs = [t for t in (found if isinstance(found, tuple) else (found,)) if t.requires_grad]
    total = torch.stack([t.sum() for t in outputs]).sum()
    wanted = [x for x in given if x.requires_grad]
    gradients = iter(torch.autograd.grad(total, wanted, allow_unused=True))
    return [next(gradients) if x.requires_grad else None for x in given]


# -- networks -----------------------------------------------------------------------------------------------------------


def module_gradients(module: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    found = module(*inputs)
    outputs = []
    stack = [found]
    while stack:
        item = stack.pop()
        if isinstance(item, Tensor):
            outputs += [item.sum()] if item.requires_grad else []
        else:
            stack.extend(item.values() if isinstance(item, dict) else item)
    named = dict(module.named_parameters())
    gradients = torch.autograd.grad(torch.stack(outputs).sum(), list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, gradients, strict=True) if g is not None}


class Twice(nn.Module):
    """A layer called twice, weights tied to another, a residual sum, in-place ReLU, a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.tied = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.tied.weight = self.a.weight
        self.act, self.norm, self.scale = nn.ReLU(inplace=True), nn.BatchNorm1d(4), nn.Parameter(torch.ones(4))
        self.idle = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(self.a(x)))
        y = self.act(self.a(y) + x)
        return self.tied(y) * self.scale


class Unrolled(nn.Module):
    def __init__(self, kind: type[nn.RNNCellBase] = nn.LSTMCell) -> None:
        super().__init__()
        self.cell, self.out = kind(3, 4), nn.Linear(4, 2)  # type: ignore[call-arg]

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.out(state[0] if isinstance(state, tuple) else state)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "twice": (Twice, (5, 4)),
    "lstm": (lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True), (5, 2, 3)),
    "gru": (lambda: nn.GRU(3, 4), (1, 1, 3)),
    "lstm cells": (Unrolled, (2, 6, 3)),
    "gru cells": (lambda: Unrolled(nn.GRUCell), (2, 6, 3)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (2, 5, 8)),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 3, enable_nested_tensor=False
        ),
        (2, 5, 8),
    ),
    "convolution": (
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)),
        (2, 2, 6, 6),
    ),
    "dropout in eval": (lambda: nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.ReLU(True)).eval(), (2, 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_networks(name: str) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    module, x = make().double(), rand(*shape)
    buffers = {k: b.clone() for k, b in module.named_buffers()}
    g = graph(module, x)
    assert all(torch.equal(b, buffers[k]) for k, b in module.named_buffers()), "looking changes no statistics"
    assert all(p.grad is None for p in module.parameters())
    expected = module_gradients(module, x)
    found = {n.name: n for n in g.nodes if n.kind == "parameter"}
    assert {k for k, n in found.items() if n.gradient_norm is not None} == set(expected)
    for key, gradient in expected.items():
        assert found[key].gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-11, abs=1e-13), key
    (by_input,) = plain(module, x) if name not in ("lstm", "gru") else (None,)
    if by_input is not None:
        assert g.nodes[0].gradient_norm == pytest.approx(float(by_input.norm()), rel=1e-11, abs=1e-13)
    assert check(g) < 1e-11
    assert to_text(g) and ET.fromstring(to_svg(g)) is not None and ET.fromstring(to_svg(g, unfold=True)) is not None
    assert not nn.modules.module._global_forward_hooks and not nn.modules.module._global_forward_pre_hooks


def test_what_arrives_inside_a_network() -> None:
    """Every layer's gradient against retain_grad, a layer called twice included."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1)).double(), rand(4, 3)
    g = graph(net, x)
    seen: list[Tensor] = []
    y = x
    for layer in net:
        y = layer(y)
        y.retain_grad()
        seen.append(y)
    y.sum().backward()
    mine = [n for n in g.nodes if n.kind == "operation"]
    for node, tensor in zip(mine, seen, strict=True):
        assert node.gradient is not None and node.value is not None and tensor.grad is not None
        torch.testing.assert_close(node.gradient, tensor.grad)
        torch.testing.assert_close(node.value, tensor.detach())


def test_dropout_in_training_mode_is_one_draw() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 1)).double(), rand(4, 6)
    torch.manual_seed(7)
    g = graph(net, x)
    torch.manual_seed(7)
    given = x.clone().requires_grad_()
    net(given).sum().backward()
    assert g.nodes[0].gradient is not None and given.grad is not None
    torch.testing.assert_close(g.nodes[0].gradient, given.grad)


def test_names_of_calls_and_of_what_a_function_refers_to() -> None:
    g = graph(Twice(), torch.randn(5, 4))
    assert [c.name for c in g.calls] == ["", "a", "norm", "act", "a#2", "act#2", "tied"]
    assert [n.name for n in g.nodes if n.kind == "parameter"] == [
        "a.weight",
        "a.bias",
        "norm.weight",
        "norm.bias",
        "scale",
    ]
    net, scale = nn.Linear(3, 2), torch.tensor(2.0, requires_grad=True)
    inside = graph(lambda x: net(x).relu() * scale, torch.randn(4, 3))
    assert {n.name for n in inside.nodes} >= {"net.weight", "net.bias", "scale", "x"}
    assert inside.calls[1].name == "net"


# -- what is less usual -------------------------------------------------------------------------------------------------


def through_vmap(x: Tensor) -> Tensor:
    return torch.func.vmap(lambda row: row.sin() * row)(x)


def through_a_checkpoint(x: Tensor) -> Tensor:
    return checkpoint(lambda a: a.tanh() * a, x, use_reentrant=False)


def beside_inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        scale = x * 2
    return x.exp() + scale.clone()


def packed(x: Tensor) -> Tensor:
    return nn.utils.rnn.pack_sequence([x * x, x[:1]]).data


@pytest.mark.parametrize(
    "f",
    [
        through_vmap,
        through_a_checkpoint,
        beside_inference,
        packed,
        lambda x: torch.func.grad(lambda a: (a**3).sum())(x),
    ],
)
def test_ways_around_the_trace(f: Callable[[Tensor], Tensor]) -> None:
    x = rand(2, 3)
    g, (expected,) = graph(f, x), plain(f, x)
    assert g["x"].gradient is not None and expected is not None
    torch.testing.assert_close(g["x"].gradient, expected)
    assert check(g) < 1e-12 and to_text(g) and to_svg(g)


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: nn.Embedding(9, 3, sparse=True), torch.tensor([1, 4, 4])),
        (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)).eval(), rand(2, 3).float()),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), rand(2, 3).float()),
        (lambda: nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last), rand(1, 2, 5, 5).float()),
        (lambda: nn.Linear(3, 2).half(), rand(2, 3).half()),
    ],
)
def test_modules_out_of_the_ordinary(make: Callable[[], nn.Module], inputs: Tensor) -> None:
    torch.manual_seed(0)
    module = make()
    g = graph(module, inputs)
    for name, gradient in module_gradients(module, inputs).items():
        dense = gradient.to_dense() if gradient.is_sparse else gradient
        assert g[name].gradient_norm == pytest.approx(float(dense.double().norm()), rel=1e-3), name


def test_the_callers_modes() -> None:
    net, x = nn.Linear(3, 2), torch.randn(2, 3)
    with torch.no_grad():
        g = graph(net, x)
    assert g["weight"].gradient is not None and torch.equal(g["weight"].gradient, x.sum(0).expand(2, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = graph(net, x)
    assert low["f"].dtype == "bfloat16" and low["weight"].gradient is not None
    torch.testing.assert_close(low["weight"].gradient, g["weight"].gradient, rtol=0.02, atol=0.02)
    with torch.inference_mode():
        made_there = torch.randn(2, 3)
    assert graph(net, made_there)["weight"].gradient is not None
