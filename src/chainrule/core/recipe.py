"""One function a published experiment: data + model + criterion + optimisation, all numbers visible.

A recipe is a function `(run, *, settings...) -> System`. Its keyword-only parameters are its settings. The module
of a recipe imports no PyTorch at its top, so that listing all of them is quick; the function imports what it builds.
Nothing is registered by hand: a module that lies in this folder is found.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chainrule.core.course import Topic


@dataclass(frozen=True)
class Target:
    """What a recipe aims at: the figure, where it was published, and the protocol that it was measured by."""

    metric: str
    value: float
    data: str
    source: str
    protocol: str
    lower_is_better: bool = True


@dataclass(frozen=True)
class Recipe:
    """The record of a recipe; `build(run, **settings)` makes the system.

    `tiny` holds settings (and `data`) with which it trains in a few seconds, for the tests over all recipes.
    `summary_zh` is the summary in Chinese, for the catalogue of recipes; `topics` are those of the course that it serves.
    """

    name: str
    task: str
    data: str
    source: str
    build: Callable[..., Any]
    model: str | None = None  # the name that chainrule.models.build knows; None where an experiment has many or none
    target: Target | None = None
    tiny: Mapping[str, Any] = field(default_factory=dict)
    summary_zh: str = ""
    topics: tuple[Topic, ...] = ()

    @property
    def family(self) -> str:
        """The room below `chainrule.systems` that the recipe stands in."""
        return self.build.__module__.removeprefix("chainrule.systems.").partition(".")[0].replace("_", "-")

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    @property
    def advice(self) -> str:
        """What the recipe says of its settings: its docstring below the first line."""
        return (inspect.getdoc(self.build) or "").partition("\n")[2].strip()


def recipe(
    name: str,
    *,
    task: str,
    data: str,
    source: str,
    model: str | None = None,
    target: Target | None = None,
    tiny: Mapping[str, Any] | None = None,
    summary_zh: str = "",
    topics: tuple[Topic, ...] = (),
) -> Callable[[Callable[..., Any]], Recipe]:
    """Turns a function `(run, *, settings...) -> System` into a Recipe."""

    def wrap(build: Callable[..., Any]) -> Recipe:
        return Recipe(name, task, data, source, build, model, target, tiny or {}, summary_zh, topics)

    return wrap
