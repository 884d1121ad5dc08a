"""The smallest deep net, y = s(w2 s(w1 x)): its loss as a surface over the two weights, and the plateau on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.studies.optimization.walk import Walk, walk

Loss = Literal["squared error", "cross entropy"]
LOSSES: tuple[Loss, ...] = ("squared error", "cross entropy")
FIRST = 4.0  # w1 at the start, where the hidden unit is at 0.98
DEPTHS = (2.0, 4.0, 6.0, 8.0)  # -w2 at the start
GOAL = 0.9  # the answer at which a walk is done
RATE = 0.5
SHOWN_POINTS = 100  # of a path, about


def two_weight_loss(weights: Tensor, loss: Loss = "squared error", x: float = 1.0, y: float = 1.0) -> Tensor:
    """The loss of p = s(w2 s(w1 x)) on one sample: (y - p)^2, or -y log p - (1 - y) log(1 - p).

    Neither is convex: at w1 = w2 = 0 both have one direction in which they curve upwards, and one downwards. The squared
    error has a plateau where p is far off, because the slope of s is 0 there; the cross entropy has none of that kind, but
    where s(w1 x) is near 0 both are flat.

    Args:
        weights: w1 and w2 (..., 2).
        loss: which.
        x, y: the sample, y between 0 and 1.

    Returns:
        the loss at each (...).

    Raises:
        UserError: weights that are no pairs, another loss, y out of range.

    Source: Qiu: Neural networks and deep learning, 2020, section 4.5.1, for the sample (1, 1).

    >>> two_weight_loss(torch.tensor([0.0, 0.0])).item(), round(two_weight_loss(torch.zeros(2), "cross entropy").item(), 4)
    (0.25, 0.6931)
    """
    if weights.shape[-1:] != (2,) or loss not in LOSSES or not 0 <= y <= 1:
        expected = f"weights (..., 2), one of {', '.join(LOSSES)}, y from 0 to 1"
        raise UserError("there is no such loss", expected=expected, found=f"{tuple(weights.shape)}, {loss}, {y:g}")
    z = weights[..., 1] * torch.sigmoid(weights[..., 0] * x)
    if loss == "squared error":
        return (y - torch.sigmoid(z)).square()
    return softplus(z) - y * z  # -y log s(z) - (1 - y) log(1 - s(z))


def plateau_steps(
    depth: float, loss: Loss = "squared error", *, lr: float, goal: float = GOAL, hidden: float = 1.0
) -> float:
    """Steps that descent on w2 takes from z = -depth to an answer p = s(z) of `goal`, for the target 1 and small steps.

    With z = w2 h and the hidden unit h held, dz/dt = -lr h^2 dL/dz, so the steps are the integral of 1 / (lr h^2 |dL/dz|):

        squared error   |dL/dz| = 2 p (1 - p)^2   F(z) = (3 z + 3 e^z + e^2z / 2 - e^-z) / 2
        cross entropy   |dL/dz| = 1 - p           F(z) = z + e^z

    and F(z_goal) - F(-depth) over lr h^2: e times as many a unit of depth, against 1 / (lr h^2) more.

    Args:
        depth: -z at the start.
        loss: which.
        lr: the learning rate, above 0.
        goal: the answer at the end, above 0 and below 1.
        hidden: h, above 0.

    Raises:
        UserError: for an argument out of range.

    >>> [round(plateau_steps(d, lr=0.5)) for d in (4, 6, 8)], [round(plateau_steps(d, "cross entropy", lr=0.5)) for d in (4, 6, 8)]
    ([141, 495, 3079], [30, 34, 38])
    """
    if loss not in LOSSES or lr <= 0 or not 0 < goal < 1 or hidden <= 0:
        expected = f"one of {', '.join(LOSSES)}, lr and hidden above 0, goal between 0 and 1"
        raise UserError("no steps of that", expected=expected, found=f"{loss}, {lr:g}, {hidden:g}, {goal:g}")

    def integral(z: float) -> float:
        if loss == "squared error":
            return (3 * z + 3 * math.exp(z) + math.exp(2 * z) / 2 - math.exp(-z)) / 2
        return z + math.exp(z)

    return (integral(math.log(goal / (1 - goal))) - integral(-depth)) / (lr * hidden**2)


def measure_plateau(loss: Loss, depths: Sequence[float] = DEPTHS, *, max_steps: int) -> dict[str, Any]:
    """Steps of descent on both weights to the goal from each depth, beside those of the closed form, and the paths."""
    walks = [Walk(torch.tensor([FIRST, -d], dtype=torch.float64), RATE) for d in depths]
    hidden = 1 / (1 + math.exp(-FIRST))

    def done(weights: Tensor) -> Tensor:
        return torch.sigmoid(weights[:, 1] * torch.sigmoid(weights[:, 0])) >= GOAL

    def surface(weights: Tensor) -> Tensor:
        return two_weight_loss(weights, loss)

    walk(surface, "sgd", walks, done=done, max_steps=max_steps, keep=max_steps)
    path = walks[len(walks) // 2].path
    return {
        "steps_from_nearest": walks[0].steps,
        "steps_from_farthest": walks[-1].steps,
        "steps": [w.steps for w in walks],
        "predicted": [plateau_steps(d * hidden, loss, lr=RATE, hidden=hidden) for d in depths],
        "path": path[:: max(1, len(path) // SHOWN_POINTS)],
    }


TOPICS = (
    Topic(
        "The loss of a network is not convex: the surface of two weights, plateaus",
        "网络的损失不是凸的：两个权重的曲面，平坦区",
        lectures=(3,),
        code=("two_weight_loss", "plateau_steps"),
        command="chainrule train saddle-escape",
    ),
)
