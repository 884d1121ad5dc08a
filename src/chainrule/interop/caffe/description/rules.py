"""Which layers of a description are there: its rules `include` and `exclude` against phase, level and stages.

Source: Caffe, net.cpp, FilterNet, StateMeetsRule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.core.errors import UserError, unknown
from chainrule.interop.caffe.description.schema import ENUMS

PHASES = {word: int(number) for word, number in (entry.split() for entry in ENUMS["Phase"].split(","))}


@dataclass(frozen=True)
class State:
    """What rules ask for.

    >>> from chainrule.interop.caffe.description.schema import message
    >>> rule = message("Rule")(stage=["deploy"])
    >>> State("TEST").meets(rule), State("TEST", stages=("deploy", "fast")).meets(rule), words(rule)
    (False, True, 'stage deploy')
    """

    phase: str
    level: int = 0
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise unknown("there is no phase", self.phase, PHASES)

    def __str__(self) -> str:
        return ", ".join([f"phase {self.phase}", *_level(self.level), *(f"stage {name}" for name in self.stages)])

    def meets(self, rule: Any) -> bool:
        """Whether all that the rule asks for holds."""
        return (
            (not rule.HasField("phase") or rule.phase == PHASES[self.phase])
            and (not rule.HasField("min_level") or self.level >= rule.min_level)
            and (not rule.HasField("max_level") or self.level <= rule.max_level)
            and set(self.stages).issuperset(rule.stage)
            and set(self.stages).isdisjoint(rule.not_stage)
        )

    def admits(self, layer: Any) -> bool:
        """Whether the rules of the layer let it in.

        Raises:
            UserError: it has rules of both kinds.
        """
        if layer.include and layer.exclude:
            raise UserError("rules are either include or exclude", found="both")
        if layer.include:
            return any(self.meets(rule) for rule in layer.include)
        return not any(self.meets(rule) for rule in layer.exclude)

    def cure(self, layers: Sequence[Any]) -> str | None:
        """The words that let the first of these layers in that stages, a level or a phase would let in."""
        for layer in layers:
            for rule in layer.include:
                said = [f"stage={','.join(dict.fromkeys([*self.stages, *rule.stage]))}"] if rule.stage else []
                said += (
                    [f"level={rule.min_level}"] if rule.HasField("min_level") and self.level < rule.min_level else []
                )
                if rule.HasField("phase") and rule.phase != PHASES[self.phase]:
                    said.append(f"phase={_phase(rule.phase)}")
                if said and not set(self.stages) & set(rule.not_stage):
                    return " ".join(said)
        return None


def words(rule: Any) -> str:
    """What a rule asks for."""
    parts = [f"phase {_phase(rule.phase)}"] if rule.HasField("phase") else []
    parts += [f"stage {name}" for name in rule.stage] + [f"not stage {name}" for name in rule.not_stage]
    parts += [f"level {rule.min_level} or more"] if rule.HasField("min_level") else []
    parts += [f"level {rule.max_level} or less"] if rule.HasField("max_level") else []
    return " and ".join(parts) or "every state"


def belongs(layer: Any) -> str:
    """Where a layer is there: `in stage deploy`, `but in phase TEST`."""
    if layer.include:
        return "in " + " or in ".join(words(rule) for rule in layer.include)
    return "but in " + " or in ".join(words(rule) for rule in layer.exclude)


def _phase(number: int) -> str:
    return next(word for word, value in PHASES.items() if value == number)


def _level(level: int) -> Iterator[str]:
    if level:
        yield f"level {level}"
