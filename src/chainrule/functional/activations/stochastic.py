"""Activations that draw noise while they train: randomised leaky ReLU, and noisy hard sigmoid and tanh."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.errors import UserError, unknown
from chainrule.functional.activations.arguments import floating, per_channel

RReLUForm = Literal["torch", "paper"]
NoisyBase = Literal["hard_tanh", "hard_sigmoid"]
Noise = Literal["half_normal", "normal"]

BASES = ("hard_tanh", "hard_sigmoid")
NOISES = ("half_normal", "normal")


def rrelu(
    x: Tensor, lower: float | None = None, upper: float | None = None, training: bool = False, form: RReLUForm = "torch"
) -> Tensor:
    """Randomised leaky ReLU: x where x > 0, else a x with a slope a drawn for each element while training.

    `form="torch"`: a ~ U(lower, upper) while training, (lower + upper) / 2 otherwise; by default 1/8 and 1/3, so 0.229.
    `form="paper"`: 1/a ~ U(lower, upper) while training, a = 2 / (lower + upper) otherwise; by default 3 and 8, so
    0.182. The bounds are those of a in one form and of 1/a in the other. At x = 0 the derivative is taken as a.

    Args:
        x: any shape.
        lower, upper: bounds, lower <= upper; in the paper's form lower >= 1.
        training: draw, from torch's global generator; otherwise nothing is random.

    Errors: a UserError for bounds that are out of order or of the other form.

    Source: Xu, Wang, Chen, Li: Empirical Evaluation of Rectified Activations in Convolutional Network, 2015
    (arXiv 1505.00853), section 2.4; torch.nn.functional.rrelu.

    >>> x = torch.tensor([-11.0, 2.0])
    >>> rrelu(x, form="paper").tolist(), rrelu(x, 0.5, 1.5).tolist()
    ([-2.0, 2.0], [-11.0, 2.0])
    """
    floating(x)
    lower, upper = rrelu_bounds(lower, upper, form)
    if training:
        drawn = torch.empty_like(x).uniform_(lower, upper)
        slope = drawn if form == "torch" else drawn.reciprocal()
        return torch.where(x > 0, x, slope * x)
    return F.leaky_relu(x, rrelu_slope(lower, upper, form))


def rrelu_bounds(lower: float | None, upper: float | None, form: str) -> tuple[float, float]:
    """The bounds with the form's own where none are given, checked.

    >>> rrelu_bounds(None, 10.0, "paper")
    (3.0, 10.0)
    """
    defaults = {"torch": (1 / 8, 1 / 3), "paper": (3.0, 8.0)}
    if form not in defaults:
        raise unknown("there is no form of rrelu", form, defaults)
    low, high = (d if given is None else given for given, d in zip((lower, upper), defaults[form], strict=True))
    least = 1.0 if form == "paper" else -math.inf
    if not (least <= low <= high and math.isfinite(low) and math.isfinite(high)):
        raise UserError(
            "the bounds of rrelu are wrong",
            expected="1 <= lower <= upper, what x is divided by" if form == "paper" else "lower <= upper, slopes",
            found=f"lower={low:g}, upper={high:g}",
            cure='form="torch" takes slopes' if form == "paper" and low < 1 else None,
        )
    return low, high


def rrelu_slope(lower: float, upper: float, form: str) -> float:
    """The slope that replaces the random one when nothing is drawn.

    >>> rrelu_slope(3, 8, "paper") == 1 / 5.5, rrelu_slope(0.1, 0.3, "torch")
    (True, 0.2)
    """
    return 2 / (lower + upper) if form == "paper" else (lower + upper) / 2


def noisy(
    x: Tensor,
    alpha: float = 1.15,
    c: float = 0.5,
    p: Tensor | float = 1.0,
    base: NoisyBase = "hard_tanh",
    noise: Noise = "half_normal",
    training: bool = False,
) -> Tensor:
    """Noisy activation: a hard-saturating h, its linearisation u, and noise where the two differ.

    phi(x) = alpha h(x) + (1 - alpha) u(x) + d(x) sigma(x) e, with d(x) = -sgn(x) sgn(1 - alpha) and
    sigma(x) = c (sigmoid(p (h(x) - u(x))) - 1/2)^2. Here sgn(0) = 1, so that alpha = 1 has noise too. h(x) is
    clip(x, -1, 1) with u(x) = x, or clip(x/4 + 1/2, 0, 1) with u(x) = x/4 + 1/2. The noise e is |xi| (half_normal) or
    xi (normal), xi ~ N(0, 1), drawn for each element while training; otherwise it is its mean, sqrt(2/pi) or 0, which
    makes phi its expectation. Where h is not saturated, sigma is 0 and phi = h.

    Args:
        x: any shape, channels at dimension 1 where p has more than one element.
        alpha: above 1, the noiseless part folds back from the saturated value; below 1 it leaks on outwards. The
            half-normal noise points the other way, so it pushes back towards h.
        c: scale of the noise, 0 or more; sigma is below c/4. To anneal, lower it during training.
        p: how fast the noise grows with the distance from the linear part; one number, or one a channel. It learns.
        training: draw, from torch's global generator; otherwise nothing is random.

    The defaults of alpha and c are those of the authors' code for the hard tanh; for the hard sigmoid it has 1.1, 0.15.

    Source: Gulcehre, Moczulski, Denil, Bengio: Noisy Activation Functions, ICML 2016 (arXiv 1603.00391), algorithm 1.

    >>> noisy(torch.tensor([0.5, 3.0], dtype=torch.float64), c=0.0).round(decimals=9).tolist()  # 1.15 * 1 - 0.15 * 3
    [0.5, 0.7]
    """
    floating(x)
    check_noisy(c, base, noise)
    u = x if base == "hard_tanh" else 0.25 * x + 0.5
    h = F.hardtanh(u, -1.0, 1.0) if base == "hard_tanh" else F.hardtanh(u, 0.0, 1.0)
    sigma = c * (torch.sigmoid(per_channel(p, x, "p") * (h - u)) - 0.5).square()
    direction = torch.where(x >= 0, -1.0, 1.0).to(x.dtype) * (1.0 if alpha <= 1 else -1.0)
    if training:
        e = torch.randn_like(x)
        e = e.abs() if noise == "half_normal" else e
        return alpha * h + (1 - alpha) * u + direction * sigma * e
    mean = math.sqrt(2 / math.pi) if noise == "half_normal" else 0.0
    return alpha * h + (1 - alpha) * u + direction * sigma * mean


def check_noisy(c: float, base: str, noise: str) -> None:
    """A UserError unless the settings of a noisy activation can be used."""
    if base not in BASES:
        raise unknown("there is no base of a noisy activation", base, BASES)
    if noise not in NOISES:
        raise unknown("there is no noise", noise, NOISES)
    if not 0 <= c < math.inf:
        raise UserError("the scale c of the noise is wrong", expected="a number, 0 or more", found=c)
