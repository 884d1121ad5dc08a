"""Labelled images as tensors: uint8 (N, C, H, W), with the splits and the figures that normalisation needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.core.memory import expect_memory
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.images.cache import decoded
from chainrule.data.images.decoding import mixed_kinds
from chainrule.data.images.files import read_images
from chainrule.data.images.packed import ImageFile, PackedImage
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.images.spec import ImageSpec, PixelForm
from chainrule.data.layout import SPLITS, Place
from chainrule.data.splits import fingerprint, hold_out
from chainrule.data.streams.images import to_stored
from chainrule.data.streams.memory import choose_memory
from chainrule.data.streams.stored import StoredImages

COUNTED = 2**18  # pixels whose levels are counted at a time
BORDER = 4  # pixels: what may lack for a border of zeros to be put around an array


@dataclass(frozen=True)
class ImageSplit:
    """Images x uint8 (N, C, H, W) and classes y int64 (N,)."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: Tensor) -> ImageSplit:
        """The images at these places."""
        x = self.x
        return ImageSplit(x.take(index) if isinstance(x, StoredImages) else x[index], self.y[index])

    @property
    def content(self) -> tuple[Tensor, Tensor]:
        """What the fingerprint is taken of: the images, or what stands for them where they are not read; and classes."""
        identity = self.x.identity if isinstance(self.x, StoredImages) else None
        return self.x if identity is None else identity, self.y


def _hold(part: RawImages, size: int, channels: int, margin: float | None, stay: bool) -> Tensor:
    """The images of a split in memory, or where they may `stay` left on the disk: these stand where a tensor would."""
    stored = to_stored(part, size, channels, margin) if stay else None
    return to_tensor(part, size, channels, margin) if stored is None else cast(Tensor, stored)


def load_images(
    request: DataRequest,
    *,
    size: int | Callable[[RawImageSet], int],
    channels: int = 0,
    val_fraction: float = 1 / 12,
    margin: float | None = None,
    may_stay: bool = False,
) -> Dataset[ImageSpec, ImageSplit]:
    """The run's images, squared to `size`, or to what that gives for the images as found; a validation split is held out of the training part where none is given.

    `channels` 0 takes what the images have; files are stretched, or with `margin` cut (`decode`). Spec: classes,
    channels, size, mean and std of a pixel in [0, 1] a channel over the training split, counts, how the splits were
    made, fingerprint.

    `may_stay` says that the caller takes images by number alone, so that those too many for the memory that is free can
    stay on the disk (`chainrule.data.streams`): x is then a `StoredImages`. The choice is kept in the record.
    """

    def fits(wanted: int) -> bool:
        choice = choose_memory(wanted, request.record.get("in_memory"))
        request.record["in_memory"] = choice
        return choice["chosen"]

    def read() -> tuple[ImageSpec, dict[str, ImageSplit]]:
        return read_image_splits(
            request,
            target=request.target,
            size=size,
            channels=channels,
            seed=request.seed,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", 0.2),
            margin=margin,
            fits=fits if may_stay else None,
            known=None if request.spec is None else ImageSpec.from_json(request.spec),
        )

    data = dataset_of(request, ImageSpec, read)
    if not data.spec.counts["val"]:
        raise UserError(
            "the validation split is empty, and nothing else may choose the weights",
            where=data.spec.where,
            cure=f"val_fraction={1 / 12:.2g}"
            if request.share("val", val_fraction) == 0
            else "put images into val, or remove it",
        )
    return data


def read_image_splits(
    source: Place,
    *,
    target: str | None,
    size: int | Callable[[RawImageSet], int],
    channels: int,
    seed: int,
    val_fraction: float,
    test_fraction: float = 0.2,
    margin: float | None = None,
    fits: Callable[[int], bool] | None = None,
    known: ImageSpec | None = None,
) -> tuple[ImageSpec, dict[str, ImageSplit]]:
    """Reads, checks and splits; what `load_images` gives a run.

    `fits` says whether so many bytes are read into memory; all are where it is not given. `known` is the spec of the run
    that is resumed: images that stay on the disk are not counted once more.
    """
    raw = read_images(source, target)
    if isinstance(source, DataRequest):
        source.note(*raw.remarks())
    check_labels(raw)
    size = size if isinstance(size, int) else size(raw)
    channels, raw_splits = channels or usual_channels(raw), raw.splits
    wanted = sum(len(part.labels) for part in raw_splits.values()) * channels * size * size
    expect_memory(4 * channels * size * size, "one image in float32", cure="a smaller size")
    stay = fits is not None and not fits(wanted)
    splits = {
        name: ImageSplit(_hold(part, size, channels, margin, stay), torch.from_numpy(part.labels))
        for name, part in raw_splits.items()
    }
    whole = splits["train"]
    indices, made = hold_out(whole.y, splits, test_fraction=test_fraction, val_fraction=val_fraction, seed=seed)
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if name in indices and fraction > 0 and not len(indices[name]):
            raise UserError(
                f"the classes have too few samples to hold out a {name} split",
                where=raw.where,
                expected="2 or more of a class",
                found=f"{len(whole)} samples of {len(raw.classes)} classes",
                cure=f"more samples, or a {name} split of your own",
            )
    splits |= {name: whole.take(index) for name, index in indices.items()}
    if not len(splits["test"]):
        raise UserError(
            "the test split is empty", where=raw.where, cure="put images into it, a subfolder a class, or remove it"
        )
    counts = torch.bincount(splits["train"].y, minlength=len(raw.classes)).tolist()
    spec = image_spec(raw, raw.classes, channels, size, splits, made, known if stay else None)
    return replace(spec, class_counts=counts, margin=margin), splits


def image_spec(
    raw: RawImageSet,
    classes: list[str],
    channels: int,
    size: int,
    splits: dict[str, ImageSplit],
    made: dict[str, str],
    known: ImageSpec | None = None,
) -> ImageSpec:
    """What a run keeps of its images; mean and deviation are those of `known` where it is given."""
    mean, std = (known.mean, known.std) if known is not None else pixel_statistics(splits["train"].x)
    if max(std) == 0.0:
        raise UserError("all training images are of one constant colour", where=raw.where)
    return ImageSpec(
        where=raw.where,
        classes=classes,
        channels=channels,
        size=size,
        mean=mean,
        std=[s or 1.0 for s in std],
        border=0 if raw.splits["train"].files else BORDER,
        counts={name: len(splits[name]) for name in SPLITS},
        splits={name: made[name] for name in SPLITS},
        fingerprint=fingerprint(*(t for name in SPLITS for t in splits[name].content)),
    )


def read_other_images(source: Place, target: str | None, spec: ImageSpec) -> ImageSplit:
    """Other images of the classes of `spec`, as large and in its colours: their own test split, else all of them.

    Of files, whose classes have names, some of the classes are enough; numbers of arrays must be those of the run.
    """
    raw, classes = read_images(source, target), spec.classes
    named = bool(raw.splits["train"].files)
    if not set(raw.classes) <= set(classes) if named else raw.classes != classes:
        raise UserError(
            "these data have other classes than the run",
            where=source,
            expected=", ".join(classes),
            found=", ".join(raw.classes),
        )
    part = raw.splits.get("test", raw.splits["train"])
    if not len(part.labels):
        raise UserError("there is nothing to measure on", where=source, expected="one image or more")
    check_range(raw)
    x = to_tensor(part, spec.size, spec.channels, spec.margin, spec.border)
    numbers = torch.tensor([classes.index(name) for name in raw.classes])
    return ImageSplit(x, numbers[torch.from_numpy(part.labels)])


def check_labels(raw: RawImageSet) -> None:
    """Every split: labels in range; the training split: at least two samples of every class."""
    if len(raw.classes) < 2:
        raise UserError(
            "there is only one class", where=raw.where, expected="two at least", found=", ".join(raw.classes) or "none"
        )
    check_range(raw)
    counts = np.bincount(raw.splits["train"].labels, minlength=len(raw.classes))
    if counts.min() == 0:
        missing = [raw.classes[i] for i in np.flatnonzero(counts == 0)]
        raise UserError(
            "a class has no training sample",
            where=raw.where,
            found=f"none of {', '.join(missing[:10])}{f' and {len(missing) - 10} more' if len(missing) > 10 else ''}",
            cure="number the classes from 0 without a gap",
        )
    if counts.min() < 4 and len(raw.splits) == 1:
        few = raw.classes[int(counts.argmin())]
        raise UserError(
            "a class has too few samples to be split",
            where=raw.where,
            expected="4 or more a class",
            found=f"{counts.min()} of {few}",
        )


def check_range(raw: RawImageSet) -> None:
    """Every label of every split is one of the classes."""
    for name, part in raw.splits.items():
        out = (part.labels < 0) | (part.labels >= len(raw.classes))
        if out.any():
            index = int(out.argmax())
            raise UserError(
                "a label is out of range",
                where=part.where(index),
                expected=f"0 to {len(raw.classes) - 1}",
                found=int(part.labels[index]),
                cure=f"correct it, or add the class to train ({name} has it)",
            )


def usual_channels(raw: RawImageSet) -> int:
    """1 or 3, as the images have; a mixture is an error that names the first stranger."""
    part = raw.splits["train"]
    if part.arrays is not None:
        return part.arrays.shape[3]
    usual, stranger = mixed_kinds([f for split in raw.splits.values() for f in split.files])
    if stranger is not None:
        raise UserError(
            "the images are of mixed kinds",
            where=stranger,
            expected=f"{'grey' if usual == 1 else 'colour'}, as most are",
            found="colour" if usual == 1 else "grey",
            cure="channels=1 or channels=3 converts all of them",
        )
    return usual


def to_tensor(
    part: RawImages, size: int, channels: int, margin: float | None = None, border: int | None = None
) -> Tensor:
    """uint8 (N, C, size, size). Of an image that lacks at most `border` pixels they become a border of zeros.

    Unless `border` is given, arrays get one of up to four, as LeNet-5's 28 to 32, and files none. Files are decoded as
    `decode` says.
    """
    if part.arrays is None:
        expect_memory(len(part.labels) * channels * size * size, "the images", cure="a smaller size")
        out = decoded(part.files, size, channels, margin, border or 0)
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()
    x = torch.from_numpy(np.array(part.arrays)).permute(0, 3, 1, 2)
    return fit_channels(fit_size(x, size, BORDER if border is None else border), channels).contiguous()


def fit_size(x: Tensor, size: int, border: int = BORDER) -> Tensor:
    """Bytes (N, C, H, W) brought to `size`: by zeros around where at most `border` pixels lack, else resampled."""
    height, width = x.shape[-2:]
    if (height, width) == (size, size):
        return x
    if 0 <= size - height <= border and 0 <= size - width <= border:
        top, left = (size - height) // 2, (size - width) // 2
        return F.pad(x, (left, size - width - left, top, size - height - top))
    expect_memory(x.shape[0] * x.shape[1] * size * size, "the images", cure="a smaller size")
    parts = [F.interpolate(chunk.float(), (size, size), mode="bilinear", antialias=True) for chunk in x.split(4096)]
    return torch.cat(parts).round().clamp(0, 255).to(torch.uint8) if parts else x.new_zeros((0, x.shape[1], size, size))


def fit_channels(x: Tensor, channels: int) -> Tensor:
    """Grey to colour by repetition, colour to grey by the luma of ITU-R BT.601."""
    if x.shape[1] == channels:
        return x
    if channels == 3:
        return x.expand(-1, 3, -1, -1)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (x.float() * luma).sum(1, keepdim=True).round().to(torch.uint8)


def pixel_statistics(x: Tensor) -> tuple[list[float], list[float]]:
    """Mean and deviation a channel of bytes (N, C, H, W), as shares of 255; exact, from the histogram."""
    means, stds = [], []
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(x.shape[1], 256, dtype=torch.float64)
    for part in x.split(max(1, COUNTED // max(1, x[:1].numel()))):  # counting takes eight bytes for each
        for count, channel in zip(counts, part.unbind(1), strict=True):
            count += torch.bincount(channel.reshape(-1).long(), minlength=256)
    for share in counts:
        share /= share.sum()
        mean = float((share * levels).sum())
        means.append(mean)
        stds.append(float((share * (levels - mean) ** 2).sum().clamp_min(0).sqrt()))
    return means, stds


def decode_files(paths: Sequence[str | ImageFile], spec: PixelForm) -> Tensor:
    """Image files as the run's images are: uint8 (N, C, size, size), in their order; threads decode them.

    A run that learnt from arrays put a border around those a little too small; so the files get one too.

    Raises:
        UserError: for the first that is not there, else for the first that is no image.
    """
    files = [path if isinstance(path, PackedImage) else Path(path) for path in paths]
    for file in files:
        if isinstance(file, Path) and not file.is_file():
            raise UserError("there is no such file", where=file, expected="an image")
    border = spec.border if spec.border is not None else BORDER if spec.margin is None else 0
    found = decoded(files, spec.size, spec.channels, spec.margin, border)
    return torch.from_numpy(found).permute(0, 3, 1, 2)
