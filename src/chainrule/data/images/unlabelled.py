"""Images without classes: a flat folder will do, where a classifier would need a folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import resolve
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.images.decoding import SUFFIXES, image_files
from chainrule.data.images.files import RawImages, RawImageSet, read_images
from chainrule.data.images.loading import ImageSplit, image_spec, read_image_splits, to_tensor, usual_channels
from chainrule.data.splits import hold_out

if TYPE_CHECKING:
    from chainrule.run.run import Run


def load_unlabelled(run: Run, *, size: int, channels: int = 0, val_fraction: float = 0.0) -> Dataset[ImageSplit]:
    """As `load_images`, and also folders of images that are in no classes: their `y` is 0 and spec["classes"] []."""
    place = run.record["data"]

    def read() -> tuple[dict[str, Any], dict[str, ImageSplit]]:
        return read_unlabelled_splits(
            place["source"],
            target=place["target"],
            size=size,
            channels=channels,
            seed=run.seed,
            val_fraction=val_fraction,
        )

    return dataset_of(place, read)


def read_unlabelled_splits(
    source: str,
    *,
    target: str | None,
    size: int,
    channels: int,
    seed: int,
    val_fraction: float,
    test_fraction: float = 0.2,
) -> tuple[dict[str, Any], dict[str, ImageSplit]]:
    """What `load_unlabelled` gives a run."""
    folder = resolve(source)
    if not (isinstance(folder, Path) and is_unlabelled(folder)):
        return read_image_splits(
            source,
            target=target,
            size=size,
            channels=channels,
            seed=seed,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
        )
    raw = _unlabelled_of(folder)
    channels = channels or usual_channels(raw)
    splits = {name: _unlabelled(to_tensor(part, size, channels)) for name, part in raw.splits.items()}
    whole = splits["train"]
    indices, made = hold_out(
        whole.y, splits, test_fraction=test_fraction, val_fraction=val_fraction, seed=seed, by_class=False
    )
    splits |= {name: _unlabelled(whole.x[index]) for name, index in indices.items()}
    return image_spec(raw, [], channels, size, splits, made), splits


def read_other_unlabelled(source: str, target: str | None, spec: dict[str, Any]) -> ImageSplit:
    """Other images, of whatever classes, as large and in the colours of `spec`: their own test split, else all."""
    folder = resolve(source)
    raw = _unlabelled_of(folder) if isinstance(folder, Path) and is_unlabelled(folder) else read_images(folder, target)
    part = raw.splits.get("test", raw.splits["train"])
    return _unlabelled(to_tensor(part, spec["size"], spec["channels"], border=spec.get("border")))


def _unlabelled(x: Tensor) -> ImageSplit:
    return ImageSplit(x, torch.zeros(len(x), dtype=torch.int64))


def is_unlabelled(folder: Path) -> bool:
    """Whether `folder` is a plain folder of images with fewer than two class folders in it."""
    known = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "cifar-10-batches-bin", "train.csv")
    if not folder.is_dir() or any((folder / name).exists() for name in known):
        return False
    train = folder / "train" if (folder / "train").is_dir() else folder
    return sum(d.is_dir() and not d.name.startswith(".") for d in train.iterdir()) < 2


def _unlabelled_of(folder: Path) -> RawImageSet:
    made = {name: folder / name for name in ("train", "val", "test") if (folder / name).is_dir()}
    splits = {}
    for name, place in (made if "train" in made else {"train": folder}).items():
        files = image_files(place)
        if len(files) < 2:
            raise UserError(
                "there are too few images",
                where=place,
                expected="2 or more, ending in " + " ".join(sorted(SUFFIXES)),
                found=len(files),
            )
        splits[name] = RawImages(np.zeros(len(files), dtype=np.int64), files=files)
    return RawImageSet(splits, [], str(folder))
