"""What an agent sees and does: discrete and continuous spaces, and the way between an agent's tensors and gymnasium.

An agent has numbers from 0 for what is discrete and float32 for what is continuous. An environment may begin to count
elsewhere, bound its actions, and have another floating-point type: that is settled here, once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError


class Space(Protocol):
    """Of observations or of actions."""

    @property
    def kind(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]:
        """Of one value, as the agent has it."""
        ...

    @property
    def dtype(self) -> Any:
        """NumPy's, of the agent's values."""
        ...

    def read(self, value: Any) -> np.ndarray:
        """A value of the environment as the agent has it."""
        ...

    def for_environment(self, values: Any) -> list[Any]:
        """The agent's values (n, ...) as the environment takes them, one by one; in its bounds."""
        ...

    def draw(self, count: int) -> Tensor:
        """Values (count, ...) at random, by torch's generator."""
        ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class DiscreteSpace:
    """n values; the environment calls the first `start`, the agent 0.

    >>> DiscreteSpace(2, start=5).for_environment(torch.tensor([1, 0]))
    [6, 5]
    """

    n: int
    start: int = 0
    kind: ClassVar[str] = "discrete"
    shape: ClassVar[tuple[int, ...]] = ()
    dtype: ClassVar[Any] = np.int64

    def read(self, value: Any) -> np.ndarray:
        return np.asarray(int(value) - self.start, np.int64)

    def for_environment(self, values: Any) -> list[Any]:
        return [value + self.start for value in np.asarray(values).tolist()]

    def draw(self, count: int) -> Tensor:
        return torch.randint(self.n, (count,))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "n": self.n, "start": self.start}


@dataclass(frozen=True)
class ContinuousSpace:
    """Numbers of a shape within bounds, which may be infinite; one number bounds all of them.

    >>> space = ContinuousSpace((1,), low=-2.0, high=2.0)
    >>> space.for_environment(torch.tensor([[5.0], [0.5]])), space.from_unit(torch.tensor([-1.0, 0.0, 1.0])).tolist()
    ([array([2.], dtype=float32), array([0.5], dtype=float32)], [-2.0, 0.0, 2.0])
    """

    shape: tuple[int, ...]
    low: float | tuple[float, ...] = -math.inf
    high: float | tuple[float, ...] = math.inf
    type: str = "float32"  # the environment's
    kind: ClassVar[str] = "continuous"
    dtype: ClassVar[Any] = np.float32

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest value of each number, both of the space's shape."""
        low, high = (np.asarray(bound, np.float64) for bound in (self.low, self.high))
        return tuple(b.reshape(self.shape) if b.ndim else np.broadcast_to(b, self.shape) for b in (low, high))  # type: ignore[return-value]

    @property
    def size(self) -> int:
        """How many numbers a value has."""
        return math.prod(self.shape)

    def read(self, value: Any) -> np.ndarray:
        return np.asarray(value, np.float32).reshape(self.shape)

    def for_environment(self, values: Any) -> list[Any]:
        values = np.asarray(values)
        return list(np.clip(values.reshape(len(values), *self.shape), *self.bounds).astype(self.type))

    def from_unit(self, values: Tensor) -> Tensor:
        """Values in [-1, 1], as tanh gives them, stretched to the bounds, which must be finite."""
        low, high = (torch.as_tensor(np.array(b), dtype=values.dtype, device=values.device) for b in self.bounds)
        return low + (values + 1) / 2 * (high - low)

    def draw(self, count: int) -> Tensor:
        """Uniform where both bounds are finite; else standard normal, within what bounds there are."""
        low, high = (torch.from_numpy(np.array(b, np.float32)) for b in self.bounds)
        finite = torch.isfinite(low) & torch.isfinite(high)
        uniform = torch.where(finite, low, 0) + torch.rand(count, *self.shape) * torch.where(finite, high - low, 0)
        return torch.where(finite, uniform, torch.randn(count, *self.shape).clamp(low, high))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "shape": list(self.shape), "low": _plain(self.low), "high": _plain(self.high), "type": self.type,
        }  # fmt: skip


def space_from_json(content: dict[str, Any]) -> Space:
    """The space that `to_json` described."""
    if content["kind"] == "discrete":
        return DiscreteSpace(content["n"], content["start"])
    bounds = (_bound(content["low"], -math.inf), _bound(content["high"], math.inf))
    return ContinuousSpace(tuple(content["shape"]), *bounds, content["type"])


def space_of(space: Any, what: str, name: str) -> Space:
    """The space of an environment; `what` it is, and the name of the environment, are for messages.

    Raises:
        UserError: it is neither discrete nor a box of numbers.
    """
    from gymnasium.spaces import Box, Discrete

    if isinstance(space, Discrete):
        return DiscreteSpace(int(space.n), int(space.start))
    if isinstance(space, Box):
        return ContinuousSpace(tuple(space.shape), _common(space.low), _common(space.high), str(space.dtype))
    raise UserError(
        f"the {what} of {name} are of a kind that no agent here takes",
        where=f"{what.removesuffix('s')} space",
        expected="Discrete, or Box",
        found=space,
        cure="an environment with such a space, or a wrapper such as gymnasium.wrappers.FlattenObservation",
    )


def _common(bound: np.ndarray) -> float | tuple[float, ...]:
    values = bound.astype(np.float64).ravel().tolist()
    return values[0] if len(set(values)) == 1 else tuple(values)


def _plain(bound: float | Sequence[float]) -> Any:
    """As JSON, which has no infinity: None is none."""
    if isinstance(bound, Sequence):
        return [_plain(b) for b in bound]
    return bound if math.isfinite(bound) else None


def _bound(content: Any, none: float) -> Any:
    return (
        tuple(none if b is None else b for b in content)
        if isinstance(content, list)
        else none
        if content is None
        else content
    )
