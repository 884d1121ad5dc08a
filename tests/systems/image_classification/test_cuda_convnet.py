"""The networks of cuda-convnet against their layer files restated, and their locally connected layer against a loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.introspection.layers import layers
from chainrule.models import build
from chainrule.systems.image_classification.locally_connected import LocallyConnected2d


def by_places(layer: LocallyConnected2d, x: Tensor) -> Tensor:
    """Each place by itself: its window, cut out with zeros around the maps, times its own filters."""
    height, width = layer.out_size
    k, s, p = layer.kernel_size, layer.stride, layer.padding
    padded = F.pad(x, (p, p, p, p))
    out = x.new_zeros(len(x), layer.bias.shape[0], height, width)
    for i in range(height):
        for j in range(width):
            window = padded[:, :, i * s : i * s + k, j * s : j * s + k].flatten(1)
            out[:, :, i, j] = window @ layer.weight[i * width + j].T + layer.bias[:, i, j]
    return out


@pytest.mark.parametrize(
    ("size", "k", "s", "p"),
    [((6, 6), 3, 1, 1), ((5, 7), 3, 2, 0), ((3, 3), 3, 1, 0), ((4, 2), 1, 1, 0), ((1, 1), 3, 1, 1)],
)
def test_a_locally_connected_layer_is_the_loop(size: tuple[int, int], k: int, s: int, p: int) -> None:
    torch.manual_seed(0)
    layer = LocallyConnected2d(2, 3, size, k, s, p).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(layer(x), by_places(layer, x), rtol=1e-12, atol=1e-12)
    assert layer(x[:0]).shape == (0, 3, *layer.out_size)
    assert torch.autograd.gradcheck(
        lambda x, w, b: torch.func.functional_call(layer, {"weight": w, "bias": b}, (x,)), (x, layer.weight, layer.bias)
    )


def test_with_the_same_filters_everywhere_it_is_a_convolution() -> None:
    torch.manual_seed(0)
    layer, conv = LocallyConnected2d(4, 5, (6, 6), 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).expand(36, -1, -1))
        layer.bias.copy_(conv.bias[:, None, None].expand(-1, 6, 6))
    x = torch.randn(3, 4, 6, 6)
    torch.testing.assert_close(layer(x), conv(x))


def test_wrong_sizes_are_told() -> None:
    with pytest.raises(UserError, match="no window fits"):
        LocallyConnected2d(1, 1, (2, 5), 3)
    for shape in ((1, 2, 6, 6), (1, 3, 6, 5), (3, 6, 6)):
        with pytest.raises(UserError, match=r"expected: \(B, 3, 6, 6\)"):
            LocallyConnected2d(3, 1, (6, 6), 3)(torch.zeros(shape))


def across(x: Tensor) -> Tensor:
    energy = torch.stack([x[:, max(0, i - 2) : i + 3].square().sum(1) for i in range(x.shape[1])], 1)
    return x * (1 + 0.001 / 5 * energy) ** -0.75


def within(x: Tensor) -> Tensor:
    around = F.pad(x.square(), (1, 1, 1, 1))
    _, _, height, width = x.shape
    energy = sum(around[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return x * (1 + 5e-5 / 9 * energy) ** -0.75


def windows(x: Tensor, kind: str) -> Tensor:
    """3 x 3 in steps of 2, the last hanging over: the largest, or the mean of what lies inside."""
    side = x.shape[-1]
    starts = range(0, side - 1, 2)
    rows = []
    for r in starts:
        cut = [x[..., r : r + 3, c : c + 3] for c in starts]
        rows.append(torch.stack([part.amax((2, 3)) if kind == "max" else part.mean((2, 3)) for part in cut], -1))
    return torch.stack(rows, -2)


def conv(w: dict[str, Tensor], x: Tensor, name: str) -> Tensor:
    return F.conv2d(x, w[f"layers.{name}.weight"], w[f"layers.{name}.bias"], padding=2)


def eighteen(net: Any, w: dict[str, Tensor], x: Tensor) -> Tensor:
    h = within(windows(conv(w, x, "conv1"), "max").relu())
    h = within(windows(conv(w, h, "conv2").relu(), "mean"))
    h = windows(conv(w, h, "conv3").relu(), "mean").flatten(1)
    return h @ w["layers.fc10.weight"].T + w["layers.fc10.bias"]


def eleven(net: Any, w: dict[str, Tensor], x: Tensor) -> Tensor:
    h = windows(across(conv(w, x, "conv1").relu()), "max")
    h = windows(across(conv(w, h, "conv2").relu()), "max")
    h = by_places(net.layers.local4, by_places(net.layers.local3, h).relu()).relu().flatten(1)
    return h @ w["layers.fc10.weight"].T + w["layers.fc10.bias"]


@pytest.mark.parametrize(
    ("name", "restated", "size"),
    [("cuda-convnet-18", eighteen, 32), ("cuda-convnet-11", eleven, 24), ("cuda-convnet-11", eleven, 13)],
)
def test_the_network_is_its_restatement(name: str, restated: Any, size: int) -> None:
    torch.manual_seed(0)
    net = build(name, num_classes=7, size=size).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 3, size, size, dtype=torch.float64) * 5
    with torch.no_grad():
        torch.testing.assert_close(net(x), restated(net, dict(net.state_dict()), x), rtol=1e-10, atol=1e-10)


def test_sizes_and_first_weights_are_those_of_the_files() -> None:
    torch.manual_seed(0)
    for name, shapes, deviations in (
        (
            "cuda-convnet-18",
            {"pool1": (32, 16, 16), "pool2": (32, 8, 8), "pool3": (64, 4, 4)},
            {"conv1": 1e-4, "conv3": 0.01},
        ),
        (
            "cuda-convnet-11",
            {"pool1": (64, 12, 12), "pool2": (64, 6, 6), "local4": (32, 6, 6)},
            {"conv1": 1e-4, "local3": 0.04, "fc10": 0.01},
        ),
    ):
        net = build(name)
        found = {layer.name: layer.shape for layer in layers(net, (torch.zeros(1, 3, net.size, net.size),))}
        assert {layer: found[f"layers.{layer}"] for layer in shapes} == shapes
        for layer, std in deviations.items():
            module = getattr(net.layers, layer)
            assert float(module.weight.detach().std()) == pytest.approx(std, rel=0.05) and not module.bias.any()
    convolutions = (64 * 75 + 64) + (64 * 1600 + 64)
    local = (36 * 32 * 576 + 1152) + (36 * 32 * 288 + 1152)
    assert sum(p.numel() for p in build("cuda-convnet-11").parameters()) == convolutions + local + 1152 * 10 + 10
