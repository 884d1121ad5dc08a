"""RMSProp: the gradient over the root of its recent mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import ABOVE_0, AT_LEAST_0, SHARE, check


class RMSProp(UpdateRule):
    """RMSProp: G <- decay G + (1 - decay) g^2, w <- w - lr g / (sqrt(G) + eps).

    Here g is the gradient plus `weight_decay` times w (L2). Unlike AdaGrad's sum, the mean forgets.

    Args:
        params: parameters, or dictionaries of groups.
        lr: the learning rate.
        decay: the share of the mean square that stays, at least 0 and below 1.
        eps: added to the root. (Some texts add it below the root.)
        weight_decay: weight of the L2 penalty, added to the gradient.

    Raises:
        UserError: a setting out of range, float16 parameters, and what `UpdateRule` refuses.

    Source: Tieleman, Hinton: Neural Networks for Machine Learning, lecture 6.5, 2012; Caffe, RMSPropSolver;
    torch.optim.RMSprop without its additions.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = RMSProp([w], lr=0.01, decay=0.75)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # 1 - 0.01 * 5 / sqrt(0.25 * 25)
    0.98
    """

    adaptive = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        decay: float = 0.99,
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: dict[str, Any]) -> None:
        check("RMSProp", "lr", group["lr"], AT_LEAST_0)
        check("RMSProp", "decay", group["decay"], SHARE)
        check("RMSProp", "eps", group["eps"], ABOVE_0)
        check("RMSProp", "weight_decay", group["weight_decay"], AT_LEAST_0)

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        mean_square = self.memory(params, "square_avg")
        torch._foreach_mul_(mean_square, group["decay"])
        torch._foreach_addcmul_(mean_square, grads, grads, value=1.0 - group["decay"])
        root = torch._foreach_sqrt(mean_square)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(params, grads, root, value=-group["lr"])


TOPICS = (Topic("Update rules: momentum, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam", code=("RMSProp",)),)
