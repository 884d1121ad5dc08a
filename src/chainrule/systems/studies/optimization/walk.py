"""Walks down a surface of the plane by update rules, many at once, each until it arrives, leaves or diverges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from chainrule.optim import Newton, optimizer_of
from chainrule.systems.studies.optimization.surfaces import Surface, gradients, newton_step

DIVERGED = 1e6  # distance from the origin from which no walk comes back
RULES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
LABELS = {
    "sgd": "gradient descent",
    "momentum": "momentum",
    "nesterov": "Nesterov",
    "adagrad": "AdaGrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "noise": "noisy descent",
    "newton": "Newton",
    "damped_newton": "damped Newton",
}
HAS_MOMENTUM = ("momentum", "nesterov")


@dataclass
class Walk:
    """Where one walk began, how it goes, and how it ended: `steps` until it was done, None where it never was."""

    start: Tensor
    lr: float
    momentum: float = 0.0
    steps: int | None = None
    path: list[list[float]] = field(default_factory=list)


def direction_of(rule: str, points: nn.Parameter, momentum: float) -> torch.optim.Optimizer:
    """The rule at a rate of 1: its step is the direction that it takes, which every walk takes at its own rate."""
    name = {"momentum": "sgd", "noise": "sgd"}.get(rule, rule)
    return optimizer_of(name, [points], 1.0, momentum=momentum if rule in HAS_MOMENTUM else 0.0)


def walk(
    surface: Surface,
    rule: str,
    walks: list[Walk],
    *,
    done: Callable[[Tensor], Tensor],
    max_steps: int,
    noise: float = 0.0,
    keep: int = 0,
    hold: int = 1,
    patience: int = 0,
) -> None:
    """Moves all walks step by step and notes in each after how many steps it was done first.

    All rules here work on each number by itself, and their step is the rate times a direction in which the rate does
    not occur while it stays. So the walks of one momentum are one parameter, a row each.

    Args:
        surface: (N, 2) to heights.
        rule: a name of `RULES`, or "noise": gradient descent on a gradient with Gaussian noise.
        walks: the walks; their `steps` and `path` are filled in.
        done: points (N, 2) to bool (N,).
        max_steps: how many steps a walk may take.
        noise: standard deviation of what "noise" adds to each coordinate of the gradient.
        keep: how many points of each path are kept, from the start.
        hold: how many points in a row must be done; the first of them counts.
        patience: a walk that needs this many times the steps of the first to be done is given up; 0 gives up none.
    """
    for momentum in dict.fromkeys(w.momentum for w in walks):
        alike = [w for w in walks if w.momentum == momentum]
        points = nn.Parameter(torch.stack([w.start for w in alike]))
        _walk(
            surface,
            direction_of(rule, points, momentum),
            points,
            alike,
            done,
            max_steps,
            noise if rule == "noise" else 0.0,
            keep,
            hold,
            patience,
        )


@torch.no_grad()
def _walk(
    surface: Surface,
    direction: torch.optim.Optimizer,
    points: nn.Parameter,
    walks: list[Walk],
    done: Callable[[Tensor], Tensor],
    max_steps: int,
    noise: float,
    keep: int,
    hold: int,
    patience: int,
) -> None:
    rates = torch.tensor([[w.lr] for w in walks], dtype=points.dtype)  # (walks, 1)
    streak, active = torch.zeros(len(walks), dtype=torch.int64), torch.ones(len(walks), dtype=torch.bool)
    last = max_steps
    for step in range(max_steps + hold):
        if step >= last + hold:
            return
        # Which walks have diverged, and for how many points in a row each has been done.
        lost = ~(points.abs().amax(1) < DIVERGED)
        streak = torch.where(done(points), streak + 1, 0)
        if step < keep:
            for i in (active & ~lost).nonzero()[:, 0].tolist():
                walks[i].path.append(points[i].tolist())
        # A walk ends when it diverges, or has been done `hold` times in a row: the first of these counts.
        ends = active & (lost | (streak == hold))
        if bool(ends.any()):
            for i in (ends & ~lost).nonzero()[:, 0].tolist():
                walks[i].steps = step + 1 - hold
                if patience:
                    last = min(last, patience * (step + 1))
            active &= ~ends
            if not bool(active.any()):
                return
        # One step of the rule at rate 1 gives the direction; each walk that is still active takes it at its own rate.
        before, slope = points.clone(), gradients(surface, points)
        points.grad = slope + noise * torch.randn_like(slope) if noise else slope
        direction.step()
        points.copy_(torch.where(active[:, None], before + rates * (points - before), before))


def walk_newton(surface: Surface, start: Tensor, steps: int, *, damped: bool, done: Callable[[Tensor], Tensor]) -> Walk:
    """A walk by Newton's step, as it is or damped with line search (`chainrule.optim.Newton`), of at most `steps`."""
    found = Walk(start, 1.0)
    point = nn.Parameter(start.clone())
    optimizer = Newton([point])
    for step in range(steps + 1):
        found.path.append(point.detach().tolist())
        if bool(done(point.detach()[None])[0]):
            found.steps = step
            break
        if step == steps:
            break
        if damped:
            optimizer.step(lambda: surface(point))
        else:
            with torch.no_grad():
                point.add_(newton_step(surface, point))
    return found
