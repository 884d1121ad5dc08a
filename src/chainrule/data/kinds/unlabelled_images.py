"""Images without classes: a flat folder of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.formats.content import texts_among
from chainrule.data.images.check import expect_readable, sizes_of
from chainrule.data.images.given import images_given
from chainrule.data.images.loading import usual_channels
from chainrule.data.images.raw import RawImageSet
from chainrule.data.images.spec import ImageSpec
from chainrule.data.images.unlabelled import is_unlabelled, read_unlabelled
from chainrule.data.kinds.images import ask, count_images, write_image
from chainrule.data.layout import Layout


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A folder with fewer than two class folders, and no more texts than images."""
    if layout.form != "folder":
        return Miss()
    images = count_images(layout)
    if not images or images < texts_among(layout.endings):
        return Miss()
    return Match(f"{images} images in no classes") if is_unlabelled(layout) else Miss("a folder without class folders")


def _read(layout: Layout, target: str | None) -> RawImageSet:
    return read_unlabelled(layout)


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """Every image read: enough for models that generate, and not for a classifier."""
    raw = read_unlabelled(layout)
    expect_readable(raw)
    return {
        "kind": "images",
        "where": raw.where,
        "classes": "none: fit for models that generate; a classifier needs one subfolder a class, two at least",
        "found": {name: len(part.files) for name, part in raw.splits.items()},
        "channels": usual_channels(raw),
        "sizes": sizes_of(raw),
        **raw.left_aside(),
    }


def example(folder: Path) -> str:
    """Twelve images, 8 by 8 pixels, in one folder."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        write_image(folder / f"{number}.png", rng.integers(0, 256, (8, 8)).astype(np.uint8))
    return str(folder)


UNLABELLED_IMAGES = Kind(
    name="images without classes",
    noun="a set of images without classes",
    spec=ImageSpec,
    recognise=recognise,
    read=_read,
    check=check,
    example=example,
    ask=ask,
    given=images_given,
    describe=(Row("images without classes", "a flat folder", "没有类别的图像", "一个文件夹，不分子文件夹"),),
    before=("images", "text"),
)
