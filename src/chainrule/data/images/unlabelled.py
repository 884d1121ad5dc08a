"""Images without classes: a flat folder will do, where a classifier would need a folder a class."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.formats.npz import split_arrays
from chainrule.data.given.source import GivenSource
from chainrule.data.images.broken import without_broken
from chainrule.data.images.decoding import SUFFIXES, walked
from chainrule.data.images.files import read_images
from chainrule.data.images.folders.annotations import annotations_of
from chainrule.data.images.loading import ImageSplit, image_spec, read_image_splits, to_tensor, usual_channels
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.images.spec import ImageSpec, PixelForm
from chainrule.data.layout import Layout, Place, joined, layout_of, subfolders
from chainrule.data.splits import hold_out


def load_unlabelled(
    request: DataRequest, *, size: int, channels: int = 0, val_fraction: float = 0.0
) -> Dataset[ImageSpec, ImageSplit]:
    """As `load_images`, and also folders of images that are in no classes: their `y` is 0 and `spec.classes` []."""

    def read() -> tuple[ImageSpec, dict[str, ImageSplit]]:
        return read_unlabelled_splits(
            request,
            target=request.target,
            size=size,
            channels=channels,
            seed=request.seed,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", 0.2),
        )

    return dataset_of(request, ImageSpec, read)


def read_unlabelled_splits(
    source: Place,
    *,
    target: str | None,
    size: int,
    channels: int,
    seed: int,
    val_fraction: float,
    test_fraction: float = 0.2,
) -> tuple[ImageSpec, dict[str, ImageSplit]]:
    """What `load_unlabelled` gives a run."""
    layout = layout_of(source)
    if not is_unlabelled(layout):
        return read_image_splits(
            layout,
            target=target,
            size=size,
            channels=channels,
            seed=seed,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
        )
    raw = read_unlabelled(layout, least=2)
    if isinstance(source, DataRequest):
        source.note(*raw.remarks())
    channels = channels or usual_channels(raw)
    splits = {name: _unlabelled(to_tensor(part, size, channels)) for name, part in raw.splits.items()}
    whole = splits["train"]
    indices, made = hold_out(
        whole.y, splits, test_fraction=test_fraction, val_fraction=val_fraction, seed=seed, by_class=False
    )
    splits |= {name: _unlabelled(whole.x[index]) for name, index in indices.items()}
    return image_spec(raw, [], channels, size, splits, made), splits


def read_other_unlabelled(source: Place, target: str | None, spec: PixelForm) -> ImageSplit:
    """Other images, of whatever classes, as large and in the colours of `spec`: their own test split, else all."""
    layout = layout_of(source)
    raw = read_unlabelled(layout, least=2) if is_unlabelled(layout) else read_images(layout, target)
    part = raw.splits.get("test", raw.splits["train"])
    return _unlabelled(to_tensor(part, spec.size, spec.channels, border=spec.border))


def _unlabelled(x: Tensor) -> ImageSplit:
    return ImageSplit(x, torch.zeros(len(x), dtype=torch.int64))


def is_unlabelled(layout: Layout) -> bool:
    """Whether it is a plain folder of images with fewer than two class folders in it, or arrays of images alone."""
    if isinstance(layout.place, GivenSource):
        return layout.place.kind == "images" and "y" not in layout.place.arrays
    if layout.form == "splits":
        return all(map(is_unlabelled, layout.sources.values()))
    return layout.form == "folder" and len(subfolders(layout.train)) < 2


def read_unlabelled(layout: Layout, least: int = 0) -> RawImageSet:
    """The image files below each split; UserError where a split has fewer than `least`."""
    raw = _read(layout, least)
    return without_broken(raw) if layout.options.get("skip_broken") else raw


def _read(layout: Layout, least: int) -> RawImageSet:
    if isinstance(layout.place, GivenSource):
        parts = {n: layout.place.arrays[x] for n, (x, _) in split_arrays(["x"]).items() if x in layout.place.arrays}
        arrays = {n: RawImages(np.zeros(len(x), dtype=np.int64), x, origin=layout.place.name) for n, x in parts.items()}
        return RawImageSet(arrays, [], layout.place.name)
    if layout.form == "splits":
        return RawImageSet(joined(layout, lambda part: _read(part, least).splits), [], str(layout))
    splits, passed_over = {}, Counter[str]()
    for name, place in layout.splits.items():
        files, others = walked(place)
        passed_over += others
        if len(files) < least:
            raise UserError(
                "there are too few images",
                where=place,
                expected=f"{least} or more, ending in " + " ".join(sorted(SUFFIXES)),
                found=len(files),
            )
        splits[name] = RawImages(np.zeros(len(files), dtype=np.int64), files=files)
    annotations = annotations_of(layout)
    notes = [f"{annotations.what}, are passed over: {annotations.found}"] if annotations is not None else []
    return RawImageSet(splits, [], str(layout), dict(passed_over.most_common()), notes)
