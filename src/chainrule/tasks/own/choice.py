"""Which validation metric chooses the weights that are kept: one that a task has, or one of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chainrule.core.errors import UserError, unknown

Choice = tuple[str, bool]  # a validation metric, and whether lower is better


def read_choice(text: str, known: Mapping[str, bool], own: Sequence[str] = ()) -> Choice:
    """`error`, or `max:f1` and `min:cost` where the metric is the user's own.

    Args:
        text: what was asked.
        known: the task's metrics, and of each whether lower is better.
        own: the user's.

    >>> read_choice("error", {"error": True}), read_choice("max:f1", {"error": True}, ["f1"])
    (('error', True), ('f1', False))

    Raises:
        UserError: there is no such metric; it is not said whether the user's own is to be high or low.
    """
    direction, colon, name = text.rpartition(":")
    if colon and direction not in ("min", "max"):
        raise UserError(
            "a choice is not understood", expected="METRIC, min:METRIC or max:METRIC", found=f"choose_by={text}"
        )
    if name not in known and name not in own:
        raise unknown("there is no validation metric", name, [*known, *own], cure="choose_by=METRIC")
    if colon and name in known and known[name] != (direction == "min"):
        raise UserError(
            f"{name} is not to be {'low' if direction == 'min' else 'high'}",
            found=f"choose_by={text}",
            cure=f"choose_by={name}",
        )
    if colon:
        return name, direction == "min"
    if name not in known:
        raise UserError(
            f"it is not said whether {name} is to be high or low",
            expected=f"max:{name} or min:{name}",
            found=f"choose_by={text}",
            cure=f"choose_by=max:{name}",
        )
    return name, known[name]
