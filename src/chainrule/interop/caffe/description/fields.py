"""A message that remembers which of its fields were read, so that one which nobody reads is told and not passed over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

# Fields on which results do not depend: how Caffe computes, what it prints and keeps, where it gets its data.
HARMLESS = frozenset(
    {
        "engine",
        "force_nd_im2col",
        "debug_info",
        "stable_prod_grad",
        "share_in_parallel",
        "display",
        "average_loss",
        "snapshot",
        "snapshot_prefix",
        "snapshot_diff",
        "snapshot_format",
        "snapshot_after_train",
        "solver_mode",
        "device_id",
        "layer_wise_reduce",
        "test_compute_loss",
        "test_initialization",
    }
)


class Fields:
    """A protobuf message, read like one; `unread` says what is set in it and was never asked for.

    Readers take their settings from it as from the message itself. So what a reader does not know is found without a
    list of what it does know.

    >>> from chainrule.interop.caffe.description.schema import message
    >>> fields = Fields(message("Pooling")(kernel_size=2, pad=1, stride=1))
    >>> fields.kernel_size, list(fields.unread())  # a stride of 1 is the default
    (2, [('pad', 1)])
    """

    def __init__(self, message: Any) -> None:
        self._message, self._read = message, set[str]()
        self._inner: dict[str, list[Fields]] = {}

    @property
    def DESCRIPTOR(self) -> Any:  # protobuf's own name  # noqa: N802
        return self._message.DESCRIPTOR

    def HasField(self, name: str) -> bool:  # noqa: N802
        self._read.add(name)
        return bool(self._message.HasField(name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(self._message, name)
        self._read.add(name)
        if self.DESCRIPTOR.fields_by_name[name].message_type is None:
            return value
        single = hasattr(value, "ListFields")
        if name not in self._inner:
            self._inner[name] = [Fields(part) for part in ([value] if single else value)]
        return self._inner[name][0] if single else self._inner[name]

    def unread(self, but: frozenset[str] = frozenset(), path: str = "") -> Iterator[tuple[str, Any]]:
        """Fields that are set to another value than their default and that nobody read, with that value.

        Args:
            but: fields that are not looked into.
            path: what is put in front of each name.
        """
        for field, value in self._message.ListFields():
            name = field.name
            if name in self._inner:
                for part in self._inner[name] if name not in but else ():
                    yield from part.unread(path=f"{path}{name}.")
            elif name not in self._read and name not in but and (field.message_type or value != field.default_value):
                yield path + name, value

    def nans(self, path: str = "") -> Iterator[str]:
        """Fields whose number is NaN, read or not."""
        yield from _nans(self._message, path)


def _nans(message: Any, path: str) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _nans(part, f"{path}{field.name}.")
        elif field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE) and field.name not in ("data", "diff"):
            numbers = [value] if isinstance(value, float) else value
            if any(math.isnan(number) for number in numbers):
                yield path + field.name
