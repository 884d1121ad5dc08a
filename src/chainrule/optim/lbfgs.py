"""L-BFGS: quasi-Newton steps from the last few changes of the gradient, with a strong-Wolfe line search."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from chainrule.core.course import Topic
from chainrule.functional.finite import expect_finite

ValueAndGradient = Callable[[Tensor], tuple[float, Tensor]]

SUFFICIENT_DECREASE = 1e-4  # c1 of Wolfe's conditions
CURVATURE = 0.9  # c2
LINE_SEARCH_STEPS = 25
STALLS = 5  # steps in a row that changed the value by no more than rounding, after which there is nothing to gain


class Minimum(NamedTuple):
    """Where a minimiser ended: the point, the value after each iteration, and whether its criterion was met."""

    x: Tensor
    path: list[float]
    converged: bool


def lbfgs(
    f: ValueAndGradient,
    start: Tensor,
    *,
    tolerance: float = 1e-5,
    max_iterations: int = 100,
    history: int = 10,
    precondition: Callable[[Tensor], Tensor] | None = None,
    resolution: float = 2.3e-16,
    decrement: float = float("inf"),
) -> Minimum:
    """Minimises a smooth function by limited-memory BFGS.

    The direction is -H g, where H g comes from the last `history` pairs of steps s and changes y of the gradient by the
    two-loop recursion; its middle is the preconditioner, or (s^T y / y^T y) I where there is none. Ends when no element
    of the gradient is above `tolerance` and g^T H g / 2 is not above `decrement`, or when steps no longer lower the value
    by more than its rounding error.

    Args:
        f: gives value and gradient at a point of the shape of `start`.
        start: the first point, any shape; float64 is advised.
        tolerance: bound of the gradient's largest element.
        max_iterations: most steps.
        history: pairs that are kept.
        precondition: v to an approximation of (Hessian)^-1 v, symmetric and positive definite.
        resolution: relative rounding error of a value.
        decrement: bound of g^T H g / 2, which is how far the value is above the least where H is nearly (Hessian)^-1.

    Source: Nocedal and Wright: Numerical Optimization, 2nd edition, 2006, algorithms 7.4 and 7.5; 3.5 and 3.6 for the
    line search.

    >>> import torch
    >>> found = lbfgs(lambda x: (float((x - 3).square().sum()), 2 * (x - 3)), torch.zeros(2).double())
    >>> found.x.tolist(), found.converged
    ([3.0, 3.0], True)
    """
    x = start.clone()
    value, gradient = f(x)
    path: list[float] = []
    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
    stalls = 0
    for _ in range(max_iterations):
        small = float(gradient.abs().max()) <= tolerance
        if stalls == STALLS or (small and decrement == float("inf")):
            return Minimum(x, path, True)
        # The direction -H g, from the stored pairs.
        direction = _two_loops(gradient, pairs, precondition)
        slope = expect_finite(float((direction * gradient).sum()), "L-BFGS", len(path))
        if small and -0.5 * slope <= decrement:
            return Minimum(x, path, True)
        if not slope < 0:  # rounding has spoilt the pairs: begin anew
            pairs.clear()
            direction = _two_loops(gradient, pairs, precondition)
            slope = float((direction * gradient).sum())
        # A step that meets Wolfe's conditions; where there is none the pairs have spoilt H and are dropped.
        first = 1.0 if pairs or precondition is not None else min(1.0, 1.0 / float(gradient.abs().sum()))
        found = strong_wolfe(f, x, value, slope, direction, first, resolution)
        if found is None:
            if not pairs:
                return Minimum(x, path, True)
            pairs.clear()
            continue
        # The new pair s, y, kept only where s^T y > 0, so that H stays positive definite.
        step, new_value, new_gradient = found
        s, y = step * direction, new_gradient - gradient
        curvature = float((s * y).sum())
        if curvature > 1e-14 * float(y.square().sum()):
            pairs.append((s, y, curvature))
        stalls = stalls + 1 if value - new_value <= 2.0 * resolution * abs(value) else 0
        x, value, gradient = x + s, new_value, new_gradient
        path.append(value)
    return Minimum(x, path, float(gradient.abs().max()) <= tolerance)


def _two_loops(
    gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, float]], precondition: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """-H gradient (algorithm 7.4)."""
    q = gradient.clone()
    shares = []
    for s, y, curvature in reversed(pairs):  # the first loop: newest to oldest
        shares.append(float((s * q).sum()) / curvature)
        q -= shares[-1] * y
    if precondition is not None:  # the middle: H_0
        q = precondition(q)
    elif pairs:
        _, y, curvature = pairs[-1]
        q *= curvature / float(y.square().sum())
    # The second loop: oldest to newest.
    for (s, y, curvature), share in zip(pairs, reversed(shares), strict=True):
        q += (share - float((y * q).sum()) / curvature) * s
    return -q


def strong_wolfe(
    f: ValueAndGradient,
    x: Tensor,
    value: float,
    slope: float,
    direction: Tensor,
    first: float,
    resolution: float = 2.3e-16,
) -> tuple[float, float, Tensor] | None:
    """A step t > 0 with f(x + t d) <= f + c1 t slope and |slope(t)| <= c2 |slope|; with it value and gradient there.

    Grows t until a bracket is found, then narrows it by cubic interpolation. None where even the smallest steps show no
    decrease beyond rounding; of the steps that satisfy the first condition alone the last is taken when time runs out.
    """
    rounding = 2.0 * resolution * abs(value)
    low = (0.0, value, slope)  # step, value, slope: the best that satisfies the first condition
    high: tuple[float, float, float] | None = None
    best: tuple[float, float, Tensor] | None = None
    step = first
    for _ in range(LINE_SEARCH_STEPS):
        new_value, gradient = f(x + step * direction)
        new_slope = float((gradient * direction).sum())
        enough = new_value <= value + SUFFICIENT_DECREASE * step * slope + rounding
        if not enough or (low[0] > 0 and new_value > low[1] + rounding):
            high = (step, new_value, new_slope)
        else:
            best = (step, new_value, gradient)
            if abs(new_slope) <= -CURVATURE * slope:
                return best
            if new_slope * ((high[0] if high else step + 1.0) - low[0]) >= 0 and new_slope > 0:
                high = low
            low = (step, new_value, new_slope)
        step = 2.0 * step if high is None else _between(low, high)
    return best


def _between(low: tuple[float, float, float], high: tuple[float, float, float]) -> float:
    """The minimum of the cubic through two values and slopes, kept a tenth of the interval away from its ends."""
    (a, fa, da), (b, fb, db) = low, high
    width = b - a
    inner = da + db - 3.0 * (fb - fa) / width
    root = inner * inner - da * db
    finite = root >= 0 and abs(fb) != float("inf")
    if finite:
        root = root**0.5 if width > 0 else -(root**0.5)
        bottom = db - da + 2.0 * root
        t = b - width * (db + root - inner) / bottom if bottom else a + 0.5 * width
    else:
        t = a + 0.5 * width
    margin = 0.1 * abs(width)
    lowest, highest = min(a, b) + margin, max(a, b) - margin
    return min(max(t, lowest), highest) if t == t else a + 0.5 * width


TOPICS = (Topic("Logistic and softmax regression", code=("lbfgs",)),)
