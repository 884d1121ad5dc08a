"""Gradient descent, with momentum and Nesterov's look ahead, in the two forms in use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import SHARE, check_choice


class SGD(UpdateRule):
    """Gradient descent. With all samples in a batch it is batch descent, with one stochastic, between them mini-batch.

    With g the gradient plus `weight_decay` times w (an L2 penalty of weight_decay/2 |w|^2), and mu the momentum:

        form="torch":  v <- mu v + g            w <- w - lr v
          nesterov:                             w <- w - lr (g + mu v)
        form="caffe":  v <- mu v + lr g         w <- w - v
          nesterov:    u = v before             w <- w - ((1 + mu) v - mu u)

    The second is the lecture's form with v negated. Both are the same while `lr` stays. When it changes, the torch form
    applies the new rate to the old gradients too, at once; in the caffe form each gradient keeps the rate of its time.

    Args:
        params: parameters, or dictionaries of groups.
        lr: the learning rate.
        momentum: mu, at least 0 and below 1.
        nesterov: the gradient is that after the momentum's step.
        weight_decay: weight of the L2 penalty, added to the gradient, so that momentum averages it too.
        form: "torch", or "caffe", where the rate sits inside the buffer.

    Raises:
        UserError: a setting out of range, nesterov without momentum, and what `UpdateRule` refuses.

    Source: Polyak 1964; Sutskever et al. 2013, equations 1 to 4 (the caffe form); Caffe, SGDSolver and NesterovSolver;
    torch.optim.SGD (the torch form).

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = SGD([w], lr=0.1, momentum=0.9, form="caffe")
    >>> for _ in range(2):
    ...     w.grad = 2 * w.detach()  # of w^2
    ...     optimizer.step()
    >>> round(w.item(), 4)  # 1 - 0.2 = 0.8, then 0.8 - (0.9 * 0.2 + 0.1 * 1.6)
    0.46
    """

    bounds: ClassVar = {"momentum": SHARE}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        momentum: float = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        form: str = "torch",
    ) -> None:
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay, "form": form}
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        check_choice("SGD", "form", group["form"], ("torch", "caffe"))
        if group["nesterov"] and not group["momentum"]:
            raise UserError(
                "SGD: nesterov looks ahead along the momentum, and there is none",
                expected="a momentum above 0",
                found="momentum=0",
                cure="momentum=0.9",
            )

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        lr, momentum, nesterov = group["lr"], group["momentum"], group["nesterov"]
        if not momentum:
            torch._foreach_add_(params, grads, alpha=-lr)
        elif group["form"] == "torch":
            v = self.memory(params, "momentum_buffer")
            torch._foreach_mul_(v, momentum)
            torch._foreach_add_(v, grads)  # v <- mu v + g
            step = torch._foreach_add(grads, v, alpha=momentum) if nesterov else v
            torch._foreach_add_(params, step, alpha=-lr)
        else:
            v = self.memory(params, "history")
            ahead = torch._foreach_mul(v, -momentum) if nesterov else None  # -mu u
            torch._foreach_mul_(v, momentum)
            torch._foreach_add_(v, grads, alpha=lr)  # v <- mu v + lr g
            if ahead is not None:
                torch._foreach_add_(ahead, v, alpha=1.0 + momentum)  # (1 + mu) v - mu u
            torch._foreach_sub_(params, v if ahead is None else ahead)


TOPICS = (
    Topic(
        "Update rules: momentum, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam",
        "更新规则：动量、Nesterov、AdaGrad、RMSProp、AdaDelta、Adam",
        lectures=(2, 3),
        code=("SGD",),
        command="chainrule train mlp optimizer=rmsprop",
    ),
)
