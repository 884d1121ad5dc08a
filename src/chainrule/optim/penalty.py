"""The L1 penalty lambda sum |w| of a network's weights, within the step of any update rule.

|w| has no derivative at 0, and weights that end at exactly 0 are what it is for. Its plain subgradient, lambda sign(w),
never reaches 0: weights jump across it for ever. The proximal step of plain descent, w <- sign(w) max(|w| - lr lambda, 0),
reaches it, but moves the minimum where a rule scales its steps, as Adam does, or adds them up, as momentum does. So the
step is that of Andrew and Gao: the gradient gets the smallest subgradient, and a weight that would change its sign stops at
0. Of plain descent that is the proximal step, but for weights that overshoot 0 by more than 2 lr lambda; of every rule it
rests only at the minimum of loss + lambda sum |w|.

Source: Andrew and Gao: Scalable training of L1-regularized log-linear models, 2007, equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.optim.settings import AT_LEAST_0, check


def smallest_subgradient(weight: Tensor, gradient: Tensor, strength: float) -> Tensor:
    """Of loss + strength sum |w|, the subgradient nearest to 0; 0 where the weight rests.

        g + strength sign(w)                      w != 0
        sign(g) max(|g| - strength, 0)            w = 0

    Args:
        weight: w, any shape.
        gradient: g, of the loss without the penalty, of that shape.
        strength: lambda, 0 or more.

    Source: Andrew and Gao 2007, equation 4.

    >>> weight, gradient = torch.tensor([2.0, -2.0, 0.0, 0.0]), torch.tensor([0.5, 0.5, 0.5, -4.0])
    >>> smallest_subgradient(weight, gradient, 1.0).tolist()
    [1.5, -0.5, 0.0, -3.0]
    """
    at_zero = gradient - gradient.clamp(-strength, strength)
    return torch.where(weight == 0, at_zero, gradient + strength * weight.sign())


class L1:
    """The penalty on some weights: `before` and `after` stand around the update of any rule.

    Args:
        weights: what is penalised.
        strength: lambda.

    Errors: a UserError for a strength below 0, or NaN.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.1]))
    >>> rule, penalty = torch.optim.SGD([w], lr=0.5), L1([w], 0.4)
    >>> w.grad = torch.tensor([0.6, 0.0])
    >>> penalty.before(); rule.step(); penalty.after()
    >>> w.tolist()  # 1 - 0.5 (0.6 + 0.4), and 0.1 - 0.5 * 0.4 would cross 0
    [0.5, 0.0]
    """

    def __init__(self, weights: Iterable[Tensor], strength: float) -> None:
        check("the L1 penalty", "l1", strength, AT_LEAST_0)
        self.weights, self.strength = list(weights), float(strength)
        self._signs: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def before(self) -> None:
        """Adds the penalty to the gradients, and notes on which side of 0 each weight has to stay in this step."""
        self._signs = []
        for weight in self.weights:
            if weight.grad is None:  # a part that does not learn yet
                continue
            gradient = smallest_subgradient(weight, weight.grad, self.strength)
            weight.grad.copy_(gradient)
            self._signs.append((weight, torch.where(weight == 0, -gradient, weight).sign()))

    @torch.no_grad()
    def after(self) -> None:
        """Stops at 0 what has left its side."""
        for weight, sign in self._signs:
            weight.mul_(weight.sign() == sign).add_(0.0)  # NaN stays NaN, and -0.0 becomes 0.0

    @torch.no_grad()
    def share_of_zeros(self) -> Tensor:
        """How many of the weights are exactly 0, from 0 to 1."""
        zeros = torch.stack([(weight == 0).sum() for weight in self.weights]).sum()
        if hasattr(zeros, "full_tensor"):  # of shards: over all processes
            zeros = zeros.full_tensor()
        return zeros / sum(weight.numel() for weight in self.weights)


TOPICS = (
    Topic(
        "Penalties: L1, L2; not in the first epochs",
        "L1、L2 正则化，跳过前几轮",
        lectures=(2, 3, 4),
        code=("smallest_subgradient", "L1"),
        command="chainrule train mlp-table l1=0.003 penalty_from=5",
    ),
)
