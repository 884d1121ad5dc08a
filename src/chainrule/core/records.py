"""Records, which are dataclasses and NamedTuples: their fields, and the tensors that lie in them at any depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor

Value = TypeVar("Value")


def is_record(value: object) -> bool:
    """Whether it is an instance of a dataclass or of a NamedTuple."""
    if isinstance(value, type):
        return False
    return dataclasses.is_dataclass(value) or (isinstance(value, tuple) and hasattr(value, "_fields"))


def fields(record: Any) -> dict[str, Any]:
    """What a record holds, by name, in its own order."""
    if dataclasses.is_dataclass(record):
        return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return dict(zip(record._fields, record, strict=True))


def replaced(record: Value, values: Mapping[str, Any]) -> Value:
    """The record with other values in some of its fields; itself where there are none."""
    if not values:
        return record
    if dataclasses.is_dataclass(record):
        return dataclasses.replace(record, **values)  # type: ignore[type-var]
    return record._replace(**values)  # type: ignore[attr-defined]


def map_tensors(value: Value, change: Callable[[Tensor], Tensor]) -> Value:
    """The same structure of records, lists, tuples and dicts with each tensor changed; whatever else it holds stays."""
    found: Any = value
    if isinstance(value, Tensor):
        found = change(value)
    elif is_record(value):
        parts = {name: (part, map_tensors(part, change)) for name, part in fields(value).items()}
        found = replaced(value, {name: new for name, (old, new) in parts.items() if new is not old})
    elif isinstance(value, (list, tuple)):
        found = type(value)(map_tensors(part, change) for part in value)
    elif isinstance(value, dict):
        found = {name: map_tensors(part, change) for name, part in value.items()}
    return found


def leaves(value: Any, name: str = "", entry: int | None = None) -> Iterator[tuple[str, int | None, Tensor]]:
    """Each tensor with the name of its field, and its number in the list that it stands in, if any.

    In a list of lists the number is that in the outer one.

    >>> import torch
    >>> found = leaves({"x": torch.ones(2), "target": {"boxes": [torch.ones(1, 4), torch.ones(3, 4)]}})
    >>> [(name, entry, tuple(tensor.shape)) for name, entry, tensor in found]
    [('x', None, (2,)), ('target.boxes', 0, (1, 4)), ('target.boxes', 1, (3, 4))]
    """
    if isinstance(value, Tensor):
        yield name, entry, value
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from leaves(part, name, number if entry is None else entry)
    elif is_record(value) or isinstance(value, (tuple, dict)):
        named = value if isinstance(value, dict) else fields(value) if is_record(value) else dict(enumerate(value))
        for key, part in named.items():
            yield from leaves(part, f"{name}.{key}" if name else str(key), entry)
