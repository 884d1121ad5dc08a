"""What an agent is: it acts, and learns from what came of it. Tables of values, DQN, actor-critic and PPO are agents.

An agent knows no run, no environment's name and no file. The loop (`loop.py`) gives it observations and what followed
its actions, the task (`task.py`) measures it, the recorder (`recorder.py`) writes down what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from chainrule.run.protocols import Stateful
from chainrule.systems.reinforcement.environments import Environments, Step


@dataclass(frozen=True)
class Learnt:
    """What a learning phase says of itself: its loss, other metrics; where the loss is NaN, what is looked at.

    Attributes:
        rerun: calls the networks as the loss did.
        batch: what was learnt from, a record of tensors.
    """

    loss: Tensor
    metrics: Mapping[str, Any] = field(default_factory=dict)
    rerun: Callable[[], object] = lambda: None
    batch: Any = None


class Agent(Protocol):
    """Observations are float32 (n, D), or int64 (n,) where they are discrete; actions int64 (n,) or float32 (n, ...).

    Continuous actions are in the units of the environment; what is beyond its bounds is brought back there.
    """

    def modules(self) -> dict[str, nn.Module]:
        """What answers need and training changes, by name: networks, or a table as a module's buffer."""
        ...

    def example(self, obs: Tensor) -> dict[str, tuple[Tensor, ...]]:
        """What each of `modules` is called with, for observations (1, ...)."""
        ...

    def expect(self, environments: int) -> None:
        """UserError where it cannot learn in so many environments at once."""
        ...

    def start(self, environments: Environments) -> dict[str, Stateful]:
        """Called once, before the first step; gives by name what a checkpoint keeps, the modules among it."""
        ...

    def act(self, obs: Tensor) -> Tensor:
        """The greedy actions, on the CPU: what it does where it is measured."""
        ...

    def explore(self, obs: Tensor, step: int) -> Tensor:
        """The actions, on the CPU, that it tries at this step of its training; random numbers are torch's."""
        ...

    def learn(self, obs: np.ndarray, action: Tensor, seen: Step, step: int) -> Learnt | None:
        """What n transitions teach, `step` of them in all so far; None where they are only stored."""
        ...

    def deployable(self) -> tuple[nn.Module, str, dict[str, Any]]:
        """What an exported file has: a module that takes observations (B, ...), its output's name, notes on it."""
        ...


@runtime_checkable
class Foresees(Protocol):
    """An agent that knows beforehand what its training would come to."""

    def foresee(self, environments: int) -> list[str]:
        """UserError where it would end before anything is learnt; else what is odd about its settings, in words."""
        ...


@runtime_checkable
class HasActionValues(Protocol):
    """Decides by the value of each action: reports, recordings and answers show them."""

    def values(self, obs: Tensor) -> Tensor:
        """The value of each action (n, A), on the CPU."""
        ...


def is_due(every: int, step: int, stride: int) -> bool:
    """Whether a multiple of `every` was reached in the last `stride` steps.

    >>> [is_due(5, step, 2) for step in (2, 4, 6, 8, 10)]
    [False, False, True, False, True]
    """
    return step // every > (step - stride) // every
