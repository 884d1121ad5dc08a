"""The derivative of an elementwise function, and where it saturates: both computed from the function itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from chainrule.core.errors import UserError

Kind = Literal["none", "soft", "hard"]

FAR = 12  # how far a side is examined: to ten to this power
PER_DECADE = 50
NEGLIGIBLE = 1e-9  # of the steepest slope: below it, a value that turns to zero has been rounded away


@dataclass(frozen=True)
class Saturation:
    """How a function ends on the left (x to minus infinity) and on the right (x to infinity).

    `none`: the derivative does not tend to zero. `soft`: it tends to zero. `hard`: it is zero beyond a finite point,
    which `left_point` or `right_point` names. A function saturates where both sides do.
    """

    left: Kind
    right: Kind
    left_point: float | None = None
    right_point: float | None = None


def derivative_of(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The derivative of an elementwise function, by automatic differentiation, as a function of x of any shape.

    Every element of the result must depend on the element of x at its place alone. What comes back can be
    differentiated again. At a kink it gives the subgradient that the function's own backward pass takes.

    Errors: a UserError where the result has another shape than x, or no gradient leads back to x.

    >>> derivative_of(lambda x: x**3)(torch.tensor([1.0, 2.0])).tolist()
    [3.0, 12.0]
    >>> derivative_of(derivative_of(lambda x: x**3))(torch.tensor(2.0)).item()
    12.0
    """

    def derivative(x: Tensor) -> Tensor:
        differentiable = (
            x.requires_grad and torch.is_grad_enabled()
        )  # the caller may differentiate the derivative again
        with torch.enable_grad():
            at = x if differentiable else x.detach().requires_grad_()
            y = function(at)
            if y.shape != x.shape:
                raise UserError(
                    "the function is not elementwise",
                    expected=f"a result of shape {tuple(x.shape)}, as x has it",
                    found=tuple(y.shape),
                )
            if not y.requires_grad:
                raise UserError(
                    "the function cannot be differentiated",
                    expected="operations that torch differentiates",
                    found="a result without a gradient",
                    cure="do not detach, round to integers or compare",
                )
            return torch.autograd.grad(y.sum(), at, create_graph=differentiable)[0]

    return derivative


def saturation_of(function: Callable[[Tensor], Tensor]) -> Saturation:
    """Saturation of an elementwise function, left and right, read off its computed derivative.

    A side is `hard` where the derivative is exactly zero, and the function constant, from a finite point on; the point
    is found by dividing intervals. Rounding looks the same: in float64 the derivative of a sigmoid is exactly zero
    beyond 37. The two are told apart just inside the point: where the slope has fallen to rounding error, the side
    is `soft`; where it has not, or the function jumps, `hard`. A derivative that is not exactly zero far
    out is `soft` if its largest value falls by half or more from each of the last three powers of ten to the next, up
    to 10^12.

    Source: Gulcehre, Moczulski, Denil, Bengio: Noisy Activation Functions, ICML 2016 (arXiv 1603.00391), section 2,
    definitions of soft and hard saturation.

    Errors: a UserError where the derivative far out is NaN.

    >>> saturation_of(lambda x: x.clamp(-2, 5))
    Saturation(left='hard', right='hard', left_point=-2.0, right_point=5.0)
    >>> saturation_of(torch.nn.functional.silu)
    Saturation(left='soft', right='none', left_point=None, right_point=None)
    """
    (left, left_point), (right, right_point) = _side(function, -1.0), _side(function, 1.0)
    return Saturation(left, right, left_point, right_point)


def _side(function: Callable[[Tensor], Tensor], sign: float) -> tuple[Kind, float | None]:
    derivative = derivative_of(function)
    out = torch.logspace(FAR, -6, (FAR + 6) * PER_DECADE + 1, dtype=torch.float64)
    x = sign * torch.cat([out, out.new_zeros(1), -out.flip(0)])  # from far out on this side to far out on the other
    slope, value = derivative(x), function(x)
    if slope[: len(out)].isnan().any():
        where = x[: len(out)][slope[: len(out)].isnan()][-1].item()
        raise UserError(
            "the derivative is NaN", where=f"x = {where:g}", cure="write the function so that nothing overflows"
        )
    if slope[0] != 0:
        largest = slope[: 4 * PER_DECADE].view(4, PER_DECADE).abs().amax(1)  # of each decade, the outermost first
        return ("soft", None) if bool((2 * largest[:-1] <= largest[1:]).all()) else ("none", None)

    # The slope is exactly zero far out. Find the outermost point where it is not, by dividing intervals.
    def settled(at: Tensor) -> Tensor:
        return (derivative(at) == 0) & (function(at) == value[0])

    inside = (~settled(x)).nonzero()
    if len(inside) == 0:
        return "hard", -sign * float("inf")  # a constant
    first = int(inside[0])
    outer, inner = x[first - 1], x[first]
    for _ in range(12):  # each time to the first of 64 parts that is not settled at its inner end
        ends = outer + (inner - outer) * torch.arange(1, 65, dtype=torch.float64) / 64
        loose = ~settled(ends[:-1])
        part = int(loose.int().argmax()) if loose.any() else 63
        outer, inner = (ends[part - 1] if part else outer), ends[part]
    # Hard, or rounded to zero? Look at the slope, and at what is left to the limit, just inside that point.
    before = outer - sign * max(1.0, abs(float(outer))) * torch.logspace(-3, -13, 11, dtype=torch.float64)
    steepest = slope[slope.isfinite()].abs().max()
    left_over = torch.maximum(derivative(before).abs(), (function(before) - value[0]).abs()).max()
    if left_over <= NEGLIGIBLE * torch.where(steepest > 0, steepest, 1.0):
        return "soft", None
    return "hard", round(float(outer), 9) + 0.0  # + 0.0: no minus zero
