"""A function to approximate, as a setting names it: one of a few, or a formula."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.functional import activations
from chainrule.introspection.graph.expression import Expression

Function = Callable[[Tensor], Tensor]

# On [-1, 1]: smooth, with a jump, with a corner, and the one that polynomials fail at.
NAMED: dict[str, Function] = {
    "sin": lambda x: torch.sin(math.pi * x),
    "step": lambda x: activations.step(x),
    "hat": lambda x: (1 - 2 * x.abs()).relu(),
    "runge": lambda x: 1 / (1 + 25 * x.square()),
}


def read_function(text: str, where: str) -> Function:
    """The function of x (N,) that a setting means: a name of `NAMED`, or a formula of x.

    Errors: a UserError for what is no formula, for another variable than x, and, when the function is called, for a
    value that is NaN or infinite.

    >>> read_function("x^2 + 1", "function")(torch.tensor([2.0])).tolist()
    [5.0]
    """
    if text in NAMED:
        return NAMED[text]
    formula = _formula(text, ("x",), where, f"{', '.join(NAMED)}, or a formula of x")
    return lambda x: formula({"x": x}, x)


def read_function_of_two(text: str, where: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of x and y, of one shape, that a formula means. Errors: as `read_function`.

    >>> read_function_of_two("x * y", "function_2d")(torch.tensor(2.0), torch.tensor(3.0)).item()
    6.0
    """
    formula = _formula(text, ("x", "y"), where, "a formula of x and y")
    return lambda x, y: formula({"x": x, "y": y}, x)


def _formula(
    text: str, names: tuple[str, ...], where: str, expected: str
) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    expression = Expression(text)
    strange = [name for name in expression.names if name not in names]
    if strange:
        raise UserError(
            "the function has an unknown variable", where=where, expected=expected, found=", ".join(strange)
        )

    def value(given: dict[str, Tensor], like: Tensor) -> Tensor:
        result = expression(*(given[name] for name in expression.names))
        result = torch.as_tensor(result, dtype=like.dtype).expand(like.shape)
        if not bool(torch.isfinite(result).all()):
            first = int((~torch.isfinite(result)).reshape(-1).nonzero()[0])
            place = ", ".join(f"{name} = {given[name].reshape(-1)[first]:g}" for name in names)
            raise UserError(
                "the function is NaN or infinite somewhere",
                where=f"{where}, at {place}",
                expected="a finite value",
                found=float(result.reshape(-1)[first]),
            )
        return result

    return value
