"""Activations as modules against torch's own, the papers' formulas by hand, and layers put together from single pieces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional.activations import crelu, noisy
from chainrule.nn.activations import MPELU, CReLU, MaxoutConv2d, MaxoutLinear, NoisyActivation, PReLU, RReLU

MODULES: dict[str, Callable[[], nn.Module]] = {
    "prelu": lambda: PReLU(6),
    "prelu, shared": PReLU,
    "rrelu": RReLU,
    "rrelu, paper": lambda: RReLU(form="paper"),
    "mpelu": lambda: MPELU(6, 0.25),
    "crelu": CReLU,
    "maxout": lambda: MaxoutLinear(4, 5, 3),
    "maxout, convolution": lambda: MaxoutConv2d(6, 4, 3, padding=1),
    "noisy": lambda: NoisyActivation(num_parameters=6),
    "noisy, sigmoid": lambda: NoisyActivation("hard_sigmoid", 1.1, 0.15, "normal"),
}


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return 3 * torch.randn(5, 6, 4, 4)


@pytest.mark.parametrize("name", MODULES)
class TestEvery:
    """What holds for all of them."""

    def test_gradient_reaches_every_parameter(self, name: str, x: Tensor) -> None:
        module = MODULES[name]()
        module(x.requires_grad_()).square().sum().backward()
        for parameter, value in [*module.named_parameters(), ("x", x)]:
            assert value.grad is not None and bool((value.grad != 0).any()), parameter

    def test_evaluation_is_deterministic_and_by_sample(self, name: str, x: Tensor) -> None:
        module = MODULES[name]().eval()
        state = torch.get_rng_state()
        whole = module(x)
        assert torch.equal(whole, module(x)) and torch.equal(state, torch.get_rng_state())
        torch.testing.assert_close(module(x[2:3]), whole[2:3])
        order = torch.tensor([4, 2, 0, 1, 3])
        torch.testing.assert_close(module(x[order]), whole[order])
        assert module(x[:0]).shape == (0, *whole.shape[1:])

    def test_weights_go_into_a_file_and_back(self, name: str, x: Tensor) -> None:
        module = MODULES[name]().eval()
        with torch.no_grad():
            for value in module.parameters():
                value.add_(0.1 * torch.rand_like(value))
        other = MODULES[name]().eval()
        other.load_state_dict(module.state_dict())
        assert torch.equal(other(x), module(x))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_other_types(self, name: str, dtype: torch.dtype, x: Tensor) -> None:
        module = MODULES[name]().eval()
        full = module(x)
        found = module.to(dtype)(x.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), full, atol=0.1, rtol=0.02)

    def test_short_floats_pass_parameters_in_float32(self, name: str, x: Tensor) -> None:
        """As under autocast: what comes in from a convolution is short, the parameters are not."""
        module = MODULES[name]()
        with torch.autocast("cpu", torch.bfloat16):
            found = module(x.requires_grad_().bfloat16())
        assert found.dtype == torch.bfloat16
        found.float().sum().backward()
        assert all(value.grad is not None and value.grad.dtype == torch.float32 for value in module.parameters())

    def test_training_draws_the_same_after_the_same_seed(self, name: str, x: Tensor) -> None:
        module = MODULES[name]()
        torch.manual_seed(7)
        first = module(x)
        torch.manual_seed(7)
        assert torch.equal(module(x), first)
        assert torch.equal(module(x), first) == (not name.startswith(("rrelu", "noisy")))

    def test_channels_last(self, name: str, x: Tensor) -> None:
        module = MODULES[name]().eval()
        torch.testing.assert_close(module(x.contiguous(memory_format=torch.channels_last)), module(x))

    def test_it_says_what_it_is(self, name: str, x: Tensor) -> None:
        assert "=" in repr(MODULES[name]()) and "at 0x" not in repr(MODULES[name]())


@pytest.mark.parametrize("count", [1, 6])
def test_prelu_is_torchs(count: int, x: Tensor) -> None:
    ours, theirs = PReLU(count, 0.1), nn.PReLU(count, 0.1)
    found, expected = ours(x), theirs(x)
    assert torch.equal(found, expected) and ours.state_dict().keys() == theirs.state_dict().keys()
    found.square().sum().backward()
    expected.square().sum().backward()
    assert ours.weight.grad is not None and theirs.weight.grad is not None
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_rrelu_in_both_forms(x: Tensor) -> None:
    torch.testing.assert_close(RReLU().eval()(x), nn.RReLU().eval()(x))
    torch.testing.assert_close(RReLU(0.2, 0.4).eval()(x), nn.RReLU(0.2, 0.4).eval()(x))
    torch.testing.assert_close(RReLU(form="paper").eval()(x), torch.where(x > 0, x, x / 5.5))
    slope = RReLU()(x)[x < 0] / x[x < 0]
    divisor = x[x < 0] / RReLU(form="paper")(x)[x < 0]
    assert slope.min() + 1e-6 >= 1 / 8 and slope.max() <= 1 / 3 + 1e-6 and slope.std() > 0.05  # (1/3 - 1/8) / 12^(1/2)
    assert divisor.min() >= 3 - 1e-4 and divisor.max() <= 8 + 1e-4 and divisor.std() > 1.3  # 5 / 12^(1/2) is 1.44


def test_mpelu_and_its_gradients_by_hand(x: Tensor) -> None:
    """d/d alpha = exp(beta x) - 1, d/d beta = alpha x exp(beta x), d/dx = alpha beta exp(beta x), where x <= 0."""
    x = x.double().requires_grad_()
    layer = MPELU(6, 0.25, 1.5).double()
    y = layer(x)
    down = torch.randn_like(y)
    (y * down).sum().backward()
    a, b, v, g = 0.25, 1.5, x.detach().numpy(), down.numpy()
    low = np.minimum(v, 0)
    np.testing.assert_allclose(y.detach().numpy(), np.where(v > 0, v, a * np.expm1(b * low)), rtol=1e-12)
    assert x.grad is not None and layer.alpha.grad is not None and layer.beta.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), g * np.where(v > 0, 1, a * b * np.exp(b * low)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(layer.alpha.grad.numpy(), (g * np.expm1(b * low)).sum((0, 2, 3)), rtol=1e-10)
    np.testing.assert_allclose(layer.beta.grad.numpy(), (g * a * low * np.exp(b * low)).sum((0, 2, 3)), rtol=1e-10)


def test_mpelu_starts_as_elu(x: Tensor) -> None:
    torch.testing.assert_close(MPELU()(x), F.elu(x))
    torch.testing.assert_close(MPELU(6)(x), F.elu(x))


def test_crelu_doubles_the_channels(x: Tensor) -> None:
    assert torch.equal(CReLU()(x), crelu(x)) and CReLU()(x).shape == (5, 12, 4, 4)
    assert torch.equal(CReLU(-1)(x), torch.cat([F.relu(x), F.relu(-x)], -1))


@pytest.mark.parametrize("bias", [True, False])
def test_maxout_is_the_largest_of_its_linear_maps(bias: bool) -> None:
    layer = MaxoutLinear(4, 3, num_pieces=5, bias=bias).double()
    x = torch.randn(2, 7, 4, dtype=torch.float64)
    w = layer.pieces.weight.detach().numpy().reshape(3, 5, 4)
    b = layer.pieces.bias.detach().numpy().reshape(3, 5) if bias else np.zeros((3, 5))
    found = layer(x).detach().numpy()
    for i, t, unit in np.ndindex(2, 7, 3):
        assert found[i, t, unit] == pytest.approx(max(w[unit, j] @ x[i, t].numpy() + b[unit, j] for j in range(5)))
    assert sum(p.numel() for p in layer.parameters()) == 3 * 5 * (4 + bias)


def test_maxout_can_be_the_absolute_value_and_a_linear_layer() -> None:
    layer = MaxoutLinear(1, 1, num_pieces=2, bias=False)
    with torch.no_grad():
        layer.pieces.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.linspace(-2, 2, 9)[:, None]
    assert torch.equal(layer(x), x.abs())
    one = MaxoutLinear(4, 3, num_pieces=1)
    inputs = torch.randn(2, 4)
    assert torch.equal(one(inputs), one.pieces(inputs))


def test_maxout_convolution_is_the_largest_of_its_filters(x: Tensor) -> None:
    layer = MaxoutConv2d(6, 4, 3, num_pieces=3, stride=2, padding=1)
    weight, bias = layer.pieces.weight, layer.pieces.bias
    assert bias is not None
    single = [F.conv2d(x, weight[j::3], bias[j::3], stride=2, padding=1) for j in range(3)]
    torch.testing.assert_close(layer(x), torch.maximum(torch.maximum(single[0], single[1]), single[2]))
    torch.testing.assert_close(layer(x[0]), layer(x)[0])  # without a batch
    assert MaxoutConv2d(6, 4, 3, bias=False).pieces.bias is None


def test_noisy_trains_with_noise_and_answers_without(x: Tensor) -> None:
    layer = NoisyActivation("hard_sigmoid", alpha=0.9, c=0.3, noise="normal", num_parameters=6)
    torch.manual_seed(2)
    drawn = layer(x)
    torch.manual_seed(2)
    assert torch.equal(drawn, noisy(x, 0.9, 0.3, layer.p, "hard_sigmoid", "normal", training=True))
    u = x / 4 + 0.5
    expected = 0.9 * u.clamp(0, 1) + 0.1 * u  # the mean of the noise is nothing
    torch.testing.assert_close(layer.eval()(x), expected)
    layer.train().c = 0.0  # annealed to the end
    torch.testing.assert_close(layer(x), expected)


def test_p_learns_towards_less_noise() -> None:
    """Where every deviation from the hard function is punished, p shrinks: the noise costs."""
    torch.manual_seed(0)
    layer = NoisyActivation(alpha=1.0, c=4.0)
    x = 4 * torch.randn(4000)
    (layer(x) - x.clamp(-1, 1)).square().mean().backward()
    assert layer.p.grad is not None and layer.p.grad.item() > 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PReLU(0), ["num_parameters", "number of channels", "0"]),
        (lambda: RReLU(0.5, 0.1), ["bounds of rrelu", "lower <= upper"]),
        (lambda: RReLU(1 / 8, 1 / 3, form="paper"), ["1 <= lower", "torch"]),
        (lambda: RReLU(form="Paper"), ["did you mean paper"]),
        (lambda: MPELU(beta=0.0), ["beta of MPELU", "above 0"]),
        (lambda: MPELU(-2), ["num_parameters", "-2"]),
        (lambda: MaxoutLinear(3, 2, 0), ["num_pieces", "1 or more"]),
        (lambda: MaxoutConv2d(3, 2, 3, num_pieces=-1), ["num_pieces", "-1"]),
        (lambda: NoisyActivation("tanh"), ["there is no base", "hard_tanh"]),  # type: ignore[arg-type]
        (lambda: NoisyActivation(noise="halfnormal"), ["did you mean half_normal"]),  # type: ignore[arg-type]
        (lambda: NoisyActivation(c=float("nan")), ["scale c", "nan"]),
        (lambda: PReLU(3)(torch.zeros(2, 4)), ["weight does not fit", "(2, 4)"]),
        (lambda: MPELU(3)(torch.zeros(2, 4)), ["alpha does not fit", "(2, 4)"]),
        (lambda: NoisyActivation(num_parameters=3)(torch.zeros(2, 4)), ["p does not fit"]),
        (lambda: CReLU()(torch.zeros(3)), ["no dimension of channels"]),
        (lambda: PReLU()(torch.zeros(3, dtype=torch.int64)), ["floating-point", "int64", "x.float()"]),
    ],
)
def test_mistakes_are_told(make: Callable[[], object], said: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        make()
    for words in said:
        assert words in str(caught.value)
