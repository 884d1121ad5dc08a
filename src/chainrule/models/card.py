"""A card: what is known of a model, as a plain record beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Card:
    """Source, deviations, canonical input and what the common tests need.

    `build(**config)` makes the model; `example(batch_size)` gives inputs of canonical shape for the default
    configuration, `tiny_example(batch_size)` for `tiny`, the small configuration that tests use. `skip` maps the name
    of a common test to the reason why it cannot hold for this model.
    """

    name: str
    source: str
    build: Callable[..., Any]
    example: Callable[[int], tuple[Any, ...]]
    deviations: tuple[str, ...] = ()
    parameters: int | None = None  # the published count for the default configuration
    tiny: Mapping[str, Any] = field(default_factory=dict)
    tiny_example: Callable[[int], tuple[Any, ...]] | None = None
    skip: Mapping[str, str] = field(default_factory=dict)
