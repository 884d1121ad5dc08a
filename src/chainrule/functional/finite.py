"""The guard of what is fitted by iterations: a NaN ends them with words, and is not taken for the optimum."""

from __future__ import annotations

import math

from chainrule.core.errors import RunFailed


def expect_finite(value: float, method: str, iteration: int | None = None) -> float:
    """The value of an objective, or another number that is finite as long as its terms are.

    Raises:
        RunFailed: it is NaN or infinite.

    >>> expect_finite(0.5, "Newton's method", 1)
    0.5
    """
    if not math.isfinite(value):
        at = "" if iteration is None else f" at iteration {iteration}"
        raise RunFailed(
            f"{method} came to {value}{at}: its numbers are out of the range of floating point\n"
            "  cure:     columns of one scale (preprocess=standardize), or a stronger penalty"
        )
    return value
