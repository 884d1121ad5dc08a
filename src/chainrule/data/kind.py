"""A kind of data: how it is recognised, and what `chainrule data check` says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chainrule.data.layout import Layout


@dataclass(frozen=True)
class Kind:
    """One entry of `chainrule.data.check.KINDS`, written beside the readers of its kind.

    Attributes:
        name: of the kind, as the records of known data sets have it.
        matches: given a layout and the column of labels that the user named, whether the place holds this kind. It
            looks at names and headers alone, and is asked only where no kind before it in KINDS has matched.
        check: given what the user wrote, the layout and the column of labels, reads all of the data, and returns what
            they are as plain JSON; UserError names what is wrong.
    """

    name: str
    matches: Callable[[Layout, str | None], bool]
    check: Callable[[str, Layout, str | None], dict[str, Any]]
