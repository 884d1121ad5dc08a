"""A loss of the user's own as the criterion of a task: a loss per sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.tasks.own.building import built, described


class OwnCriterion(nn.Module):
    """The user's loss: (answers, targets (B,)) to a loss per sample (B,).

    Args:
        found: a function, or a module; a class of modules is built with what it names of `offered`. The parameters of a
            module are learnt with the network's, and saved.
        offered: `num_classes` and the like.
        processes: how many train.

    A loss that gives one number, the mean of the batch, is taken for the loss of each sample; so one process trains alone,
    for the parts of a batch need not be equally long.

    Raises:
        UserError: it is no function; it gives another shape.

    >>> OwnCriterion(nn.MSELoss(), {})(torch.tensor([1.0, 3.0]), torch.zeros(2)).tolist()
    [5.0, 5.0]
    """

    def __init__(self, found: Any, offered: Mapping[str, Any], processes: int = 1) -> None:
        super().__init__()
        if isinstance(found, type) and issubclass(found, nn.Module):
            found = built(found, offered)
        if not callable(found):
            raise UserError(
                "this is no loss", expected="a function of answers and targets, or a module", found=type(found).__name__
            )
        self.found, self.processes = found, processes
        if processes > 1 and any(True for _ in self.parameters()):
            raise UserError("a loss with parameters is learnt in one process", found=f"{processes} processes")

    def forward(self, answers: Any, y: Tensor) -> Tensor:
        if isinstance(answers, Tensor) and answers.dtype in (torch.bfloat16, torch.float16):
            answers = answers.float()  # under autocast: a sum or a logarithm of the user's own wants all digits
        losses = self.found(answers, y)
        if isinstance(losses, Tensor) and losses.is_floating_point():
            if losses.shape == y.shape[:1]:
                return losses
            if losses.dim() == 0 and self.processes == 1:
                return losses.expand(len(y))
        raise UserError(
            f"the loss gives {described(losses)} for a batch of {len(y)}",
            expected=f"a loss per sample, ({len(y)},)"
            + (", or their mean, one number" if self.processes == 1 else ": several processes train"),
            found=described(losses),
            cure=_cure(losses, len(y)),
        )


def _cure(losses: object, count: int) -> str:
    if isinstance(losses, Tensor) and losses.dim() == 2 and len(losses) == count:
        return "losses.squeeze(1)" if losses.shape[1] == 1 else "the mean or the sum over axis 1"
    return "reduction='none', and a tensor of floats"
