"""Activations with parameters or noise, as modules: PReLU, RReLU, MPELU, CReLU, maxout layers, noisy activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.activations import crelu, maxout, mpelu, prelu
from chainrule.functional.activations.stochastic import (
    Noise,
    NoisyBase,
    RReLUForm,
    check_noisy,
    noisy,
    rrelu,
    rrelu_bounds,
)


def _filled(count: int, value: float, name: str) -> nn.Parameter:
    if count < 1:
        raise UserError(f"{name} is wrong", expected="1 for one that is shared, or the number of channels", found=count)
    return nn.Parameter(torch.full((count,), float(value)))


class PReLU(nn.Module):
    """x where x > 0, else weight * x; the weight learns, one for all channels or one for each.

    Args:
        num_parameters: 1, or the number of channels, which are dimension 1 of x.
        init: first value of the weight, the slope on the left. Weight decay pulls it to 0, that is to ReLU: the paper
            uses none on it.

    Takes any shape, (B, C, ...) where there is a weight a channel; gives the same. Source: see `functional` `prelu`.

    >>> PReLU()(torch.tensor([-4.0, 4.0])).tolist()
    [-1.0, 4.0]
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.weight = _filled(num_parameters, init, "num_parameters")

    def forward(self, x: Tensor) -> Tensor:
        return prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={len(self.weight)}"


class RReLU(nn.Module):
    """x where x > 0, else a x: a drawn for every element in training mode, one fixed slope in evaluation mode.

    Args:
        lower, upper, form: as `rrelu` has them: `form="torch"` draws the slope from U(1/8, 1/3) and evaluates with the
            mean of the bounds; `form="paper"` divides by a draw from U(3, 8) and evaluates dividing by their mean.

    Errors: a UserError for bounds that are out of order or of the other form. Source: see `functional` `rrelu`.

    >>> RReLU(form="paper").eval()(torch.tensor([-11.0, 4.0])).tolist()
    [-2.0, 4.0]
    """

    def __init__(self, lower: float | None = None, upper: float | None = None, form: RReLUForm = "torch") -> None:
        super().__init__()
        self.lower, self.upper = rrelu_bounds(lower, upper, form)
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        return rrelu(x, self.lower, self.upper, self.training, self.form)

    def extra_repr(self) -> str:
        return f"lower={self.lower:g}, upper={self.upper:g}, form={self.form}"


class MPELU(nn.Module):
    """x where x > 0, else alpha (exp(beta x) - 1); alpha and beta learn, one for all channels or one for each.

    Args:
        num_parameters: 1, or the number of channels, which are dimension 1 of x.
        alpha, beta: first values; 1 and 1 is ELU. The paper's residual networks start from 0.25 and 1. Nothing holds
            beta above 0 while it learns, where the left side is bounded.

    Takes any shape, (B, C, ...) where there are parameters a channel; gives the same. Errors: a UserError for a beta
    of 0 or below. Source: see `functional` `mpelu`.

    >>> MPELU()(torch.tensor([-100.0, 4.0])).tolist()
    [-1.0, 4.0]
    """

    def __init__(self, num_parameters: int = 1, alpha: float = 1.0, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0:
            raise UserError("beta of MPELU is wrong", expected="above 0, to start from", found=beta)
        self.alpha = _filled(num_parameters, alpha, "num_parameters")
        self.beta = _filled(num_parameters, beta, "num_parameters")

    def forward(self, x: Tensor) -> Tensor:
        return mpelu(x, self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"num_parameters={len(self.alpha)}"


class CReLU(nn.Module):
    """max(0, x) and max(0, -x) one after the other at `dim`: twice the channels, no parameters.

    Takes (B, C, ...) and gives (B, 2C, ...) with dim=1. Source: see `functional` `crelu`.

    >>> CReLU()(torch.tensor([[1.0, -2.0]])).tolist()
    [[1.0, 0.0, 0.0, 2.0]]
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return crelu(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class MaxoutLinear(nn.Module):
    """A fully connected layer of maxout units: max over j of (W_j x + b_j), j = 1 .. num_pieces.

    Args:
        in_features, out_features: sizes of the last dimension of what goes in and what comes out.
        num_pieces: affine functions a unit, k in the paper; 1 is a linear layer.
        bias: whether there are b_j.

    Takes (..., in_features), gives (..., out_features). The pieces are one `nn.Linear`, initialised as torch does;
    those of a unit are next to each other in it. Errors: a UserError for num_pieces below 1.

    Source: Goodfellow et al.: Maxout networks, ICML 2013 (arXiv 1302.4389), section 3.

    >>> MaxoutLinear(4, 3, num_pieces=5)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, in_features: int, out_features: int, num_pieces: int = 2, bias: bool = True) -> None:
        super().__init__()
        self.num_pieces = _pieces(num_pieces)
        self.pieces = nn.Linear(in_features, out_features * num_pieces, bias)

    def forward(self, x: Tensor) -> Tensor:
        return maxout(self.pieces(x), self.num_pieces, dim=-1)

    def extra_repr(self) -> str:
        return f"num_pieces={self.num_pieces}"


class MaxoutConv2d(nn.Module):
    """A convolution of maxout units: at every place, the largest of num_pieces filters.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, bias: as `nn.Conv2d` has them; sizes in pixels.
        num_pieces: filters a unit.

    Takes (B, in_channels, H, W), gives (B, out_channels, H', W'). The pieces are one `nn.Conv2d`, initialised as torch
    does; those of a unit are next to each other in it. Errors: a UserError for num_pieces below 1.

    Source: Goodfellow et al.: Maxout networks, ICML 2013 (arXiv 1302.4389), section 3.

    >>> MaxoutConv2d(1, 6, kernel_size=5, num_pieces=3)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 6, 24, 24])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        num_pieces: int = 2,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_pieces = _pieces(num_pieces)
        self.pieces = nn.Conv2d(in_channels, out_channels * num_pieces, kernel_size, stride, padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return maxout(self.pieces(x), self.num_pieces, dim=-3)

    def extra_repr(self) -> str:
        return f"num_pieces={self.num_pieces}"


def _pieces(count: int) -> int:
    if count < 1:
        raise UserError("num_pieces is wrong", expected="1 or more", found=count)
    return count


class NoisyActivation(nn.Module):
    """A hard sigmoid or hard tanh with noise where it is saturated: drawn in training mode, its mean in evaluation.

    Args:
        base: `hard_tanh` or `hard_sigmoid` (slope 1/4).
        alpha, c, noise: as `noisy` has them. `c` may be changed between steps, to anneal the noise.
        num_parameters: 1, or the number of channels, which are dimension 1 of x: so many p learn, from 1 on. For the
            variant without learning, `p.requires_grad_(False)`.

    Takes any shape, (B, C, ...) where there is a p a channel; gives the same. Errors: a UserError for a base or noise
    that does not exist, or c below 0. Source: see `functional` `noisy`.

    >>> layer = NoisyActivation("hard_sigmoid", alpha=0.9, noise="normal").eval()
    >>> layer(torch.tensor([0.0, 6.0])).tolist()  # 0.9 * 1 + 0.1 * (6/4 + 1/2)
    [0.5, 1.100000023841858]
    """

    def __init__(
        self,
        base: NoisyBase = "hard_tanh",
        alpha: float = 1.15,
        c: float = 0.5,
        noise: Noise = "half_normal",
        num_parameters: int = 1,
    ) -> None:
        super().__init__()
        check_noisy(c, base, noise)
        self.base, self.alpha, self.c, self.noise = base, alpha, c, noise
        self.p = _filled(num_parameters, 1.0, "num_parameters")

    def forward(self, x: Tensor) -> Tensor:
        return noisy(x, self.alpha, self.c, self.p, self.base, self.noise, self.training)

    def extra_repr(self) -> str:
        return f"base={self.base}, alpha={self.alpha:g}, c={self.c:g}, noise={self.noise}, num_parameters={len(self.p)}"


TOPICS = (Topic("Activation functions, derivatives, saturation", code=("PReLU", "MaxoutLinear")),)
