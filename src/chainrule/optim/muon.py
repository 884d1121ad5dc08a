"""Momentum made orthogonal: every direction of a matrix moves equally far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import COUNT, SHARE

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """About U V^T of each matrix M = U S V^T, by Newton and Schulz's iteration, in matrix products alone.

        X <- M / |M|,  then  X <- a X + (b A + c A^2) X  with  A = X X^T

    The coefficients raise small singular values fast and leave all of them between about 0.7 and 1.2, not at 1.

    Args:
        matrices: (..., m, n).
        steps: of the iteration.

    Returns:
        (..., m, n), of the same type.

    Source: Jordan et al.: Muon: An optimizer for hidden layers in neural networks, 2024; Bernstein and Newhouse 2024.

    >>> values = torch.linalg.svdvals(orthogonal(torch.diag(torch.tensor([5.0, 1.0, 0.2]))))
    >>> [round(value, 1) for value in values.tolist()]
    [1.0, 0.8, 0.7]
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # the smaller of the two products
    # A GPU multiplies bfloat16 several times faster, and the iteration does not mind; a CPU often does not.
    x = x.bfloat16() if x.is_cuda and x.dtype is torch.float32 else x
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(steps):
        product = x @ x.mT
        x = a * x + (b * product + c * product @ product) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(UpdateRule):
    """Nesterov's momentum, made orthogonal, for weights that are matrices; plain where a group says `orthogonalise=False`.

        v <- mu v + g        u = g + mu v        w <- w - lr orthogonal(u)

    A convolution's weights are a row of numbers for each of its maps. With `keep_norm` each weight is scaled beforehand to
    the length of an orthogonal matrix with its rows, root of m, so that only its direction is learnt; for layers that
    a normalisation follows, which does not see the length.

    Args:
        params: parameters, or dictionaries of groups; biases and last layers belong into one with `orthogonalise=False`.
        lr: the learning rate, the length of a step in every direction.
        momentum: mu, at least 0 and below 1; Nesterov's form is taken where it is not 0.
        weight_decay: weight of the L2 penalty of the plain groups, added to their gradients; it is not for the others.
        orthogonalise: whether the momentum is made orthogonal.
        keep_norm: whether weights are brought to their length before each step.
        steps: of the iteration.

    Raises:
        UserError: a setting out of range; a parameter with fewer than two axes that is to be made orthogonal; and what
            `UpdateRule` refuses.

    Source: Jordan et al. 2024, and the training of CIFAR-10 that it was made for.

    >>> w = torch.nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 0.1]]))
    >>> optimizer = Muon([w], lr=0.1, momentum=0.0)
    >>> w.grad = w.detach().clone()  # of |w|^2 / 2: plain descent would hardly move the small direction
    >>> optimizer.step()
    >>> [round(value, 2) for value in (torch.diag(w.detach()) - torch.tensor([3.0, 0.1])).tolist()]
    [-0.07, -0.11]
    """

    bounds: ClassVar = {"momentum": SHARE, "steps": COUNT}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        *,
        weight_decay: float = 0.0,
        orthogonalise: bool = True,
        keep_norm: bool = False,
        steps: int = 5,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "orthogonalise": orthogonalise,
                "keep_norm": keep_norm,
                "steps": steps,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not group["orthogonalise"]:
            return
        if group["weight_decay"]:
            raise UserError(
                "Muon: weight decay does not shorten weights that move by orthogonal steps",
                found=f"weight_decay={group['weight_decay']:g}",
                cure="keep_norm=True, or weight_decay=0",
            )
        for p in group["params"]:
            if p.dim() < 2:
                raise UserError(
                    "Muon: a parameter is no matrix",
                    expected="two axes or more",
                    found=f"shape {tuple(p.shape)}",
                    cure="a group of its own with orthogonalise=False",
                )

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        if momentum:
            v = self.memory(params, "momentum_buffer")
            torch._foreach_mul_(v, momentum)
            torch._foreach_add_(v, grads)
            grads = list(torch._foreach_add(grads, v, alpha=momentum))
        if group["orthogonalise"]:
            if group["keep_norm"]:
                for p in params:
                    p.mul_(len(p) ** 0.5 / p.norm())
            grads = [orthogonal(g.flatten(1), group["steps"]).view_as(g) for g in grads]  # (m, n, h, w) as (m, n h w)
        torch._foreach_add_(params, grads, alpha=-group["lr"])


TOPICS = (Topic("Training in seconds: whitened patches, Muon, mirror images in turn", code=("Muon", "orthogonal")),)
