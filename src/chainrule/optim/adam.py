"""Adam and AdamW: the mean gradient over the root of the mean square, both corrected for their start at 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam

from chainrule.core.errors import UserError
from chainrule.optim.fused import has_fused
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import ABOVE_0, AT_LEAST_0, SHARE, check, check_choice


class Adam(UpdateRule):
    """Adam, with eps on the corrected root or on the uncorrected one.

        m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
        form="torch":  w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
        form="caffe":  w <- w - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

    Here g is the gradient plus `weight_decay` times w (L2), and t counts the updates of the parameter from 1. Early,
    where 1 - b2^t is small, the eps of the caffe form weighs more: at t = 1 as 1/sqrt(1 - b2) of the other.

    Args:
        params: parameters, or dictionaries of groups.
        lr: the learning rate.
        betas: b1 and b2, each at least 0 and below 1.
        eps: added to the root.
        weight_decay: weight of the L2 penalty, added to the gradient; `AdamW` has the other kind.
        form: "torch" or "caffe".

    Raises:
        UserError: a setting out of range, float16 parameters, and what `UpdateRule` refuses.

    Source: Kingma, Ba 2015, algorithm 1 (torch), and the order at the end of section 2 with its epsilon hat (caffe);
    Caffe, AdamSolver; torch.optim.Adam, whose fused kernel does the torch form.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = Adam([w], lr=0.1)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # the first step is lr times the sign
    0.9
    """

    adaptive = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        form: str = "torch",
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "form": form})

    def check(self, group: dict[str, Any]) -> None:
        _check("Adam", group)
        check_choice("Adam", "form", group["form"], ("torch", "caffe"))

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        if group["form"] == "torch":
            _torch_adam(self, params, grads, group, decoupled=False)
            return
        (b1, b2), eps = group["betas"], group["eps"]
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        times, m, v = _times(self, params), self.memory(params, "exp_avg"), self.memory(params, "exp_avg_sq")
        torch._foreach_lerp_(m, grads, 1.0 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, grads, grads, value=1.0 - b2)
        root = torch._foreach_sqrt(v)
        torch._foreach_add_(root, eps)
        rates = [-group["lr"] * math.sqrt(1.0 - b2**t) / (1.0 - b1**t) for t in times]
        torch._foreach_addcdiv_(params, m, root, rates)


class AdamW(UpdateRule):
    """Adam with decoupled weight decay: w <- (1 - lr weight_decay) w, then Adam's step by the gradient alone.

    An L2 penalty inside Adam is divided by the root like every gradient, and so hardly shrinks weights whose gradients
    are large; here all shrink alike.

    Args:
        params: parameters, or dictionaries of groups.
        lr: the learning rate.
        betas: b1 and b2, each at least 0 and below 1.
        eps: added to the corrected root.
        weight_decay: the share of a weight that goes at each update, in units of lr.

    Raises:
        UserError: a setting out of range, float16 parameters, and what `UpdateRule` refuses.

    Source: Loshchilov, Hutter 2019, algorithm 2; torch.optim.AdamW, whose fused kernel does it.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # (1 - 0.1 * 0.5) - 0.1
    0.85
    """

    adaptive = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: dict[str, Any]) -> None:
        _check("AdamW", group)

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        _torch_adam(self, params, grads, group, decoupled=True)


def _check(name: str, group: dict[str, Any]) -> None:
    betas = group["betas"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise UserError(f"{name}: betas must be two numbers", expected="(0.9, 0.999)", found=repr(betas))
    check(name, "lr", group["lr"], AT_LEAST_0)
    check(name, "betas[0]", betas[0], SHARE)
    check(name, "betas[1]", betas[1], SHARE)
    check(name, "eps", group["eps"], ABOVE_0)
    check(name, "weight_decay", group["weight_decay"], AT_LEAST_0)


def _torch_adam(
    rule: UpdateRule, params: list[Tensor], grads: list[Tensor], group: dict[str, Any], *, decoupled: bool
) -> None:
    fused = has_fused("adam", params)
    torch_adam(
        params,
        grads,
        rule.memory(params, "exp_avg"),
        rule.memory(params, "exp_avg_sq"),
        [],
        rule.counters(params),
        fused=fused,
        foreach=not fused,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        decoupled_weight_decay=decoupled,
        amsgrad=False,
        maximize=False,
    )


def _times(rule: UpdateRule, params: list[Tensor]) -> list[int]:
    """The number of this update, a parameter: counted here as a whole number, so that no device is waited for."""
    for p in params:
        rule.state[p]["count"] = rule.state[p].get("count", 0) + 1
    return [rule.state[p]["count"] for p in params]
