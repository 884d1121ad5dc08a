"""Penalties on the weights that begin late, and L1, around the steps of an update rule."""

from __future__ import annotations

from typing import Any

import torch

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.optim.penalty import L1
from chainrule.run.run import Run


def penalize(
    run: Run, optimizer: torch.optim.Optimizer, *, l1: float = 0.0, penalty_from: int = 0, epochs: int
) -> None:
    """From here on each step of `optimizer` has the penalty l1 sum |w|; it and the rule's weight decay begin late if asked.

    Weights are the parameters of two dimensions or more; biases, scales and slopes are not drawn to 0 by L1. While it
    is there, the share of weights that are exactly 0 is tracked as `zero_weights`. Without l1 and penalty_from nothing
    changes.

    Args:
        run: whose epochs count.
        optimizer: the update rule, with its weight decay.
        l1: lambda of lambda sum |w| in the loss.
        penalty_from: how many epochs pass without a penalty.
        epochs: how many there are.

    Errors: a UserError where a penalty that begins late is none at all, or would begin after the last epoch.
    """
    if not l1 and not penalty_from:
        return
    decays = [group.get("weight_decay", 0.0) for group in optimizer.param_groups]
    _check(l1, penalty_from, epochs, any(decays))
    weights = [p for group in optimizer.param_groups for p in group["params"] if p.dim() > 1]
    penalty = L1(weights, l1)

    def before(rule: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        begun = run.epoch >= penalty_from
        for group, decay in zip(rule.param_groups, decays, strict=True):
            group["weight_decay"] = decay if begun else 0.0
        if begun and l1:
            penalty.before()

    def after(rule: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if l1:
            if run.epoch >= penalty_from:
                penalty.after()
            run.track(zero_weights=penalty.share_of_zeros())

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def _check(l1: float, penalty_from: int, epochs: int, decays: bool) -> None:
    if not l1 and not decays:
        raise UserError(
            "there is no penalty that could begin late",
            found=f"penalty_from={penalty_from}",
            cure="weight_decay=1e-4 or l1=1e-4 beside it",
        )
    if penalty_from >= epochs:
        raise UserError(
            "the penalty would begin after the last epoch",
            found=f"penalty_from={penalty_from}",
            expected=f"below epochs={epochs}",
        )


TOPICS = (Topic("Penalties: L1, L2; not in the first epochs", code=("penalize",)),)
