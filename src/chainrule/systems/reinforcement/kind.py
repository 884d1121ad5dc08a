"""Environments as a kind of data: an agent's samples are what it is answered there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.core.errors import UserError
from chainrule.data.given.inputs import numbers_given
from chainrule.data.inputs import InMemory
from chainrule.data.layout import Layout
from chainrule.systems.reinforcement.environments import ANYTHING, EnvironmentSpec, environment_spec
from chainrule.systems.reinforcement.spaces import DiscreteSpace

_ID = re.compile(r"([\w.]+:)?[\w/.-]+-v\d+$")  # CartPole-v1, ALE/Pong-v5, module:Own-v0


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A name as gymnasium gives its environments; whether there is such a one the reader finds."""
    if layout.form != "name":
        return Miss()
    return (
        Match("the name of an environment") if _ID.match(str(layout)) else Miss("a name as CartPole-v1", readable=True)
    )


def _read(layout: Layout, target: str | None) -> EnvironmentSpec:
    return environment_spec(str(layout), ANYTHING)


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """The environment made; the sizes of its spaces, its limits."""
    spec = environment_spec(str(layout), ANYTHING)
    return {
        "kind": "environment",
        "where": spec.id,
        "found": spec.counts,
        "max episode steps": spec.max_episode_steps or "none",
        "reward threshold": spec.reward_threshold if spec.reward_threshold is not None else "none",
        "made": "episodes, by reset seeds of their own for each split",
    }


def example(folder: Path) -> str:
    """A pole on a cart; nothing is written."""
    return "CartPole-v1"


def ask(spec: Mapping[str, Any], folder: Path) -> str:
    """An observation."""
    return ",".join(["0.01"] * spec["obs_size"])


def given(value: Any, spec: EnvironmentSpec, where: str) -> list[str]:
    """Observations that Python gives: an array as the environment gives them, or a batch of these."""
    space = spec.observations
    shape = () if isinstance(space, DiscreteSpace) else tuple(space.shape)
    values = numbers_given(value, where, f"an observation {shape}, or a batch of them")
    if values.shape[values.ndim - len(shape) :] != shape or values.ndim > len(shape) + 1:
        raise UserError(
            "the observation has another shape", where=where, expected=f"{shape}, or a batch", found=values.shape
        )
    batch = values.reshape(-1, max(1, values.size if values.ndim == len(shape) else values[0].size))
    return [
        InMemory(where if len(batch) == 1 else f"{where}, {i}", [repr(float(v)) for v in row])
        for i, row in enumerate(batch)
    ]


ENVIRONMENT = Kind(
    name="environment",
    noun="an environment",
    spec=EnvironmentSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
    given=given,
    describe=(
        Row(
            "an environment",
            "the name of one of gymnasium with a continuous observation space and a discrete action space",
            "环境",
            "gymnasium 里观测空间连续、动作空间离散的环境名",
        ),
    ),
    shares=False,
)
