"""Initialisers: moments measured, torch's own draws, bilinear enlargement, and variance through twenty layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Generator, Tensor, nn

from chainrule.core.errors import UserError
from chainrule.optim import initialise
from chainrule.optim import initialisers as init


def seeded() -> Generator:
    return Generator().manual_seed(7)


def weight(*shape: int) -> Tensor:
    return torch.full(shape, float("nan"), dtype=torch.float64)


# (fill, mean, variance, lowest, highest) for a weight (200, 50, 3, 3): fan-in 450, fan-out 1800, 90,000 draws
MOMENTS = {
    "uniform": (init.uniform, 0.5, 1 / 12, 0, 1),
    "uniform, own": (partial(init.uniform, low=-2.0, high=4.0), 1.0, 3.0, -2, 4),
    "gaussian": (init.gaussian, 0.0, 1.0, -6, 6),
    "gaussian, own": (partial(init.gaussian, mean=2.0, std=0.5), 2.0, 0.25, -1, 5),
    "small": (init.small_random, 0.0, 1e-4, -0.06, 0.06),
    "scaled": (init.scaled_random, 0.005 / math.sqrt(450), 1e-4 / 12 / 450, 0, 0.01 / math.sqrt(450)),
    "xavier": (init.xavier, 0.0, 1 / 450, -math.sqrt(3 / 450), math.sqrt(3 / 450)),
    "xavier out": (partial(init.xavier, fan="out"), 0.0, 1 / 1800, -math.sqrt(3 / 1800), math.sqrt(3 / 1800)),
    "xavier average": (partial(init.xavier, fan="average"), 0.0, 1 / 1125, -math.sqrt(3 / 1125), math.sqrt(3 / 1125)),
    "xavier normal": (partial(init.xavier, distribution="normal"), 0.0, 1 / 450, -0.3, 0.3),
    "msra": (init.msra, 0.0, 2 / 450, -0.4, 0.4),
    "msra out": (partial(init.msra, fan="out"), 0.0, 2 / 1800, -0.2, 0.2),
    "msra average": (partial(init.msra, fan="average"), 0.0, 2 / 1125, -0.25, 0.25),
    "msra leaky": (partial(init.msra, negative_slope=0.5), 0.0, 2 / 1.25 / 450, -0.36, 0.36),
    "msra uniform": (partial(init.msra, distribution="uniform"), 0.0, 2 / 450, -math.sqrt(6 / 450), math.sqrt(6 / 450)),
    "mpelu": (init.mpelu_taylor, 0.0, 1 / 450, -0.3, 0.3),
    "mpelu, own": (partial(init.mpelu_taylor, alpha=0.5, beta=2.0), 0.0, 1 / 450, -0.3, 0.3),
    "mpelu as msra": (partial(init.mpelu_taylor, alpha=0.0), 0.0, 2 / 450, -0.4, 0.4),
    "mpelu flat": (partial(init.mpelu_taylor, alpha=0.5, beta=0.5), 0.0, 2 / (450 * 1.0625), -0.4, 0.4),
}  # fmt: skip


@pytest.mark.parametrize("name", MOMENTS)
def test_moments(name: str) -> None:
    fill, mean, variance, low, high = MOMENTS[name]
    w = weight(200, 50, 3, 3)
    assert fill(w, generator=seeded()) is w
    count = w.numel()
    assert (w.mean() - mean).abs() < 5 * math.sqrt(variance / count)
    assert w.var(correction=0).item() == pytest.approx(variance, rel=5 * math.sqrt(2 / count))
    assert low <= w.min()
    assert w.max() <= high


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (partial(init.xavier, fan="average"), nn.init.xavier_uniform_),
        (partial(init.xavier, fan="average", distribution="normal"), nn.init.xavier_normal_),
        (partial(init.xavier, distribution="normal"), partial(nn.init.kaiming_normal_, nonlinearity="linear")),
        (partial(init.xavier, fan="out"), partial(nn.init.kaiming_uniform_, mode="fan_out", nonlinearity="linear")),
        (init.msra, nn.init.kaiming_normal_),
        (partial(init.msra, distribution="uniform", negative_slope=0.2), partial(nn.init.kaiming_uniform_, a=0.2)),
        (partial(init.msra, fan="out"), partial(nn.init.kaiming_normal_, mode="fan_out")),
        (partial(init.orthogonal, gain=2.0), partial(nn.init.orthogonal_, gain=2.0)),
    ],
)
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 3, 2), (4, 3, 5, 2), (1, 1)])
def test_the_same_draws_as_torchs(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], shape: tuple[int, ...]
) -> None:
    expected = theirs(weight(*shape), generator=seeded())
    torch.testing.assert_close(ours(weight(*shape), generator=seeded()), expected, rtol=1e-13, atol=0)


def test_torchs_own_randomness_is_used_where_none_is_given() -> None:
    torch.manual_seed(3)
    first = init.msra(weight(3, 4))
    torch.manual_seed(3)
    assert torch.equal(first, init.msra(weight(3, 4)))
    assert not torch.equal(first, init.msra(weight(3, 4)))


@pytest.mark.parametrize("shape", [(8, 3, 2, 2), (3, 8), (5, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = init.orthogonal(weight(*shape), gain=1.5).flatten(1)
    small = matrix @ matrix.T if shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(small, 2.25 * torch.eye(len(small), dtype=torch.float64))


# -- bilinear -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("grouped", [True, False])
def test_bilinear_enlarges_as_torch_does(factor: int, grouped: bool) -> None:
    """Away from the border, where a transposed convolution meets zeros and interpolation repeats the edge."""
    size, padding = 2 * factor - factor % 2, math.ceil((factor - 1) / 2)
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=seeded())
    w = init.bilinear(weight(3, 1 if grouped else 3, size, size))
    enlarged = nn.functional.conv_transpose2d(x, w, stride=factor, padding=padding, groups=3 if grouped else 1)
    expected = nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    assert enlarged.shape == expected.shape
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(enlarged[inner], expected[inner], rtol=0, atol=1e-12)


def test_bilinear_as_caffe_counts_it() -> None:
    """The middle row of each field by hand: f = ceil(k / 2), c = (k - 1) / (2f), 1 - |x/f - c|."""
    lines = {
        1: [1],
        2: [1 / 2, 1 / 2],
        3: [1 / 2, 1, 1 / 2],
        4: [1 / 4, 3 / 4, 3 / 4, 1 / 4],
        5: [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3],
        6: [1 / 6, 3 / 6, 5 / 6, 5 / 6, 3 / 6, 1 / 6],
        7: [1 / 4, 2 / 4, 3 / 4, 1, 3 / 4, 2 / 4, 1 / 4],
        8: [1 / 8, 3 / 8, 5 / 8, 7 / 8, 7 / 8, 5 / 8, 3 / 8, 1 / 8],
    }
    for size, line in lines.items():
        expected = [[a * b for a in line] for b in line]
        w = init.bilinear(weight(2, 1, size, size))
        torch.testing.assert_close(w, torch.tensor(expected, dtype=torch.float64).expand(2, 1, size, size))


@pytest.mark.parametrize("size", range(1, 13))
def test_bilinear_keeps_a_ramp(size: int) -> None:
    """With stride f output o lies at (o - (k - 1) / 2) / f of the input, where x(n) = n is that again."""
    stride = math.ceil(size / 2)
    ramp = torch.arange(8.0, dtype=torch.float64)[:, None].expand(1, 1, 8, 8)
    enlarged = nn.functional.conv_transpose2d(ramp, init.bilinear(weight(1, 1, size, size)), stride=stride)[0, 0]
    inner = torch.arange(size, len(enlarged) - size)
    expected = ((inner.double() - (size - 1) / 2) / stride)[:, None].expand(-1, len(inner))
    torch.testing.assert_close(enlarged[inner[:, None], inner], expected, rtol=0, atol=1e-12)


# -- signals through layers -----------------------------------------------------------------------------------------------


def through(layers: int, fill: Callable[[Tensor], Tensor], activation: Callable[[Tensor], Tensor]) -> list[float]:
    """Variances (mean squares) of what each of the layers puts out before its activation; 400 units, 500 samples."""
    torch.manual_seed(0)
    x = torch.randn(500, 400)
    variances = []
    for _ in range(layers):
        x = activation(x) @ fill(torch.empty(400, 400)).T
        variances.append(x.square().mean().item())
    return variances


def test_variance_through_twenty_layers() -> None:
    identity, relu, leaky = (lambda x: x), torch.relu, partial(nn.functional.leaky_relu, negative_slope=0.3)
    kept = {
        "xavier": through(20, init.xavier, identity),
        "xavier, average": through(20, partial(init.xavier, fan="average"), identity),
        "orthogonal": through(20, init.orthogonal, identity),
        "msra": through(20, init.msra, relu),
        "msra, leaky": through(20, partial(init.msra, negative_slope=0.3), leaky),
        "mpelu as msra": through(20, partial(init.mpelu_taylor, alpha=0.0), relu),
        # near 0, where the tangent is the function: a leaky ReLU of slope alpha beta = 0.5
        "mpelu": through(
            20,
            partial(init.mpelu_taylor, alpha=0.25, beta=2.0),
            lambda x: 1e4 * torch.where(x > 0, 1e-4 * x, 0.25 * torch.expm1(2.0 * 1e-4 * x)),
        ),
    }
    # Each layer of 400 x 400 draws errs by some percent, and twenty of them multiply.
    for name, variances in kept.items():
        assert min(variances) > 0.5, (name, variances)
        assert max(variances) < 3.0, (name, variances)
    assert through(20, init.orthogonal, identity)[-1] == pytest.approx(
        through(1, init.orthogonal, identity)[0], rel=1e-3
    )

    lost = through(20, init.xavier, relu)  # half the variance a layer
    assert lost[-1] == pytest.approx(0.5**20, rel=1.0)
    assert through(20, init.small_random, relu)[-1] < 1e-25  # 400 * 1e-4 / 2 a layer
    assert through(20, partial(init.gaussian, std=0.1), relu)[-1] > 1e5  # 2 a layer


def test_xavier_out_keeps_gradients() -> None:
    """Through layers that widen by 2, fan-out keeps the variance of gradients, fan-in doubles it a layer."""
    for fan, factor in (("out", 1.0), ("in", 2.0)):
        torch.manual_seed(0)
        x = torch.randn(300, 50, requires_grad=True)
        h = x
        for width in (100, 200, 400, 800):
            h = h @ init.xavier(torch.empty(width, h.shape[1]), fan=fan).T
        h.backward(torch.randn(300, 800))
        assert x.grad is not None
        assert x.grad.square().mean().item() == pytest.approx(factor**4, rel=0.3)


# -- modules --------------------------------------------------------------------------------------------------------------


def test_initialise_reaches_linear_and_convolutional_layers() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), nn.Sequential(nn.Conv1d(4, 8, 3, bias=False), nn.ConvTranspose2d(8, 4, 2)),
        nn.Linear(300, 50), nn.Embedding(5, 2),
    )  # fmt: skip
    nn.init.constant_(net[1].bias, 3.0)
    embedding = net[4].weight.detach().clone()
    assert initialise(net, "msra") is net
    assert net[0].weight.std().item() == pytest.approx(math.sqrt(2 / 75), rel=0.05)
    assert net[3].weight.std().item() == pytest.approx(math.sqrt(2 / 300), rel=0.05)
    assert not any(net[i].bias.any() for i in (0, 3))
    assert not net[2][1].bias.any()
    assert net[1].bias.eq(3.0).all()
    assert torch.equal(net[4].weight, embedding)
    assert net[0].weight.requires_grad
    initialise(net[3], partial(init.constant, value=0.25))
    assert net[3].weight.eq(0.25).all()


@pytest.mark.parametrize("name", init.NAMES)
def test_every_name_fills_every_element(name: str) -> None:
    layer = nn.ConvTranspose2d(4, 4, 4, groups=4)
    nn.init.constant_(layer.weight, float("nan"))
    initialise(layer, name)
    assert layer.weight.isfinite().all()
    assert not layer.bias.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    for fill, variance in ((init.msra, 2 / 400), (init.xavier, 1 / 400), (init.small_random, 1e-4)):
        w = fill(torch.empty(300, 400, dtype=dtype), generator=seeded())
        assert w.dtype is dtype
        assert w.double().var().item() == pytest.approx(variance, rel=0.03)
    assert init.bilinear(torch.empty(1, 1, 4, 4, dtype=dtype)).double().sum().item() == 4.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: init.xavier(weight(3, 4), fan="both"), "xavier: fan cannot be 'both'.*in or out or average"),
        (lambda: init.xavier(weight(3, 4), distribution="cauchy"), "xavier: distribution cannot be 'cauchy'"),
        (lambda: init.msra(weight(5)), r"without fans.*\(5,\).*constant"),
        (lambda: init.msra(weight(0, 5)), "without fans"),
        (lambda: init.msra(weight(3, 4), negative_slope=float("nan")), "negative_slope cannot be nan"),
        (lambda: init.mpelu_taylor(weight(3, 4), alpha=float("inf")), "alpha cannot be inf"),
        (lambda: init.scaled_random(weight(4)), "without fans"),
        (lambda: init.scaled_random(weight(4, 4), scale=-1.0), "scale cannot be -1.0"),
        (lambda: init.small_random(weight(4), std=-1.0), "std cannot be -1.0"),
        (lambda: init.gaussian(weight(4), std=-1.0), "std cannot be -1.0"),
        (lambda: init.uniform(weight(4), 1.0, 0.0), "wrong way round"),
        (lambda: init.constant(weight(4), float("nan")), "value cannot be nan"),
        (lambda: init.orthogonal(weight(4)), "without fans"),
        (lambda: init.orthogonal(weight(4, 4), gain=0.0), "gain cannot be 0.0"),
        (lambda: init.bilinear(weight(2, 1, 4, 3)), "bilinear: the shape does not fit"),
        (lambda: init.bilinear(weight(4, 2, 4, 4)), "bilinear: the shape does not fit"),
        (lambda: init.bilinear(weight(4, 4)), "bilinear: the shape does not fit"),
        (lambda: initialise(nn.Linear(2, 2), "xaver"), "no initialiser 'xaver'; did you mean xavier"),
        (lambda: initialise(nn.ReLU(), "xavier"), "nothing to fill.*ReLU"),
        (lambda: initialise(nn.Sequential(nn.Conv2d(3, 8, 3)), "bilinear"), "layer 0: bilinear: the shape"),
        (lambda: initialise(nn.Linear(2, 2), "bilinear"), "layer Linear: bilinear"),
    ],
)
def test_what_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=f"(?s){words}"):
        make()
