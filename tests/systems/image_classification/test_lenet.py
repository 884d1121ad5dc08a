"""LeNet against the papers' tables written out by hand, naive loops, and torch.nn.functional."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.systems.image_classification.lenet import (
    LeNet5,
    LeNetCaffe,
    PartialConv,
    Subsampling,
    class_codes,
    scaled_tanh,
)
from chainrule.systems.image_classification.recipes.lenet import lenet5
from tests.data.image_sets import image_spec

# Table I of LeCun et al. 1998: a row a map of S2, a column a map of C3, X where they are connected.
TABLE_1 = """
    X . . . X X X . . X X X X . X X
    X X . . . X X X . . X X X X . X
    X X X . . . X X X . . X . X X X
    . X X X . . X X X X . . X . X X
    . . X X X . . X X X X . X X . X
    . . . X X X . . X X X X . X X X
"""


def connected() -> list[list[bool]]:
    return [[mark == "X" for mark in line.split()] for line in TABLE_1.split("\n") if line.strip()]


def doubled(model: torch.nn.Module) -> torch.nn.Module:
    """In float64, all parameters moved from where they began, so that no bias is zero."""
    torch.manual_seed(3)
    model.double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return model


def test_the_connections_of_c3_are_table_1() -> None:
    table = connected()
    assert [sum(row) for row in table] == [10] * 6  # 60 kernels: each map of S2 goes into ten of C3
    assert sorted(map(sum, zip(*table, strict=True))) == [3] * 6 + [4] * 9 + [6]
    assert LeNet5().c3.mask.T.tolist() == table
    assert LeNet5().c3.weight.shape == (60, 5, 5)


def test_parameters_a_layer_are_those_of_the_paper() -> None:
    """Section II.B counts each: 156, 12, 1,516, 32, 48,120; F6 10,164. The codes of the output are not trained."""
    model = LeNet5()
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()}
    assert counts == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert sum(counts.values()) == 60_000


@torch.no_grad()
def conv_loop(x: Tensor, kernels: list[list[Tensor | None]], bias: Tensor) -> Tensor:
    """Valid 5 x 5 correlation of one image (C, H, W), written out; None where maps are not connected."""
    out = torch.zeros(len(kernels), x.shape[1] - 4, x.shape[2] - 4, dtype=x.dtype)
    for o, i, j in itertools.product(*map(range, out.shape)):
        total = float(bias[o])
        for c, kernel in enumerate(kernels[o]):
            if kernel is not None:
                total += float((x[c, i : i + 5, j : j + 5] * kernel).sum())
        out[o, i, j] = total
    return out


def subsample_loop(x: Tensor, coefficient: Tensor, bias: Tensor) -> Tensor:
    """Of each 2 x 2 field the sum, times a number, plus a number."""
    out = torch.zeros(x.shape[0], x.shape[1] // 2, x.shape[2] // 2, dtype=x.dtype)
    for c, i, j in itertools.product(*map(range, out.shape)):
        four = x[c, 2 * i, 2 * j] + x[c, 2 * i + 1, 2 * j] + x[c, 2 * i, 2 * j + 1] + x[c, 2 * i + 1, 2 * j + 1]
        out[c, i, j] = coefficient[c] * four + bias[c]
    return out


def squash(x: Tensor) -> Tensor:
    return torch.tensor([1.7159 * math.tanh(2.0 / 3.0 * v) for v in x.flatten().tolist()], dtype=x.dtype).view(x.shape)


def c3_kernels(layer: PartialConv) -> list[list[Tensor | None]]:
    """The kernels of C3 by output and input map: they lie in the order of the output maps, then of the input maps."""
    stored, kernels = iter(layer.weight), []
    for column in zip(*connected(), strict=True):
        kernels.append([next(stored) if joined else None for joined in column])
    return kernels


def test_subsampling_is_the_loop() -> None:
    layer = doubled(Subsampling(3))
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    expected = torch.stack([subsample_loop(image, layer.weight, layer.bias) for image in x])
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(layer, x.requires_grad_())


def test_c3_is_the_loop() -> None:
    layer = doubled(LeNet5().c3)
    x = torch.randn(6, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(layer(x[None])[0], conv_loop(x, c3_kernels(layer), layer.bias), rtol=0, atol=1e-12)


def test_c3_learns_its_own_kernels_only() -> None:
    """The gradient of the kernels against finite differences, through the scatter into the full weight."""
    layer = PartialConv(2, ((0,), (0, 1)), 2).double()
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64)

    def forward(weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = tuple(p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    assert torch.autograd.gradcheck(forward, inputs)


def test_scaled_tanh() -> None:
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    torch.testing.assert_close(scaled_tanh(x), squash(x), rtol=0, atol=1e-14)
    ends = scaled_tanh(torch.tensor([-1.0, 0.0, 1.0, 1e9]).double())
    torch.testing.assert_close(ends, torch.tensor([-1, 0, 1, 1.7159]).double(), rtol=0, atol=1e-5)


def test_lenet5_is_the_loops() -> None:
    """The whole network on one image, layer for layer as section II.B describes it, in plain arithmetic."""
    model = doubled(LeNet5())
    assert isinstance(model, LeNet5)
    x = torch.randn(1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        h = squash(conv_loop(x, [list(kernel) for kernel in model.c1.weight], model.c1.bias))
        h = squash(subsample_loop(h, model.s2.weight, model.s2.bias))
        h = squash(conv_loop(h, c3_kernels(model.c3), model.c3.bias))
        h = squash(subsample_loop(h, model.s4.weight, model.s4.bias)).flatten()
        h = squash(torch.stack([(row.flatten() * h).sum() for row in model.c5.weight]) + model.c5.bias)
        h = squash(torch.stack([(row * h).sum() for row in model.f6.weight]) + model.f6.bias)
        distances = [sum((a - b) ** 2 for a, b in zip(h.tolist(), code.tolist(), strict=True)) for code in model.codes]
        found = model(x[None])[0]
    assert h.shape == (84,) and len(distances) == 10
    torch.testing.assert_close(found, -torch.tensor(distances, dtype=torch.float64), rtol=1e-10, atol=1e-10)


def test_codes_are_signs_and_apart() -> None:
    """Each digit is an image of 7 x 12; no two are so near that one answer could mean both."""
    for count in (2, 10, 37):
        codes = class_codes(count)
        assert codes.shape == (count, 84) and set(codes.flatten().tolist()) == {-1.0, 1.0}
        assert torch.equal(codes, class_codes(count))
        differ = (codes[:, None] != codes[None]).sum(-1) + 84 * torch.eye(count, dtype=torch.long)
        assert int(differ.min()) >= 4
    one = class_codes(10)[1].view(12, 7)
    assert [int(i) for i in (one > 0).sum(1)] == [0, 0, 0, 1, 2, 2, 1, 1, 1, 1, 1, 5]  # a stem on a foot


def test_the_criterion_is_equation_9(monkeypatch: pytest.MonkeyPatch) -> None:
    """y_D + log(exp(-j) + sum_i exp(-y_i)), with the penalties y of equation 7; caught on its way to the system."""
    caught: dict[str, object] = {}
    monkeypatch.setattr(
        "chainrule.tasks.images.classification.ImageClassifier", lambda run, **parts: caught.update(parts)
    )
    spec = image_spec(classes=list("0123456789"), counts={"train": 64})
    data = type("Data", (), {"spec": spec})()
    monkeypatch.setattr("chainrule.data.images.loading.load_images", lambda run, **settings: data)
    lenet5.build(type("Run", (), {"data": None, "place": staticmethod(lambda model: model)})(), j=0.7)
    penalties = torch.rand(5, 10, dtype=torch.float64) * 6
    y = torch.tensor([0, 3, 9, 9, 1])
    expected = [
        float(row[d]) + math.log(math.exp(-0.7) + sum(math.exp(-float(v)) for v in row))
        for row, d in zip(penalties, y.tolist(), strict=True)
    ]
    found = caught["criterion"](-penalties, y)  # type: ignore[operator]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_lenet_caffe_is_its_functions() -> None:
    model = doubled(LeNetCaffe())
    assert sum(p.numel() for p in model.parameters()) == 431_080
    w = dict(model.named_parameters())
    assert {name: tuple(p.shape) for name, p in w.items() if name.endswith("weight")} == {
        "conv1.weight": (20, 1, 5, 5),
        "conv2.weight": (50, 20, 5, 5),
        "ip1.weight": (500, 800),
        "ip2.weight": (10, 500),
    }
    x = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    h = F.max_pool2d(F.conv2d(x, w["conv1.weight"], w["conv1.bias"]), 2, 2)
    h = F.max_pool2d(F.conv2d(h, w["conv2.weight"], w["conv2.bias"]), 2, 2)
    h = F.relu(h.reshape(3, 800) @ w["ip1.weight"].T + w["ip1.bias"])
    expected = h @ w["ip2.weight"].T + w["ip2.bias"]
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


def test_weights_begin_within_their_bounds() -> None:
    """2.4 / fan-in for LeNet-5 (Appendix A), sqrt(3 / fan-in) for Caffe's xavier; uniform, so nearly reaching them."""
    five, caffe = LeNet5(), LeNetCaffe()
    bounds = [(five.c1, 2.4 / 25), (five.c5, 2.4 / 400), (five.f6, 2.4 / 120)]
    bounds += [(layer, math.sqrt(3 / layer.weight[0].numel())) for layer in caffe.children()]
    for layer, bound in bounds:
        highest = float(layer.weight.detach().abs().max())
        assert 0.9 * bound < highest <= bound * (1 + 1e-6)
        assert float(layer.bias.detach().abs().max()) == 0
    for kernels, column in zip(c3_kernels(five.c3), zip(*connected(), strict=True), strict=True):
        own = torch.stack([kernel.detach() for kernel in kernels if kernel is not None])
        assert 0.8 * 2.4 / (25 * sum(column)) < float(own.abs().max()) <= 2.4 / (25 * sum(column)) * (1 + 1e-6)
