"""AdaDelta: steps in the unit of the weights, with no rate to choose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import ABOVE_0, AT_LEAST_0, SHARE, check


class AdaDelta(UpdateRule):
    """AdaDelta: the gradient times the root of recent squared steps over the root of recent squared gradients.

        G <- rho G + (1 - rho) g^2
        d  = g sqrt(D + eps) / sqrt(G + eps)
        D <- rho D + (1 - rho) d^2
        w <- w - lr d

    Here g is the gradient plus `weight_decay` times w (L2). D is that of the steps before, and without the rate.

    Args:
        params: parameters, or dictionaries of groups.
        lr: a factor of the step; the paper has none, that is 1.
        rho: the share of both means that stays, at least 0 and below 1.
        eps: sets the size of the first steps, about sqrt(eps). PyTorch has 1e-6; in Caffe the delta is 1e-8, and the
            first steps are ten times as small.
        weight_decay: weight of the L2 penalty, added to the gradient.

    Raises:
        UserError: a setting out of range, float16 parameters, and what `UpdateRule` refuses.

    Source: Zeiler 2012, algorithm 1; Caffe, AdaDeltaSolver; torch.optim.Adadelta.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AdaDelta([w], rho=0.75, eps=1e-6)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(1 - w.item(), 6)  # 5 * sqrt(1e-6) / sqrt(0.25 * 25)
    0.002
    """

    adaptive = True

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: dict[str, Any]) -> None:
        check("AdaDelta", "lr", group["lr"], AT_LEAST_0)
        check("AdaDelta", "rho", group["rho"], SHARE)
        check("AdaDelta", "eps", group["eps"], ABOVE_0)
        check("AdaDelta", "weight_decay", group["weight_decay"], AT_LEAST_0)

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        square_grads, square_steps = self.memory(params, "square_avg"), self.memory(params, "acc_delta")
        torch._foreach_mul_(square_grads, rho)
        torch._foreach_addcmul_(square_grads, grads, grads, value=1.0 - rho)
        root = torch._foreach_add(square_grads, eps)
        torch._foreach_sqrt_(root)
        step = torch._foreach_add(square_steps, eps)
        torch._foreach_sqrt_(step)
        torch._foreach_div_(step, root)
        torch._foreach_mul_(step, grads)
        torch._foreach_mul_(square_steps, rho)
        torch._foreach_addcmul_(square_steps, step, step, value=1.0 - rho)
        torch._foreach_add_(params, step, alpha=-group["lr"])


TOPICS = (Topic("Update rules: momentum, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam", code=("AdaDelta",)),)
