"""One function a published experiment: data + model + criterion + optimisation, all numbers visible.

A recipe is a function `(run, *, settings...) -> Task`. Its keyword-only parameters are its settings. The module of a
recipe imports no PyTorch at its top, so that listing all of them is quick; the function imports what it builds. Nothing
is registered by hand: `chainrule.core.discovery` finds the modules called `recipes`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chainrule.core.course import Topic
from chainrule.core.language.chosen import language


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
class Headline:
    """The metrics that sum a run up, the most telling first: the report shows them large, a table shows the first."""

    metrics: tuple[str, ...]

    def of(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Those of them that were measured.

        >>> Headline(("error", "auc")).of({"accuracy": 0.9, "error": 0.1})
        {'error': 0.1}
        """
        return {name: metrics[name] for name in self.metrics if name in metrics}


@dataclass(frozen=True)
class Recipe:
    """The record of a recipe; `build(run, **settings)` makes the task.

    `tiny` holds settings (and `data`) with which it trains in a few seconds, for the tests over all recipes.
    `summary_zh` is the summary in Chinese, for the catalogue of recipes; `topics` are those of the course that it serves.
    """

    name: str
    task: str
    data: str
    source: str
    build: Callable[..., Any]
    model: str | None = None  # the name that chainrule.models.build knows; None for a study, which has many or none
    model_setting: str | None = None  # the setting that chooses the model, where one does
    target: Target | None = None
    headline: Headline | None = None  # None where all metrics are few and equally telling
    tiny: Mapping[str, Any] = field(default_factory=dict)
    summary_zh: str = ""
    topics: tuple[Topic, ...] = ()
    kinds: tuple[str, ...] = ()  # of data that it learns from, the usual one first; () where it makes its own

    @property
    def family(self) -> str:
        """The room below `chainrule.systems` that the recipe stands in."""
        return self.build.__module__.removeprefix("chainrule.systems.").partition(".")[0].replace("_", "-")

    @property
    def is_study(self) -> bool:
        """Whether it measures points instead of training a network: it has no model of its own, and nothing is chosen."""
        return self.model is None

    def model_for(self, settings: Mapping[str, Any]) -> str | None:
        """The name of the model that a run with these settings trains."""
        named = settings.get(self.model_setting, self.model) if self.model_setting else self.model
        return self.model if named == "auto" else named  # where it follows the data, before they are read

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    @property
    def summary_told(self) -> str:
        """The summary in the language that is spoken."""
        return self.summary_zh if self.summary_zh and language() == "zh" else self.summary

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
    model_setting: str | None = None,
    target: Target | None = None,
    headline: Headline | None = None,
    tiny: Mapping[str, Any] | None = None,
    summary_zh: str = "",
    topics: tuple[Topic, ...] = (),
    kinds: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Recipe]:
    """Turns a function `(run, *, settings...) -> Task` into a Recipe."""

    def wrap(build: Callable[..., Any]) -> Recipe:
        return Recipe(
            name,
            task,
            data,
            source,
            build,
            model,
            model_setting,
            target,
            headline,
            tiny or {},
            summary_zh,
            topics,
            kinds,
        )

    return wrap
