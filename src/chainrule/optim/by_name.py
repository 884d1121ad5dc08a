"""PyTorch's own update rules by name, for settings that choose one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from chainrule.core.errors import UserError, unknown

Rule = Literal["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"]

_FUSED_ON = {
    "sgd": ("cpu", "cuda"),
    "adam": ("cpu", "cuda"),
    "adagrad": ("cpu",),
}  # PyTorch's kernels for a whole update
# Half precision stays out: the CPU's fused SGD leaves whole blocks of such weights as they are
# (pytorch/pytorch#191763, in 2.13 and before).
_TYPES = (torch.float32, torch.float64)
_SHARDED = ("adam",)  # the kernels that PyTorch knows how to run on the shards of FSDP


def optimizer_of(
    rule: str, params: Iterable[Any], lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """PyTorch's update rule of that name, by its fused kernel where it has one; what else it has is at its defaults.

    Args:
        rule: a name of `Rule`.
        params: what it updates, or groups of it.
        lr: the learning rate.
        momentum: of sgd and nesterov; the others have none.
        weight_decay: lambda of lambda/2 |w|^2 in the loss; of adamw the decay beside the gradient.

    Errors: a UserError for an unknown rule, for a momentum where the rule has none, and for nesterov without one.

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
    if rule == "nesterov" and not momentum:
        raise UserError(
            "nesterov looks ahead along the momentum, and there is none", found="momentum=0", cure="momentum=0.9"
        )
    params = list(params)
    optimizer: torch.optim.Optimizer
    match rule:
        case "sgd" | "nesterov":
            fused, nesterov = has_fused("sgd", params), rule == "nesterov"
            optimizer = torch.optim.SGD(
                params, lr, momentum, nesterov=nesterov, weight_decay=weight_decay, fused=fused, foreach=not fused
            )
            if momentum:  # the fused kernel wants all buffers or none: a part that was frozen would come without one
                for p in _tensors(params):
                    optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        case "adagrad":
            fused = has_fused("adagrad", params)
            optimizer = torch.optim.Adagrad(params, lr, weight_decay=weight_decay, fused=fused, foreach=not fused)
        case "adam" | "adamw":
            fused = has_fused("adam", params)
            make = torch.optim.Adam if rule == "adam" else torch.optim.AdamW
            optimizer = make(params, lr, weight_decay=weight_decay, fused=fused, foreach=not fused)
        case "rmsprop":
            optimizer = torch.optim.RMSprop(params, lr, weight_decay=weight_decay, foreach=True)
        case _:
            optimizer = torch.optim.Adadelta(params, lr, weight_decay=weight_decay, foreach=True)
    optimizer.register_load_state_dict_pre_hook(_complete)
    return optimizer


def has_fused(rule: str, params: Sequence[Any]) -> bool:
    """Whether the fused kernel of a rule, one kernel for a whole update, takes these parameters or groups of them."""

    def takes(p: Tensor) -> bool:
        sharded = hasattr(p, "full_tensor")
        return p.device.type in _FUSED_ON[rule] and p.dtype in _TYPES and (rule in _SHARDED or not sharded)

    return all(takes(p) for p in _tensors(params))


def _tensors(params: Sequence[Any]) -> list[Tensor]:
    return [p for item in params for p in (item["params"] if isinstance(item, dict) else [item])]


def _complete(optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]) -> dict[str, Any] | None:
    """An older run kept fewer settings of each group, and fewer counters: what is missing is as it is now."""
    saved, own = state_dict["param_groups"], optimizer.state_dict()
    if all("maximize" in group for group in saved):
        return None
    groups = [{**now, **group} for now, group in zip(own["param_groups"], saved, strict=True)]
    states = {key: {"step": torch.zeros(()), **slots} for key, slots in state_dict["state"].items()}
    return {**state_dict, "param_groups": groups, "state": {**own["state"], **states}}
