"""Images and masks as they were found: every file read once, sizes compared, numbers counted and given a meaning."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ImageOps

from chainrule.core.errors import UserError
from chainrule.core.memory import expect_memory
from chainrule.data.catalog.record import Source
from chainrule.data.images.decoding import UNREADABLE, decode, decoding_error, ignore_warnings, mixed_kinds, open_image
from chainrule.data.images.masks.class_list import ClassList, find_class_list
from chainrule.data.images.masks.masked_images import MaskedImages, MaskedImageSet
from chainrule.data.images.masks.meaning import Meaning, meaning_of
from chainrule.data.images.masks.pairs import Pair, find_pairs
from chainrule.data.images.masks.shapes import shapes_set
from chainrule.data.images.masks.values import VOID, Colour, expect_areas, listed, read_mask
from chainrule.data.images.packed import ImageFile
from chainrule.data.layout import Layout

Result = TypeVar("Result")
SMALLEST = 32  # pixels of a side


def read_masked_images(
    layout: Layout, target: str | None = None, *, channels: int = 0, meaning: Meaning | None = None, shorter: int = 0
) -> MaskedImageSet:
    """Reads all pairs of a place.

    Args:
        layout: where they lie, and what the user says of the reading (`void=`).
        target: masks have no column of labels.
        channels: of the images; 0 for what they have.
        meaning: what the numbers mean, where a run knows it already.
        shorter: pixels that the shorter side of an image may have; larger ones are made smaller as soon as they are
            decoded. 0 leaves all as they are, and masks always are.

    Raises:
        UserError: as `find_pairs`, `read_mask` and `meaning_of`; a mask has another size than its image; an image is too
            small; there is one image only.
    """
    if isinstance(layout.place, Source):
        return shapes_set()
    found = find_pairs(layout)
    classes = find_class_list(found.folders, layout.options.get("encoding"))
    pairs = [pair for split in found.splits.values() for pair in split]
    if len(pairs) < 2 and meaning is None:
        raise UserError(
            "there is one image only, and nothing to measure on",
            where=pairs[0][0] if pairs else found.where,
            expected="two images or more, with a mask each; better some dozens",
        )
    channels = channels or _usual_channels([image for image, _ in pairs])
    sizes = _together(upright_size, [image for image, _ in pairs])
    _expect_large_enough(pairs, sizes)
    need = sum(channels * math.prod(smaller_size(h, w, shorter)) + h * w for h, w in sizes)
    expect_memory(need, "the images and masks", cure="smaller images")
    masks, palettes = _values(pairs, sizes, classes)
    palette = _one_palette(pairs, palettes, found.notes)
    counts, first = _counted(pairs, masks)
    if meaning is None:
        void = layout.options.get("void")
        meaning = meaning_of(counts, first, found.where, classes=classes, void=void, palette=palette)
    positions = [meaning.positions(mask, mask_file) for mask, (_, mask_file) in zip(masks, pairs, strict=True)]
    _expect_some_class(pairs, positions)

    def one(job: tuple[Path, tuple[int, int]]) -> np.ndarray:
        return made_smaller(decode(job[0], channels, job[1]), shorter)

    images = _together(one, list(zip((image for image, _ in pairs), sizes, strict=True)))
    splits, start = {}, 0
    for name, part in found.splits.items():
        end = start + len(part)
        splits[name] = MaskedImages(part, images[start:end], positions[start:end])
        start = end
    return MaskedImageSet(splits, meaning, channels, found.where, found.form, found.notes)


def smaller_size(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Height and width with `shorter` pixels at most on the shorter side; 0 leaves them as they are.

    >>> smaller_size(1024, 2048, 512), smaller_size(300, 9000, 512), smaller_size(1024, 2048, 0)
    ((512, 1024), (300, 9000), (1024, 2048))
    """
    least = min(height, width)
    if not shorter or least <= shorter:
        return height, width
    return max(1, round(height * shorter / least)), max(1, round(width * shorter / least))


def made_smaller(image: np.ndarray, shorter: int) -> np.ndarray:
    """An image (H, W, C) whose shorter side has at most `shorter` pixels, bilinear with antialiasing; 0 leaves it so."""
    size = smaller_size(image.shape[0], image.shape[1], shorter)
    if size == image.shape[:2]:
        return image
    small = F.interpolate(
        torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None], size, mode="bilinear", antialias=True
    )
    return small[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _together(work: Callable[[Any], Result], jobs: Sequence[Any]) -> list[Result]:
    """What `work` makes of each job, by threads, in their order."""
    with ignore_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, jobs))


def upright_size(file: ImageFile, cure: str = "repair this file, or take the pair out") -> tuple[int, int]:
    """Height and width of an image as the camera's note turns it; UserError with this cure where it cannot be read."""
    try:
        with open_image(file) as image:
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except UNREADABLE:
        raise UserError(
            "an image cannot be read",
            where=file,
            found=decoding_error(file) or "a file that Pillow cannot decode",
            cure=cure,
        ) from None


def _usual_channels(files: Sequence[Path]) -> int:
    """1 where all images are grey, else 3: in a set with colours a grey one is one without much of them."""
    usual, stranger = mixed_kinds(files)
    return 3 if stranger is not None else usual


def _expect_large_enough(pairs: Sequence[Pair], sizes: Sequence[tuple[int, int]]) -> None:
    small = [(pair[0], size) for pair, size in zip(pairs, sizes, strict=True) if min(size) < SMALLEST]
    if small:
        file, (height, width) = small[0]
        raise UserError(
            "an image is too small" if len(small) == 1 else f"{len(small)} images are too small",
            where=file,
            expected=f"{SMALLEST} x {SMALLEST} pixels at least",
            found=f"{width} x {height}",
            cure="enlarge image and mask, or take the pair out",
        )


def _values(
    pairs: Sequence[Pair], sizes: Sequence[tuple[int, int]], classes: ClassList | None
) -> tuple[list[np.ndarray], list[dict[int, Colour]]]:
    """The numbers of every mask, as large as its image, and the colours that its palette gives those that it has."""

    def one(job: tuple[Pair, tuple[int, int]]) -> tuple[np.ndarray, dict[int, Colour]]:
        (image, file), size = job
        mask = read_mask(file, classes)
        if mask.values.shape != size:
            raise _other_size(image, file, size, mask.values.shape)
        if classes is None:
            expect_areas(mask.values, file)
        used = np.unique(mask.values).tolist() if mask.palette else []
        return mask.values, {n: mask.palette[n] for n in used if n in mask.palette}

    found = _together(one, list(zip(pairs, sizes, strict=True)))
    return [values for values, _ in found], [palette for _, palette in found]


def _one_palette(
    pairs: Sequence[Pair], palettes: Sequence[Mapping[int, Colour]], notes: list[str]
) -> dict[int, Colour]:
    """The colour of each number, by the first mask that has it; where another mask has another colour, that is noted."""
    first: dict[int, tuple[Colour, Path]] = {}
    differ: list[str] = []
    for (_, file), palette in zip(pairs, palettes, strict=True):
        for number, colour in palette.items():
            before, where = first.setdefault(number, (colour, file))
            if colour != before:
                differ.append(
                    f"the palettes of the masks differ: {number} is {listed(before)} in {where.name} and {listed(colour)} in "
                    f"{file.name}; numbers are classes, whatever their colour"
                )
    notes += differ[:1]
    return {number: colour for number, (colour, _) in first.items()}


def _other_size(image: Path, mask: Path, size: tuple[int, int], found: tuple[int, ...]) -> UserError:
    turned = found == size[::-1] and size[0] != size[1]
    with open_image(image) as opened:
        noted = turned and ImageOps.exif_transpose(opened).size != opened.size
    return UserError(
        "a mask has another size than its image",
        where=mask,
        expected=f"{size[1]} x {size[0]}, the size of {image.name}"
        + (", which its EXIF note turns upright" if noted else ""),
        found=f"{found[1]} x {found[0]}",
        cure="the mask was drawn on the image as it is stored: turn the mask, or write the image upright without the note"
        if noted
        else "draw it on the image of this size, or resize it by nearest neighbour",
    )


def _counted(pairs: Sequence[Pair], masks: Sequence[np.ndarray]) -> tuple[Counter[int], dict[int, Path]]:
    """Pixels by number over all masks, and the first mask that has it."""
    counts: Counter[int] = Counter()
    first: dict[int, Path] = {}
    for mask, (_, file) in zip(masks, pairs, strict=True):
        for value, count in zip(*(part.tolist() for part in np.unique(mask, return_counts=True)), strict=True):
            counts[value] += count
            first.setdefault(value, file)
    return counts, first


def _expect_some_class(pairs: Sequence[Pair], positions: Sequence[np.ndarray]) -> None:
    empty = [file for mask, (_, file) in zip(positions, pairs, strict=True) if (mask == VOID).all()]
    if empty:
        raise UserError(
            "a mask is all void" if len(empty) == 1 else f"{len(empty)} masks are all void",
            where=empty[0],
            expected="a class somewhere",
            cure="take the pair out; where the number is a class, say which one is void: void=N, or void=-1 for none",
        )
