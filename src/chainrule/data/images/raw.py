"""Images as they were found, before they are squared, split and made tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

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
    """Splits as the publisher or the user made them (`train` always), and the names of the classes."""

    splits: dict[str, RawImages]
    classes: list[str]
    where: str
