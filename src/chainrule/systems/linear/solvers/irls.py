"""Newton's method for logistic and softmax regression: iteratively reweighted least squares."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite
from chainrule.optim.lbfgs import Minimum
from chainrule.systems.linear.solvers.logistic_objective import LogisticObjective

MOST_PARAMETERS = 5000  # whose Hessian takes 200 MB


def irls(objective: LogisticObjective, *, tolerance: float = 1e-6, max_iterations: int = 100) -> Minimum:
    """Minimises by Newton steps W <- W - t H^-1 g, with t halved from 1 until the value falls enough.

    For two classes a step solves a least-squares problem in which row n weighs p_n (1 - p_n), hence the name. H is
    factored by Cholesky; where columns depend on each other and nothing is penalised it is singular, and the step of
    least norm is taken, which leads to the optimum of least norm.

    Args:
        objective: the loss with its second derivatives.
        tolerance: bound of the gradient's largest element.
        max_iterations: most steps.

    Raises:
        UserError: there are too many parameters for a matrix of their second derivatives.

    Source: Bishop: Pattern Recognition and Machine Learning, 2006, sections 4.3.3 and 4.3.4.

    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]).double(), torch.tensor([0, 1, 0, 1])
    >>> found = irls(LogisticObjective(x, y, 1))
    >>> [round(v, 4) for v in found.x[0].tolist()], len(found.path)
    ([0.9082, -1.3623], 4)
    """
    M, D1 = objective.shape
    if M * D1 > MOST_PARAMETERS:
        raise UserError(
            "Newton's method has too many parameters",
            expected=f"{MOST_PARAMETERS:,} or fewer",
            found=f"{M} x {D1} = {M * D1:,}",
            cure="solver='lbfgs'",
        )
    w = objective.start()
    value, gradient = objective.value_and_gradient(w)
    expect_finite(value + float(gradient.abs().sum()), "Newton's method", 0)
    resolution = objective.resolution * abs(value)
    path: list[float] = []
    for _ in range(max_iterations):
        if float(gradient.abs().max()) <= tolerance:
            return Minimum(w, path, True)
        step = newton_step(without_shifts(objective.hessian(w), M), gradient.reshape(-1)).reshape(M, D1)
        slope, t = float((step * gradient).sum()), 1.0
        while True:
            new_value, new_gradient = objective.value_and_gradient(w - t * step)
            if new_value <= value - 1e-4 * t * slope + resolution:
                break
            t /= 2
            if t < 1e-10:  # rounding is all that is left
                expect_finite(new_value + slope, "Newton's method", len(path) + 1)
                return Minimum(w, path, True)
        # The step promised less than the value resolves, and the gradient is no smaller: rounding here, too.
        if slope <= 2 * resolution and float(new_gradient.abs().max()) >= float(gradient.abs().max()):
            return Minimum(w, path, True)
        w, value, gradient = w - t * step, new_value, new_gradient
        path.append(value)
    return Minimum(w, path, float(gradient.abs().max()) <= tolerance)


def newton_step(hessian: Tensor, gradient: Tensor) -> Tensor:
    """H^-1 g (P,) by Cholesky; by the pseudo-inverse where H (P, P) is singular to rounding.

    >>> newton_step(torch.tensor([[2.0, 0.0], [0.0, 0.0]]).double(), torch.tensor([4.0, 0.0]).double()).tolist()
    [2.0, 0.0]
    """
    expect_finite(float(hessian.diagonal().sum()), "Newton's method")
    scale = hessian.diagonal().clamp_min(0).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    unit = hessian / scale[:, None] / scale
    factor, info = torch.linalg.cholesky_ex(unit)
    rounding = 10 * len(unit) * torch.finfo(unit.dtype).eps
    if int(info) == 0 and float(factor.diagonal().min()) ** 2 > rounding:
        return torch.cholesky_solve((gradient / scale)[:, None], factor)[:, 0] / scale
    values, vectors = torch.linalg.eigh(hessian)
    kept = values > rounding * values[-1]
    along = torch.where(kept, (vectors.T @ gradient) / torch.where(kept, values, 1.0), 0.0)
    return vectors @ along


def without_shifts(hessian: Tensor, num_outputs: int) -> Tensor:
    """The Hessian with curvature along the shifts that softmax does not feel (the same vector added to every class).

    The gradient has no part along them where the point has none, so the step stays what it was.
    """
    if num_outputs == 1:
        return hessian
    D1 = len(hessian) // num_outputs
    curvature = float(hessian.diagonal().mean()) / num_outputs
    return hessian + curvature * torch.eye(D1).to(hessian).repeat(num_outputs, num_outputs)


TOPICS = (Topic("Logistic and softmax regression", code=("irls",)),)
