"""Theory of descent on a quadratic: optimal settings, contraction a step, steps to escape a saddle."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Literal

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Method = Literal["gradient descent", "momentum", "nesterov"]


@dataclass(frozen=True)
class Tuning:
    """The best settings of a method and the factor by which a step shrinks the distance, in the long run."""

    lr: float
    momentum: float
    contraction: float


def best_tuning(method: Method, least: float, most: float) -> Tuning:
    """The settings of a method with the smallest contraction on all quadratics with curvatures from `least` to `most`.

    With L = most, m = least, k = L / m:

        gradient descent   lr = 2 / (L + m)                 momentum = 0                                (k - 1) / (k + 1)
        momentum           lr = 4 / (sqrt L + sqrt m)^2     ((sqrt k - 1) / (sqrt k + 1))^2             (sqrt k - 1) / (sqrt k + 1)
        nesterov           lr = 4 / (3 L + m)               (sqrt(3 k + 1) - 2) / (sqrt(3 k + 1) + 2)   1 - 2 / sqrt(3 k + 1)

    Args:
        method: which; momentum is Polyak's heavy ball.
        least, most: the curvatures, above 0.

    Errors: a UserError for curvatures that are not 0 < least <= most.

    Source: Polyak 1964, theorem 9; Lessard, Recht and Packard 2016, proposition 1.

    >>> best_tuning("momentum", 1.0, 9.0)
    Tuning(lr=0.25, momentum=0.25, contraction=0.5)
    """
    if not 0 < least <= most < math.inf:
        raise UserError("the curvatures are out of range", expected="0 < least <= most", found=f"{least:g}, {most:g}")
    condition = most / least
    if method == "gradient descent":
        return Tuning(2 / (most + least), 0.0, (condition - 1) / (condition + 1))
    if method == "momentum":
        root = math.sqrt(condition)
        share = (root - 1) / (root + 1)
        return Tuning(4 / (math.sqrt(most) + math.sqrt(least)) ** 2, share**2, share)
    root = math.sqrt(3 * condition + 1)
    return Tuning(4 / (3 * most + least), (root - 2) / (root + 2), 1 - 2 / root)


def factor(curvature: float, lr: float, momentum: float = 0.0, *, nesterov: bool = False) -> float:
    """By what a step multiplies the distance along a direction of that curvature, in the long run.

    It is the largest modulus of the roots z of z^2 - b z + c = 0, which the two-step recursion of the coordinate has:
    b = 1 + mu - lr h and c = mu for the heavy ball, b = (1 + mu)(1 - lr h) and c = mu (1 - lr h) for Nesterov's form.
    Below 1 the direction converges, above it diverges. A negative curvature is a direction out of a saddle.

    Args:
        curvature: the second derivative h along the direction, of any sign.
        lr: the learning rate.
        momentum: mu, from 0 to 1.
        nesterov: the form that looks ahead.

    Source: Qian 1999, section 2; Lessard, Recht and Packard 2016, appendix A.

    >>> round(factor(2.0, 0.1), 6), round(factor(-2.0, 0.1), 6)  # plain descent: |1 - lr h|
    (0.8, 1.2)
    """
    if nesterov:
        b, c = (1 + momentum) * (1 - lr * curvature), momentum * (1 - lr * curvature)
    else:
        b, c = 1 + momentum - lr * curvature, momentum
    root = cmath.sqrt(b * b - 4 * c)
    return max(abs(b + root), abs(b - root)) / 2


def escape_steps(distance: float, radius: float, lr: float, curvature: float) -> int:
    """The steps that plain descent takes from `distance` to `radius` along a direction of negative curvature.

        steps = ceil( log(radius / distance) / log(1 + lr |curvature|) )

    The steps grow only with the logarithm of 1 / distance; a start at distance 0 never leaves.

    Args:
        distance: from the saddle along the direction at the start, above 0.
        radius: where it counts as out.
        lr: the learning rate, above 0.
        curvature: the second derivative along the direction, below 0.

    Errors: a UserError where one of them is out of range.

    >>> escape_steps(0.5, 4.0, lr=0.5, curvature=-2.0)  # doubled each step
    3
    """
    if distance <= 0 or lr <= 0 or curvature >= 0:
        raise UserError(
            "this start never leaves",
            expected="distance > 0, lr > 0, curvature < 0",
            found=f"distance={distance:g}, lr={lr:g}, curvature={curvature:g}",
        )
    return max(0, math.ceil(math.log(radius / distance) / math.log1p(-lr * curvature) - 1e-9))


TOPICS = (Topic("Momentum in a ravine, saddles, Newton's step", code=("best_tuning", "escape_steps")),)
