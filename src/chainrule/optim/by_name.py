"""Update rules by name, for settings that choose one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch

from chainrule.core.errors import UserError, unknown
from chainrule.optim.adadelta import AdaDelta
from chainrule.optim.adagrad import AdaGrad
from chainrule.optim.adam import Adam, AdamW
from chainrule.optim.rmsprop import RMSProp
from chainrule.optim.sgd import SGD

Rule = Literal["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"]


def optimizer_of(
    rule: str, params: Iterable[Any], lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """The update rule of that name; what else it has is at its defaults.

    Args:
        rule: a name of `Rule`.
        params: what it updates.
        lr: the learning rate.
        momentum: of sgd and nesterov; the others have none.
        weight_decay: lambda of lambda/2 |w|^2 in the loss; of adamw the decay beside the gradient.

    Errors: a UserError for an unknown rule, and for a momentum where the rule has none.

    >>> type(optimizer_of("adam", [torch.nn.Parameter(torch.zeros(1))], 0.1)).__name__
    'Adam'
    """
    if rule not in get_args(Rule):
        raise unknown("there is no update rule", rule, get_args(Rule))
    if momentum and rule not in ("sgd", "nesterov"):
        raise UserError(
            f"{rule} has no momentum of its own to set",
            found=f"momentum={momentum:g}",
            cure="momentum=0, or optimizer=sgd",
        )
    if rule in ("sgd", "nesterov"):
        return SGD(params, lr, momentum, nesterov=rule == "nesterov", weight_decay=weight_decay)
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adagrad": AdaGrad,
        "adadelta": AdaDelta,
        "rmsprop": RMSProp,
        "adam": Adam,
        "adamw": AdamW,
    }
    return makers[rule](params, lr, weight_decay=weight_decay)
