"""Settings of how data are read: the encoding of a file, the kinds of columns. A kind has them, and not a recipe."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """A setting of how data of some kinds are read.

    A module that has one of these under a name is found by itself (`chainrule.core.discovery.options_of`), so it imports
    nothing heavy: options are known, as settings are, without PyTorch. `train` and `data check` take them as words
    `key=value`, and `run.data.options` holds those that were given; a reader takes `layout.options`.

    Attributes:
        name: what the user writes.
        kinds: the names of the kinds of data whose readers know it.
        type: in the words of `chainrule.core.settings`, as the annotation of a setting has it.
        default: what readers do where it is not given.
        text: a sentence that says what it does.
        text_zh: the same in Chinese.
        later: whether `evaluate` and `predict` take it too, of data that come after training. There it is by default what
            it was in training.
    """

    name: str
    kinds: tuple[str, ...]
    type: Any
    default: Any
    text: str
    text_zh: str
    later: bool = False

    @property
    def parameter(self) -> inspect.Parameter:
        """As the parameter of a function, which is how settings are known."""
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(self.name, kind, default=self.default, annotation=self.type)
