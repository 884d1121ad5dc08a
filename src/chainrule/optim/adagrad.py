"""AdaGrad: a rate for each weight, smaller where gradients have been large."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.optim.adagrad import adagrad as torch_adagrad

from chainrule.core.course import Topic
from chainrule.optim.fused import has_fused
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import ABOVE_0, AT_LEAST_0, check


class AdaGrad(UpdateRule):
    """AdaGrad: G <- G + g^2, w <- w - lr g / (sqrt(G) + eps).

    Here g is the gradient plus `weight_decay` times w (L2). The sum G only grows, so the rates only fall.

    Args:
        params: parameters, or dictionaries of groups.
        lr: the learning rate.
        eps: keeps 0 from being divided by 0 where no gradient has come yet. The lecture writes none; Caffe's delta is
            1e-8.
        weight_decay: weight of the L2 penalty, added to the gradient.

    Raises:
        UserError: a setting out of range, float16 parameters, and what `UpdateRule` refuses.

    Source: Duchi, Hazan, Singer 2011, figure 1, diagonal form; Caffe, AdaGradSolver; torch.optim.Adagrad, whose fused
    kernel does it.

    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AdaGrad([w], lr=0.1)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # the first step is lr times the sign
    0.9
    """

    adaptive = True

    def __init__(
        self, params: Iterable[Any], lr: float = 0.01, eps: float = 1e-10, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: dict[str, Any]) -> None:
        check("AdaGrad", "lr", group["lr"], AT_LEAST_0)
        check("AdaGrad", "eps", group["eps"], ABOVE_0)
        check("AdaGrad", "weight_decay", group["weight_decay"], AT_LEAST_0)

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        fused = has_fused("adagrad", params)
        torch_adagrad(
            params,
            grads,
            self.memory(params, "sum"),
            self.counters(params),
            fused=fused,
            foreach=not fused,
            lr=group["lr"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            lr_decay=0.0,
            maximize=False,
        )


TOPICS = (Topic("Update rules: momentum, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam", code=("AdaGrad",)),)
