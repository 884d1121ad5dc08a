"""Metrics of the user's own, beside those that a task has, and which of all of them chooses the weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import ChainruleError, RunFailed, UserError
from chainrule.core.own_code.loading import place_of, said

PROBABILITIES = ("probs", "probabilities")


class OwnMetrics:
    """The user's metrics: (answers, targets) to numbers by name.

    Args:
        found: a function that gives a number or a dictionary of numbers, or a dictionary of functions that give a number.
            One whose first parameter is called `probs` is given probabilities, any other logits (numbers, for regression).
        taken: the names of metrics that the task has itself.

    It is called with tensors on the CPU, answers (N, K) or (N,) and targets (N,), of a whole split.

    Raises:
        UserError: it is nothing of the kind; a name is taken.

    >>> half = OwnMetrics(lambda answers, y: 0.5, taken=())
    >>> half(torch.zeros(2, 2), torch.zeros(2))
    {'lambda': 0.5}
    """

    def __init__(self, found: Any, taken: Collection[str]) -> None:
        functions = dict(found) if isinstance(found, Mapping) else {_name_of(found): found}
        wrong = next((f"{n}: {type(f).__name__}" for n, f in functions.items() if not callable(f)), None)
        if not functions or wrong is not None:
            raise UserError(
                "these are no metrics",
                expected="a function of answers and targets, or a dictionary of such functions by name",
                found=wrong or "an empty dictionary",
            )
        self.functions: dict[str, Callable[..., Any]] = functions
        self.taken = tuple(taken)
        self.names: tuple[str, ...] = ()

    def __call__(self, answers: Tensor, y: Tensor) -> dict[str, float]:
        answers, y = answers.detach().cpu(), y.detach().cpu()
        values: dict[str, float] = {}
        for name, function in self.functions.items():
            given = answers.softmax(1) if answers.dim() == 2 and _first(function) in PROBABILITIES else answers
            try:
                value = function(given, y)
            except ChainruleError:
                raise
            except Exception as error:
                place = place_of(error)
                where = f"\n  where:    {place}" if place else ""
                raise RunFailed(f"the metric {name} fails: {said(error)}{where}") from error
            values |= _numbers(name, value)
        clash = next((name for name in values if name in self.taken), None)
        if clash is not None:
            raise UserError(
                "a metric has the name of one that is there already",
                found=clash,
                expected=f"another than {', '.join(self.taken)}",
                cure=f"own_{clash}",
            )
        if self.names and tuple(values) != self.names:
            raise RunFailed(f"the metrics have changed their names: {', '.join(self.names)}, then {', '.join(values)}")
        return values

    def try_out(self, answers: Tensor, y: Tensor) -> None:
        """Calls them once, on answers that were made up, so that what is wrong is told before the first step."""
        try:
            self.names = tuple(self(answers, y))
        except RunFailed as error:
            raise UserError(str(error)) from error


def own_metrics(found: Any, taken: Collection[str], num_classes: int) -> OwnMetrics | None:
    """The user's metrics, tried on answers that were made up; None where there are none. 0 classes mean regression."""
    if found is None:
        return None
    metrics = OwnMetrics(found, taken)
    with torch.random.fork_rng(devices=[]):
        metrics.try_out(*_made_up(num_classes))
    return metrics


def _made_up(num_classes: int) -> tuple[Tensor, Tensor]:
    """Logits (N, K) and classes (N,), each class four times; without classes numbers (N,) and numbers (N,)."""
    generator = torch.Generator().manual_seed(0)
    count = 4 * max(num_classes, 4)
    if not num_classes:
        answers, y = torch.randn(2, count, generator=generator)
        return answers, y
    return torch.randn(count, num_classes, generator=generator), torch.arange(count) % num_classes


def _numbers(name: str, value: Any) -> dict[str, float]:
    """What a metric gave as numbers by name."""
    parts = dict(value) if isinstance(value, Mapping) else {name: value}
    numbers: dict[str, float] = {}
    for key, part in parts.items():
        one = (
            part.item() if hasattr(part, "item") and getattr(part, "size", None) is not None and _single(part) else part
        )
        if isinstance(one, bool) or not isinstance(one, (int, float)) or not isinstance(key, str):
            raise UserError(
                f"the metric {name} gives something else than a number",
                expected="a number, or a dictionary of numbers by name",
                found=f"{key}: {_shown(part)}" if isinstance(value, Mapping) else _shown(part),
            )
        numbers[key] = float(one)
    return numbers


def _single(part: Any) -> bool:
    return (part.numel() if isinstance(part, Tensor) else part.size) == 1


def _shown(part: Any) -> str:
    shape = f" {tuple(part.shape)}" if hasattr(part, "shape") else ""
    return f"{type(part).__name__}{shape or ' ' + repr(part)[:40]}"


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__)).strip("<>")


def _first(function: Callable[..., Any]) -> str:
    try:
        return next(iter(inspect.signature(function).parameters), "")
    except (TypeError, ValueError):  # some functions written in C
        return ""
