"""Update rules by name: PyTorch's own, as they resume from what an older run kept."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
import torch
from torch import nn

from chainrule.core.errors import UserError
from chainrule.optim.by_name import Rule, has_fused, optimizer_of

KEPT = {"lr", "momentum", "nesterov", "betas", "eps", "weight_decay", "params"}  # of a group, by older runs


def start() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(5)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3), (17,), (2,))]


def advance(optimizer: torch.optim.Optimizer, params: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for p in params[:-1] if step < 8 else params:  # the last learns late, like a part that was frozen
            p.grad = 0.3 * p.detach() + torch.randn(p.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("rule", get_args(Rule))
def test_the_state_of_an_older_run_resumes_bit_for_bit(rule: str) -> None:
    """It had fewer settings a group, and counters only where the rule needs them."""

    def make(params: list[nn.Parameter]) -> torch.optim.Optimizer:
        return optimizer_of(rule, params, 0.05, momentum=0.9 if rule in ("sgd", "nesterov") else 0.0, weight_decay=0.1)

    whole = start()
    optimizer = make(whole)
    advance(optimizer, whole, range(5))
    resumed = [nn.Parameter(p.detach().clone()) for p in whole]
    state = copy.deepcopy(optimizer.state_dict())
    advance(optimizer, whole, range(5, 12))

    older = {
        "param_groups": [
            {k: v for k, v in group.items() if k in KEPT} | {"form": "torch"} for group in state["param_groups"]
        ],
        "state": {
            number: {k: v for k, v in slots.items() if k != "step" or rule not in ("rmsprop", "adadelta")}
            for number, slots in state["state"].items()
            if number != 2
        },
    }
    again = make(resumed)
    again.load_state_dict(older)
    advance(again, resumed, range(5, 12))
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_nesterov_needs_a_momentum() -> None:
    with pytest.raises(UserError, match="looks ahead"):
        optimizer_of("nesterov", start(), 0.1)


def test_where_a_fused_kernel_is_taken() -> None:
    groups = [{"params": start()}, {"params": [nn.Parameter(torch.zeros(2, dtype=torch.float64))]}]
    assert has_fused("sgd", groups)
    assert optimizer_of("adam", groups, 0.1).defaults["fused"]
    half = [nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))]
    assert not has_fused("sgd", [*groups, {"params": half}])
    assert optimizer_of("sgd", half, 0.1).defaults["foreach"]
