"""Test functions of the plane for update rules: a ravine, a curved valley, two saddles."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Surface = Callable[[Tensor], Tensor]


def _coordinates(points: Tensor) -> tuple[Tensor, Tensor]:
    if points.shape[-1:] != (2,):
        raise UserError("the points are not of the plane", expected="(..., 2)", found=tuple(points.shape))
    return points[..., 0], points[..., 1]


def ravine(points: Tensor, condition: float = 100.0, angle: float = 0.0) -> Tensor:
    """A quadratic valley, f = (u^2 + condition v^2) / 2: flat along u, steep along v; its minimum is 0 at the origin.

    u and v are the coordinates turned by `angle`. At an angle of 0 a rule that scales each coordinate by itself undoes
    the condition number; at another one it cannot.

    Args:
        points: (..., 2).
        condition: the ratio of the two curvatures, 1 or more.
        angle: of the valley to the first axis, in degrees.

    Returns:
        the heights (...).

    Errors: a UserError for a condition below 1, and for points that are not of the plane.

    >>> ravine(torch.tensor([[2.0, 0.0], [0.0, 2.0]])).tolist()
    [2.0, 200.0]
    """
    if condition < 1:
        raise UserError("the condition number is out of range", expected="1 or more", found=condition)
    x, y = _coordinates(points)
    turn = math.radians(angle)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return (u.square() + condition * v.square()) / 2


def rosenbrock(points: Tensor) -> Tensor:
    """Rosenbrock's curved valley, f = (1 - x)^2 + 100 (y - x^2)^2; its minimum is 0 at (1, 1).

    Points (..., 2) to heights (...). Source: Rosenbrock 1960, equation 1; the usual start is (-1.2, 1).

    >>> rosenbrock(torch.tensor([[1.0, 1.0], [-1.0, 1.0]])).tolist()
    [0.0, 4.0]
    """
    x, y = _coordinates(points)
    return (1 - x).square() + 100 * (y - x.square()).square()


def saddle(points: Tensor) -> Tensor:
    """The saddle f = x^2 - y^2, whose second derivatives at the origin are 2 and -2. Points (..., 2) to heights (...).

    >>> saddle(torch.tensor([1.0, 2.0])).item()
    -3.0
    """
    x, y = _coordinates(points)
    return x.square() - y.square()


def monkey_saddle(points: Tensor) -> Tensor:
    """The monkey saddle f = x^3 - 3 x y^2: three valleys, and all second derivatives are 0 at the origin.

    Points (..., 2) to heights (...).

    >>> monkey_saddle(torch.tensor([2.0, 1.0])).item()
    2.0
    """
    x, y = _coordinates(points)
    return x**3 - 3 * x * y.square()


def gradients(surface: Surface, points: Tensor) -> Tensor:
    """The gradient at each of the points (N, 2), as (N, 2).

    >>> gradients(saddle, torch.tensor([[1.0, 2.0]])).tolist()
    [[2.0, -4.0]]
    """
    free = points.detach().requires_grad_()
    with torch.enable_grad():
        height = surface(free).sum()
    return torch.autograd.grad(height, free)[0]


def newton_step(surface: Surface, point: Tensor) -> Tensor:
    """Newton's step -H^-1 g at a point (2,), whatever the signs of H: it leads to any point where the gradient is 0.

    Where H is singular, it is the shortest of the steps that come nearest.

    >>> newton_step(saddle, torch.tensor([1.0, 2.0])).tolist()  # straight into the saddle
    [-1.0, -2.0]
    """
    gradient = gradients(surface, point[None])[0]
    second = torch.autograd.functional.hessian(surface, point.detach())
    assert isinstance(second, Tensor)
    return -torch.linalg.pinv(second, hermitian=True) @ gradient


TOPICS = (Topic("Momentum in a ravine, saddles, Newton's step", code=("ravine", "newton_step")),)
