"""Small images and masks in a folder, for the tests of their readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 36, 44


def image(folder: Path, name: str, number: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH), channels: int = 3) -> Path:
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (6, 7, channels)).astype(np.uint8)
    pixels = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(folder / name)
    return folder / name


def mask(folder: Path, name: str, values: tuple[int, ...] = (0, 1), kind: type = np.uint8, **form: object) -> Path:
    """Stripes of the values, from left to right."""
    stripes = np.array(values)[np.arange(WIDTH) * len(values) // WIDTH].astype(kind)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.broadcast_to(stripes, (HEIGHT, WIDTH)).copy()).save(folder / name, **form)
    return folder / name


def a_set(
    folder: Path,
    images: str = "images",
    masks: str = "masks",
    count: int = 4,
    values: tuple[int, ...] = (0, 1),
    ending: str = "png",
) -> Path:
    for number in range(count):
        image(folder / images, f"{number}.{ending}", number)
        mask(folder / masks, f"{number}.png", values)
    return folder
