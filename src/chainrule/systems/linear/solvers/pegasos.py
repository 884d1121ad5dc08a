"""Pegasos: the linear support vector machine by stochastic sub-gradients.

Shapes: N rows, D columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite


def pegasos(
    x: Tensor, y: Tensor, cost: Tensor, *, epochs: int = 100, batch_size: int = 64, generator: torch.Generator
) -> tuple[Tensor, list[float]]:
    """Minimises 1/2 |w|^2 + sum_i c_i max(0, 1 - y_i w.x_i) by steps on batches; gives w (D,) and its value at the start and an epoch.

    With lambda = 1 / sum_i c_i and p_i = c_i lambda the objective is lambda/2 |w|^2 + sum_i p_i max(0, 1 - y_i w.x_i),
    times sum_i c_i. Step t has the rate 1 / (lambda t), on a batch of B rows A:

        w <- (1 - 1/t) w + N / (lambda t B) sum_{i in A, y_i w.x_i < 1} p_i y_i x_i
        w <- w min(1, 1 / (sqrt(lambda) |w|))

    What comes back is the mean of w over the second half of the steps, which moves less than the last w.

    Args:
        x: rows (N, D); a constant column where there is to be an intercept.
        y: the classes as +1 and -1, (N,).
        cost: c_i, (N,), above 0; all C, where lambda is 1 / (N C).
        epochs: passes over the rows.
        batch_size: B; the last batch of a pass may be smaller.
        generator: draws the order of each pass.

    Source: Shalev-Shwartz, Singer, Srebro, Cotter: Pegasos: primal estimated sub-gradient solver for SVM, 2011,
    figure 1 and section 2.2. The paper draws batches with replacement; here each pass takes every row once.

    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [3.0]])
    >>> w, path = pegasos(x, torch.tensor([-1.0, -1.0, 1.0, 1.0]), torch.ones(4), generator=torch.Generator().manual_seed(0))
    >>> round(float(w[0]), 1), round(path[-1], 2)
    (1.0, 0.5)
    """
    if y.shape != (len(x),) or cost.shape != y.shape or not len(x):
        raise UserError(
            "rows, classes and costs do not fit",
            expected="(N, D), (N,) and (N,), N above 0",
            found=f"{tuple(x.shape)}, {tuple(y.shape)} and {tuple(cost.shape)}",
        )
    if epochs < 1 or batch_size < 1:
        raise UserError(
            "Pegasos needs steps", expected="epochs and batch_size of 1 or more", found=f"{epochs} and {batch_size}"
        )
    if not bool((y.abs() == 1).all()):
        raise UserError("the classes of a two-class machine", expected="+1 and -1", found=y.unique().tolist()[:5])
    regular = 1.0 / float(cost.sum())
    pull = (len(x) * regular) * cost * y  # N p_i y_i
    w, mean, path = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1]), [float(cost.sum())]
    per_epoch = -(-len(x) // batch_size)
    step, averaged, first = 0, 0, epochs * per_epoch // 2
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        for batch in order.split(batch_size):
            step += 1
            rows = x[batch]
            violating = y[batch] * (rows @ w) < 1.0
            w = w * (1.0 - 1.0 / step) + rows.T @ (pull[batch] * violating) / (regular * step * len(batch))
            w = w * torch.clamp(1.0 / (math.sqrt(regular) * w.norm().clamp(min=1e-30)), max=1.0)
            if step > first:
                averaged += 1
                mean += (w - mean) / averaged
        now = mean if averaged else w
        value = float(0.5 * now @ now + (cost * (1.0 - y * (x @ now)).clamp(min=0.0)).sum())
        path.append(expect_finite(value, "Pegasos", step))
    return mean, path
