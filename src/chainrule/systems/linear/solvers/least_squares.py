"""Linear least squares, plain and with a squared penalty: normal equations, QR, and what gradient descent needs.

Shapes: N rows, D columns.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.optim.lbfgs import Minimum
from chainrule.systems.linear.solvers.gradient_descent import gradient_descent


class LeastSquares(NamedTuple):
    """Weights (D,), the rank that the rows have to rounding, and their singular values, largest first."""

    w: Tensor
    rank: int
    singular: Tensor


def normal_equations(x: Tensor, y: Tensor, ridge: float = 0.0) -> Tensor:
    """w (D,) with (X^T X + ridge I) w = X^T y, by Cholesky: minimises |y - X w|^2 + ridge |w|^2.

    Columns are scaled to length 1 first, so that units do not matter. Sums are float64 whatever the rows are. The square
    of a diagonal element of the factor is then the share of a column that the columns before it do not explain.

    Args:
        x: rows (N, D).
        y: targets (N,).
        ridge: the penalty, 0 or more.

    Raises:
        UserError: the equations are singular to rounding: a column is a combination of those before it.

    Source: Golub and Van Loan: Matrix Computations, 4th edition, 2013, algorithm 5.3.1.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), torch.tensor([1.0, 3.0, 5.0])
    >>> normal_equations(x, y).round(decimals=6).tolist()
    [1.0, 2.0]
    """
    x, y = x.double(), y.double()
    gram = x.T @ x
    gram.diagonal().add_(ridge)
    length = gram.diagonal().sqrt()
    length = torch.where(length > 0, length, 1.0)
    factor, info = torch.linalg.cholesky_ex(gram / length[:, None] / length)
    unexplained = factor.diagonal().square()
    bad = ~(unexplained > 10 * max(x.shape) * torch.finfo(torch.float64).eps)
    if int(info) or bool(bad.any()):
        column = int(info) - 1 if int(info) else int(bad.to(torch.int8).argmax())
        raise UserError(
            "the normal equations are singular",
            where=f"column {column}",
            expected="columns that do not depend on each other",
            found="a combination of the columns before it",
            cure="solver='qr', a penalty, or leave the column out",
        )
    return torch.cholesky_solve((x.T @ y / length)[:, None], factor)[:, 0] / length


def least_squares_qr(x: Tensor, y: Tensor) -> LeastSquares:
    """w (D,) that minimises |y - X w|; of several, that of least norm.

    X = Q R with orthonormal Q; then R w = Q^T y by back substitution, or by the singular values of R where those
    say that columns depend on each other. The condition number of X is not squared, as normal equations do.

    Args:
        x: rows (N, D), float32 or float64; more columns than rows are allowed.
        y: targets (N,).

    Source: Golub and Van Loan 2013, sections 5.3.3 and 5.5.1; the rank counts singular values above
    eps max(N, D) times the largest, as numpy.linalg.lstsq does.

    >>> found = least_squares_qr(torch.tensor([[1.0, 1.0], [2.0, 2.0]]).double(), torch.tensor([2.0, 4.0]).double())
    >>> found.w.round(decimals=6).tolist(), found.rank
    ([1.0, 1.0], 1)
    """
    wide = x.shape[1] > x.shape[0]
    q, r = torch.linalg.qr(x.T if wide else x)
    left, singular, right = torch.linalg.svd(r, full_matrices=False)
    smallest = torch.finfo(x.dtype).eps * max(x.shape) * singular[:1].sum()
    rank = int((singular > smallest).sum())
    if wide:  # X = R^T Q^T
        if rank == len(r):
            return LeastSquares(q @ torch.linalg.solve_triangular(r.T, y[:, None], upper=False)[:, 0], rank, singular)
        left, right = right.T, (q @ left).T
        within = left.T @ y
    else:
        if rank == len(r):
            w = torch.linalg.solve_triangular(r, (q.T @ y)[:, None], upper=True)[:, 0]
            return LeastSquares(w, rank, singular)
        within = left.T @ (q.T @ y)
    return LeastSquares(right[:rank].T @ (within[:rank] / singular[:rank]), rank, singular)


def ridge_qr(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """w (D,) that minimises |y - X w|^2 + ridge |w|^2, ridge above 0, without squaring the condition number.

    That is the least-squares problem of X with sqrt(ridge) I below it and zeros below y. Where columns are more than
    rows, X^T = Q R turns it into one with as many unknowns as rows: w = Q v.

    Source: Golub and Van Loan 2013, section 6.1.6.

    >>> ridge_qr(torch.tensor([[1.0], [1.0]]).double(), torch.tensor([2.0, 4.0]).double(), 1.0).tolist()
    [2.0]
    """
    N, D = x.shape
    if D > N:
        q, r = torch.linalg.qr(x.T)
        return q @ ridge_qr(r.T, y, ridge)
    below = torch.eye(D, dtype=x.dtype, device=x.device) * ridge**0.5
    q, r = torch.linalg.qr(torch.cat([x, below]))
    return torch.linalg.solve_triangular(r, (q[:N].T @ y)[:, None], upper=True)[:, 0]


def least_squares_descent(
    x: Tensor,
    y: Tensor,
    ridge: float = 0.0,
    *,
    count: int | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> Minimum:
    """Minimises (|y - X w|^2 + ridge |w|^2) / (2 N) by gradient descent from 0, with the step 1 / largest curvature.

    From 0 no step leaves the span of the rows, so of several minima that of least norm is approached. Convergence is
    slow where the largest and the smallest curvature are far apart: standardise the columns.

    Args:
        x: rows (N, D).
        y: targets (N,).
        ridge: the penalty, 0 or more.
        count: N, where x are fewer rows with the same inner products.
        tolerance: bound of the gradient's largest element.
        max_iterations: most steps.

    >>> found = least_squares_descent(torch.eye(2).double(), torch.tensor([3.0, 4.0]).double())
    >>> found.x.round(decimals=4).tolist(), found.converged
    ([3.0, 4.0], True)
    """
    N = len(x) if count is None else count
    small = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    curvature = (float(torch.linalg.eigvalsh(small)[-1]) + ridge) / N

    def f(w: Tensor) -> tuple[float, Tensor]:
        residual = x @ w - y
        value = 0.5 * float(residual.square().sum() + ridge * w.square().sum()) / N
        return value, (x.T @ residual + ridge * w) / N

    lr = 1.0 / curvature if curvature > 0 else 1.0
    return gradient_descent(f, x.new_zeros(x.shape[1]), lr=lr, tolerance=tolerance, max_iterations=max_iterations)


TOPICS = (Topic("Linear regression: normal equations, QR, descent", code=("least_squares_qr", "normal_equations")),)
