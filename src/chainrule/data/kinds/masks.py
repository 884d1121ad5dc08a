"""Images with a mask each: a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.images.given import images_given
from chainrule.data.images.masks.check import check_masks
from chainrule.data.images.masks.pairs import form_of_masks
from chainrule.data.images.masks.raw import read_masked_images
from chainrule.data.images.masks.spec import MaskSpec
from chainrule.data.layout import Layout


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """A folder of images and a folder of masks beside each other, in one of the usual forms."""
    if layout.form != "folder":
        return Miss()
    form = form_of_masks(layout)
    return Miss() if form is None else Match(f"images with masks: {form}")


def example(folder: Path) -> str:
    """Twelve images of 40 by 32 pixels: a light square on a dark ground, and where it is."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        mask = np.zeros((32, 40), np.uint8)
        top, left = rng.integers(0, 18, 2)
        mask[top : top + 12, left : left + 14] = 255
        image = rng.integers(0, 60, (32, 40, 3)) + np.where(mask[..., None] > 0, 150, 20)
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return str(folder)


def ask(spec: Mapping[str, Any], folder: Path) -> str:
    """An image of noise in the colours of the spec."""
    pixels = np.random.default_rng(0).integers(0, 256, (35, 41, 3)).astype(np.uint8)
    Image.fromarray(pixels).convert("L" if spec["channels"] == 1 else "RGB").save(folder / "question.png")
    return str(folder / "question.png")


MASKS = Kind(
    name="masks",
    noun="a set of images with masks",
    spec=MaskSpec,
    recognise=recognise,
    read=read_masked_images,
    check=check_masks,
    example=example,
    ask=ask,
    given=images_given,
    describe=(
        Row(
            "images with masks",
            "`images/` and `masks/` with files of equal stems, or both in each of `train/`, `val/`, `test/`; or `JPEGImages/` and "
            "`SegmentationClass/` with lists, as Pascal VOC has them; or `train/` and `trainannot/`, as SegNet has them. "
            "`classes.txt` may give number, name and colour of each class",
            "带掩码的图像",
            "`images/` 与 `masks/`，文件主名相同；也可以分别放在 `train/`、`val/`、`test/` 里；或按 Pascal VOC 的 `JPEGImages/`、"
            "`SegmentationClass/` 加列表；或按 SegNet 的 `train/`、`trainannot/`。`classes.txt` 可给出每类的编号、名称和颜色",
        ),
    ),
    before=("images", "images without classes"),
)
