"""Images with classes at any place: what is there is read by its reader, and folders of classes here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import Source
from chainrule.data.given.source import GivenSource
from chainrule.data.images.arrays import images_of_arrays, read_npz_images
from chainrule.data.images.csv_images import read_csv_images
from chainrule.data.images.decoding import SUFFIXES, image_files
from chainrule.data.images.published import read_cifar10, read_digits, read_idx_folder
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.layout import Layout, layout_of, subfolders


def read_images(source: Source | Path, target: str | None) -> RawImageSet:
    """Reads what is at `source`, as the layout there asks for it."""
    layout = layout_of(source)
    if isinstance(source, GivenSource):
        if source.tables:
            return read_csv_images(layout, target)
        return images_of_arrays(source.arrays, source.name, source.classes)
    if isinstance(source, Source):
        return read_digits(source)
    if layout.form == "csv":
        return read_csv_images(layout, target)
    if layout.form == "folder":
        return _class_folders(layout)
    reader = {"idx": read_idx_folder, "cifar10": read_cifar10, "npz": read_npz_images}.get(layout.form)
    if reader is not None:
        return reader(layout.train)
    raise UserError(
        "this is no set of images",
        where=source,
        expected="a folder with one subfolder a class, a .csv, a .npz with x and y, or MNIST's idx files",
    )


def _class_folders(layout: Layout) -> RawImageSet:
    """One subfolder of images a class, in the place itself or in each of train/, val/, test/."""
    classes = [folder.name for folder in subfolders(layout.train)]
    if len(classes) < 2:
        raise UserError(
            "a set of classes needs two at least",
            where=layout.train,
            expected="one subfolder a class, with images in each",
            found=f"{len(classes)} subfolder{'' if len(classes) == 1 else 's'}",
        )
    splits = {}
    for split, place in layout.splits.items():
        files: list[Path] = []
        labels: list[int] = []
        for child in subfolders(place):
            if child.name not in classes:
                raise UserError(
                    f"the class {child.name!r} is in {split} and not in train", where=child, expected=", ".join(classes)
                )
            found = image_files(child)
            if not found and split == "train":
                raise _no_images(child)
            files += found
            labels += [classes.index(child.name)] * len(found)
        splits[split] = RawImages(np.array(labels, dtype=np.int64), files=files)
    return RawImageSet(splits, classes, str(layout.place))


def _no_images(folder: Path) -> UserError:
    others = sorted({f.suffix.lower() or f.name for f in folder.rglob("*") if f.is_file()})
    return UserError(
        "a class has no image",
        where=folder,
        expected="files ending in " + " ".join(sorted(SUFFIXES)),
        found="files ending in " + " ".join(others[:10]) if others else "an empty folder",
        cure="put images into it, or remove the folder",
    )
