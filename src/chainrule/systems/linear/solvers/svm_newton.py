"""The linear support vector machine by Newton's method on its primal: few steps, each a system of linear equations.

    minimise   P(w) = 1/2 |w|^2 + sum_i c_i max(0, 1 - y_i w.x_i)         hinge
               P(w) = 1/2 |w|^2 + sum_i c_i max(0, 1 - y_i w.x_i)^2       squared hinge

Shapes: N rows, D columns (a constant one, where there is an intercept). m_i = 1 - y_i w.x_i, (N,), is the slack.

Both losses are of one kind here. With a slope s_i, a shift l_i and a bound u_i, take

    alpha_i = clip(l_i + s_i m_i, 0, u_i),     phi(w) = 1/2 |w|^2 + sum_i (alpha_i (l_i + s_i m_i) - alpha_i^2 / 2) / s_i

whose gradient is w - sum_i alpha_i y_i x_i and whose Hessian is I + sum_{0 < alpha_i < u_i} s_i x_i x_i'. The squared
hinge is l = 0, s = 2c, u = infinity, exactly. The hinge has no second derivative; the method of multipliers reaches it
by a few such problems: u = c, then l <- alpha, s grows, and alpha tends to the variables of the dual. The gap between
P(w) and the dual's value of alpha says how far off w is at most.

Sources: Mangasarian: A finite Newton method for classification, 2002, and Keerthi and DeCoste: A modified finite Newton
method for fast solution of large scale linear SVMs, JMLR 6, 2005 (squared hinge); Rockafellar: Augmented Lagrangians and
applications of the proximal point algorithm in convex programming, 1976, and Yan and Li: An efficient augmented
Lagrangian method for support vector machine, 2020 (hinge).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from chainrule.core.errors import UserError, unknown
from chainrule.functional.finite import expect_finite
from chainrule.functional.sparse_rows import SparseRows

LOSSES = ("hinge", "squared_hinge")
FACTORED = 2048  # columns up to which the Hessian of dense rows is formed and factored; else conjugate gradients
STEEPER = 4.0  # what the slopes grow by from one problem of the hinge to the next
STEEPEST = 1e8


@dataclass(frozen=True)
class PrimalSolution:
    """What was found: `w` (D,) and `alpha` (N,), float64; the primal's value; `gap`, which bounds how far it is above
    the minimum; the number of Newton steps; the primal's value at the start and after each."""

    w: Tensor
    alpha: Tensor
    objective: float
    gap: float
    steps: int
    converged: bool
    objective_path: list[float]


def svm_newton(
    x: Tensor | SparseRows,
    y: Tensor,
    cost: Tensor,
    *,
    loss: Literal["hinge", "squared_hinge"] = "squared_hinge",
    tol: float = 1e-6,
    max_steps: int = 500,
) -> PrimalSolution:
    """Minimises the primal of the linear machine until the duality gap is `tol` times its value.

    Args:
        x: rows (N, D), float64, dense or sparse.
        y: the classes as +1 and -1, (N,).
        cost: c_i, what a unit of slack costs, (N,), above 0.
        loss: hinge or squared_hinge.
        tol: the relative gap at which it stops.
        max_steps: Newton steps at most.

    Raises:
        UserError: for shapes that do not fit, a loss that there is not, values of y other than +1 and -1.

    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [3.0]]).double()
    >>> found = svm_newton(x, torch.tensor([-1.0, -1.0, 1.0, 1.0]).double(), torch.full((4,), 10.0).double(), loss="hinge")
    >>> found.w, round(found.objective, 6)
    (tensor([1.0000], dtype=torch.float64), 0.5)
    """
    _check(x, y, cost, loss)
    squared = loss == "squared_hinge"
    w = torch.zeros(x.shape[1], dtype=torch.float64, device=y.device)
    shift, slope = torch.zeros_like(cost), 2.0 * cost if squared else cost
    bound = torch.full_like(cost, math.inf) if squared else cost
    steps, growth = 0, 1.0
    path = [float(cost.sum())]  # P(0)
    while True:
        # The inner problem: the smooth phi of this shift and slope, by Newton's method from the last w.
        problem = _Smooth(x, y, shift, slope, bound)
        state = problem.at(w)
        while True:
            w, slack, alpha, pull = state
            primal = float(0.5 * w @ w + (cost * slack.clamp(min=0.0) ** (2 if squared else 1)).sum())
            expect_finite(primal, "Newton's method", steps)
            path += [primal] if steps == len(path) else []
            # phi is 1-strongly convex: it is at most |gradient|^2 / 2 above its minimum
            if float(0.5 * (w - pull).square().sum()) <= 0.05 * tol * primal or steps == max_steps:
                break
            following = problem.newton(state)
            steps += 1
            if following is None:  # no step lowers phi any more: the digits have ended
                break
            state = following
        # The duality gap: alpha is feasible for the dual, so its value bounds the minimum from below.
        dual = float(alpha.sum() - 0.5 * pull @ pull - ((alpha.square() / (4.0 * cost)).sum() if squared else 0.0))
        gap = primal - dual
        if squared or gap <= tol * primal or steps >= max_steps or growth >= STEEPEST:
            return PrimalSolution(w, alpha, primal, gap, steps, gap <= tol * primal, path)
        # The outer step (of the hinge): a steeper phi, shifted by the multipliers found (proximal, augmented Lagrangian).
        growth *= STEEPER
        shift, slope = alpha, cost * growth


State = tuple[Tensor, Tensor, Tensor, Tensor]  # w, slack, alpha, and sum_i alpha_i y_i x_i


class _Smooth:
    """phi of the module's docstring, with shift l, slope s and bound u."""

    def __init__(self, x: Tensor | SparseRows, y: Tensor, shift: Tensor, slope: Tensor, bound: Tensor) -> None:
        self.x, self.y, self.shift, self.slope, self.bound = x, y, shift, slope, bound

    def at(self, w: Tensor) -> State:
        return self._state(w, 1.0 - self.y * times(self.x, w))

    def _state(self, w: Tensor, slack: Tensor) -> State:
        alpha = (self.shift + self.slope * slack).clamp(min=0.0).minimum(self.bound)
        return w, slack, alpha, times(self.x.T, self.y * alpha)

    def value(self, state: State) -> float:
        w, slack, alpha, _ = state
        level = self.shift + self.slope * slack
        return float(0.5 * w @ w + ((alpha * level - 0.5 * alpha.square()) / self.slope).sum())

    def newton(self, state: State) -> State | None:
        """The state after a Newton step to the lowest phi along its direction; None where phi falls no more."""
        w, slack, alpha, pull = state
        # The generalised Hessian: I + X' diag(s) X over the rows strictly between the bounds.
        inside = self.slope * ((alpha > 0) & (alpha < self.bound))
        direction = self._solve(inside, pull - w)
        change = -self.y * times(self.x, direction)  # (N,), of the slack along the direction
        size = self._lowest(w, slack, direction, change)
        found = self._state(w + size * direction, slack + size * change)
        return found if self.value(found) < self.value(state) else None

    def _lowest(self, w: Tensor, slack: Tensor, direction: Tensor, change: Tensor) -> float:
        """The size of the step that minimises phi along `direction`, by Newton on the derivative, kept in a bracket.

        The derivative is piecewise linear and rises, so that Newton finds its zero after a few pieces; where a step
        would leave the bracket it is halved instead.
        """
        level, rate = self.shift + self.slope * slack, self.slope * change
        constant, linear = float(w @ direction), float(direction @ direction)
        enough = 1e-6 * abs(constant + float(level.clamp(min=0.0).minimum(self.bound) @ change))  # of that at 0
        low, high, size = 0.0, math.inf, 1.0
        for _ in range(120):
            at = level + size * rate
            alpha = at.clamp(min=0.0).minimum(self.bound)
            derivative = constant + size * linear + float(alpha @ change)
            if abs(derivative) <= enough:
                break
            low, high = (size, high) if derivative < 0 else (low, size)
            curvature = linear + float(rate @ (change * ((at > 0) & (at < self.bound))))
            size -= derivative / curvature
            if not low < size < high:
                size = 0.5 * (low + high)
        return size

    def _solve(self, weight: Tensor, right: Tensor) -> Tensor:
        """(I + X' diag(weight) X) d = right, by Cholesky where that is small and dense.

        Columns far from 0 leave the matrix no digits for the 1; then the singular values of the rows stand for it.
        """
        if isinstance(self.x, Tensor) and self.x.shape[1] <= FACTORED:
            rows = weight.nonzero()[:, 0]
            picked = self.x[rows]  # (M, D)
            hessian = picked.T @ (weight[rows, None] * picked)  # (D, D)
            expect_finite(float(hessian.diagonal().sum()), "Newton's method", 0)
            hessian.diagonal().add_(1.0)
            factor, info = torch.linalg.cholesky_ex(hessian)
            if int(info) == 0:
                return torch.cholesky_solve(right[:, None], factor)[:, 0]
            _, singular, axes = torch.linalg.svd(weight[rows, None].sqrt() * picked, full_matrices=False)
            along = axes @ right
            return right - axes.T @ (along * (1.0 - 1.0 / (1.0 + singular.square())))
        squares = self.x.square_columns(weight.sqrt()) if isinstance(self.x, SparseRows) else weight @ self.x.square()
        return self._conjugate_gradients(weight, right, 1.0 + squares)

    def _conjugate_gradients(self, weight: Tensor, right: Tensor, diagonal: Tensor, most: int = 250) -> Tensor:
        """The same equations from products alone, scaled by the diagonal, until the residual is small beside `right`."""
        found, residual = torch.zeros_like(right), right.clone()
        scaled = residual / diagonal
        along, power = scaled.clone(), residual @ scaled
        enough = float(right.norm()) * min(0.01, math.sqrt(float(right.norm())))
        for _ in range(most):
            product = along + times(self.x.T, weight * times(self.x, along))
            rate = power / (along @ product)
            found += rate * along
            residual -= rate * product
            if float(residual.norm()) <= enough:
                break
            scaled = residual / diagonal
            before, power = power, residual @ scaled
            along = scaled + (power / before) * along
        return found


def times(x: Tensor | SparseRows, vector: Tensor) -> Tensor:
    """x @ vector, of dense or sparse rows.

    >>> times(torch.eye(2), torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return (x @ vector[:, None])[:, 0]


def _check(x: Tensor | SparseRows, y: Tensor, cost: Tensor, loss: str) -> None:
    if loss not in LOSSES:
        raise unknown("there is no loss", loss, LOSSES)
    if y.shape != (x.shape[0],) or cost.shape != y.shape:
        raise UserError(
            "rows, classes and costs do not fit",
            expected=f"y and cost ({x.shape[0]},)",
            found=f"{tuple(y.shape)} and {tuple(cost.shape)}",
        )
    if not {x.dtype, y.dtype, cost.dtype} == {torch.float64}:
        raise UserError(
            "the arithmetic is float64",
            expected="x, y and cost in it",
            found=f"{x.dtype}, {y.dtype}, {cost.dtype}",
            cure="x.double()",
        )
    if not bool((y.abs() == 1).all()):
        raise UserError("the classes of a two-class machine", expected="+1 and -1", found=y.unique().tolist()[:5])
    if not bool(((cost > 0) & cost.isfinite()).all()):
        raise UserError("the costs are out of range", expected="numbers above 0", found=float(cost.min()))
