"""Images as they were found, before they are squared, split and made tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.data.formats.content import NAMED, told_as_passed_over
from chainrule.data.images.packed import ImageFile


@dataclass
class RawImages:
    """One split as it was found: uint8 images (N, H, W, C), or files to decode; labels; where each sample stands."""

    labels: np.ndarray
    arrays: np.ndarray | None = None
    files: Sequence[ImageFile] = field(default_factory=list)
    origin: str = ""

    def where(self, index: int) -> str:
        return str(self.files[index]) if self.files else f"{self.origin}, sample {index}"


@dataclass
class RawImageSet:
    """Splits as the publisher or the user made them (`train` always), and the names of the classes.

    Attributes:
        passed_over: how many files that lie there are of which form and were not read.
        notes: what else the user is to know of the reading, in words, a line each.
        columns: of a list of images, which column was taken for what.
    """

    splits: dict[str, RawImages]
    classes: list[str]
    where: str
    passed_over: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)

    def left_aside(self) -> dict[str, Any]:
        """What `data check` says of it: columns, what was passed over, the notes; nothing where there is none."""
        passed_over = dict(list(self.passed_over.items())[:NAMED])
        found = {"columns": self.columns, "passed over": passed_over, "notes": self.notes}
        return {name: value for name, value in found.items() if value}

    def remarks(self) -> list[str]:
        """What training says of the reading: the notes, and what was passed over, by form."""
        return [*self.notes, *told_as_passed_over(self.passed_over)]
