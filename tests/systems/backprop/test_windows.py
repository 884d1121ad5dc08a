"""Convolution and pooling by hand: against plain loops, and against autograd on hostile shapes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.systems.backprop.layers.convolution import Conv1d, Conv2d, ConvTranspose2d
from chainrule.systems.backprop.layers.pooling import AvgPool2d, GlobalAvgPool2d, GlobalMaxPool2d, MaxPool2d
from chainrule.systems.backprop.layers.windows import output_size
from tests.systems.backprop.oracle import near, same_as_autograd


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def loops(
    x: Tensor, w: Tensor, b: Tensor, delta: Tensor, stride: int, padding: int, dilation: int, groups: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A convolution and its backward pass as the definition has them, a product at a time."""
    out, dx, dw = torch.zeros_like(delta), torch.zeros_like(x), torch.zeros_like(w)
    outs, ins = w.shape[0] // groups, w.shape[1]
    for n, o, i, j in itertools.product(*map(range, delta.shape)):
        out[n, o, i, j] += b[o]
        for c, u, v in itertools.product(*map(range, w.shape[1:])):
            row, column = i * stride + u * dilation - padding, j * stride + v * dilation - padding
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                channel = o // outs * ins + c
                out[n, o, i, j] += w[o, c, u, v] * x[n, channel, row, column]
                dw[o, c, u, v] += delta[n, o, i, j] * x[n, channel, row, column]
                dx[n, channel, row, column] += delta[n, o, i, j] * w[o, c, u, v]
    return out, dx, dw, delta.sum((0, 2, 3))


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1), (3, 1, 2, 2)]
)
def test_convolution_is_the_loops(stride: int, padding: int, dilation: int, groups: int) -> None:
    layer = Conv2d(2, 4, (3, 2), stride, padding, dilation, groups).double()
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64)
    z = layer(x)
    delta = torch.randn_like(z)
    found = (z, layer.backward(delta), layer.weight.grad, layer.bias.grad)  # type: ignore[union-attr]
    expected = loops(x, layer.weight.detach(), layer.bias.detach(), delta, stride, padding, dilation, groups)  # type: ignore[union-attr]
    for name, ours, theirs in zip(("z", "dx", "dw", "db"), found, expected, strict=True):
        near(ours, theirs, name)


CONVOLUTIONS: list[tuple[tuple[int, int], dict[str, Any]]] = [
    ((7, 6), {"kernel_size": 3}),
    ((7, 6), {"kernel_size": 3, "bias": False}),
    ((7, 6), {"kernel_size": 1, "stride": 2}),  # windows that leave cells unseen
    ((8, 9), {"kernel_size": 2, "stride": 3}),
    ((7, 6), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (2, 1)}),
    ((7, 6), {"kernel_size": 3, "padding": 5}),  # windows that see padding alone
    ((3, 3), {"kernel_size": 3}),  # one window
    ((1, 1), {"kernel_size": 3, "padding": 1}),
    ((9, 9), {"kernel_size": 3, "dilation": 4}),
    ((7, 6), {"kernel_size": 3, "groups": 2, "stride": 2, "padding": 1}),
    ((7, 6), {"kernel_size": 3, "groups": 4, "dilation": 2}),  # depth-wise
]


@pytest.mark.parametrize("batch", [3, 1, 0])
@pytest.mark.parametrize(("size", "settings"), CONVOLUTIONS, ids=str)
def test_convolution(size: tuple[int, int], settings: dict[str, Any], batch: int) -> None:
    same_as_autograd(Conv2d(4, 8, **settings), nn.Conv2d(4, 8, **settings), torch.randn(batch, 4, *size))


def test_random_convolutions() -> None:
    """Forty geometries drawn at random."""
    draw = torch.Generator().manual_seed(7)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=draw))

    for _ in range(40):
        groups = number(1, 3)
        settings: dict[str, Any] = {
            "kernel_size": (number(1, 4), number(1, 4)),
            "stride": (number(1, 4), number(1, 4)),
            "groups": groups,
            "padding": (number(0, 3), number(0, 3)),
            "dilation": (number(1, 3), number(1, 3)),
        }
        least = [d * (k - 1) + 1 for d, k in zip(settings["dilation"], settings["kernel_size"], strict=True)]
        x = torch.randn(number(1, 3), 2 * groups, least[0] + number(0, 5), least[1] + number(0, 5))
        same_as_autograd(Conv2d(2 * groups, 3 * groups, **settings), nn.Conv2d(2 * groups, 3 * groups, **settings), x)


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 3, "padding": 2}, {"dilation": 2, "groups": 2, "bias": False}, {"padding": 4}], ids=str
)
def test_convolution_of_sequences(settings: dict[str, Any]) -> None:
    same_as_autograd(Conv1d(4, 6, 3, **settings), nn.Conv1d(4, 6, 3, **settings), torch.randn(2, 4, 9))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3},
        {"kernel_size": 2, "stride": 3},
        {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 1, "stride": 2, "output_padding": 1},
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0), "dilation": (2, 3), "groups": 2},
        {"kernel_size": 2, "dilation": 3, "output_padding": 2},  # room for two windows more than there were
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "dilation": (4, 2), "output_padding": (3, 1)},
    ],
    ids=str,
)
def test_transposed_convolution(settings: dict[str, Any]) -> None:
    for batch, size in ((2, (4, 5)), (1, (1, 1) if settings.get("padding", 0) in (0, 1) else (2, 2)), (0, (4, 5))):
        ours, theirs = ConvTranspose2d(4, 6, **settings), nn.ConvTranspose2d(4, 6, **settings)
        same_as_autograd(ours, theirs, torch.randn(batch, 4, *size))


def test_transposed_convolution_is_the_adjoint() -> None:
    """<conv(x), y> = <x, transposed(y)>, for the same weights."""
    conv, back = Conv2d(2, 3, 3, 2, 1, bias=False).double(), ConvTranspose2d(3, 2, 3, 2, 1, bias=False).double()
    back.load_state_dict(conv.state_dict())
    x, y = torch.randn(1, 2, 7, 7, dtype=torch.float64), torch.randn(1, 3, 4, 4, dtype=torch.float64)
    near((conv(x) * y).sum(), (x * back(y)).sum(), "inner product")


def test_the_delta_of_a_convolution_is_the_convolution_with_the_turned_kernel() -> None:
    layer = Conv2d(1, 1, 3, bias=False).double()
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    delta = torch.randn_like(layer(x))
    turned = nn.functional.conv2d(delta, layer.weight.detach().flip(2, 3), padding=2)
    near(layer.backward(delta), turned, "delta")


POOLS: list[tuple[tuple[int, int], dict[str, Any]]] = [
    ((6, 6), {"kernel_size": 2}),
    ((7, 5), {"kernel_size": 2}),  # cells that no window sees
    ((7, 7), {"kernel_size": 3, "stride": 1}),  # overlapping
    ((7, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((6, 6), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),  # a window over the edge
    ((7, 6), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((5, 5), {"kernel_size": 2, "stride": 3, "ceil_mode": True, "padding": 1}),  # one that would begin in the padding
    ((5, 4), {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    ((1, 1), {"kernel_size": 1}),
    ((2, 3), {"kernel_size": 2, "stride": 5, "ceil_mode": True}),
    ((2, 3), {"kernel_size": 4, "stride": 3, "ceil_mode": True}),  # a window larger than the image
    ((1, 2), {"kernel_size": 5, "stride": 4, "padding": (2, 1), "ceil_mode": True}),
]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("size", "settings"), POOLS, ids=str)
def test_pooling(size: tuple[int, int], settings: dict[str, Any], ties: bool) -> None:
    for batch in (3, 1):
        x = torch.randn(batch, 2, *size)
        x = (x * 2).round() if ties else x
        same_as_autograd(MaxPool2d(**settings), nn.MaxPool2d(**settings), x)
        same_as_autograd(AvgPool2d(**settings), nn.AvgPool2d(**settings), x)
        inner = {**settings, "count_include_pad": False}
        same_as_autograd(AvgPool2d(**inner), nn.AvgPool2d(**inner), x)


@pytest.mark.parametrize(
    "settings", [{}, {"stride": 1, "padding": 1}, {"stride": 2, "ceil_mode": True, "padding": 1}], ids=str
)
def test_dilated_maxima(settings: dict[str, Any]) -> None:
    for x in (torch.randn(2, 2, 9, 8), torch.zeros(1, 1, 9, 8), torch.full((1, 1, 7, 7), -torch.inf)):
        ours, theirs = MaxPool2d(3, dilation=2, **settings), nn.MaxPool2d(3, dilation=2, **settings)
        if torch.isinf(x).all():  # the winner is compared, the value is minus infinity on both sides
            leaf = x.double().requires_grad_(True)
            expected = theirs(leaf)
            expected.backward(torch.ones_like(expected))
            assert torch.equal(ours(x.double()), expected.detach())
            assert torch.equal(ours.backward(torch.ones_like(expected)), leaf.grad)
        else:
            same_as_autograd(ours, theirs, x)


def test_pools_of_all_small_geometries() -> None:
    """What PyTorch pools we pool alike, and what it refuses we refuse; windows wholly in padding take no delta."""
    torch.manual_seed(0)
    for size, k, s, p, d, ceil in itertools.product(
        (1, 2, 3, 5), (1, 2, 3), (1, 2, 4), (0, 1), (1, 2, 4), (False, True)
    ):
        if 2 * p > k:
            continue
        x = torch.randn(1, 1, size, 3 * d * k, dtype=torch.float64)
        settings: dict[str, Any] = {"kernel_size": k, "stride": s, "padding": p, "ceil_mode": ceil}
        with torch.device("meta"):
            try:
                nn.functional.max_pool2d(torch.empty(x.shape), k, s, p, d, ceil)
                fits = True
            except RuntimeError:
                fits = False
        if not fits:
            with pytest.raises(UserError, match="the window is larger"):
                MaxPool2d(**settings, dilation=d)(x)
            continue
        # PyTorch writes the delta of a window without a cell outside its memory: its padding is put in by hand here.
        layer, leaf = MaxPool2d(**settings, dilation=d), x.clone().requires_grad_()
        found = layer(x)
        ends = [(n - 1) * s + d * (k - 1) + 1 for n in found.shape[2:]]
        widths = [width for n, end in ((x.shape[3], ends[1]), (size, ends[0])) for width in (p, end - n - p)]
        expected = nn.functional.max_pool2d(nn.functional.pad(leaf, widths, value=-torch.inf), k, s, 0, d)
        assert torch.equal(found, expected.detach())
        delta = torch.randn_like(found)
        expected.backward(delta)
        near(layer.backward(delta), leaf.grad, str((size, settings, d)))
        if d == 1:
            same_as_autograd(AvgPool2d(**settings), nn.AvgPool2d(**settings), x)


def test_a_window_wholly_in_padding() -> None:
    layer = MaxPool2d(2, padding=1, dilation=2)
    assert layer(torch.ones(1, 1, 1, 1)).tolist() == [[[[-torch.inf]]]]
    assert layer.backward(torch.ones(1, 1, 1, 1)).tolist() == [[[[0.0]]]]


def test_nan_wins_a_maximum() -> None:
    x = torch.tensor([[[[1.0, torch.nan], [5.0, 2.0]]]])
    layer = MaxPool2d(2)
    assert layer(x).isnan().all() and layer.backward(torch.ones(1, 1, 1, 1)).flatten().tolist() == [0, 1, 0, 0]


def test_of_equal_values_the_first_takes_the_whole_delta() -> None:
    layer = MaxPool2d(2, stride=1)
    layer(torch.full((1, 1, 3, 3), 4.0))
    assert layer.backward(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).tolist() == [[[[1, 2, 0], [3, 4, 0], [0, 0, 0]]]]


def test_caffes_count_by_hand() -> None:
    """Width 3, padding 1, windows of 2 at stride 2 in ceil mode: the last one stands on one pixel and the padding."""
    x = torch.tensor([[[[2.0, 4.0, 8.0, 16.0]]]])
    settings: dict[str, Any] = {"kernel_size": (1, 3), "stride": (1, 3), "padding": (0, 1), "ceil_mode": True}
    assert AvgPool2d(**settings)(x).flatten().tolist() == [2.0, 8.0]  # (0+2+4)/3, (8+16+0)/3
    layer = AvgPool2d(**settings, count_include_pad=False)
    assert layer(x).flatten().tolist() == [3.0, 12.0]
    assert layer.backward(torch.tensor([[[[2.0, 10.0]]]])).flatten().tolist() == [1.0, 1.0, 5.0, 5.0]
    over = AvgPool2d((1, 3), (1, 2), ceil_mode=True)  # cells beyond the image and its padding never count
    assert over(x).flatten().tolist() == [pytest.approx(14 / 3), 12.0]


def test_global_pooling() -> None:
    for shape in ((3, 2, 4, 5), (1, 1, 1, 1), (0, 2, 3, 3)):
        x = torch.randn(shape)
        same_as_autograd(GlobalAvgPool2d(), lambda v: v.mean((2, 3)), x)
        same_as_autograd(GlobalMaxPool2d(), lambda v: v.flatten(2).max(2).values, x)
    tied = GlobalMaxPool2d()
    tied(torch.ones(1, 1, 2, 2))
    assert tied.backward(torch.ones(1, 1)).flatten().tolist() == [1, 0, 0, 0]


def test_output_sizes_are_pytorchs() -> None:
    for size, k, s, p, ceil in itertools.product(range(1, 9), range(1, 5), range(1, 5), range(3), (False, True)):
        if p <= k // 2 and size + 2 * p >= k:
            with torch.device("meta"):
                expected = nn.functional.max_pool1d(torch.empty(1, 1, size), k, s, p, 1, ceil).shape[2]
            assert output_size(size, k, s, p, 1, ceil) == expected


WRONG = {
    "no channels": lambda: Conv2d(0, 1, 3),
    "groups": lambda: Conv2d(3, 4, 3, groups=2),
    "kernel": lambda: Conv2d(1, 1, 0),
    "kernel of three axes": lambda: Conv2d(1, 1, (3, 3, 3)),
    "stride": lambda: Conv2d(1, 1, 3, stride=0),
    "padding": lambda: Conv1d(1, 1, 3, padding=-1),
    "dilation": lambda: Conv2d(1, 1, 3, dilation=0),
    "fraction": lambda: Conv2d(1, 1, 2.5),  # type: ignore[arg-type]
    "too small": lambda: Conv2d(1, 1, 3)(torch.ones(1, 1, 2, 5)),
    "other channels": lambda: Conv2d(2, 1, 3)(torch.ones(1, 1, 5, 5)),
    "no batch": lambda: Conv1d(2, 1, 3)(torch.ones(2, 5)),
    "output padding": lambda: ConvTranspose2d(1, 1, 3, stride=2, output_padding=2),
    "all cut away": lambda: ConvTranspose2d(1, 1, 1, padding=1)(torch.ones(1, 1, 2, 2)),
    "transposed channels": lambda: ConvTranspose2d(2, 1, 3)(torch.ones(1, 1, 2, 2)),
    "pool padding": lambda: MaxPool2d(2, padding=2),
    "mean padding": lambda: AvgPool2d((4, 2), padding=(2, 2)),
    "pool too small": lambda: MaxPool2d(3)(torch.ones(1, 1, 2, 2)),
    "pool no image": lambda: AvgPool2d(2)(torch.ones(2, 4)),
    "max no image": lambda: MaxPool2d(2)(torch.ones(2, 4, 4)),
    "global empty": lambda: GlobalAvgPool2d()(torch.ones(1, 1, 0, 3)),
    "global max empty": lambda: GlobalMaxPool2d()(torch.ones(1, 1, 0, 3)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_told(name: str) -> None:
    with pytest.raises(UserError, match="expected:"):
        WRONG[name]()  # type: ignore[no-untyped-call]
