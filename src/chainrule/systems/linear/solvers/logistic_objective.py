"""The objective of logistic and softmax regression with its derivatives, over rows that are read in blocks.

Shapes: N rows, D columns, M rows of weights (one for two classes, else one a class), P = M * (D + 1) parameters, or
M * D without intercepts.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.core.device import ONE_PROCESS, World
from chainrule.functional.sparse_rows import SparseRows

BLOCK_ELEMENTS = 2**19  # numbers of a block of rows: read once, used twice while they are in the cache


class LogisticObjective:
    """f(W) = sum_n s_n loss(W x_n + b, y_n) / sum_n s_n + penalty / 2 |W|^2, where b is not penalised.

    With one row of weights the loss is log(1 + exp(z)) - y z, of the classes 0 and 1; with M rows it is the cross
    entropy of softmax(z). Parameters are float64 (M, D + 1), the intercepts last; products with rows are in the rows'
    dtype, sums over blocks of rows in float64.

    Args:
        x: rows (N, D), dense float32 or float64, or sparse.
        y: classes (N,), int64, 0 to M - 1 (0 and 1 for one row of weights).
        num_outputs: M.
        penalty: the L2 penalty of the mean loss.
        weight: weights s of the rows (N,), or None for equal ones.
        intercept: whether there is b.
        world: processes that share the rows: x, y and weight are this one's, values and derivatives those of all rows.

    >>> f = LogisticObjective(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1]), 1)
    >>> value, gradient = f.value_and_gradient(torch.zeros(1, 2, dtype=torch.float64))
    >>> round(value, 4), gradient.tolist()
    (0.6931, [[-0.5, 0.0]])
    """

    def __init__(
        self,
        x: Tensor | SparseRows,
        y: Tensor,
        num_outputs: int,
        *,
        penalty: float = 0.0,
        weight: Tensor | None = None,
        intercept: bool = True,
        world: World = ONE_PROCESS,
    ) -> None:
        self.x, self.y, self.num_outputs, self.penalty = x, y, num_outputs, penalty
        self.weight, self.intercept, self.world = weight, intercept, world
        self.count = world.sum(len(y))  # N
        self.total = world.sum(float(weight.sum(dtype=torch.float64)) if weight is not None else float(len(y)))

    @property
    def shape(self) -> tuple[int, int]:
        """Of the parameters."""
        return self.num_outputs, self.x.shape[1] + int(self.intercept)

    @property
    def resolution(self) -> float:
        """The relative rounding error of a value: that of a row's loss, averaged over rows."""
        eps64 = torch.finfo(torch.float64).eps
        return max(eps64, torch.finfo(self.x.dtype).eps / self.count**0.5)

    def start(self) -> Tensor:
        """Parameters that are zero."""
        return torch.zeros(self.shape, dtype=torch.float64, device=self.y.device)

    def part(self, index: Tensor) -> LogisticObjective:
        """The same objective on the rows `index` alone, numbers of 0 to N - 1."""
        assert isinstance(self.x, Tensor)
        if self.world.size > 1:  # those of them that this process has
            mine = self.world.share(self.count)
            index = index[(index >= mine.start) & (index < mine.stop)] - mine.start
        weight = None if self.weight is None else self.weight[index]
        return LogisticObjective(
            self.x[index],
            self.y[index],
            self.num_outputs,
            penalty=self.penalty,
            weight=weight,
            intercept=self.intercept,
            world=self.world,
        )

    def value_and_gradient(self, w: Tensor) -> tuple[float, Tensor]:
        """f (in nats a row) and its gradient (M, D + 1), float64."""
        weights, bias = self._split(w)
        value, gradient = torch.zeros((), dtype=torch.float64, device=w.device), torch.zeros_like(w)
        D = self.x.shape[1]
        for rows, y, s in self._blocks():
            z = rows @ weights.T if isinstance(rows, SparseRows) else (weights @ rows.T).T
            loss, residual = self._loss(z if bias is None else z + bias, y)
            if s is not None:
                loss, residual = loss * s, residual * s[:, None]
            value += loss.sum(dtype=torch.float64)
            gradient[:, :D] += (rows.T @ residual).T if isinstance(rows, SparseRows) else residual.T @ rows
            if bias is not None:
                gradient[:, D] += residual.sum(0, dtype=torch.float64)
        value, gradient = self.world.sum((value, gradient))
        gradient /= self.total
        gradient[:, :D] += self.penalty * w[:, :D]
        return float(value) / self.total + 0.5 * self.penalty * float(w[:, :D].square().sum()), gradient

    def hessian(self, w: Tensor) -> Tensor:
        """The second derivatives (P, P), float64: sum_n s_n (diag(p) - p p^T) x_n x_n^T / sum_n s_n, and the penalty."""
        M, D1 = self.shape
        result = torch.zeros(M, D1, M, D1, dtype=torch.float64, device=w.device)
        for rows, p in self._rows_and_probs(w):
            for k in range(M):
                for j in range(k, M):
                    curvature = p[:, k] * ((1.0 if j == k else 0.0) - p[:, j])
                    block = (rows * curvature[:, None]).T @ rows
                    result[k, :, j] += block
                    if j != k:
                        result[j, :, k] += block
        result = self.world.sum(result) / self.total
        flat = result.view(M * D1, M * D1)
        flat.diagonal().add_(self._penalties(w.device).repeat(M))
        return flat

    def hessian_blocks(self, w: Tensor) -> Tensor:
        """The blocks (M, D + 1, D + 1) on the diagonal of the Hessian, one a row of weights, float64."""
        M, D1 = self.shape
        result = torch.zeros(M, D1, D1, dtype=torch.float64, device=w.device)
        for rows, p in self._rows_and_probs(w):
            for k in range(M):
                result[k] += (rows * (p[:, k] * (1.0 - p[:, k]))[:, None]).T @ rows
        result = self.world.sum(result) / self.total
        result.diagonal(dim1=1, dim2=2).add_(self._penalties(w.device))
        return result

    def column_curvature(self) -> Tensor:
        """A bound of the Hessian's diagonal (D + 1,), the same for each row of weights: mean x^2 / 4 plus the penalty."""
        squares = torch.ones(self.shape[1], dtype=torch.float64, device=self.y.device)
        squares[: self.x.shape[1]] = 0
        for rows, _, s in self._blocks():
            part = rows.square_columns(s) if isinstance(rows, SparseRows) else _column_squares(rows, s)
            squares[: len(part)] += part / self.total
        squares[: self.x.shape[1]] = self.world.sum(squares[: self.x.shape[1]])
        return 0.25 * squares + self._penalties(self.y.device)

    def curvature_bound(self) -> Tensor:
        """A matrix (D + 1, D + 1) above each block of the Hessian at any point: mean x x^T / 4, plus the penalty.

        The whole Hessian of softmax is below twice as much (Boehning 1992, section 3).
        """
        D1 = self.shape[1]
        gram = torch.zeros(D1, D1, dtype=torch.float64, device=self.y.device)
        for rows, s in self._augmented():
            gram += (rows if s is None else rows * s[:, None]).T @ rows
        return 0.25 * self.world.sum(gram) / self.total + torch.diag(self._penalties(self.y.device))

    def lipschitz(self) -> float:
        """A bound of the Hessian's largest eigenvalue, from `curvature_bound`."""
        largest = float(torch.linalg.eigvalsh(self.curvature_bound())[-1])
        return largest if self.num_outputs == 1 else 2.0 * largest

    # -- inside -------------------------------------------------------------------------------------------------

    def _split(self, w: Tensor) -> tuple[Tensor, Tensor | None]:
        D = self.x.shape[1]
        return w[:, :D].to(self.x.dtype), w[:, D].to(self.x.dtype) if self.intercept else None

    def _blocks(self) -> Iterator[tuple[Tensor | SparseRows, Tensor, Tensor | None]]:
        if isinstance(self.x, SparseRows):
            yield self.x, self.y, self.weight
            return
        size = max(256, BLOCK_ELEMENTS // max(1, self.x.shape[1]))
        weights = [None] * len(self.y) if self.weight is None else self.weight.split(size)
        yield from zip(self.x.split(size), self.y.split(size), weights, strict=False)

    def _loss(self, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (B,) and its derivative by the logits z (B, M)."""
        if self.num_outputs == 1:
            logit, target = z[:, 0], y.to(z.dtype)
            return torch.nn.functional.softplus(logit) - target * logit, (logit.sigmoid() - target)[:, None]
        log_probs = z.log_softmax(1)
        loss = -log_probs.gather(1, y[:, None])[:, 0]
        residual = log_probs.exp_()
        residual[torch.arange(len(y), device=y.device), y] -= 1.0
        return loss, residual

    def _augmented(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Dense blocks with a column of ones for the intercept, and their weights."""
        for rows, _, s in self._blocks():
            dense = rows.dense() if isinstance(rows, SparseRows) else rows
            if self.intercept:
                dense = torch.cat([dense, dense.new_ones(len(dense), 1)], 1)
            yield dense, s

    def _rows_and_probs(self, w: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Dense blocks (B, D + 1), times the root of their weights, and probabilities (B, M) of each row of weights."""
        for rows, s in self._augmented():
            z = rows @ w.T.to(rows.dtype)
            p = z.sigmoid() if self.num_outputs == 1 else z.softmax(1)
            yield (rows if s is None else rows * s.sqrt()[:, None]), p

    def _penalties(self, device: torch.device) -> Tensor:
        penalties = torch.full((self.shape[1],), self.penalty, dtype=torch.float64, device=device)
        penalties[self.x.shape[1] :] = 0.0
        return penalties


def _column_squares(rows: Tensor, weight: Tensor | None) -> Tensor:
    squares = rows.square()
    return (squares if weight is None else squares * weight[:, None]).sum(0, dtype=torch.float64)
