"""Images in one subfolder a class, in a folder itself or in each of its splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.images.decoding import SUFFIXES, walked
from chainrule.data.images.folders.annotations import expect_classes
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.layout import Layout, class_folders, folders_left_out


def read_class_folders(layout: Layout) -> RawImageSet:
    """The images below each class folder, and what else lies there, which is passed over.

    Raises:
        UserError: there are boxes or masks instead of classes, fewer than two classes, a class without an image, a class
            that train does not have.
    """
    expect_classes(layout)
    classes = [folder.name for folder in class_folders(layout.train)]
    if len(classes) < 2:
        raise UserError(
            "a classifier needs two classes at least",
            where=layout.train,
            expected="one subfolder a class, with images in each",
            found=f"{len(classes)} subfolder{'' if len(classes) == 1 else 's'}",
            cure=_one_deeper(layout) or "where a table holds the classes: --data images=DIR --data labels=FILE",
        )
    splits, passed_over, seen = {}, Counter[str](), set[Path]()
    for split, place in layout.splits.items():
        files: list[Path] = []
        labels: list[int] = []
        for child in class_folders(place):
            if child.name not in classes:
                raise UserError(
                    f"the class {child.name!r} is in {split} and not in train", where=child, expected=", ".join(classes)
                )
            found, others = walked(child)
            if not found and split == "train":
                raise _no_images(child)
            files += found
            labels += [classes.index(child.name)] * len(found)
            passed_over += others
            seen.add(child)
        splits[split] = RawImages(np.array(labels, dtype=np.int64), files=files)
    for root in layout.splits.values() if layout.sources else [layout.place]:
        assert isinstance(root, Path)
        loose, others = walked(root, without=seen)
        passed_over += others + Counter(f"a {file.suffix.lower()} outside the class folders" for file in loose)
    return RawImageSet(splits, classes, str(layout), dict(passed_over.most_common()), folders_left_out(layout))


def _one_deeper(layout: Layout) -> str | None:
    """The folder to name where the only subfolder holds the class folders."""
    inner = class_folders(layout.train)
    below = class_folders(inner[0]) if len(inner) == 1 else []
    return f"--data {inner[0]}, which holds {', '.join(f.name for f in below[:4])}" if len(below) > 1 else None


def _no_images(folder: Path) -> UserError:
    others = sorted({f.suffix.lower() or f.name for f in folder.rglob("*") if f.is_file()})
    return UserError(
        "a class has no image",
        where=folder,
        expected="files ending in " + " ".join(sorted(SUFFIXES)),
        found="files ending in " + " ".join(others[:10]) if others else "an empty folder",
        cure="put images into it, or remove the folder",
    )
