"""A set that is made, not read: disks, squares and triangles that overlap on a ground of noise, with their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.data.images.masks.masked_images import MaskedImages, MaskedImageSet
from chainrule.data.images.masks.meaning import Meaning, usual_colour

COUNTS = {"train": 96, "val": 24, "test": 32}
HEIGHT, WIDTH = 48, 64
NAMES = ["ground", "disk", "square", "triangle"]


def shapes_set() -> MaskedImageSet:
    """Images of 64 x 48 in colour with two to four shapes each; the same every time.

    A shape's colour says nothing of what it is, and its size is between 8 and 24 pixels: a network must see its outline.
    """
    rng = np.random.default_rng(20261130)
    splits = {}
    for split, count in COUNTS.items():
        pairs = [_image(rng) for _ in range(count)]
        files = [
            (Path(f"shape-masks/{split}/{n}.png"), Path(f"shape-masks/{split}/{n}-mask.png")) for n in range(count)
        ]
        splits[split] = MaskedImages(files, [image for image, _ in pairs], [mask for _, mask in pairs])
    meaning = Meaning(list(range(4)), list(NAMES), [usual_colour(n) for n in range(4)], [])
    return MaskedImageSet(splits, meaning, 3, "shape-masks", "made by the program")


def _image(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.empty((HEIGHT, WIDTH, 3))
    image[:] = rng.integers(30, 140, 3)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(rng.integers(2, 5)):
        kind, half = int(rng.integers(1, 4)), rng.uniform(4, 12)
        cy, cx = rng.uniform(6, HEIGHT - 6), rng.uniform(6, WIDTH - 6)
        dy, dx = y - cy, x - cx
        inside = {
            1: dy**2 + dx**2 <= half**2,
            2: np.maximum(abs(dy), abs(dx)) <= 0.85 * half,
            3: (dy <= 0.8 * half) & (dy >= 2 * abs(dx) - half),
        }[kind]
        mask[inside] = kind
        image[inside] = rng.integers(80, 256, 3)
    image += rng.normal(0, 12, image.shape)
    return image.clip(0, 255).astype(np.uint8), mask
