"""An answer of `predict`: a dictionary, nested as JSON has it, or flat as a line of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


class Ranking(dict[str, float]):
    """Names with a number each, the first first: as JSON `{"cat": 0.9, "dog": 0.1}`.

    Args:
        pairs: the names and numbers in order.
        of, by: what they are, for the columns of a table: `top_1_class`, `top_1_probability`, `top_2_class`, ...
        every: gives all names with their numbers in a fixed order, where these are the first of them.

    >>> flat({"top": Ranking([("cat", 0.9)], of="class", by="probability")})
    {'top_1_class': 'cat', 'top_1_probability': 0.9}
    """

    def __init__(
        self,
        pairs: Iterable[tuple[str, float]],
        *,
        of: str,
        by: str,
        every: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(pairs)
        self.of, self.by, self.every = of, by, every


class Scores(dict[str, float]):
    """All names with a number each: as JSON `{"cat": 0.9, "dog": 0.1}`, in a table a column each.

    >>> flat({"probabilities": Scores({"cat": 0.9}, by="probability")})
    {'probability_cat': 0.9}
    """

    def __init__(self, numbers: Mapping[str, float], *, by: str) -> None:
        super().__init__(numbers)
        self.by = by


class Sparse(dict[str, float]):
    """Numbers by name, of which most are 0: as JSON those that are not, in a table a column for each of the `names`.

    >>> flat({"atoms": Sparse({"2": 0.5}, names=["0", "1", "2"])})
    {'atoms_0': 0.0, 'atoms_1': 0.0, 'atoms_2': 0.5}
    """

    def __init__(self, numbers: Mapping[str, float], *, names: Sequence[str]) -> None:
        super().__init__(numbers)
        self.names = names


_PLURALS = {"probability": "probabilities", "score": "scores"}


def completed(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as a file has it: where a ranking names the first of all names, all of them stand behind it.

    >>> top = Ranking([("dog", 0.9)], of="class", by="probability", every=lambda: {"cat": 0.1, "dog": 0.9})
    >>> completed({"input": "a", "top": top})
    {'input': 'a', 'top': {'dog': 0.9}, 'probabilities': {'cat': 0.1, 'dog': 0.9}}
    """
    found: dict[str, Any] = {}
    for name, value in answer.items():
        found[name] = value
        if isinstance(value, Ranking) and value.every is not None:
            found[_PLURALS.get(value.by, f"every_{value.by}")] = Scores(value.every(), by=value.by)
    return found


def without_rest(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer, whose rankings hold no more than they show: so that a list of many answers stays small."""
    for value in answer.values():
        if isinstance(value, Ranking):
            value.every = None
    return answer


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
    if isinstance(value, Scores):
        return {f"{value.by}_{key}": part for key, part in value.items()}
    if isinstance(value, Sparse):
        return {f"{name}_{key}": value.get(key, 0.0) for key in value.names}
    if isinstance(value, Mapping):
        return flat({f"{name}_{key}": part for key, part in value.items()})
    if isinstance(value, (list, tuple)):
        return flat({f"{name}_{i}": part for i, part in enumerate(value, 1)})
    return {name: value}
