"""Learning-rate schedules over the steps of a training, as PyTorch's schedulers, which a run can keep and resume."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from chainrule.core.errors import UserError
from chainrule.optim.policies import Policy


def total_steps(epochs: int, samples: int, batch_size: int) -> int:
    """How many steps so many epochs take; the last batch of an epoch may be a smaller one.

    >>> total_steps(epochs=3, samples=100, batch_size=32)
    12
    """
    return epochs * -(-samples // batch_size)


def cosine_schedule(optimizer: torch.optim.Optimizer, epochs: int, samples: int, batch_size: int) -> CosineAnnealingLR:
    """A rate that falls from the optimiser's to 0 as half a cosine, over all steps of the training."""
    return CosineAnnealingLR(optimizer, total_steps(epochs, samples, batch_size))


class PolicySchedule(LRScheduler):
    """Sets the rate of every group to policy(t) times its `lr_mult`, t the calls of `step` so far."""

    def __init__(self, optimizer: torch.optim.Optimizer, policy: Policy) -> None:
        self.policy = policy
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        rate = self.policy(self.last_epoch)
        return [rate * group.get("lr_mult", 1.0) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """How far it is. The policy itself is code and not part of it."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count, "_last_lr": list(self._last_lr)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up where `state_dict` was taken."""
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = state_dict["_step_count"]
        self._last_lr = list(state_dict["_last_lr"])


def as_schedule(optimizer: torch.optim.Optimizer, policy: Policy) -> PolicySchedule:
    """A scheduler whose `step`, called after each of the optimiser's, moves the rate one iteration on.

    The rate that the optimiser was made with is replaced by policy(0) at once. A group with `lr_mult` has that multiple
    of it.

    Args:
        optimizer: any of PyTorch's or of this package's.
        policy: iteration to rate.

    Returns:
        a `torch.optim.lr_scheduler.LRScheduler`.

    Raises:
        UserError: `policy` is none.

    >>> from chainrule.optim import SGD, step
    >>> w = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = SGD([w], lr=1.0)
    >>> schedule = as_schedule(optimizer, step(base_lr=0.1, gamma=0.5, stepsize=2))
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.1, 0.1, 0.05, 0.05]
    """
    if not isinstance(policy, Policy):
        raise UserError("as_schedule needs a policy", expected="a policy, like fixed(0.1)", found=repr(policy))
    return PolicySchedule(optimizer, policy)
