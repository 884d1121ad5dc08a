"""Newton's method for small problems, and the best rate along a gradient: what the second derivative gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import ABOVE_0

LARGEST = 5000  # parameters: their second derivatives are 200 MB of float64, and a factorisation some seconds
_ENOUGH = 1e-4  # of the fall that the gradient promises must come (Armijo)
_HALVINGS = 40


class Newton(UpdateRule):
    """Newton's method with damping and line search.

        w <- w - a (H + d I)^-1 g

    H is the matrix of second derivatives over all parameters, g the gradient. The damping d is 0 where H is positive
    definite, else the first of 0.001 h, 0.002 h, 0.004 h, ... (h the largest entry of H) that makes it so. The step a
    is the first of lr, lr/2, lr/4, ... that lowers the loss by at least 1e-4 of what the gradient promises. So on a
    convex quadratic one step reaches the optimum; elsewhere the loss never rises.

    Give it the loss over all data: over batches the second derivatives are as noisy as the loss.

    Args:
        params: parameters, at most 5,000 numbers in one group.
        lr: the longest step tried; 1 is Newton's.

    Raises:
        UserError: a setting out of range, too many parameters, more than one group or device, no closure, a closure
            that called backward, and what `UpdateRule` refuses.

    Source: Nocedal, Wright: Numerical Optimization, 2nd edition, algorithms 3.2, 3.3 and 3.1.

    >>> w = torch.nn.Parameter(torch.tensor([4.0, -3.0]))
    >>> optimizer = Newton([w])
    >>> optimizer.step(lambda: (w[0] - 1) ** 2 + 100 * (w[1] - 2) ** 2)  # the loss, without calling backward
    tensor(2509., grad_fn=<AddBackward0>)
    >>> w.data
    tensor([1.0000, 2.0000])
    """

    bounds: ClassVar = {"lr": ABOVE_0}

    def __init__(self, params: Iterable[Any], lr: float = 1.0) -> None:
        super().__init__(params, {"lr": lr})

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        numbers = sum(p.numel() for p in group["params"])
        if numbers > LARGEST:
            raise UserError(
                "Newton: the problem is too large for a matrix of all second derivatives",
                expected=f"at most {LARGEST} parameters",
                found=numbers,
                cure="Adam, or torch.optim.LBFGS",
            )
        if len(self.param_groups) > 1:
            raise UserError("Newton: the second derivatives are of all parameters together", expected="one group")
        if len({(p.device, p.dtype) for p in group["params"]}) > 1:
            raise UserError("Newton: parameters of several devices or types", expected="one device and one type")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update.

        Args:
            closure: gives the loss, a scalar with its graph, and does not call backward. It is called again for each
                step length that is tried.

        Returns:
            the loss before the update.
        """
        if closure is None:
            raise UserError("Newton: step needs the loss", expected="step(closure)", cure="step(lambda: loss(model))")
        params, lr = self.param_groups[0]["params"], self.param_groups[0]["lr"]
        with torch.enable_grad():
            loss = closure()
            gradient, hessian = second_order(loss, params)
        with torch.no_grad():
            direction = -torch.cholesky_solve(gradient[:, None], damped_cholesky(hessian))[:, 0]
            start, slope, before = [p.clone() for p in params], float(gradient @ direction), float(loss)
            length = lr
            for _ in range(_HALVINGS):
                _move(params, start, length * direction)
                if float(closure()) <= before + _ENOUGH * length * slope:
                    return loss
                length /= 2
            _move(params, start, 0 * direction)  # no step lowers the loss: rounding is all that is left
        return loss


def second_order(loss: Tensor, params: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Gradient (P,) and matrix of second derivatives (P, P) of a scalar loss, over all parameters laid end to end.

    The rows of the matrix are the gradients of the gradient's elements, all taken at once.

    Raises:
        UserError: the loss is no scalar with a graph.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise UserError("the loss must be a scalar that depends on the parameters", found=repr(loss))
    try:
        parts = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        raise UserError(
            "the graph of the loss is gone", expected="a closure that gives the loss and does not call backward"
        ) from error
    gradient = torch.cat([part.reshape(-1) for part in parts])  # (P,)
    size = len(gradient)
    if not gradient.requires_grad:  # linear in all parameters
        return gradient, gradient.new_zeros(size, size)
    ones = torch.eye(size, dtype=gradient.dtype, device=gradient.device)
    rows = torch.autograd.grad(gradient, params, ones, is_grads_batched=True, materialize_grads=True)
    return gradient.detach(), torch.cat([row.reshape(size, -1) for row in rows], 1)  # each (P, *shape) -> (P, P)


def damped_cholesky(matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of matrix + d I, with the first d of 0, h/1000, h/500, ... for which there is one.

    Args:
        matrix: symmetric, (P, P); h is its largest entry by size, or 1 where all are 0.

    >>> damped_cholesky(torch.tensor([[4.0, 0.0], [0.0, 9.0]]))
    tensor([[2., 0.],
            [0., 3.]])
    """
    if not matrix.isfinite().all():
        raise UserError("the second derivatives are NaN or infinite", cure="another starting point")
    least = 1e-3 * (float(matrix.abs().max()) or 1.0)
    diagonal = float(matrix.diagonal().min())
    damping = 0.0 if diagonal > 0 else least - diagonal
    while True:
        factor, failed = torch.linalg.cholesky_ex(matrix + damping * torch.eye(len(matrix)).to(matrix))
        if not int(failed):
            return factor
        damping = max(2 * damping, least)


def optimal_rate(loss: Tensor, params: Iterable[Tensor]) -> float:
    """The learning rate that gradient descent should take here: g'g / g'Hg.

    For one parameter this is the inverse of the second derivative. On a quadratic it is the rate with which the step
    along the gradient ends at the lowest point of that line (Cauchy's step).

    Args:
        loss: a scalar with its graph.
        params: the parameters.

    Returns:
        the rate, above 0.

    Raises:
        UserError: the loss is no scalar with a graph, or it does not curve upwards along its gradient, so that no
            rate is best.

    Source: LeCun, Bottou, Orr, Mueller: Efficient BackProp, 1998, section 5.1.

    >>> w = torch.nn.Parameter(torch.tensor(3.0))
    >>> optimal_rate(5 * w**2, [w])  # the second derivative is 10
    0.1
    """
    params = list(params)
    if not loss.requires_grad or loss.numel() != 1:
        raise UserError("the loss must be a scalar that depends on the parameters", found=repr(loss))
    gradient = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
    square = torch.stack([(part.detach() ** 2).sum() for part in gradient]).sum()
    product = torch.stack([(part * part.detach()).sum() for part in gradient]).sum()  # its gradient is H g
    if not product.requires_grad:
        curvature = 0.0
    else:
        along = torch.autograd.grad(product, params, materialize_grads=True)
        curvature = float(sum((a * g.detach()).sum() for a, g in zip(along, gradient, strict=True)))
    if not curvature > 0:
        raise UserError(
            "no rate is best here",
            where="along the gradient",
            expected="a loss that curves upwards",
            found=f"a second derivative of {curvature:g}",
        )
    return float(square) / curvature


def _move(params: list[Tensor], start: list[Tensor], step: Tensor) -> None:
    """Puts the parameters at `start` plus their pieces of `step`."""
    pieces = step.split([p.numel() for p in params])
    for p, origin, piece in zip(params, start, pieces, strict=True):
        p.copy_(origin + piece.view_as(p))
