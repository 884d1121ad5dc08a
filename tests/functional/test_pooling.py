"""Pooling against loops over windows as Caffe has them, against torch, and by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from chainrule.core.errors import UserError
from chainrule.functional import pooling as P
from chainrule.nn.pooling import CaffeAvgPool2d, CaffeMaxPool2d, MaxPoolWithSwitches2d, Unpool2d


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shuffled(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that are all different, so that the largest is one."""
    order = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(seed))
    return order.double().view(shape) / 10 - 1


def caffe_size(n: int, k: int, s: int, p: int) -> int:
    out = math.ceil((n + 2 * p - k) / s) + 1
    if p > 0 and (out - 1) * s >= n + p:
        out -= 1
    return out


def caffe_pool(x: np.ndarray, k: tuple[int, int], s: tuple[int, int], p: tuple[int, int], mean: bool) -> np.ndarray:
    """Window by window, as Caffe's layer goes."""
    height, width = x.shape
    out = np.zeros([caffe_size(n, k[i], s[i], p[i]) for i, n in enumerate(x.shape)])
    for i, j in itertools.product(*map(range, out.shape)):
        top, left = i * s[0] - p[0], j * s[1] - p[1]
        bottom, right = min(top + k[0], height + p[0]), min(left + k[1], width + p[1])
        counted = (bottom - top) * (right - left)
        window = x[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
        out[i, j] = window.sum() / counted if mean else window.max()
    return out


WINDOWS = [
    (n, k, s, p)
    for n, k, s, p in itertools.product((1, 2, 3, 5, 6, 7), (1, 2, 3, 5), (1, 2, 3), (0, 1, 2, 3, 4))
    if p < k and caffe_size(n, k, s, p) >= 1
]


def test_sizes_are_caffes() -> None:
    for n, k, s, p in WINDOWS:
        assert P.caffe_pool_output_size(n, k, s, p) == caffe_size(n, k, s, p), (n, k, s, p)
    assert P.caffe_pool_output_size(2, 3, 2) == 1  # the only window is larger than the map
    # GoogLeNet's way from 224 down, whose poolings all round up: 112, 56, 28, 14, 7
    assert [P.caffe_pool_output_size(n, 3, 2) for n in (112, 56, 28, 14)] == [56, 28, 14, 7]
    assert P.caffe_pool_output_size(6, 2, 2, 1) == 4  # (6 + 2 - 2) / 2 + 1 = 4; the fourth begins at 6 < 7
    assert P.caffe_pool_output_size(7, 2, 2, 1) == 4  # rounded up 5; the fifth would begin at 8 >= 8


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_sizes_are_torchs(ceil_mode: bool) -> None:
    for n, k, s, p, d in itertools.product((1, 2, 5, 8), (1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
        if 2 * p > k:
            continue
        x = torch.zeros(1, 1, n)
        try:
            want = F.max_pool1d(x, k, s, p, d, ceil_mode).shape[-1]
        except RuntimeError:
            with pytest.raises(UserError, match="larger than the input"):
                P.pool_output_size(n, k, s, p, d, ceil_mode=ceil_mode)
        else:
            assert P.pool_output_size(n, k, s, p, d, ceil_mode=ceil_mode) == want, (n, k, s, p, d)


@pytest.mark.parametrize("mean", [False, True])
def test_caffes_poolings_are_the_loop(mean: bool) -> None:
    pool = P.caffe_avg_pool2d if mean else P.caffe_max_pool2d
    checked = refused = 0
    for n, k, s, p in WINDOWS:
        x = randn(2, 2, n, 7) - 3  # below zero, so that padding would show in a maximum
        last = (caffe_size(n, k, s, p) - 1) * s
        if last >= n + p:
            with pytest.raises(UserError, match="wholly outside"):
                pool(x, (k, 2), (s, 2))
            refused += 1
            continue
        got = pool(x, (k, 3), (s, 2), (p, 1))
        want = [[caffe_pool(m, (k, 3), (s, 2), (p, 1), mean) for m in maps] for maps in x.numpy()]
        torch.testing.assert_close(got, torch.from_numpy(np.array(want)), rtol=1e-12, atol=1e-12)
        checked += 1
    assert checked > 80 and refused > 1


def test_caffe_clips_both_ways_where_one_is_padded() -> None:
    x = randn(1, 1, 3, 3)  # across, ceil(2 / 3) + 1 = 2 windows, of which the second begins at 3, outside
    assert P.caffe_max_pool2d(x, (2, 1), (1, 3), (1, 0)).shape == (1, 1, 4, 1)
    column = x[0, 0, :, 0]
    got = P.caffe_max_pool2d(x, (3, 1), (2, 3), (2, 0))
    torch.testing.assert_close(got.flatten(), torch.stack([column[0], column.max(), column[2]]))
    with pytest.raises(UserError, match="window 2 begins at 3"):
        P.caffe_max_pool2d(x, (2, 1), (1, 3))


def test_caffes_overhang_is_not_torchs_floor() -> None:
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert CaffeMaxPool2d(3, stride=2)(x)[0, 0].tolist() == [[14, 16, 17], [26, 28, 29], [32, 34, 35]]
    assert CaffeAvgPool2d(3, stride=2)(x)[0, 0, 2, 2].item() == (28 + 29 + 34 + 35) / 4
    assert P.caffe_max_pool2d(x[0], 2, 2).shape == (1, 3, 3)


@pytest.mark.parametrize("padding", [1, 2])
def test_gradients_of_caffes_poolings(padding: int) -> None:
    x = shuffled(1, 2, 5, 4).requires_grad_()
    for pool in (P.caffe_max_pool2d, P.caffe_avg_pool2d):
        assert torch.autograd.gradcheck(lambda t, pool=pool: pool(t, 3, 2, padding), x)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 0), (3, 3, 1)])
def test_switches_point_at_the_largest(kernel: int, stride: int, padding: int) -> None:
    x = shuffled(2, 3, 7, 6)
    values, switches = P.max_pool2d_with_switches(x, kernel, stride, padding)
    torch.testing.assert_close(x.flatten(2).gather(2, switches.flatten(2)).view_as(values), values)
    for i, j in itertools.product(*map(range, values.shape[2:])):
        rows = range(max(i * stride - padding, 0), min(i * stride - padding + kernel, 7))
        columns = range(max(j * stride - padding, 0), min(j * stride - padding + kernel, 6))
        r, c = divmod(int(switches[0, 0, i, j]), 6)
        assert r in rows and c in columns
        assert values[0, 0, i, j] == max(x[0, 0, a, b] for a in rows for b in columns)


def test_of_equals_the_first_is_taken() -> None:
    _, switches = P.max_pool2d_with_switches(torch.zeros(1, 1, 4, 4), 2)
    assert switches.flatten().tolist() == [0, 2, 8, 10]


def test_unpooling_without_overlap_is_torchs() -> None:
    values, switches = MaxPoolWithSwitches2d(2)(randn(2, 3, 6, 4))
    other = randn(2, 3, 3, 2, seed=1)
    torch.testing.assert_close(Unpool2d()(other, switches, (6, 4)), F.max_unpool2d(other, switches, 2))
    again, _ = P.max_pool2d_with_switches(Unpool2d()(values.abs(), switches, (6, 4)), 2)
    torch.testing.assert_close(again, values.abs())


@pytest.mark.parametrize("padding", [0, 1])
def test_unpooling_is_the_transpose_of_pooling(padding: int) -> None:
    """Windows overlap: a number that is the largest of several gets all that its windows bring, as a gradient does."""
    x = shuffled(2, 2, 7, 7).requires_grad_()
    values, switches = P.max_pool2d_with_switches(x, 3, 2, padding)
    arriving = randn(*values.shape, seed=1)
    (gradient,) = torch.autograd.grad(values, x, arriving)
    torch.testing.assert_close(P.unpool2d(arriving, switches, (7, 7)), gradient)
    assert switches.unique().numel() < switches[0, 0].numel() * 4  # some meet


def test_numbers_that_meet_are_added_where_torch_keeps_one() -> None:
    x = torch.tensor([[[[0.0, 5.0, 0.0]]]])
    _, switches = P.max_pool2d_with_switches(x, (1, 2), 1)
    assert switches.flatten().tolist() == [1, 1]
    other = torch.tensor([[[[2.0, 3.0]]]])
    assert P.unpool2d(other, switches, (1, 3)).flatten().tolist() == [0, 5, 0]
    assert F.max_unpool2d(other, switches, (1, 2), 1, output_size=(1, 3)).flatten().tolist() in ([0, 2, 0], [0, 3, 0])


def test_gradient_of_unpooling() -> None:
    _, switches = P.max_pool2d_with_switches(shuffled(1, 2, 5, 5), 3, 1)
    x = randn(1, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: P.unpool2d(t, switches, (5, 5)), x)


@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 1), (3, 2), (6, None)])
def test_pooling_across_maps(size: int, stride: int | None) -> None:
    x = shuffled(2, 6, 3, 2)
    step = stride or size
    groups = [x[:, c : c + size] for c in range(0, 6 - size + 1, step)]
    torch.testing.assert_close(P.max_pool_channels(x, size, stride), torch.stack([g.amax(1) for g in groups], 1))
    torch.testing.assert_close(P.avg_pool_channels(x, size, stride), torch.stack([g.mean(1) for g in groups], 1))
    assert torch.autograd.gradcheck(lambda t: P.max_pool_channels(t, size, stride), x.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    x = shuffled(1, 2, 6, 6).to(dtype)
    assert torch.equal(P.caffe_max_pool2d(x, 3, 2, 1), P.caffe_max_pool2d(x.double(), 3, 2, 1).to(dtype))
    mean = P.caffe_avg_pool2d(x, 3, 2, 2)
    torch.testing.assert_close(mean.double(), P.caffe_avg_pool2d(x.double(), 3, 2, 2), rtol=2e-2, atol=2e-2)


X = randn(1, 2, 4, 4)
ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "flat": (lambda: P.caffe_max_pool2d(X[0, 0], 2), r"\(B, C, H, W\)"),
    "bytes": (lambda: P.caffe_avg_pool2d(X.byte(), 2), "floating(.|\n)*uint8"),
    "kernel of nothing": (lambda: P.caffe_max_pool2d(X, 0), "kernel_size is out of range"),
    "stride of nothing": (lambda: P.caffe_max_pool2d(X, 2, 0), "stride is out of range"),
    "padding below zero": (lambda: P.caffe_max_pool2d(X, 2, 1, -1), "padding is out of range"),
    "padding of a window": (lambda: P.caffe_max_pool2d(X, 2, 1, 2), "as large as the window"),
    "too long for Caffe": (lambda: P.caffe_max_pool2d(X, 7), r"larger than the input(.|\n)*at most 4"),
    "empty maps": (lambda: P.caffe_max_pool2d(X[..., :0], 2), "size is out of range"),
    "too long for torch": (lambda: P.max_pool2d_with_switches(X, 5), "larger than the input"),
    "much padding": (lambda: P.max_pool2d_with_switches(X, 3, 1, 2), "half the window"),
    "dilation": (lambda: P.pool_output_size(4, 2, dilation=0), "dilation is out of range"),
    "switches": (lambda: P.unpool2d(X, torch.zeros(1, 2, 4, 3, dtype=torch.long), (8, 8)), "one switch for each"),
    "switches as floats": (lambda: P.unpool2d(X, X, (8, 8)), "indices"),
    "switch outside": (
        lambda: P.unpool2d(X, torch.full((1, 2, 4, 4), 16), (4, 4)),
        r"0 to 15 for 4 x 4(.|\n)*found: +16",
    ),
    "switch below": (lambda: P.unpool2d(X, torch.full((1, 2, 4, 4), -1), (4, 4)), "found: +-1"),
    "no maps": (lambda: P.max_pool_channels(X[0, 0, 0], 2), "no maps"),
    "more maps than there are": (lambda: P.avg_pool_channels(X, 3), "larger than the input"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_and_how(name: str) -> None:
    call, words = ERRORS[name]
    with pytest.raises(UserError, match=words):
        call()
