"""Learning-rate policies: functions from the iteration to the rate, by Caffe's names and with Caffe's settings.

>>> policy = inv(base_lr=0.01, gamma=1e-4, power=0.75)
>>> policy(0), round(policy(10_000), 6)  # half of 1 + gamma t = 2 to the power 0.75
(0.01, 0.005946)

They compose: `warmup` puts a rise before another policy, `sequence` runs several, each counted from its own start.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.optim.settings import ABOVE_0, ANY, AT_LEAST_0, COUNT, Bounds, check

_AT_LEAST_0_WHOLE = Bounds("a whole number, at least 0", lambda value: value >= 0 and value == int(value))


@dataclass(frozen=True)
class Policy:
    """A learning rate over time: `policy(iteration)` gives the rate of that iteration, counted from 0.

    Args:
        text: the call that makes it, which is what it prints as.
        rate: iteration to rate.
    """

    text: str
    rate: Callable[[int], float] = field(compare=False)

    def __call__(self, iteration: int) -> float:
        """The rate of an iteration.

        Raises:
            UserError: the iteration is no whole number of at least 0, or the rate there is larger than any number.
        """
        try:
            t = operator.index(iteration)
        except TypeError:
            t = -1
        if t < 0 or isinstance(iteration, bool):
            raise UserError(
                f"{self} has no such iteration", expected=_AT_LEAST_0_WHOLE.words, found=repr(iteration)
            ) from None
        try:
            return float(self.rate(t))
        except OverflowError:
            raise UserError(
                f"{self}: the rate at iteration {t} is larger than any number", cure="a gamma of at most 1"
            ) from None

    def __repr__(self) -> str:
        return self.text


def fixed(base_lr: float) -> Policy:
    """base_lr, always.

    >>> fixed(0.1)(1000)
    0.1
    """
    check("fixed", "base_lr", base_lr, AT_LEAST_0)
    return Policy(f"fixed(base_lr={base_lr})", lambda t: base_lr)


def step(base_lr: float, gamma: float, stepsize: int) -> Policy:
    """base_lr gamma^floor(t / stepsize): at iteration stepsize the rate has fallen for the first time.

    Args:
        base_lr: the rate at first.
        gamma: the factor of each step, at least 0.
        stepsize: iterations between steps.

    >>> policy = step(base_lr=0.1, gamma=0.5, stepsize=100)
    >>> policy(99), policy(100), policy(250)
    (0.1, 0.05, 0.025)
    """
    check("step", "base_lr", base_lr, AT_LEAST_0)
    check("step", "gamma", gamma, AT_LEAST_0)
    check("step", "stepsize", stepsize, COUNT)
    return Policy(f"step({base_lr=}, {gamma=}, {stepsize=})", lambda t: base_lr * gamma ** (t // int(stepsize)))


def multistep(base_lr: float, gamma: float, stepvalue: Sequence[int]) -> Policy:
    """base_lr gamma^n, n the number of step values that are at most t.

    Args:
        base_lr: the rate at first.
        gamma: the factor of each step, at least 0.
        stepvalue: the iterations at which the rate changes, rising.

    >>> policy = multistep(base_lr=0.1, gamma=0.5, stepvalue=[100, 150])
    >>> policy(99), policy(100), policy(149), policy(150)
    (0.1, 0.05, 0.05, 0.025)
    """
    values = tuple(stepvalue)
    check("multistep", "base_lr", base_lr, AT_LEAST_0)
    check("multistep", "gamma", gamma, AT_LEAST_0)
    for value in values:
        check("multistep", "stepvalue", value, COUNT)
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise UserError("multistep: the step values must rise", expected="each above the one before", found=values)
    return Policy(
        f"multistep({base_lr=}, {gamma=}, stepvalue={list(values)})",
        lambda t: base_lr * gamma ** sum(t >= value for value in values),
    )


def exp(base_lr: float, gamma: float) -> Policy:
    """base_lr gamma^t.

    >>> exp(base_lr=0.1, gamma=0.5)(2)
    0.025
    """
    check("exp", "base_lr", base_lr, AT_LEAST_0)
    check("exp", "gamma", gamma, AT_LEAST_0)
    return Policy(f"exp({base_lr=}, {gamma=})", lambda t: base_lr * gamma**t)


def inv(base_lr: float, gamma: float, power: float) -> Policy:
    """base_lr (1 + gamma t)^-power.

    Args:
        base_lr: the rate at first.
        gamma: how fast it falls, at least 0, per iteration.
        power: how far it bends.

    >>> inv(base_lr=0.1, gamma=1.0, power=2.0)(1)
    0.025
    """
    check("inv", "base_lr", base_lr, AT_LEAST_0)
    check("inv", "gamma", gamma, AT_LEAST_0)
    check("inv", "power", power, ANY)
    return Policy(f"inv({base_lr=}, {gamma=}, {power=})", lambda t: base_lr * (1.0 + gamma * t) ** -power)


def poly(base_lr: float, power: float, max_iter: int) -> Policy:
    """base_lr (1 - t / max_iter)^power: 0 at max_iter, and from there on.

    Args:
        base_lr: the rate at first.
        power: 1 is a straight line; below 1 the fall is late, above it early. Above 0.
        max_iter: iterations of the whole training.

    >>> policy = poly(base_lr=0.1, power=2.0, max_iter=100)
    >>> policy(50), policy(100), policy(101)
    (0.025, 0.0, 0.0)
    """
    check("poly", "base_lr", base_lr, AT_LEAST_0)
    check("poly", "power", power, ABOVE_0)
    check("poly", "max_iter", max_iter, COUNT)
    return Policy(f"poly({base_lr=}, {power=}, {max_iter=})", lambda t: base_lr * max(1.0 - t / max_iter, 0.0) ** power)


def sigmoid(base_lr: float, gamma: float, stepsize: int) -> Policy:
    """base_lr / (1 + exp(-gamma (t - stepsize))): half of base_lr at iteration stepsize.

    With a gamma above 0 the rate rises towards base_lr, with one below 0 it falls towards 0. (Caffe's formula is often
    said to be a decay; newer versions of it accept no gamma below 0, so there it only rises.)

    Args:
        base_lr: the larger end of the curve.
        gamma: how steep, per iteration; its sign says which way.
        stepsize: the iteration of the middle.

    >>> policy = sigmoid(base_lr=0.1, gamma=-0.1, stepsize=100)
    >>> round(policy(0), 4), policy(100), round(policy(200), 4)
    (0.1, 0.05, 0.0)
    """
    check("sigmoid", "base_lr", base_lr, AT_LEAST_0)
    check("sigmoid", "gamma", gamma, ANY)
    check("sigmoid", "stepsize", stepsize, COUNT)

    def rate(t: int) -> float:
        small = math.exp(-abs(gamma * (t - stepsize)))  # at most 1: nothing overflows
        return base_lr * (1.0 if gamma * (t - stepsize) >= 0 else small) / (1.0 + small)

    return Policy(f"sigmoid({base_lr=}, {gamma=}, {stepsize=})", rate)


def cosine(base_lr: float, max_iter: int, min_lr: float = 0.0) -> Policy:
    """min_lr + (base_lr - min_lr) (1 + cos(pi t / max_iter)) / 2, and min_lr from max_iter on.

    Args:
        base_lr: the rate at first.
        max_iter: iterations of the whole training.
        min_lr: the rate at the end.

    Source: Loshchilov, Hutter 2017, equation 5, without restarts.

    >>> policy = cosine(base_lr=0.1, max_iter=100)
    >>> policy(0), round(policy(50), 6), policy(100)
    (0.1, 0.05, 0.0)
    """
    check("cosine", "base_lr", base_lr, AT_LEAST_0)
    check("cosine", "max_iter", max_iter, COUNT)
    check("cosine", "min_lr", min_lr, AT_LEAST_0)
    return Policy(
        f"cosine({base_lr=}, {max_iter=}, {min_lr=})",
        lambda t: min_lr + (base_lr - min_lr) * (1.0 + math.cos(math.pi * min(t, max_iter) / max_iter)) / 2.0,
    )


def warmup(iterations: int, then: Policy, start: float = 0.0) -> Policy:
    """A straight rise from `start` to the first rate of `then`, which follows, counted from its own start.

    The rate at iteration t < iterations is start + (then(0) - start) t / iterations; at t it is then(t - iterations).

    Args:
        iterations: length of the rise; 0 is none.
        then: what follows.
        start: the rate of iteration 0.

    Source: Goyal et al. 2017, section 2.2.

    >>> policy = warmup(4, then=step(0.1, 0.5, 10))
    >>> [round(policy(t), 3) for t in (0, 2, 4, 13, 14)]
    [0.0, 0.05, 0.1, 0.1, 0.05]
    """
    check("warmup", "iterations", iterations, _AT_LEAST_0_WHOLE)
    check("warmup", "start", start, AT_LEAST_0)
    _check_policy("warmup", then)

    def rate(t: int) -> float:
        return start + (then(0) - start) * t / iterations if t < iterations else then(t - int(iterations))

    return Policy(f"warmup({iterations}, then={then}, {start=})", rate)


def sequence(*stages: tuple[Policy, int], last: Policy) -> Policy:
    """Policies one after another, each for a number of iterations and counted from its own start.

    Args:
        stages: pairs of a policy and how many iterations it holds.
        last: what holds from there on.

    >>> policy = sequence((fixed(0.1), 10), (exp(0.1, 0.5), 3), last=fixed(0.001))
    >>> policy(9), policy(11), policy(12), policy(13)
    (0.1, 0.05, 0.025, 0.001)
    """
    for policy, iterations in stages:
        _check_policy("sequence", policy)
        check("sequence", "the length of a stage", iterations, COUNT)
    _check_policy("sequence", last)

    def rate(t: int) -> float:
        for policy, iterations in stages:
            if t < iterations:
                return policy(t)
            t -= int(iterations)
        return last(t)

    return Policy(f"sequence({', '.join(str(stage) for stage in stages)}, {last=})", rate)


def _check_policy(owner: str, policy: object) -> None:
    if not isinstance(policy, Policy):
        raise UserError(f"{owner}: a policy is missing", expected="a policy, like fixed(0.1)", found=repr(policy))


TOPICS = (
    Topic(
        "Learning-rate policies",
        "学习率策略",
        lectures=(2, 3),
        code=("inv", "multistep", "cosine", "warmup"),
        command="chainrule show policies",
    ),
)
