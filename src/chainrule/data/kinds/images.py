"""Images with classes: class folders, lists, arrays, published files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chainrule.core.data.kind import Kind, Match, Miss, Row
from chainrule.data.formats.content import images_among, texts_among
from chainrule.data.formats.npz import rank_of_inputs
from chainrule.data.images.check import expect_readable, sizes_of
from chainrule.data.images.csv_images import PATH_COLUMN, file_column
from chainrule.data.images.files import read_images
from chainrule.data.images.folders.annotations import annotations_of
from chainrule.data.images.given import images_given
from chainrule.data.images.labelled_files import ROLES
from chainrule.data.images.loading import check_labels, usual_channels
from chainrule.data.images.raw import RawImageSet
from chainrule.data.images.spec import ImageSpec
from chainrule.data.images.unlabelled import is_unlabelled
from chainrule.data.layout import Layout, subfolders
from chainrule.data.splits import held_out_counts
from chainrule.data.tables.formats.cells import Cells

# What training holds out where no split is given; a recipe's val_fraction may say otherwise.
_HELD_OUT = {"test": 0.2, "val": 1 / 12}


def recognise(layout: Layout, target: str | None) -> Match | Miss:
    """Published files; a list of paths or pixels; an npz unless it is a table; class folders of images."""
    if layout.form == "roles":
        named = set(layout.sources) == set(ROLES)
        return Match("images and their labels") if named else Miss("images= and labels=")
    if layout.form == "shards":
        return Match("shards of webdataset")
    if layout.form in ("idx", "cifar10"):
        return Match("published files of images")
    if layout.form == "csv":
        return _in_table(layout, target)
    if layout.form == "npz":
        rank = rank_of_inputs(layout.train)
        return Miss(f"x with 3 or 4 axes, and not {rank}", 0.2) if rank in (0, 1, 2) else Match("arrays of images")
    return _in_folders(layout) if layout.form == "folder" else Miss()


def _in_folders(layout: Layout) -> Match | Miss:
    annotations = annotations_of(layout)
    if annotations is not None:
        return Match(f"images with {annotations.what}")  # the reader says that they are no classes
    images, texts = count_images(layout), texts_among(layout.endings)
    if not layout.endings and subfolders(layout.train):
        return Match("class folders without a file")  # the reader says so
    if images < texts:
        return Miss(f"{images} images beside {texts} texts: more images than texts", 0.3) if images else Miss()
    if not images:
        return Miss()
    if is_unlabelled(layout):
        return Miss(f"{images} images, but no class folders: one subfolder a class, two at least", 0.9, readable=True)
    return Match(f"{images} images in class folders")


def _in_table(layout: Layout, target: str | None) -> Match | Miss:
    head = layout.head
    if head is None:
        return Miss()
    if head.images:
        return Match("a table of images")
    if file_column(head) is not None:
        return Match("a list of image files")
    if _holds_pixels(head, target):
        return Match("a table of pixels")
    columns = len(head.header) - 1
    return Miss(
        f"a column `{PATH_COLUMN}` of files, or a column a pixel beside `label`; not {columns + 1} columns",
        0.1,
        readable=columns > 3 and int(columns**0.5) ** 2 == columns,
    )


def count_images(layout: Layout) -> int:
    """How many files of a folder are images, by their endings, and by content where those say nothing."""
    return images_among(layout.endings.items())


def _holds_pixels(head: Cells, target: str | None) -> bool:
    """Whether a table has square many columns of whole numbers from 0 to 255 beside a label."""
    label = target or "label"
    places = [index for index, name in enumerate(head.header) if name != label]
    side = int(len(places) ** 0.5)
    if label not in head.header or side < 5 or side * side != len(places):
        return False
    return all(row[place].strip().isdecimal() and int(row[place]) <= 255 for row in head.rows[:50] for place in places)


def check(layout: Layout, target: str | None) -> dict[str, Any]:
    """Every image read, every label in range; counts by class."""
    raw = read_images(layout, target)
    expect_readable(raw)
    check_labels(raw)
    channels = usual_channels(raw)
    labels = {name: part.labels for name, part in raw.splits.items()}
    found = {
        name: {raw.classes[i]: int(n) for i, n in enumerate(np.bincount(y, minlength=len(raw.classes)))}
        for name, y in labels.items()
    }
    return {
        "kind": "images",
        "where": raw.where,
        "classes": raw.classes,
        "found": {name: len(part) for name, part in labels.items()},
        **{f"{name} by class": counts for name, counts in found.items()},
        **held_out_counts(labels, _HELD_OUT),
        "channels": channels,
        "sizes": sizes_of(raw),
        **_too_deep(layout, raw),
        **raw.left_aside(),
    }


def _too_deep(layout: Layout, raw: RawImageSet) -> dict[str, Any]:
    """A warning where no class folder holds an image itself: then the folder named may lie one too high."""
    files = [file for file in raw.splits["train"].files if isinstance(file, Path)]
    if not files or layout.form != "folder":
        return {}
    top = layout.train
    if any(len(file.relative_to(top).parts) <= 2 for file in files):
        return {}
    inside = sorted({str(Path(*file.relative_to(top).parts[:2])) for file in files})
    more = f" and {len(inside) - 4} more" if len(inside) > 4 else ""
    return {
        "look again": f"all images lie deeper than the class folders, in {', '.join(inside[:4])}{more}; if those are the classes, name the folder that holds them"
    }


def example(folder: Path) -> str:
    """Two class folders of eight images, 8 by 8 pixels."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            write_image(folder / name / f"{number}.png", rng.integers(level - 50, level + 50, (8, 8)).astype(np.uint8))
    return str(folder)


def write_image(file: Path, pixels: np.ndarray) -> None:
    """An array uint8 (H, W) or (H, W, 3) as an image file."""
    Image.fromarray(pixels).save(file)


def ask(spec: Mapping[str, Any], folder: Path) -> str:
    """An image of noise in the colours of the spec."""
    pixels = np.random.default_rng(0).integers(0, 256, (spec["size"], spec["size"], 3)).astype(np.uint8)
    Image.fromarray(pixels).convert("L" if spec["channels"] == 1 else "RGB").save(folder / "question.png")
    return str(folder / "question.png")


IMAGES = Kind(
    name="images",
    noun="a set of images",
    spec=ImageSpec,
    recognise=recognise,
    read=read_images,
    check=check,
    example=example,
    ask=ask,
    given=images_given,
    describe=(
        Row(
            "images with classes",
            "a folder with a subfolder a class; or `train/`, and if you like `val/` and `test/`, each so",
            "分好类的图像",
            "每类一个子文件夹；也可以分成 `train/` 和可选的 `val/`、`test/`，里面同样分类",
        ),
        Row(
            "images in a list",
            "a table with a column `path` and a column `label`, or with the images in it, as a folder of Hugging Face's "
            "`datasets` has; or `--data images=DIR --data labels=FILE`",
            "列在表里的图像",
            "含 `path` 列和 `label` 列的表格，或图像就存在其中的表格（如 Hugging Face `datasets` 的文件夹）；"
            "或 `--data images=文件夹 --data labels=文件`",
        ),
        Row(
            "images in shards",
            "a folder of webdataset's `NAME-000000.tar`; splits by a word of the name (`train-`, `valid-`), or by a folder (`train/`)",
            "分片存放的图像",
            "一个文件夹，里面是 webdataset 的 `名称-000000.tar`；按名称中的词（`train-`、`valid-`）或子文件夹（`train/`）划分",
        ),
        Row(
            "pixels",
            "npz with `x` (N, H, W) or (N, H, W, C) and `y`; or a table with a column a pixel and `label`",
            "像素",
            "含 `x` (N, H, W) 或 (N, H, W, C) 以及 `y` 的 npz；或者每个像素一列、另有 `label` 列的表格",
        ),
    ),
    before=("sentences", "table", "text"),
    roles=ROLES,
)
