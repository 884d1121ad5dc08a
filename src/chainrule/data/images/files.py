"""Images with classes at any place: what is there is read by its reader, and folders of classes here."""

from __future__ import annotations

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import Source
from chainrule.data.given.source import GivenSource
from chainrule.data.images.arrays import images_of_arrays, read_npz_images
from chainrule.data.images.broken import without_broken
from chainrule.data.images.csv_images import read_csv_images
from chainrule.data.images.folders.class_folders import read_class_folders
from chainrule.data.images.labelled_files import read_labelled_files
from chainrule.data.images.published import read_cifar10, read_digits, read_idx_folder
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.layout import Layout, Place, joined, layout_of
from chainrule.data.streams.shards import read_shards


def read_images(place: Place, target: str | None) -> RawImageSet:
    """Reads what is at a place, as the layout there asks for it; with skip_broken=yes without files that cannot be read."""
    layout = layout_of(place)
    raw = _read(layout, target)
    return without_broken(raw) if layout.options.get("skip_broken") else raw


def _read(layout: Layout, target: str | None) -> RawImageSet:
    source = layout.place
    if layout.form == "splits":
        return _joined_images(layout, target)
    if layout.form == "roles":
        return read_labelled_files(layout, target)
    if isinstance(source, GivenSource):
        if source.tables:
            return read_csv_images(layout, target)
        return images_of_arrays(source.arrays, source.name, source.classes)
    if isinstance(source, Source):
        return read_digits(source)
    if layout.form == "csv":
        return read_csv_images(layout, target)
    if layout.form == "folder":
        return read_class_folders(layout)
    if layout.form == "shards":
        return read_shards(layout.train)
    reader = {"idx": read_idx_folder, "cifar10": read_cifar10, "npz": read_npz_images}.get(layout.form)
    if reader is not None:
        return reader(layout.train)
    raise UserError(
        "this is no set of images",
        where=source,
        expected="a folder with one subfolder a class, a .csv, a .npz with x and y, or MNIST's idx files",
    )


def _joined_images(layout: Layout, target: str | None) -> RawImageSet:
    """Sources of unequal forms as the splits of one set: the classes are those of train, found by their names."""
    names: dict[int, list[str]] = {}
    notes: list[str] = []

    def read(part: Layout) -> dict[str, RawImages]:
        raw = _read(part, target)
        notes.extend(raw.remarks())
        names.update({id(split): raw.classes for split in raw.splits.values()})
        return raw.splits

    splits = joined(layout, read)
    classes = names[id(splits["train"])]
    for name, split in splits.items():
        own = names[id(split)]
        known = np.array([label in classes for label in own], dtype=bool)
        inside = (split.labels >= 0) & (split.labels < len(own))
        strange = np.flatnonzero(~inside | ~known[np.where(inside, split.labels, 0)])
        if len(strange):
            label = int(split.labels[strange[0]])
            raise UserError(
                f"the class {own[label] if inside[strange[0]] else label!r} is in {name} and not in train",
                where=split.where(int(strange[0])),
                expected=f"one of the {len(classes)} in train: {', '.join(classes[:20])}",
            )
        numbers = np.array([classes.index(word) if word in classes else -1 for word in own], dtype=np.int64)
        split.labels = numbers[split.labels]
    return RawImageSet(splits, classes, str(layout), notes=notes)
