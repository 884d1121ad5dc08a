"""Update rules that divide by a root of squared gradients, so that each weight has a rate of its own.

Here g is the gradient plus `weight_decay` times w (L2); only `AdamW` has its decay beside the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.optim.rule import UpdateRule
from chainrule.optim.settings import ABOVE_0, SHARE, check, check_choice


class AdaGrad(UpdateRule):
    """AdaGrad: G <- G + g^2, w <- w - lr g / (sqrt(G) + eps).

    The sum G only grows, so the rates only fall.

    Args:
        params: parameters, or dictionaries of groups.
        lr: the learning rate.
        eps: keeps 0 from being divided by 0 where no gradient has come yet. The lecture writes none; Caffe's delta is
            1e-8.
        weight_decay: weight of the L2 penalty, added to the gradient.

    Raises:
        UserError: a setting out of range, float16 parameters, and what `UpdateRule` refuses.

    Source: Duchi, Hazan, Singer 2011, figure 1, diagonal form; Caffe, AdaGradSolver; torch.optim.Adagrad.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AdaGrad([w], lr=0.1)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # the first step is lr times the sign
    0.9
    """

    adaptive = True
    bounds: ClassVar = {"eps": ABOVE_0}

    def __init__(
        self, params: Iterable[Any], lr: float = 0.01, eps: float = 1e-10, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        total = self.memory(params, "sum")
        torch._foreach_addcmul_(total, grads, grads)  # G <- G + g^2
        root = torch._foreach_sqrt(total)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(params, grads, root, value=-group["lr"])  # w <- w - lr g / (sqrt(G) + eps)


class RMSProp(UpdateRule):
    """RMSProp: G <- decay G + (1 - decay) g^2, w <- w - lr g / (sqrt(G) + eps).

    Unlike AdaGrad's sum, the mean forgets.

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
    bounds: ClassVar = {"decay": SHARE, "eps": ABOVE_0}

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

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        mean_square = self.memory(params, "square_avg")
        _mean_square(mean_square, grads, group["decay"])  # G <- decay G + (1 - decay) g^2
        root = torch._foreach_sqrt(mean_square)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(params, grads, root, value=-group["lr"])  # w <- w - lr g / (sqrt(G) + eps)


class AdaDelta(UpdateRule):
    """AdaDelta: the gradient times the root of recent squared steps over the root of recent squared gradients.

        G <- rho G + (1 - rho) g^2
        d  = g sqrt(D + eps) / sqrt(G + eps)
        D <- rho D + (1 - rho) d^2
        w <- w - lr d

    D is that of the steps before, and without the rate.

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
    bounds: ClassVar = {"rho": SHARE, "eps": ABOVE_0}

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, *, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay})

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        rho, eps = group["rho"], group["eps"]
        square_grads, square_steps = self.memory(params, "square_avg"), self.memory(params, "acc_delta")
        _mean_square(square_grads, grads, rho)  # G <- rho G + (1 - rho) g^2
        root = torch._foreach_add(square_grads, eps)
        torch._foreach_sqrt_(root)
        step = torch._foreach_add(square_steps, eps)
        torch._foreach_sqrt_(step)
        torch._foreach_div_(step, root)
        torch._foreach_mul_(step, grads)  # d = g sqrt(D + eps) / sqrt(G + eps), D that of the steps before
        _mean_square(square_steps, step, rho)  # D <- rho D + (1 - rho) d^2
        torch._foreach_add_(params, step, alpha=-group["lr"])  # w <- w - lr d


class Adam(UpdateRule):
    """Adam, with eps on the corrected root or on the uncorrected one.

        m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
        form="torch":  w <- w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
        form="caffe":  w <- w - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

    Here t counts the updates of the parameter from 1. Early,
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
    Caffe, AdamSolver; torch.optim.Adam.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = Adam([w], lr=0.1)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # the first step is lr times the sign
    0.9
    """

    adaptive = True
    bounds: ClassVar = {"eps": ABOVE_0}

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
        super().check(group)
        _check_betas(self.name, group["betas"])
        check_choice(self.name, "form", group["form"], ("torch", "caffe"))

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        _adam(self, params, grads, group, caffe=group["form"] == "caffe")


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

    Source: Loshchilov, Hutter 2019, algorithm 2; torch.optim.AdamW.

    >>> w = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
    >>> w.grad = torch.tensor([5.0])
    >>> optimizer.step()
    >>> round(w.item(), 4)  # (1 - 0.1 * 0.5) - 0.1
    0.85
    """

    adaptive = True
    decoupled = True
    bounds: ClassVar = {"eps": ABOVE_0}

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
        super().check(group)
        _check_betas(self.name, group["betas"])

    def update(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_mul_(params, 1.0 - group["lr"] * group["weight_decay"])
        _adam(self, params, grads, group, caffe=False)


def _adam(rule: UpdateRule, params: list[Tensor], grads: list[Tensor], group: dict[str, Any], *, caffe: bool) -> None:
    """Adam's step; `caffe`: with eps on the uncorrected root."""
    b1, b2 = group["betas"]
    times = rule.count(params)  # t
    m, v = rule.memory(params, "exp_avg"), rule.memory(params, "exp_avg_sq")
    torch._foreach_lerp_(m, grads, 1.0 - b1)  # m <- b1 m + (1 - b1) g
    _mean_square(v, grads, b2)  # v <- b2 v + (1 - b2) g^2
    root = torch._foreach_sqrt(v)
    corrections = [math.sqrt(1.0 - b2**t) for t in times]
    rates = [-group["lr"] / (1.0 - b1**t) for t in times]
    if caffe:
        rates = [rate * correction for rate, correction in zip(rates, corrections, strict=True)]
    else:
        torch._foreach_div_(root, corrections)
    torch._foreach_add_(root, group["eps"])
    torch._foreach_addcdiv_(params, m, root, rates)


def _mean_square(mean: list[Tensor], values: list[Tensor] | tuple[Tensor, ...], stays: float) -> None:
    """mean <- stays mean + (1 - stays) values^2, in place."""
    torch._foreach_mul_(mean, stays)
    torch._foreach_addcmul_(mean, values, values, value=1.0 - stays)


def _check_betas(name: str, betas: Any) -> None:
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise UserError(f"{name}: betas must be two numbers", expected="(0.9, 0.999)", found=repr(betas))
    for index, beta in enumerate(betas):
        check(name, f"betas[{index}]", beta, SHARE)


TOPICS = (
    Topic(
        "Update rules: momentum, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam",
        code=("AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW"),
    ),
)
