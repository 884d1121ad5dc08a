"""Environments as a kind of data: an agent's samples are what it is answered there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.layout import Layout
from chainrule.systems.reinforcement.environments import ANYTHING, EnvironmentSpec, environment_spec

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


ENVIRONMENT = Kind(
    name="environment",
    noun="an environment",
    spec=EnvironmentSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
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
