"""Activations that draw nothing at random, each with its equation and the subgradient that it takes at a kink."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.errors import UserError, unknown
from chainrule.functional.activations.arguments import floating, per_channel, split_channels

HardSigmoidForm = Literal["torch", "theano", "noisy"]


def linear(x: Tensor, slope: float = 1.0, intercept: float = 0.0) -> Tensor:
    """slope * x + intercept; by default the identity.

    >>> linear(torch.tensor([3.0]), 2.0, 1.0).tolist()
    [7.0]
    """
    return floating(x) * slope + intercept


def ramp(x: Tensor, slope: float = 1.0, limit: float = 1.0) -> Tensor:
    """Linear between two levels: clip(slope * x, -limit, limit). At the corners the derivative is taken as 0.

    >>> ramp(torch.tensor([-9.0, 0.5, 9.0]), 0.5, 2.0).tolist()
    [-2.0, 0.25, 2.0]
    """
    if not limit >= 0:
        raise UserError("the limit of ramp is wrong", expected="0 or more", found=limit)
    return F.hardtanh(floating(x) * slope, -limit, limit)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1 for x below, at or above 0; NaN stays NaN. The derivative is 0 everywhere, by convention at 0 too.

    >>> sign(torch.tensor([-0.1, 0.0, 7.0])).tolist()
    [-1.0, 0.0, 1.0]
    """
    return torch.where(floating(x).isnan(), x, torch.sign(x))


def step(x: Tensor, threshold: float = 0.0) -> Tensor:
    """1 where x >= threshold, else 0; NaN stays NaN. The derivative is 0 everywhere, by convention at the jump too.

    Source: McCulloch and Pitts: A logical calculus of the ideas immanent in nervous activity, 1943.

    >>> step(torch.tensor([-0.1, 0.0, 7.0])).tolist()
    [0.0, 1.0, 1.0]
    """
    return 1 - sign(threshold - floating(x)).clamp_min(0)


def sigmoid(x: Tensor) -> Tensor:
    """The logistic function 1 / (1 + exp(-x)); its derivative is f (1 - f).

    >>> sigmoid(torch.tensor([0.0])).tolist()
    [0.5]
    """
    return torch.sigmoid(floating(x))


def tanh(x: Tensor) -> Tensor:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)) = 2 sigmoid(2x) - 1; its derivative is 1 - f^2.

    >>> tanh(torch.tensor([0.0, 100.0])).tolist()
    [0.0, 1.0]
    """
    return torch.tanh(floating(x))


def scaled_tanh(x: Tensor, amplitude: float = 1.7159, slope: float = 2 / 3) -> Tensor:
    """amplitude * tanh(slope * x); with the numbers of LeNet-5, f(1) = 1 and f(-1) = -1.

    Source: LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998, appendix A.

    >>> scaled_tanh(torch.tensor([1.0])).round(decimals=3).tolist()
    [1.0]
    """
    return amplitude * torch.tanh(slope * floating(x))


def hard_sigmoid(x: Tensor, form: HardSigmoidForm = "torch") -> Tensor:
    """A sigmoid made of three lines: clip(a x + 1/2, 0, 1). At the corners the derivative is taken as 0.

    Args:
        x: any shape.
        form: `torch`: a = 1/6, that is relu6(x + 3) / 6, also Keras 3's. `theano`: a = 0.2, also Keras' before 3.
            `noisy`: a = 1/4, the sigmoid's own slope at 0, of the paper on noisy activations.

    Errors: a UserError for a form that does not exist.

    >>> [round(hard_sigmoid(torch.tensor(1.0), form).item(), 4) for form in ("torch", "theano", "noisy")]
    [0.6667, 0.7, 0.75]
    """
    slopes = {"theano": 0.2, "noisy": 0.25}
    if form == "torch":
        return F.relu6(floating(x) + 3) / 6  # F.hardsigmoid takes 1/6 as a float32 in its backward pass, whatever x is
    if form not in slopes:
        raise unknown("there is no form of hard_sigmoid", form, ("torch", *slopes))
    return F.hardtanh(slopes[form] * floating(x) + 0.5, 0.0, 1.0)


def hard_tanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """clip(x, min_val, max_val). At the corners the derivative is taken as 0.

    >>> hard_tanh(torch.tensor([-9.0, 0.5, 9.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    if not min_val <= max_val:
        raise UserError(
            "the levels of hard_tanh are out of order", expected="min_val <= max_val", found=f"{min_val} and {max_val}"
        )
    return F.hardtanh(floating(x), min_val, max_val)


def relu(x: Tensor) -> Tensor:
    """max(0, x). At 0 the derivative is taken as 0.

    Source: Nair and Hinton: Rectified linear units improve restricted Boltzmann machines, ICML 2010.

    >>> relu(torch.tensor([-2.0, 3.0])).tolist()
    [0.0, 3.0]
    """
    return F.relu(floating(x))


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x. At 0 the derivative is taken as negative_slope.

    Source: Maas, Hannun, Ng: Rectifier nonlinearities improve neural network acoustic models, 2013.

    >>> leaky_relu(torch.tensor([-2.0, 3.0]), 0.5).tolist()
    [-1.0, 3.0]
    """
    return F.leaky_relu(floating(x), negative_slope)


def prelu(x: Tensor, weight: Tensor | float = 0.25) -> Tensor:
    """x where x > 0, else weight * x, with a weight that learns. At x = 0 the derivative is taken as the weight.

    Args:
        x: any shape; (B, C, ...) where the weight has one element a channel.
        weight: a number, or a tensor of one element, or of (C,).

    Errors: a UserError where there are neither one weight nor as many as channels.

    Source: He, Zhang, Ren, Sun: Delving deep into rectifiers, 2015 (arXiv 1502.01852), equation 1.

    >>> prelu(torch.tensor([[-2.0, -2.0, 3.0]]), torch.tensor([0.5, 1.0, 2.0])).tolist()
    [[-1.0, -2.0, 3.0]]
    """
    if not isinstance(weight, Tensor):
        return F.leaky_relu(floating(x), weight)
    per_channel(weight, floating(x), "weight")  # says in words what F.prelu would refuse
    return F.prelu(x, weight.to(x.dtype).reshape(-1))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1). At 0 the derivative is taken as alpha.

    Source: Clevert, Unterthiner, Hochreiter: Fast and accurate deep network learning by ELUs, 2016 (arXiv 1511.07289).

    >>> elu(torch.tensor([-100.0, 3.0])).tolist()
    [-1.0, 3.0]
    """
    return F.elu(floating(x), alpha)


def mpelu(x: Tensor, alpha: Tensor | float = 1.0, beta: Tensor | float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(beta x) - 1), with alpha and beta that learn.

    alpha = beta = 1 is ELU; alpha = 0 is ReLU; a small beta is nearly PReLU with the slope alpha * beta. At x = 0 the
    derivative is taken as alpha * beta.

    Args:
        x: any shape; (B, C, ...) where a parameter has one element a channel.
        alpha, beta: a number, or a tensor of one element, or of (C,). With beta below 0 the left side grows without
            bound.

    Errors: a UserError where there are neither one parameter nor as many as channels.

    Source: Li, Fan, Li, Wu, Ming: Improving deep neural network with multiple parametric exponential linear units,
    2016 (arXiv 1606.00305), equation 4.

    >>> mpelu(torch.tensor([-1.0, 2.0]), 0.0).tolist(), mpelu(torch.tensor([-100.0]), 2.0, 0.5).tolist()
    ([-0.0, 2.0], [-2.0])
    """
    a, b = per_channel(alpha, floating(x), "alpha"), per_channel(beta, x, "beta")
    # Clamped, because exp of a large x is infinite, and infinity times the zero of the other branch is no gradient.
    return torch.where(x > 0, x, a * torch.expm1(b * x.clamp_max(0)))


def softplus(x: Tensor, beta: float = 1.0) -> Tensor:
    """log(1 + exp(beta x)) / beta, a smooth relu; its derivative is sigmoid(beta x).

    torch's own switches to x at beta x = 20, an error of 2e-9; here at 50, where float64 shows no difference.

    Source: Dugas, Bengio, Belisle, Nadeau, Garcia: Incorporating second-order functional knowledge, 2001.

    >>> softplus(torch.tensor([0.0, 1000.0])).tolist()
    [0.6931471824645996, 1000.0]
    """
    if not beta > 0:
        raise UserError("beta of softplus is wrong", expected="above 0", found=beta)
    return F.softplus(floating(x), beta, threshold=50.0)


def square(x: Tensor) -> Tensor:
    """x^2.

    >>> square(torch.tensor([-3.0])).tolist()
    [9.0]
    """
    return floating(x).square()


def maxout(x: Tensor, num_pieces: int = 2, dim: int = 1) -> Tensor:
    """The largest of every `num_pieces` neighbouring channels: max over j of x[..., c * num_pieces + j, ...].

    Where pieces tie, they share the gradient in equal parts.

    Args:
        x: channels at `dim`, a multiple of num_pieces.

    Gives x's shape with num_pieces times fewer channels. Errors: a UserError where the channels do not divide.

    Source: Goodfellow, Warde-Farley, Mirza, Courville, Bengio: Maxout networks, ICML 2013 (arXiv 1302.4389), section 3.

    >>> maxout(torch.tensor([[1.0, 5.0, -3.0, -2.0]])).tolist()
    [[5.0, -2.0]]
    """
    pieces = split_channels(floating(x), num_pieces, dim)  # (..., C * num_pieces, ...) -> (..., C, num_pieces, ...)
    return pieces.amax(dim + 1 if dim >= 0 else dim)


def crelu(x: Tensor, dim: int = 1) -> Tensor:
    """Both halves of x, rectified: max(0, x) and max(0, -x) one after the other at `dim`.

    Gives x's shape with twice the channels. At 0 both derivatives are taken as 0.

    Source: Shang, Sohn, Almeida, Lee: Understanding and improving convolutional neural networks via concatenated
    rectified linear units, ICML 2016 (arXiv 1603.05201), definition 2.1.

    >>> crelu(torch.tensor([[1.0, -2.0]])).tolist()
    [[1.0, 0.0, 0.0, 2.0]]
    """
    split_channels(floating(x), 1, dim)
    return F.relu(torch.cat([x, -x], dim))
