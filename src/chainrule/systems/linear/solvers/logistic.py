"""Logistic and softmax regression fitted quickly: L-BFGS that begins on a sample and knows the curvature."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from chainrule.functional.finite import expect_finite
from chainrule.functional.sparse_rows import SparseRows
from chainrule.optim.lbfgs import Minimum, lbfgs
from chainrule.systems.linear.solvers.irls import without_shifts
from chainrule.systems.linear.solvers.logistic_objective import LogisticObjective

Preconditioner = Callable[[Tensor], Tensor]

WIDEST_FACTOR = 2048  # columns whose curvature is factored as a matrix; that of wider tables as a diagonal
WIDEST_HESSIAN = 1024  # parameters whose curvature is factored together; else each class by itself
SAMPLE_FROM = 20_000  # rows from which it pays to begin on a sample
SHRINK = 0.02  # share of the columns' own bound in a curvature that comes from a sample: none is taken to be flat
SHARE = 1e-3  # of the tolerance: how far the value may be above the least, where that can be estimated
ROUND = 40  # iterations after which the curvature is measured anew
SEED = 0  # of the order in which rows are sampled: a fit is a function of its data


def logistic_lbfgs(objective: LogisticObjective, *, tolerance: float = 1e-6, max_iterations: int = 1000) -> Minimum:
    """Minimises the objective by L-BFGS, preconditioned by its curvature.

    Few dense rows: the preconditioner is the bound H <= mean x x^T / 4 + penalty of Boehning (1992) for each block of the
    Hessian; every forty iterations it is replaced by the blocks themselves, or by the whole Hessian where it is small, at
    the point reached.

    Many dense rows: the fit begins on a sixteenth of the rows, then a quarter, with that bound and only as precisely as so
    few rows can tell. The last fit, on all rows, has the blocks of the Hessian at that start, summed over rows not seen
    so far. The path is that of the last fit.

    Sparse rows, or very many columns: the diagonal of the bound.

    Args:
        objective: the loss.
        tolerance: bound of the gradient's largest element. The value (nats a row) is within about two times this of the
            least as well, or within a thousandth of it where the whole Hessian is factored; for sparse rows, unknown.
        max_iterations: most steps on all rows.

    Source: Boehning: Multinomial logistic regression algorithm, 1992, section 3, for the bound. Byrd, Chin, Neveitt,
    Nocedal: On the use of stochastic Hessian information in optimization methods for machine learning, 2011, for
    curvature from a sample.

    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]).double(), torch.tensor([0, 1, 0, 1])
    >>> found = logistic_lbfgs(LogisticObjective(x, y, 1))
    >>> [round(v, 4) for v in found.x[0].tolist()]
    [0.9082, -1.3623]
    """
    count, columns = objective.count, objective.column_curvature()
    if isinstance(objective.x, SparseRows) or objective.shape[1] > WIDEST_FACTOR:
        return _fit(objective, objective.start(), _by_diagonal(columns), tolerance, max_iterations)
    start = objective.start()
    if count < SAMPLE_FROM:
        # Few rows: Boehning's bound for the preconditioner, from all of them.
        sample, shrink = objective, 0.0
        precondition = _by_blocks(sample.curvature_bound()[None], columns, shrink)
    else:
        # Many rows: fit a sixteenth of them, then a quarter; then measure the curvature there, on rows not seen so far.
        order = torch.randperm(count, generator=torch.Generator().manual_seed(SEED)).to(objective.y.device)
        wanted, shrink = min(max(2000, 10 * objective.shape[1]), count // 4), SHRINK
        bound = _by_blocks(objective.part(order[:wanted]).curvature_bound()[None], columns, shrink)
        for share, coarse in ((16, 2e-3), (4, 1e-3)):
            start = _fit(objective.part(order[: count // share]), start, bound, max(coarse, tolerance), 50).x
        sample = objective.part(order[count // 4 : count // 4 + wanted])
        precondition = _by_curvature(sample, start, columns, shrink)
    # With the whole Hessian one more step all but reaches the least value; with its blocks the way is longer.
    decrement = SHARE * tolerance if _is_small(objective) else tolerance
    path: list[float] = []
    while True:
        left = max_iterations - len(path)
        # ROUND iterations on all rows; then the curvature is measured anew.
        found = _fit(objective, start, precondition, tolerance, min(ROUND, left), decrement)
        path += found.path
        if found.converged or len(path) >= max_iterations:
            return Minimum(found.x, path, found.converged)
        start = found.x
        precondition = _by_curvature(sample, start, columns, shrink)


def _fit(
    objective: LogisticObjective,
    start: Tensor,
    precondition: Preconditioner,
    tolerance: float,
    max_iterations: int,
    decrement: float = math.inf,
) -> Minimum:
    return lbfgs(
        objective.value_and_gradient,
        start,
        tolerance=tolerance,
        max_iterations=max_iterations,
        precondition=precondition,
        resolution=objective.resolution,
        decrement=decrement,
    )


def _by_diagonal(columns: Tensor) -> Preconditioner:
    inverse = 1.0 / torch.where(columns > 0, columns, 1.0)
    return lambda v: v * inverse


def _by_curvature(sample: LogisticObjective, w: Tensor, columns: Tensor, shrink: float) -> Preconditioner:
    """Solves with the Hessian at w where it is small enough, else with its blocks."""
    M, D1 = sample.shape
    if M == 1 or not _is_small(sample):
        return _by_blocks(sample.hessian_blocks(w), columns, shrink)
    whole = without_shifts(sample.hessian(w), M)[None]
    solve = _by_blocks(whole, columns.repeat(M), shrink)
    return lambda v: solve(v.reshape(1, -1)).reshape(M, D1)  # (M, D + 1) -> (1, M (D + 1)) and back


def _is_small(objective: LogisticObjective) -> bool:
    """Whether the curvature of all parameters is factored together."""
    return objective.num_outputs == 1 or objective.shape[0] * objective.shape[1] <= WIDEST_HESSIAN


def _by_blocks(blocks: Tensor, columns: Tensor, shrink: float) -> Preconditioner:
    """Solves with blocks (M or 1, D + 1, D + 1), to whose diagonals a share of the columns' bound is added.

    A little is added always, so that dependent columns leave a factor; an empty column has no curvature: any will do.
    """
    own = blocks.diagonal(dim1=1, dim2=2)
    expect_finite(float(own.sum()), "the curvature of the loss")
    extra = shrink * columns + 1e-10 * own
    blocks = blocks + torch.diag_embed(torch.where(columns > 0, extra, 1.0))
    factors, info = torch.linalg.cholesky_ex(blocks)
    if bool(info.any()):  # dependent columns after all
        factors = torch.linalg.cholesky(blocks + 1e-4 * torch.diag_embed(own + 1e-4 * columns))

    def solve(v: Tensor) -> Tensor:  # (M, D + 1)
        if len(factors) == 1:
            found = torch.cholesky_solve(v.T, factors[0]).T  # (D + 1, M) -> (M, D + 1)
        else:
            found = torch.cholesky_solve(v[:, :, None], factors)[:, :, 0]  # (M, D + 1, 1) -> (M, D + 1)
        return (
            found if len(found) == 1 else found - found.mean(0)
        )  # no shift of all classes, which softmax does not feel

    return solve
