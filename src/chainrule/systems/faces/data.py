"""Images of persons, split so that nobody is in two splits: what is measured is measured on strangers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.images.decoding import SUFFIXES, image_files
from chainrule.data.images.files import read_images
from chainrule.data.images.loading import BORDER, check_range, pixel_statistics, to_tensor, usual_channels
from chainrule.data.images.raw import RawImageSet
from chainrule.data.images.spec import PixelForm
from chainrule.data.layout import SPLITS, Layout, Place, layout_of, subfolders
from chainrule.data.spec import MAY_LACK, Spec
from chainrule.data.splits import fingerprint

# Of a split two persons at least, with two images each: one genuine pair and one pair of two persons.
LEAST_PERSONS = 2
# The ORL database has no published split; these are strangers to each other by number, as its papers have done it.
ORL_PERSONS = {"train": range(1, 26), "val": range(26, 31), "test": range(31, 41)}


@dataclass(frozen=True)
class FaceSplit:
    """Images x uint8 (N, C, S, S), persons y int64 (N,), and the name of each person."""

    x: Tensor
    y: Tensor
    names: list[str]

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, kw_only=True)
class FaceSpec(Spec):
    """Images of persons: the names of those in each split; the rest as `ImageSpec` has it."""

    where: str
    persons: dict[str, list[str]]
    channels: int
    size: int
    mean: list[float]
    std: list[float]
    border: int | None = field(default=None, metadata=MAY_LACK)
    margin: float | None = field(default=None, metadata=MAY_LACK)


def load_faces(
    request: DataRequest, *, size: int, channels: int = 0, val_fraction: float = 0.125, test_fraction: float = 0.25
) -> Dataset[FaceSpec, FaceSplit]:
    """The run's images of persons, squared to `size`, in splits without a person in common.

    `channels` 0 takes what the images have; the fractions are of the persons. Spec: persons (the names, by split),
    channels, size, mean and std of a pixel in [0, 1] a channel over the training split, counts of images, how the
    splits were made, fingerprint.
    """

    def read() -> tuple[FaceSpec, dict[str, FaceSplit]]:
        return read_face_splits(
            request,
            target=request.target,
            size=size,
            channels=channels,
            seed=request.seed,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", test_fraction),
        )

    return dataset_of(request, FaceSpec, read)


def read_face_splits(
    source: Place, *, target: str | None, size: int, channels: int, seed: int, val_fraction: float, test_fraction: float
) -> tuple[FaceSpec, dict[str, FaceSplit]]:
    """Reads, checks and splits; what `load_faces` gives a run.

    The persons are the classes of any set of images with classes. `orl` is split by number; a folder with train/, val/
    and test/, each of persons' folders, as it is; what is missing is made of the persons of train by the seed.
    """
    layout = layout_of(source)
    raws = {name: _read_persons(part, target) for name, part in _parts(layout).items()}
    wanted = channels or _usual_channels(raws)
    given = {name: _whole(raw, size, wanted) for name, raw in raws.items()}
    splits, made = (
        _orl(given["train"])
        if layout.known == "orl" and not layout.sources
        else _made(given, seed, val_fraction, test_fraction)
    )
    where = str(layout)
    _check(splits, where)
    mean, std = pixel_statistics(splits["train"].x)
    if max(std) == 0.0:
        raise UserError("all training images are of one constant colour", where=where)
    spec = FaceSpec(
        where=where,
        persons={name: splits[name].names for name in SPLITS},
        channels=wanted,
        size=size,
        border=0 if raws["train"].splits["train"].files else BORDER,
        mean=mean,
        std=[s or 1.0 for s in std],
        counts={name: len(splits[name]) for name in SPLITS},
        splits={name: made[name] for name in SPLITS},
        fingerprint=fingerprint(*(t for name in SPLITS for t in (splits[name].x, splits[name].y))),
    )
    return spec, {name: splits[name] for name in SPLITS}


def read_other_faces(source: Place, target: str | None, spec: PixelForm) -> FaceSplit:
    """Other persons, images as large and in the colours of `spec`: their own test split, else all of them."""
    layout = layout_of(source)
    raw = _read_persons(_parts(layout).get("test", layout), target)
    split = _whole(raw, spec.size, spec.channels, spec.border)
    _check({"test": split}, str(layout))
    return split


def read_gallery(folder: Path) -> tuple[list[Path], list[str]]:
    """The image files below `folder`, and whom each shows: the name of his folder, or of the file where it lies loose."""
    files = image_files(folder)
    if not files:
        raise UserError(
            "the gallery holds no image",
            where=folder,
            expected="one subfolder a person, or images named after persons, ending in " + " ".join(sorted(SUFFIXES)),
        )
    return files, [f.stem if f.parent == folder else f.relative_to(folder).parts[0] for f in files]


def _parts(layout: Layout) -> dict[str, Layout]:
    """The place of each split: of persons, so that the splits are read on their own and not as parts of one set."""
    if layout.form == "folder":
        return {name: Layout(place, "folder", {"train": place}) for name, place in layout.splits.items()}
    if layout.form == "splits":
        return {role or "train": part for role, part in layout.sources.items()}
    return {"train": layout}


def _read_persons(layout: Layout, target: str | None) -> RawImageSet:
    place = layout.place
    if isinstance(place, Path) and place.is_dir() and not layout.sources:
        persons = subfolders(place)
        if len(persons) == 1:
            raise UserError(
                "there is only one person",
                where=place,
                found=persons[0].name,
                expected="one subfolder a person, of several persons",
            )
    raw = read_images(layout, target)
    check_range(raw)
    return raw


def _usual_channels(raws: dict[str, RawImageSet]) -> int:
    """1 or 3, as the images of all parts have."""
    found = {usual_channels(raw) for raw in raws.values()}
    if len(found) > 1:
        raise UserError(
            "the splits are of mixed kinds",
            found="grey and colour images",
            cure="channels=1 or channels=3 converts all of them",
        )
    return found.pop()


def _whole(raw: RawImageSet, size: int, channels: int, border: int | None = None) -> FaceSplit:
    """All images of a set together, whatever splits by image it came in; persons numbered without a gap."""
    x = torch.cat([to_tensor(part, size, channels, border=border) for part in raw.splits.values()])
    labels = torch.from_numpy(np.concatenate([part.labels for part in raw.splits.values()]))
    present, y = labels.unique(return_inverse=True)
    return FaceSplit(x, y, [raw.classes[int(i)] for i in present])


def _taken(split: FaceSplit, persons: list[int]) -> FaceSplit:
    """The images of some persons, in the order they had; the persons numbered anew in the order of `persons`."""
    number = torch.full((len(split.names),), -1)
    number[persons] = torch.arange(len(persons))
    y = number[split.y]
    return FaceSplit(split.x[y >= 0], y[y >= 0], [split.names[i] for i in persons])


def _orl(whole: FaceSplit) -> tuple[dict[str, FaceSplit], dict[str, str]]:
    splits = {
        name: _taken(whole, [whole.names.index(f"s{i}") for i in numbers]) for name, numbers in ORL_PERSONS.items()
    }
    return splits, {name: f"persons {numbers[0]} to {numbers[-1]}" for name, numbers in ORL_PERSONS.items()}


def _made(
    given: dict[str, FaceSplit], seed: int, val_fraction: float, test_fraction: float
) -> tuple[dict[str, FaceSplit], dict[str, str]]:
    """Persons of train are drawn for test, and of the others for val, where these are not given.

    Who has one image only makes no pair: he stays in train, as a negative.
    """
    made = dict.fromkeys(given, "as given")
    whole = given["train"]
    some_images = torch.bincount(whole.y, minlength=len(whole.names))
    order = torch.randperm(len(whole.names), generator=torch.Generator().manual_seed(seed)).tolist()
    paired = [person for person in order if some_images[person] > 1]
    missing = [name for name in ("test", "val") if name not in given]
    if len(paired) < LEAST_PERSONS * (1 + len(missing)):
        raise UserError(
            "there are too few persons to be split",
            expected=f"{LEAST_PERSONS * (1 + len(missing))} or more with two images or more",
            found=f"{len(paired)} of {len(whole.names)} persons",
            cure="more people, or two images or more of each",
        )
    splits, left = dict(given), paired
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if name not in missing:
            continue
        spare = len(left) - LEAST_PERSONS * (1 + (name == "test" and "val" in missing))
        count = min(max(round(fraction * len(paired)), LEAST_PERSONS), spare)
        held, left = sorted(left[:count]), left[count:]
        splits[name] = _taken(whole, held)
        made |= {"train": "the other persons", name: f"{count} of {len(whole.names)} persons, seed {seed}"}
    alone = [person for person in order if some_images[person] < 2]
    splits["train"] = _taken(whole, sorted([*left, *alone])) if missing else whole
    return splits, made


def _check(splits: dict[str, FaceSplit], where: str) -> None:
    """Nobody in two splits; in each a genuine pair and an impostor."""
    seen: dict[str, str] = {}
    for name, split in splits.items():
        for person in split.names:
            if person in seen:
                raise UserError(
                    f"a person is in {seen[person]} and in {name}",
                    where=where,
                    found=person,
                    expected="nobody in two splits: strangers measure what was learnt",
                )
            seen[person] = name
        some_images = torch.bincount(split.y, minlength=len(split.names))
        if len(split.names) < LEAST_PERSONS or int(some_images.max()) < 2:
            raise UserError(
                f"the {name} split makes no pairs",
                where=where,
                expected="two persons or more, and two images of one of them",
                found=f"{len(split)} images of {len(split.names)} persons",
            )
