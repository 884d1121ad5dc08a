"""What builders of layers read settings with: sizes, axes, counts; an error where there is no such thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.core.errors import UserError

Shapes = Sequence[tuple[int, ...]]


def pair(settings: Any, name: str, default: int, height: str = "", width: str = "") -> tuple[int, int]:
    """A size as (vertical, horizontal): of one or two numbers, or of the fields `..._h` and `..._w`."""
    height, width = height or f"{name}_h", width or f"{name}_w"
    value = getattr(settings, name)
    values = list(value) if not isinstance(value, int) else [value] if settings.HasField(name) else []
    if settings.HasField(height) or settings.HasField(width):
        if values:
            raise UserError(f"{name} is given twice", expected=f"{name}, or {height} and {width}", found="both")
        return getattr(settings, height), getattr(settings, width)
    if len(values) > 2:
        raise UserError(f"{name} has too many numbers", expected="1, or 2 for height and width", found=len(values))
    if not values:
        return default, default
    return values[0], values[-1]


def maps(shapes: Shapes) -> tuple[int, ...]:
    """The shape of the first bottom; UserError where it is no maps."""
    if len(shapes[0]) != 4:
        raise UserError("the blob must be maps", expected="four axes (N, C, H, W)", found=shapes[0])
    return shapes[0]


def axis_of(axis: int, shape: tuple[int, ...]) -> int:
    """The axis counted from 0; UserError where there is none."""
    if not -len(shape) <= axis < max(len(shape), 1):
        raise UserError("there is no such axis", expected=f"an axis of {shape}", found=axis)
    return axis % max(len(shape), 1)


def covered(shape: tuple[int, ...], axis: int, num_axes: int) -> tuple[int, ...]:
    """The sizes of so many axes from one on, -1 for all that follow."""
    end = len(shape) if num_axes == -1 else axis + num_axes
    if end > len(shape) or num_axes < -1:
        raise UserError("there are not so many axes", expected=f"axes of {shape}", found=f"{num_axes} from {axis} on")
    return shape[axis:end]


def positive(settings: Any, name: str) -> int:
    """A count of 1 or more."""
    value: int = getattr(settings, name)
    if value < 1:
        raise UserError(f"{name} is missing or below 1", expected=f"{name}: 10", found=f"{name}: {value}")
    return value


def within(settings: Any, name: str, low: float, high: float) -> float:
    """A number from `low` to below `high`."""
    value: float = getattr(settings, name)
    if not low <= value < high:
        raise UserError(f"{name} is out of range", expected=f"{low:g} to below {high:g}", found=f"{value:g}")
    return value


def ignored(settings: Any) -> int | None:
    """The label that does not count, or None."""
    return settings.ignore_label if settings.HasField("ignore_label") else None
