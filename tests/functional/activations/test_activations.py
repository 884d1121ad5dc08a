"""Activation functions against formulas written again in NumPy and SciPy, torch's own, and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.functional import activations as act
from chainrule.functional.activations import ACTIVATIONS, Saturation, activation, derivative, derivative_of, saturation

GRID = np.array(
    [-700.0, -50.0, -3.5, -3.0, -2.0, -1.0, -0.7, -1e-9, 0.0, 1e-9, 0.3, 1.0, 2.0, 3.0, 3.5, 25.0, 50.0, 700.0]
)
NOISE_MEAN = math.sqrt(2 / math.pi)


def noisy_mean(x: np.ndarray, alpha: float = 1.15, c: float = 0.5) -> np.ndarray:
    h = np.clip(x, -1, 1)
    outward = np.sign(x) * (1 if alpha > 1 else -1)
    return alpha * h + (1 - alpha) * x + outward * c * (scipy.special.expit(h - x) - 0.5) ** 2 * NOISE_MEAN


def below(slope: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.maximum(x, 0) + slope * np.minimum(x, 0)


# Value by NumPy, and slope by hand away from corners.
VALUES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda x: x,
    "ramp": lambda x: np.minimum(np.maximum(x, -1), 1),
    "step": lambda x: np.heaviside(x, 1.0),
    "sign": np.sign,
    "sigmoid": scipy.special.expit,
    "tanh": np.tanh,
    "scaled_tanh": lambda x: 1.7159 * np.tanh(2 * x / 3),
    "hard_sigmoid": lambda x: np.minimum(np.maximum(x + 3, 0), 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "relu": lambda x: np.where(x > 0, x, 0),
    "leaky_relu": below(0.01),
    "prelu": below(0.25),
    "rrelu": below((1 / 8 + 1 / 3) / 2),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "mpelu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "noisy": noisy_mean,
    "square": lambda x: x * x,
}
SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": np.ones_like,
    "ramp": lambda x: (np.abs(x) < 1) * 1.0,
    "step": np.zeros_like,
    "sign": np.zeros_like,
    "sigmoid": lambda x: scipy.special.expit(x) * scipy.special.expit(-x),
    "tanh": lambda x: 1 / np.cosh(x) ** 2,
    "scaled_tanh": lambda x: 1.7159 * 2 / 3 / np.cosh(2 * x / 3) ** 2,
    "hard_sigmoid": lambda x: (np.abs(x) < 3) / 6,
    "hard_tanh": lambda x: (np.abs(x) < 1) * 1.0,
    "relu": lambda x: (x > 0) * 1.0,
    "leaky_relu": lambda x: np.where(x > 0, 1, 0.01),
    "prelu": lambda x: np.where(x > 0, 1, 0.25),
    "rrelu": lambda x: np.where(x > 0, 1, 11 / 48),
    "elu": lambda x: np.exp(np.minimum(x, 0)),
    "mpelu": lambda x: np.exp(np.minimum(x, 0)),
    "softplus": scipy.special.expit,
    "square": lambda x: 2 * x,
}
SMOOTH = ("linear", "sigmoid", "tanh", "scaled_tanh", "softplus", "square")
# What is taken at a corner: (function, x, derivative).
CORNERS = [
    ("ramp", 1.0, 0.0), ("step", 0.0, 0.0), ("sign", 0.0, 0.0), ("hard_sigmoid", -3.0, 0.0), ("hard_tanh", -1.0, 0.0),
    ("relu", 0.0, 0.0), ("leaky_relu", 0.0, 0.01), ("prelu", 0.0, 0.25), ("rrelu", 0.0, 11 / 48), ("elu", 0.0, 1.0),
    ("mpelu", 0.0, 1.0),
]  # fmt: skip
ENDS = {
    "linear": Saturation("none", "none"),
    "ramp": Saturation("hard", "hard", -1.0, 1.0),
    "step": Saturation("hard", "hard", 0.0, 0.0),
    "sign": Saturation("hard", "hard", 0.0, 0.0),
    "sigmoid": Saturation("soft", "soft"),
    "tanh": Saturation("soft", "soft"),
    "scaled_tanh": Saturation("soft", "soft"),
    "hard_sigmoid": Saturation("hard", "hard", -3.0, 3.0),
    "hard_tanh": Saturation("hard", "hard", -1.0, 1.0),
    "relu": Saturation("hard", "none", 0.0),
    "leaky_relu": Saturation("none", "none"),
    "prelu": Saturation("none", "none"),
    "rrelu": Saturation("none", "none"),
    "elu": Saturation("soft", "none"),
    "mpelu": Saturation("soft", "none"),
    "softplus": Saturation("soft", "none"),
    "noisy": Saturation("none", "none"),
    "square": Saturation("none", "none"),
}


def tensor(values: object) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def test_every_activation_is_tested_here() -> None:
    assert [*VALUES, "maxout", "crelu"] == list(dict.fromkeys([*VALUES, *ACTIVATIONS]))
    assert set(ENDS) == set(VALUES) == set(SLOPES) | {"noisy"}


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    np.testing.assert_allclose(ACTIVATIONS[name](tensor(GRID)).numpy(), VALUES[name](GRID), rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("name", SLOPES)
def test_slopes(name: str) -> None:
    x = GRID[~np.isin(GRID, [-3, -1, 0, 1, 3])]
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(derivative(name)(tensor(x)).numpy(), SLOPES[name](x), rtol=1e-12, atol=3e-16)


@pytest.mark.parametrize("name", VALUES)
def test_slopes_are_differences(name: str) -> None:
    """Central differences of the function itself, at points that are no corners."""
    x, h = tensor([-4.3, -2.2, -1.4, -0.6, -0.1, 0.2, 0.9, 1.3, 2.7, 4.9]), 1e-6
    differences = (ACTIVATIONS[name](x + h) - ACTIVATIONS[name](x - h)) / (2 * h)
    torch.testing.assert_close(derivative(name)(x), differences, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", VALUES)
def test_gradcheck(name: str) -> None:
    x = tensor([-4.3, -2.2, -1.4, -0.6, 0.2, 0.9, 1.3, 4.9]).requires_grad_()
    assert torch.autograd.gradcheck(ACTIVATIONS[name], (x,))
    assert torch.autograd.gradgradcheck(ACTIVATIONS[name], (x,)) or name not in SMOOTH


@pytest.mark.parametrize(("name", "x", "slope"), CORNERS)
def test_corners(name: str, x: float, slope: float) -> None:
    assert derivative(name)(tensor([x])).item() == pytest.approx(slope, abs=1e-15)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_types(name: str, dtype: torch.dtype) -> None:
    """Within a few roundings of the same numbers in float64; the type stays."""
    x = torch.linspace(-6, 6, 97).to(dtype)
    found, slope = ACTIVATIONS[name](x), derivative(name)(x)
    assert found.dtype == slope.dtype == dtype
    room = 6 * torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), ACTIVATIONS[name](x.double()), rtol=room, atol=room)
    corner = torch.isin(x.double(), tensor([-3.0, -1.0, 0.0, 1.0, 3.0]))
    torch.testing.assert_close(slope.double()[~corner], derivative(name)(x.double())[~corner], rtol=room, atol=room)


@pytest.mark.parametrize("name", VALUES)
def test_hostile_inputs(name: str) -> None:
    f = ACTIVATIONS[name]
    assert f(torch.empty(0, 3)).shape == (0, 3)
    assert f(torch.tensor(0.5)).shape == ()
    assert f(torch.tensor([float("nan")])).isnan().all()
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(f(x.T), f(x).T)  # not laid out in one piece
    torch.testing.assert_close(f(x[:1]), f(x)[:1])
    for far in (1e30, -1e30):
        slope = derivative(name)(torch.tensor([far], dtype=torch.float64))
        assert slope.isfinite().all(), f"derivative at {far}"


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("x", [torch.tensor([[1, 2]]), [1.0], torch.tensor([[1j, 2j]])])
def test_what_is_no_tensor_of_floats_is_refused(name: str, x: Tensor) -> None:
    with pytest.raises(UserError, match="floating-point numbers"):
        ACTIVATIONS[name](x)


# -- settings of single functions -----------------------------------------------------------------------------------------


def test_settings_change_the_function() -> None:
    x = tensor([-4.0, -0.5, 0.0, 0.5, 4.0])
    assert act.linear(x, 2.0, 1.0).tolist() == [-7, 0, 1, 2, 9]
    assert act.ramp(x, 0.5, 1.5).tolist() == [-1.5, -0.25, 0, 0.25, 1.5]
    assert act.step(x, 0.5).tolist() == [0, 0, 0, 1, 1]
    assert act.hard_tanh(x, -0.25, 2.0).tolist() == [-0.25, -0.25, 0, 0.5, 2]
    assert act.leaky_relu(x, 0.5).tolist() == [-2, -0.25, 0, 0.5, 4]
    torch.testing.assert_close(act.elu(x, 2.0), F.elu(x, 2.0))
    torch.testing.assert_close(act.softplus(x, 3.0), torch.log1p((3 * x).exp()) / 3)
    assert act.scaled_tanh(tensor([1.0])).item() == pytest.approx(1, abs=1e-4)


def test_forms_of_hard_sigmoid() -> None:
    x = tensor([-10.0, -2.4, -2.0, 0.0, 1.0, 2.4, 10.0])
    torch.testing.assert_close(act.hard_sigmoid(x), F.hardsigmoid(x))
    assert act.hard_sigmoid(x, "theano").tolist() == pytest.approx([0, 0.02, 0.1, 0.5, 0.7, 0.98, 1])
    assert act.hard_sigmoid(x, "noisy").tolist() == pytest.approx([0, 0, 0, 0.5, 0.75, 1, 1])
    for form, end in (("torch", 3.0), ("theano", 2.5), ("noisy", 2.0)):
        assert saturation(partial(act.hard_sigmoid, form=form)) == Saturation("hard", "hard", -end, end)  # type: ignore[arg-type]
    assert (
        derivative(partial(act.hard_sigmoid, form="noisy"))(tensor([0.0])).item()
        == derivative("sigmoid")(tensor([0.0])).item()
    )


def test_softplus_is_exact_where_torch_is_not() -> None:
    x = tensor([20.5, 30.0])
    assert torch.equal(act.softplus(x), torch.from_numpy(np.logaddexp(x.numpy(), 0)))
    assert not torch.equal(F.softplus(x), act.softplus(x))


def test_mpelu_holds_the_others() -> None:
    x = tensor([-3.0, -1.0, -0.1, 0.4, 800.0]).requires_grad_()
    torch.testing.assert_close(act.mpelu(x), F.elu(x))
    torch.testing.assert_close(act.mpelu(x, 0.0), F.relu(x))
    torch.testing.assert_close(act.mpelu(x, 0.25 / 1e-7, 1e-7), F.leaky_relu(x, 0.25), rtol=1e-6, atol=0)
    assert torch.autograd.grad(act.mpelu(x, 2.0, 3.0).sum(), x)[0][-1] == 1  # exp(2400) is nowhere in the gradient


def test_prelu_a_channel_is_torchs() -> None:
    x, weight = torch.randn(3, 4, 2, 2, dtype=torch.float64), tensor([0.1, 0.0, -2.0, 1.0])
    torch.testing.assert_close(act.prelu(x, weight), F.prelu(x, weight))
    torch.testing.assert_close(act.prelu(x, weight[:1]), F.prelu(x, weight[:1]))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: act.prelu(x, torch.ones(3)), ["weight does not fit", "(3,)", "(2, 4)"]),
        (lambda x: act.prelu(x[0], torch.ones(4)), ["weight does not fit", "(4,)"]),
        (lambda x: act.mpelu(x, 1.0, torch.ones(2, 2)), ["beta does not fit"]),
        (lambda x: act.noisy(x, p=torch.ones(5)), ["p does not fit"]),
        (lambda x: act.ramp(x, limit=-1.0), ["limit", "0 or more", "-1"]),
        (lambda x: act.ramp(x, limit=math.nan), ["limit", "nan"]),
        (lambda x: act.hard_tanh(x, 2.0, 1.0), ["out of order", "2.0 and 1.0"]),
        (lambda x: act.softplus(x, 0.0), ["beta of softplus", "above 0"]),
        (lambda x: act.hard_sigmoid(x, "teano"), ["did you mean theano", "noisy"]),
        (lambda x: act.rrelu(x, form="papr"), ["did you mean paper"]),
        (lambda x: act.rrelu(x, 0.5, 0.25), ["bounds of rrelu", "lower=0.5, upper=0.25"]),
        (lambda x: act.rrelu(x, 1 / 8, 1 / 3, form="paper"), ["1 <= lower", 'form="torch" takes slopes']),
        (lambda x: act.rrelu(x, 3.0, math.inf), ["bounds of rrelu", "inf"]),
        (lambda x: act.noisy(x, base="tanh"), ["there is no base", "hard_tanh"]),
        (lambda x: act.noisy(x, noise="uniform"), ["there is no noise", "half_normal"]),
        (lambda x: act.noisy(x, c=-1.0), ["scale c", "0 or more", "-1"]),
        (lambda x: act.maxout(x, 3), ["groups of 3", "4 channels"]),
        (lambda x: act.maxout(x, 0), ["groups of 0"]),
        (lambda x: act.maxout(x, 2, dim=2), ["no dimension of channels", "dimension 2", "(2, 4)"]),
        (lambda x: act.crelu(x[0, 0]), ["no dimension of channels"]),
        (lambda x: activation("tahn"), ["no activation 'tahn'", "did you mean tanh"]),
        (lambda x: derivative("rel"), ["did you mean", "relu"]),
        (lambda x: saturation("maxout"), ["maxout is not an elementwise", "several channels"]),
        (lambda x: derivative(act.crelu), ["crelu is not an elementwise", "two values"]),
        (lambda x: derivative_of(lambda y: y.sum())(x), ["not elementwise", "(2, 4)", "()"]),
        (lambda x: derivative_of(lambda y: (y > 0).float())(x), ["cannot be differentiated"]),
        (lambda x: saturation(lambda y: y.exp() / (1 + y.exp())), ["NaN", "overflows"]),
    ],
)
def test_mistakes_are_told(call: Callable[[Tensor], object], said: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        call(torch.zeros(2, 4))
    for words in said:
        assert words in str(caught.value)


# -- derivatives and saturation -------------------------------------------------------------------------------------------


def test_second_derivatives() -> None:
    x = tensor([-1.0, 0.5, 2.0])
    s = torch.sigmoid(x)
    torch.testing.assert_close(derivative_of(derivative("sigmoid"))(x), s * (1 - s) * (1 - 2 * s))
    assert derivative_of(derivative_of(derivative_of(lambda y: y**4)))(x).tolist() == (24 * x).tolist()


def test_a_derivative_is_part_of_a_graph_only_where_asked() -> None:
    x = torch.ones(2, requires_grad=True)
    assert derivative("square")(x).requires_grad
    assert not derivative("square")(torch.ones(2)).requires_grad
    with torch.no_grad():
        assert derivative("square")(x).tolist() == [2.0, 2.0] and not derivative("square")(x).requires_grad
    assert x.grad is None


@pytest.mark.parametrize("name", ENDS)
def test_saturation(name: str) -> None:
    assert saturation(name) == ENDS[name] == saturation(ACTIVATIONS[name])


@pytest.mark.parametrize(
    ("function", "ends"),
    [
        (F.softsign, Saturation("soft", "soft")),
        (torch.atan, Saturation("soft", "soft")),
        (lambda x: torch.tanh(1e3 * x), Saturation("soft", "soft")),
        (lambda x: torch.sigmoid(x / 1e4), Saturation("soft", "soft")),
        (lambda x: torch.sigmoid(x - 1000), Saturation("soft", "soft")),
        (F.gelu, Saturation("soft", "none")),
        (partial(F.gelu, approximate="tanh"), Saturation("soft", "none")),
        (lambda x: torch.log1p(x.abs()), Saturation("soft", "soft")),
        (lambda x: x + torch.sin(x), Saturation("none", "none")),
        (F.hardswish, Saturation("hard", "none", -3.0)),
        (F.relu6, Saturation("hard", "hard", 0.0, 6.0)),
        (lambda x: x.clamp(-1, 1) - x.clamp(-1, 1) ** 3 / 3, Saturation("hard", "hard", -1.0, 1.0)),
        (lambda x: (1e4 * x).clamp(-1, 1), Saturation("hard", "hard", -1e-4, 1e-4)),
        (lambda x: x.clamp(0, 1e-11), Saturation("hard", "hard", 0.0, 0.0)),  # the point is rounded to nine decimals
        (lambda x: x.clamp(7, 70_000), Saturation("hard", "hard", 7.0, 70_000.0)),
        (lambda x: 0 * x + 3, Saturation("hard", "hard", math.inf, -math.inf)),
        (partial(act.step, threshold=2.5), Saturation("hard", "hard", 2.5, 2.5)),
        (partial(act.noisy, alpha=1.0), Saturation("soft", "soft")),
        (partial(act.noisy, base="hard_sigmoid"), Saturation("none", "none")),
    ],
)
def test_saturation_of_other_functions(function: Callable[[Tensor], Tensor], ends: Saturation) -> None:
    """Also where rounding hides a soft tail, where the slope runs out smoothly to a hard end, far out and close in."""
    assert saturation(function) == ends


# -- those of several channels --------------------------------------------------------------------------------------------


def test_maxout_takes_the_largest_of_neighbours() -> None:
    x = torch.randn(3, 12, 2, 5, dtype=torch.float64)
    for dim, axis in ((1, 1), (-3, 1)):
        found = act.maxout(x, 3, dim)
        assert found.shape == (3, 4, 2, 5)
        for c in range(4):
            expected = x[:, 3 * c : 3 * c + 3].numpy().max(1)
            np.testing.assert_array_equal(found.select(axis, c).numpy(), expected)
    assert torch.equal(act.maxout(x, 1), x)
    assert torch.equal(act.maxout(x.movedim(1, -1), 4, -1), act.maxout(x, 4).movedim(1, -1))
    assert act.maxout(torch.empty(0, 4)).shape == (0, 2)
    assert torch.autograd.gradcheck(lambda y: act.maxout(y, 3), (x.requires_grad_(),))


def test_tied_pieces_share_the_gradient() -> None:
    x = torch.tensor([[2.0, 2.0, 1.0, 5.0, 1.0, 1.0]], requires_grad=True)
    act.maxout(x, 3).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0.5, 0.5, 0.0, 1.0, 0.0, 0.0]]


def test_crelu_keeps_both_signs() -> None:
    x = torch.randn(4, 3, 2, dtype=torch.float64)
    found = act.crelu(x)
    assert found.shape == (4, 6, 2)
    np.testing.assert_array_equal(found[:, :3].numpy(), np.maximum(x.numpy(), 0))
    np.testing.assert_array_equal(found[:, 3:].numpy(), np.maximum(-x.numpy(), 0))
    torch.testing.assert_close(found[:, :3] - found[:, 3:], x)  # nothing is lost
    torch.testing.assert_close(found.norm(), x.norm())
    assert torch.equal(act.crelu(x, -1), torch.cat([x.relu(), (-x).relu()], -1))
    assert torch.autograd.gradcheck(act.crelu, (x.requires_grad_(),))
    zero = torch.zeros(1, 1, requires_grad=True)
    assert torch.autograd.grad(act.crelu(zero).sum(), zero)[0].item() == 0
