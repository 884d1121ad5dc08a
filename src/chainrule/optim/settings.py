"""The numbers that update rules, policies and initialisers take: what each must be, and the error where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chainrule.core.errors import UserError


@dataclass(frozen=True)
class Bounds:
    """What a number must be, in words and as a test."""

    words: str
    hold: Callable[[float], bool]


ANY = Bounds("a finite number", lambda value: True)
AT_LEAST_0 = Bounds("a number, at least 0", lambda value: value >= 0)
ABOVE_0 = Bounds("a number above 0", lambda value: value > 0)
SHARE = Bounds("a number, at least 0 and below 1", lambda value: 0 <= value < 1)
COUNT = Bounds("a whole number, at least 1", lambda value: value >= 1 and value == int(value))


def check(owner: str, name: str, value: Any, bounds: Bounds, cure: str | None = None) -> None:
    """UserError unless `value` is a finite number within `bounds`.

    >>> check("SGD", "momentum", 1.0, SHARE)
    Traceback (most recent call last):
        ...
    chainrule.core.errors.UserError: SGD: momentum cannot be 1.0
      expected: a number, at least 0 and below 1
      found:    1.0
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and bounds.hold(value)):
        raise UserError(f"{owner}: {name} cannot be {value!r}", expected=bounds.words, found=repr(value), cure=cure)


def check_choice(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """UserError unless `value` is one of `choices`."""
    if value not in choices:
        raise UserError(f"{owner}: {name} cannot be {value!r}", expected=" or ".join(choices), found=repr(value))
