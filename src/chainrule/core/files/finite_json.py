"""Valid JSON of any numbers: JSON has no NaN and no infinity, so null stands for them, and why is told beside.

{"value": null, "not_finite": {"value": "NaN"}}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

REASONS = "not_finite"  # the key that says which numbers were not, and what they were
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: Any, *, indent: int | None = None) -> str:
    """A value as valid JSON.

    Each object at the top, and each object of a list there, has the key `not_finite` where a number in it is not:
    by its place, what it was. `from_json` puts it back.

    >>> to_json({"loss": float("nan"), "bounds": [0.5, float("inf")]})
    '{"loss": null, "bounds": [0.5, null], "not_finite": {"loss": "NaN", "bounds.1": "Infinity"}}'
    """
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(with_reasons(value), indent=indent, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> Any:
    """What `to_json` was given; of JSON that others wrote, what it says.

    >>> from_json('{"loss": null, "not_finite": {"loss": "NaN"}}')
    {'loss': nan}
    """
    return _without_reasons(json.loads(text))


def with_reasons(value: Any) -> Any:
    """The value with None for each number that is not finite, and the reasons beside.

    >>> with_reasons([{"value": float("nan")}, {"value": 1.0}])
    [{'value': None, 'not_finite': {'value': 'NaN'}}, {'value': 1.0}]
    """
    if isinstance(value, (list, tuple)):
        return [with_reasons(each) for each in value]
    reasons: dict[str, str] = {}

    def null(number: Any, place: str) -> Any:
        if isinstance(number, float) and not math.isfinite(number):
            reasons[place] = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
            return None
        return number

    plain = _walk(value, null, "")
    return {**plain, REASONS: reasons} if reasons and isinstance(plain, dict) else plain


def _without_reasons(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_reasons(each) for each in value]
    reasons = value.get(REASONS) if isinstance(value, dict) else None
    if not isinstance(reasons, dict) or not all(reason in _WORDS for reason in reasons.values()):
        return value

    def number(leaf: Any, place: str) -> Any:
        return _WORDS[reasons[place]] if leaf is None and place in reasons else leaf

    return _walk({key: part for key, part in value.items() if key != REASONS}, number, "")


def _walk(value: Any, leaf: Callable[[Any, str], Any], place: str) -> Any:
    """The value with each of its leaves replaced; a leaf's place is the keys and numbers that lead to it."""
    before = f"{place}." if place else ""
    if isinstance(value, Mapping):
        return {key: _walk(part, leaf, f"{before}{key}") for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walk(part, leaf, f"{before}{index}") for index, part in enumerate(value)]
    return leaf(value, place)
