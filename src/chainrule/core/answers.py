"""An answer of `predict`: a dictionary, nested as JSON has it, or flat as a line of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Ranking(dict[str, float]):
    """Names with a number each, the first first: as JSON `{"cat": 0.9, "dog": 0.1}`.

    Args:
        pairs: the names and numbers in order.
        of, by: what they are, for the columns of a table: `top_1_class`, `top_1_probability`, `top_2_class`, ...

    >>> flat({"top": Ranking([("cat", 0.9)], of="class", by="probability")})
    {'top_1_class': 'cat', 'top_1_probability': 0.9}
    """

    def __init__(self, pairs: Iterable[tuple[str, float]], *, of: str, by: str) -> None:
        super().__init__(pairs)
        self.of, self.by = of, by


def flat(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer without nesting, as a line of a table has it.

    A ranking has two columns a place, another dictionary one a key, a list one a place, all with their own name before.

    >>> flat({"input": "a", "values": {"0": 0.5, "1": 2.0}, "forecast": [3.0, 4.0]})
    {'input': 'a', 'values_0': 0.5, 'values_1': 2.0, 'forecast_1': 3.0, 'forecast_2': 4.0}
    """
    found: dict[str, Any] = {}
    for name, value in answer.items():
        found.update(_flat(name, value))
    return found


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Ranking):
        pairs = enumerate(value.items(), 1)
        return {
            f"{name}_{i}_{key}": part for i, pair in pairs for key, part in zip((value.of, value.by), pair, strict=True)
        }
    if isinstance(value, Mapping):
        return flat({f"{name}_{key}": part for key, part in value.items()})
    if isinstance(value, (list, tuple)):
        return flat({f"{name}_{i}": part for i, part in enumerate(value, 1)})
    return {name: value}
