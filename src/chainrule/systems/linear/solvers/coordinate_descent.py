"""The lasso by coordinate descent: one weight at a time, on the few columns that matter.

Shapes: N rows, D columns, A columns of the working set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

GROWTH = 10  # columns that join the working set at least, each time
SWEEPS = 10  # over the working set between looks at whether it is solved


class Lasso(NamedTuple):
    """Weights (D,), the duality gap, the objective after each round, sweeps in all, and whether the gap was reached."""

    w: Tensor
    gap: float
    path: list[float]
    sweeps: int
    converged: bool


def lasso(
    x: Tensor,
    y: Tensor,
    alpha: float,
    *,
    tolerance: float = 1e-4,
    max_sweeps: int = 10_000,
    start: Tensor | None = None,
    count: int | None = None,
) -> Lasso:
    """Minimises |y - X w|^2 / (2 N) + alpha |w|_1.

    Weight j moves to its own optimum, S(x_j . r_j / N, alpha) / (|x_j|^2 / N), where r_j is the residual without it and
    S(v, a) = sign(v) max(|v| - a, 0). Only a working set of columns is swept, by their inner products: those with
    weights, and those whose correlation with the residual is largest, to which others are added until none is above
    alpha. Where signs have settled, the weights are the solution of a linear system, which is tried after each block
    of sweeps: so dependent columns do not slow it down.

    Ends when the duality gap is at most `tolerance` |y|^2 / N, which is scikit-learn's rule. The gap is an upper bound of
    the distance to the least objective.

    Args:
        x: rows (N, D), centred by the caller if there is an intercept.
        y: targets (N,).
        alpha: the penalty, above 0; from max |X^T y| / N on, all weights are 0.
        tolerance: as above.
        max_sweeps: most sweeps over the working set, in all.
        start: weights to begin from (D,), such as those of a larger alpha; else zeros.
        count: N, where x and y are fewer rows that have the same inner products.

    Raises:
        UserError: alpha is not above 0.

    Source: Friedman, Hastie, Tibshirani: Regularization paths for generalized linear models via coordinate descent,
    2010, section 2; Massias, Gramfort, Salmon: Celer, 2018, for working sets.

    >>> lasso(torch.eye(2).double(), torch.tensor([3.0, 0.5]).double(), 0.5).w.tolist()
    [2.0, 0.0]
    """
    if not alpha > 0:
        raise UserError(
            "alpha is out of range", expected="above 0", found=alpha, cure="least squares, which is alpha=0"
        )
    N = len(x) if count is None else count
    w = x.new_zeros(x.shape[1], dtype=torch.float64) if start is None else start.double().clone()
    target = tolerance * float(y.double().square().sum()) / N
    path: list[float] = []
    sweeps, size, gap = 0, GROWTH, float("inf")
    while True:
        # The duality gap over all columns: the stopping rule.
        residual = y - x @ w.to(x.dtype)  # (N,)
        correlation = (x.T @ residual).double() / N  # (D,)
        value, gap = _gap(residual, correlation, w, y, alpha, N)
        path.append(value)
        if gap <= target or sweeps >= max_sweeps:
            return Lasso(w, gap, path, sweeps, gap <= target)
        # The working set: all columns with weights, then those that violate |correlation| <= alpha the most.
        support = int((w != 0).sum())
        size = min(x.shape[1], max(size, 2 * support, GROWTH))
        rank = torch.where(w != 0, torch.inf, correlation.abs())
        chosen = rank.topk(size).indices
        # The problem on it, by inner products alone, to 0.3 of the gap that is allowed (Celer).
        part = x[:, chosen].double()  # (N, A)
        gram, aims = part.T @ part / N, part.T @ y.double() / N  # (A, A), (A,)
        solved, used = _sweep(
            gram.cpu().numpy(),
            aims.cpu().numpy(),
            w[chosen].cpu().numpy().copy(),
            alpha,
            0.3 * target,
            max_sweeps - sweeps,
        )
        sweeps += used
        w[chosen] = torch.from_numpy(solved).to(w.device)
        size *= 2


def lasso_path(
    x: Tensor, y: Tensor, alphas: Iterable[float], *, tolerance: float = 1e-4, max_sweeps: int = 10_000
) -> list[Lasso]:
    """`lasso` for each alpha in turn, each from the weights before it; from the largest to the smallest is quickest.

    >>> [one.w.tolist() for one in lasso_path(torch.eye(2).double(), torch.tensor([3.0, 0.5]).double(), [1.5, 0.5])]
    [[0.0, 0.0], [2.0, 0.0]]
    """
    found: list[Lasso] = []
    for alpha in alphas:
        start = found[-1].w if found else None
        found.append(lasso(x, y, alpha, tolerance=tolerance, max_sweeps=max_sweeps, start=start))
    return found


def _gap(residual: Tensor, correlation: Tensor, w: Tensor, y: Tensor, alpha: float, N: int) -> tuple[float, float]:
    """The objective, and how far it is at most above the least: the dual's value at the residual, shrunk to be feasible."""
    square = float(residual.double().square().sum()) / N
    value = 0.5 * square + alpha * float(w.abs().sum())
    largest = float(correlation.abs().max()) if len(correlation) else 0.0
    scale = min(1.0, alpha / largest) if largest > 0 else 1.0
    dual = scale * float(residual.double() @ y.double()) / N - 0.5 * scale**2 * square
    return value, max(0.0, value - dual)


def _sweep(
    gram: NDArray[np.float64], aims: NDArray[np.float64], w: NDArray[np.float64], alpha: float, target: float, most: int
) -> tuple[NDArray[np.float64], int]:
    """Coordinate descent on inner products (A, A) of columns and (A,) with the target; weights, and sweeps used."""
    slope = aims - gram @ w  # of the squares, downwards
    diagonal = gram.diagonal().copy()
    used = 0
    while used < most:
        for _ in range(min(SWEEPS, most - used)):
            used += 1
            # One sweep: each weight to its own optimum, by soft thresholding.
            for j in np.flatnonzero(diagonal > 0).tolist():
                old = w[j]
                pull = slope[j] + diagonal[j] * old
                new = (pull - alpha if pull > alpha else pull + alpha if pull < -alpha else 0.0) / diagonal[j]
                if new != old:
                    slope -= gram[j] * (new - old)
                    w[j] = new
        # Perhaps the signs have settled; then the gap on these columns says whether to stop.
        w = _settled(gram, aims, w, alpha)
        slope = aims - gram @ w
        shrunk = alpha * np.abs(w).sum() - slope @ w  # the gap but for what the columns outside add
        excess = max(0.0, float(np.abs(slope).max()) / alpha - 1.0)
        if shrunk + excess * alpha * np.abs(w).sum() <= target:
            break
    return w, used


def _settled(
    gram: NDArray[np.float64], aims: NDArray[np.float64], w: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """The weights that are best with the signs that w has, if they keep them; else w."""
    on = np.flatnonzero(w)
    if not len(on):
        return w
    sign = np.sign(w[on])
    inner = gram[np.ix_(on, on)]
    solution = np.linalg.lstsq(inner, aims[on] - alpha * sign, rcond=None)[0]
    candidate = np.zeros_like(w)
    candidate[on] = solution
    if not (np.sign(solution) == sign).all() or _value(gram, aims, candidate, alpha) > _value(gram, aims, w, alpha):
        return w
    return candidate


def _value(gram: NDArray[np.float64], aims: NDArray[np.float64], w: NDArray[np.float64], alpha: float) -> float:
    return float(0.5 * w @ gram @ w - aims @ w + alpha * np.abs(w).sum())


TOPICS = (Topic("Penalties: ridge, lasso (L1)", code=("lasso",)),)
