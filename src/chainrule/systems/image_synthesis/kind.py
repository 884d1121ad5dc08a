"""One image, which a synthesis works on: no data set, and the recipes of this family learn from no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.images.decoding import SUFFIXES
from chainrule.data.images.given import images_given
from chainrule.data.kinds.images import ask, write_image
from chainrule.data.layout import Layout
from chainrule.systems.image_synthesis.data import SHIPPED, ContentSpec, read_image

_LARGEST = 2**20  # pixels of a side: as it is


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A file that ends as images do, or the name of a photograph that scikit-learn ships."""
    if layout.form == "name":
        return Match("a photograph") if str(layout) in SHIPPED else Miss("an image file", readable=True)
    if layout.form != "file":
        return Miss()
    return Match("an image file") if layout.train.suffix.lower() in SUFFIXES else Miss("an image file", readable=True)


def _read(layout: Layout, target: str | None) -> Any:
    return read_image(str(layout), _LARGEST)


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """The image read; its size."""
    image = read_image(str(layout), _LARGEST)
    return {"kind": "image", "where": str(layout), "height": image.shape[1], "width": image.shape[2]}


def example(folder: Path) -> str:
    """An image of 40 by 30 pixels in colour."""
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "photo.png", np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8))
    return str(folder / "photo.png")


IMAGE = Kind(
    name="image",
    noun="one image",
    spec=ContentSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
    given=images_given,
    describe=(Row("one image", "a file", "一张图像", "一个文件"),),
    single=True,
    shares=False,
)
