"""Gradient descent with one step size, on all of the data."""

from __future__ import annotations

from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.optim.lbfgs import Minimum, ValueAndGradient


def gradient_descent(
    f: ValueAndGradient, start: Tensor, *, lr: float, tolerance: float = 1e-6, max_iterations: int = 1000
) -> Minimum:
    """Minimises f by x <- x - lr * gradient until no element of the gradient is above `tolerance`.

    With lr = 1 / L, where L bounds the second derivatives of a convex f, no step rises, and the value is within
    L |x_0 - x*|^2 / (2 t) of the least after t steps.

    Args:
        f: gives value and gradient at a point of the shape of `start`.
        start: the first point.
        lr: the step size.
        tolerance: bound of the gradient's largest element.
        max_iterations: most steps.

    Raises:
        UserError: a value is NaN or infinite: the step is too long.

    Source: Nesterov: Lectures on Convex Optimization, 2018, theorem 2.1.14.

    >>> import torch
    >>> found = gradient_descent(lambda x: (float((x - 3).square()), 2 * (x - 3)), torch.tensor(0.0).double(), lr=0.4)
    >>> round(float(found.x), 5), found.converged
    (3.0, True)
    """
    x = start.clone()
    path: list[float] = []
    _, gradient = f(x)
    for _ in range(max_iterations):
        if float(gradient.abs().max()) <= tolerance:
            return Minimum(x, path, True)
        x = x - lr * gradient
        value, gradient = f(x)
        if not value < float("inf"):
            raise UserError(
                "gradient descent runs away",
                expected="a step that lowers the objective",
                found=f"lr={lr:g}",
                cure="a smaller lr: at most 1 over the largest second derivative",
            )
        path.append(value)
    return Minimum(x, path, float(gradient.abs().max()) <= tolerance)
