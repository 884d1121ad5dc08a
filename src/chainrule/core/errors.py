"""The ways a command can end other than well. Each carries its exit status; none shows a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chainrule.core.language.translation import translate


class ChainruleError(Exception):
    """Any failure that is told in words. `exit_status` is what the command exits with.

    `answers` are those that `predict` had found before it, where it came to one that failed.
    """

    exit_status = 1
    answers: Sequence[dict[str, Any]] = ()

    def __str__(self) -> str:
        """The words, in the language that is spoken (`chainrule.set_language`)."""
        return translate(super().__str__())


def in_english(error: BaseException) -> str:
    """The words of an error for a file, whose language is English.

    >>> in_english(UserError("the file is empty"))
    'the file is empty'
    """
    return str(error.args[0]) if isinstance(error, ChainruleError) and error.args else str(error)


class UserError(ChainruleError, ValueError):
    """The input is wrong: what, where, what was expected, what was found, and the cure.

    It is a ValueError, so that code which knows nothing of Chainrule can catch it as what it is.

    >>> print(UserError("the label is out of range", where="y[3]", expected="0 to 9", found="12"))
    the label is out of range
      where:    y[3]
      expected: 0 to 9
      found:    12
    """

    exit_status = 2

    def __init__(
        self, what: str, *, where: object = None, expected: object = None, found: object = None, cure: object = None
    ) -> None:
        parts = {"where": where, "expected": expected, "found": found, "cure": cure}
        lines = [f"  {name + ':':<9} {text}" for name, text in parts.items() if text is not None]
        super().__init__("\n".join([what, *lines]))


class RunFailed(ChainruleError):
    """The input was right and the run could not be finished: a full disk, a loss that is NaN."""


class Interrupted(ChainruleError):
    """Stopped by a signal after saving; `exit_status` is 128 + the signal's number, as shells have it."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


MOST_NAMES = 40  # that a message enumerates


def unknown(
    what: str,
    name: str,
    known: Iterable[str],
    *,
    near: Iterable[str] = (),
    expected: str = "one of ",
    cure: str | None = None,
    where: object = None,
) -> UserError:
    """The error for a name that is not among the known ones; it says which are near, in any case, of `near` too.

    >>> print(unknown("there is no fruit", "aple", ["apple", "pear"]))
    there is no fruit 'aple'; did you mean apple?
      expected: one of apple, pear
    """
    import difflib

    names = list(known)

    def close_among(words: Iterable[str]) -> list[str]:
        by_lower = {word.lower(): word for word in words}
        return [by_lower[word] for word in difflib.get_close_matches(name.strip().lower(), by_lower, n=3)]

    alike = [*close_among(names), *close_among(near)]
    within = [each for each in names if len(name) > 2 and name.lower() in each.lower()]
    close = list(dict.fromkeys([*alike[:3], *within, *alike]))[:4]
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    if len(names) > MOST_NAMES and cure is not None:  # which says where all of them stand
        return UserError(f"{what} {name!r}{hint}", where=where, cure=cure)
    return UserError(f"{what} {name!r}{hint}", where=where, expected=expected + ", ".join(names), cure=cure)


def missing_extra(package: str, extra: str) -> UserError:
    """The error for an optional dependency that is not installed."""
    return UserError(f"this needs the package {package}", cure=f"pip install 'chainrule[{extra}]'")
