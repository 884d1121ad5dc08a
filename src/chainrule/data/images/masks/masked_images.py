"""Images with masks as they were found, before they are split and made tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from chainrule.data.images.masks.meaning import Meaning
from chainrule.data.images.masks.pairs import Pair


@dataclass
class MaskedImages:
    """One split: the files, images uint8 (H, W, C), and masks uint8 (H, W) of positions, 255 for void."""

    files: list[Pair]
    images: list[np.ndarray]
    masks: list[np.ndarray]


@dataclass
class MaskedImageSet:
    """Splits as the publisher or the user made them, `train` always, and what the numbers of their masks mean."""

    splits: dict[str, MaskedImages]
    meaning: Meaning
    channels: int
    where: str
    form: str
    notes: list[str] = field(default_factory=list)

    def pixels(self, split: str) -> np.ndarray:
        """Pixels of each class in a split (K,)."""
        counts = np.zeros(256, np.int64)
        for mask in self.splits[split].masks:
            counts += np.bincount(mask.reshape(-1), minlength=256)
        return counts[: len(self.meaning.values)]
