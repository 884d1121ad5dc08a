"""Settings of a recipe: its keyword-only parameters, read from `key=value` words and checked before anything runs.

The signature of the recipe is the only list of its settings: names, types, defaults and ranges stand there.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from chainrule.core.errors import UserError
from chainrule.core.own_code.loading import names_own_code

LARGEST_INT = 2**63 - 1  # of the numbers by which tensors are counted
LARGEST_FLOAT = (2.0 - 2.0**-23) * 2.0**127  # of float32, in which networks learn: a larger setting is infinite there


@dataclass(frozen=True)
class Range:
    """Bounds of a number; `above` excludes the lower bound."""

    low: float | None = None
    high: float | None = None
    above: bool = False

    def holds(self, value: float) -> bool:
        low_ok = self.low is None or (value > self.low if self.above else value >= self.low)
        return low_ok and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'above' if self.above else 'at least'} {self.low:g}"
        high = "" if self.high is None else f"at most {self.high:g}"
        return " and ".join(part for part in (low, high) if part)


@dataclass(frozen=True)
class Own:
    """Code of the user's own: a text FILE.py:NAME; from Python the thing itself may be given."""

    def __str__(self) -> str:
        return "FILE.py:NAME"


@dataclass(frozen=True)
class Named:
    """A file or a folder, by its path; or one of the `names`, which mean something else."""

    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " or ".join(["path", *self.names])


Count = Annotated[int, Range(1)]  # how many of something, at least one
Repeats = Annotated[int, Range(1, 10_000)]  # how often something is done anew: each of them is a training
Size = Annotated[int, Range(0)]  # how many of something, none allowed
Positive = Annotated[float, Range(0, above=True)]  # a learning rate, a temperature
NonNegative = Annotated[float, Range(0)]  # a weight decay, a momentum's lower bound
Fraction = Annotated[float, Range(0, 1)]  # a share or a probability
CodeName = Annotated[str, Own()]  # a network, a loss, metrics of the user's own
PathName = Annotated[str, Named()]  # a run, an image, a file of weights
Preprocessing = Literal["none", "scale", "center", "standardize", "pca", "zca"]  # of rows; see data/preprocess.py


def parse_pairs(words: Iterable[str]) -> dict[str, str]:
    """`["epochs=3", "lr=0.1"]` as a dictionary.

    >>> parse_pairs(["epochs=3", "lr=0.1"])
    {'epochs': '3', 'lr': '0.1'}
    """
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError("a setting is not understood", expected="key=value", found=word)
        name = key.strip().replace("-", "_")
        if name in pairs:
            raise UserError("a setting is given twice", expected="once", found=f"{name}={pairs[name]} and {word}")
        pairs[name] = value.strip()
    return pairs


def parameters(*functions: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of the functions together, with annotations as types."""
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                continue
            annotation = parameter.annotation
            if isinstance(annotation, str):
                annotation = annotation_of(annotation, getattr(function, "__globals__", None))
            found[name] = parameter.replace(annotation=annotation)
    return found


def annotation_of(annotation: str, module_globals: dict[str, Any] | None = None) -> Any:
    """The type that an annotation of our own source text means, never the user's; by default in the words of this module.

    >>> describe(annotation_of("Count | None"))
    'whole number, at least 1 or none'
    """
    module_globals = globals() if module_globals is None else module_globals
    return eval(annotation, module_globals)


def describe(annotation: Any) -> str:
    """A type in the words of an error message."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *rest = get_args(annotation)
        if any(isinstance(r, Own) for r in rest):
            return str(Own())
        if any(isinstance(r, Named) for r in rest):
            return " or ".join(str(r) for r in rest)
        return ", ".join([describe(base), *(str(r) for r in rest if isinstance(r, Range))])
    if origin is Literal:
        return " or ".join(str(choice) for choice in get_args(annotation))
    if origin is tuple:
        return f"comma-separated list of {describe(get_args(annotation)[0])}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in get_args(annotation))
    names = {int: "whole number", float: "number", bool: "yes or no", str: "text", type(None): "none"}
    return names.get(annotation, str(annotation))


def shown_default(value: Any) -> str:
    """A default as it is typed.

    >>> [shown_default(value) for value in (None, True, 0.5, (8, 8), "")]
    ['none', 'yes', '0.5', '8,8', "''"]
    """
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, (tuple, list)):
        return ",".join(map(shown_default, value))
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


def convert(value: Any, annotation: Any) -> Any:
    """`value`, text or already typed, as the annotated type; ValueError where it does not fit.

    >>> convert("1e-3", float), convert("yes", bool), convert("8,16", tuple[int, ...])
    (0.001, True, (8, 16))
    >>> convert(0.5, tuple[float, ...])  # a list of one
    (0.5,)
    """
    value, origin = _plain(value), get_origin(annotation)
    if origin is Annotated:
        base, *rest = get_args(annotation)
        result = convert(value, base)
        if not all(r.holds(result) for r in rest if isinstance(r, Range)):
            raise ValueError(value)
        if any(isinstance(r, Own) for r in rest) and not names_own_code(result):
            raise ValueError(value)
        return result
    if origin is Literal:
        for choice in get_args(annotation):
            if value == choice or (isinstance(value, str) and value == str(choice)):
                return choice
        raise ValueError(value)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        return tuple(
            convert(item.strip() if isinstance(item, str) else item, get_args(annotation)[0]) for item in items
        )
    if origin in (Union, types.UnionType):
        # `none` is none before it is a list of one word, and text, which fits anything, comes last.
        for option in sorted(get_args(annotation), key=lambda a: 0 if a is type(None) else 2 if a is str else 1):
            try:
                return convert(value, option)
            except ValueError:
                continue
        raise ValueError(value)
    return _convert_plain(value, annotation)


def _plain(value: Any) -> Any:
    """Numbers and arrays of NumPy, and tensors, as Python's own; a range as its numbers, a path as text."""
    if isinstance(value, range):
        return list(value)
    if isinstance(value, PurePath):
        return str(value)
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


def _convert_plain(value: Any, kind: type) -> Any:
    if kind is type(None):
        if value is None or value in ("none", "None"):
            return None
    elif kind is bool:
        words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
    elif kind is int:
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            whole = int(value)
            if abs(whole) <= LARGEST_INT:
                return whole
    elif kind is float:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            number = float(value)
            if abs(number) <= LARGEST_FLOAT:  # NaN is not
                return number
    elif kind is str and isinstance(value, str):
        return value
    raise ValueError(value)


def as_word(value: Any) -> str:
    """A value as it is typed: what `convert` reads back.

    >>> as_word(True), as_word((8, 16)), as_word(0.1)
    ('yes', '8,16', '0.1')
    """
    if isinstance(value, (list, tuple)):
        return ",".join(map(as_word, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def takes_own_code(annotation: Any) -> bool:
    """Whether a setting of this type may name code of the user's own.

    >>> takes_own_code(CodeName | None), takes_own_code(str)
    (True, False)
    """
    if get_origin(annotation) is Annotated:
        return any(isinstance(rest, Own) for rest in get_args(annotation)[1:])
    return any(takes_own_code(part) for part in get_args(annotation))


def names_beside_paths(annotation: Any) -> tuple[str, ...] | None:
    """Of a setting that is a path the names that mean something else; None of other settings.

    >>> names_beside_paths(PathName | None), names_beside_paths(str)
    ((), None)
    """
    if get_origin(annotation) is Annotated:
        return next((rest.names for rest in get_args(annotation)[1:] if isinstance(rest, Named)), None)
    parts = (names_beside_paths(part) for part in get_args(annotation))
    return next((names for names in parts if names is not None), None)


def bind(given: Mapping[str, Any], *functions: Callable[..., Any], owner: str) -> dict[str, Any]:
    """Every setting with its value: the given ones converted and checked, the others at their defaults."""
    return bind_to(given, parameters(*functions), owner=owner)


def bind_to(
    given: Mapping[str, Any], known: Mapping[str, inspect.Parameter], *, owner: str, word: str = "setting"
) -> dict[str, Any]:
    """`bind` for parameters that were read already; `word` is what they are called: setting, option."""
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise UserError(
                f"{owner} has no {word} {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""),
                expected="one of " + ", ".join(sorted(known)) if known else f"no {word}",
                found=f"{key}={given[key]}",
            )
    values = {name: parameter.default for name, parameter in known.items()}
    for key, value in given.items():
        try:
            values[key] = convert(value, known[key].annotation)
        except (ValueError, TypeError):
            raise UserError(
                f"the {word} {key!r} of {owner} has the wrong type or range",
                expected=f"{describe(known[key].annotation)} (default {known[key].default}){_beyond(value)}",
                found=f"{key}={value}",
            ) from None
    return values


def _beyond(value: Any) -> str:
    """What is wrong with a number that no setting may have."""
    try:
        size = abs(float(value))
    except (TypeError, ValueError):
        return ""
    except OverflowError:  # of a whole number
        size = LARGEST_FLOAT * 2
    return "" if size <= LARGEST_INT else "; numbers reach to 3.4e38, whole ones to 9.2e18"
