"""What a loop gives the Run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

Record_co = TypeVar("Record_co", covariant=True)


class Stateful(Protocol):
    """Whatever can be saved and restored: modules, optimisers, replay memories."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Loader(Protocol[Record_co]):
    """Batches that are a pure function of epoch and position, so that nothing of them needs saving."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Record_co]: ...
