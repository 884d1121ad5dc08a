"""The Mackey-Glass series: chaotic, without noise, and so predictable to whoever finds the rule."""

from __future__ import annotations

import numpy as np

from chainrule.core.errors import UserError


def mackey_glass(count: int = 1000, delay: int = 17, substeps: int = 10, skip: int = 300) -> np.ndarray:
    """x(t) at t = skip, skip + 1, ... of dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x(t), (count,) float64.

    Before t = 0, x is 1.2. Solved by the Runge-Kutta method of fourth order with `substeps` a unit of time; halfway
    between two of them the delayed value is the mean of both.

    Args:
        count: how many values.
        delay: in units of time; from about 17 on the series is chaotic.
        substeps: of the solver a unit of time.
        skip: units of time left out at the beginning, where it settles.

    Errors: a UserError for a count, delay or substeps below 1, or skip below 0.

    Source: Mackey and Glass: Oscillation and chaos in physiological control systems, 1977; as a task for perceptrons
    Lapedes and Farber 1987.

    >>> mackey_glass(3).round(3).tolist()
    [1.153, 1.094, 1.035]
    """
    if min(count, delay, substeps) < 1 or skip < 0:
        raise UserError(
            "there is no such series",
            expected="count, delay and substeps from 1, skip from 0",
            found=f"count={count}, delay={delay}, substeps={substeps}, skip={skip}",
        )
    step, back = 1.0 / substeps, delay * substeps
    x = [1.2] * (back + 1)  # x[i] is the value at (i - back) * step

    def slope(now: float, delayed: float) -> float:
        return 0.2 * delayed / (1.0 + delayed**10) - 0.1 * now

    for i in range(back, back + (skip + count - 1) * substeps):
        now, before, after = x[i], x[i - back], x[i - back + 1]
        between = 0.5 * (before + after)
        k1 = slope(now, before)
        k2 = slope(now + 0.5 * step * k1, between)
        k3 = slope(now + 0.5 * step * k2, between)
        k4 = slope(now + step * k3, after)
        x.append(now + step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
    return np.array(x[back + skip * substeps :: substeps])
