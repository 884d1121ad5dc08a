"""Statistics of rows that several processes share: what each finds in its own part, put together.

A row of a table lies in one process. Sums over rows are all-reduced; where rows are wanted themselves, as a least-squares
problem or a singular value decomposition wants them, the few of their triangular factor do as well. With one process
every function here is the plain one.

Shapes: N rows of all processes together, D columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.device import ONE_PROCESS, World


def column_mean(x: Tensor, count: int, world: World = ONE_PROCESS) -> Tensor:
    """The mean of each column (D,) over the rows of all processes; x (n, D) are this one's, `count` is N.

    >>> column_mean(torch.tensor([[1.0], [3.0]]), 2).tolist()
    [2.0]
    """
    row = _a_row(x, world)
    return row + world.sum((x - row).sum(0)) / count


def column_variance(x: Tensor, count: int, world: World = ONE_PROCESS) -> Tensor:
    """The variance (divided by N) of each column (D,), likewise.

    >>> column_variance(torch.tensor([[1.0], [5.0]]), 2).tolist()
    [4.0]
    """
    if world.size == 1:
        return x.var(0, correction=0)
    x = x - _a_row(x, world)
    return world.sum((x - world.sum(x.sum(0)) / count).square().sum(0)) / count


def column_deviation(x: Tensor, count: int, world: World = ONE_PROCESS) -> Tensor:
    """The standard deviation (divided by N) of each column (D,), likewise, also where its square is out of range.

    >>> column_deviation(torch.tensor([[1e-200, 1e200], [5e-200, 5e200]], dtype=torch.float64), 2).tolist()
    [2e-200, 2e+200]
    """
    unit = column_unit(x, world)
    return unit * column_variance(x / unit, count, world).sqrt()


def column_unit(x: Tensor, world: World = ONE_PROCESS) -> Tensor:
    """A power of two near the largest size in each column (D,): rows over it have squares that are numbers.

    No digit changes where rows are divided by it, or moments multiplied.

    >>> column_unit(torch.tensor([[3.0, 1e200], [-5.0, 0.0]], dtype=torch.float64)).tolist() == [8.0, 2.0**665]
    True
    """
    parts = world.gather(x.abs().amax(0, keepdim=True) if len(x) else x[:0])
    range_of = torch.finfo(x.dtype)
    largest = torch.cat([part.to(x.device) for part in parts]).amax(0).clamp(range_of.tiny * 256, range_of.max / 256)
    return largest / torch.frexp(largest).mantissa  # exactly 2^exponent


def _a_row(x: Tensor, world: World) -> Tensor:
    """The same row (D,) in all processes: less it, a constant column is 0, and has no variance of rounding alone."""
    return next(rows[0] for rows in world.gather(x[:1]) if len(rows)).to(x.device)


def rows_of_the_factor(x: Tensor, world: World = ONE_PROCESS) -> Tensor:
    """Few rows (size D, D) that have the inner products of the rows of all processes: R of X = Q R from each.

    |X w - y| is |R w - z| where (R, z) are the rows for (X, y); singular values and right vectors are those of X, and no
    condition number is squared. With one process these are the rows x (n, D) themselves.

    Source: Golub and Van Loan: Matrix Computations, 4th edition, 2013, section 5.2; Demmel et al.: Communication-optimal
    parallel and sequential QR and LU factorizations, 2012, for factors that are stacked.

    >>> rows_of_the_factor(torch.tensor([[3.0], [4.0]])).tolist()
    [[3.0], [4.0]]
    """
    if world.size == 1:
        return x
    factor = torch.linalg.qr(x.double(), mode="r").R  # (min(n, D), D)
    square = factor.new_zeros(x.shape[1], x.shape[1])
    square[: len(factor)] = factor  # rows of zeros change no inner product, and all processes have as many rows
    return world.gather_rows(square).to(x.dtype)
