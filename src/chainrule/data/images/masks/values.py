"""One mask file as the numbers of its pixels, whatever form it has; and what a set of such numbers means."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from chainrule.core.errors import UserError
from chainrule.data.images.decoding import UNREADABLE, decoding_error, ignore_warnings, open_image
from chainrule.data.images.masks.class_list import LARGEST, ClassList

VOID = 255  # the usual mark, and ours
MOST_CLASSES = 254  # positions are bytes, and one of them is void
SMEARED = 0.35  # share of pixels whose right neighbour has another number, from which on there are no areas
SHOWN = 6

Colour = tuple[int, int, int]


@dataclass
class Mask:
    """The numbers of a mask's pixels (H, W), of 8 bits or 16, and the palette that came with them."""

    values: np.ndarray
    palette: dict[int, Colour] = field(default_factory=dict)


def read_mask(file: Path, classes: ClassList | None = None) -> Mask:
    """The numbers of a mask: grey, with a palette, of 1 or 16 bits, grey with alpha; colours by the list of classes.

    An image of 1 bit has 0 and 255. Colours that are all grey are numbers.

    Raises:
        UserError: the file cannot be read; it is in colours, and there is no list of them, or a colour is not in it.
    """
    try:
        with ignore_warnings(), contextlib.closing(open_image(file)) as image:
            image.load()
            smeared = image.format == "JPEG"
            ImageOps.exif_transpose(image, in_place=True)
            mask = _numbers(image, file, classes)
    except UserError:
        raise
    except UNREADABLE:
        raise UserError(
            "a mask cannot be read",
            where=file,
            found=decoding_error(file) or "a file that Pillow cannot decode",
            cure="repair this file, or take the pair out",
        ) from None
    if smeared:
        _expect_sharp(mask, file, classes)
    return mask


def _numbers(image: Image.Image, file: Path, classes: ClassList | None) -> Mask:
    if image.mode == "1":
        return Mask(np.asarray(image).astype(np.uint8) * VOID)
    if image.mode in ("P", "PA"):
        indices = np.asarray(image if image.mode == "P" else image.getchannel(0))
        flat = image.getpalette("RGB") or []
        colours = {n: (flat[3 * n], flat[3 * n + 1], flat[3 * n + 2]) for n in range(len(flat) // 3)}
        return Mask(indices, colours)
    if image.mode in ("L", "LA"):
        return Mask(np.asarray(image.getchannel(0)))
    if image.mode.startswith("I"):
        return Mask(_small(np.asarray(image), file))
    if image.mode == "F":
        raise UserError("a mask has fractions in place of whole numbers", where=file, expected="whole numbers")
    pixels = np.asarray(image.convert("RGB"))
    if (pixels[..., :1] == pixels).all() and not (classes is not None and classes.has_colours):
        return Mask(pixels[..., 0])
    return Mask(_small(_by_colour(pixels, file, classes), file))


def _small(values: np.ndarray, file: Path) -> np.ndarray:
    """Numbers in one byte each, or in two: the masks of a set are held together; UserError where two are too few."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > LARGEST:
        raise UserError(
            "a mask has a number that no class can have",
            where=file,
            expected=f"0 to {LARGEST}",
            found=low if low < 0 else high,
        )
    return values.astype(np.uint8 if high <= VOID else np.uint16)


def _by_colour(pixels: np.ndarray, file: Path, classes: ClassList | None) -> np.ndarray:
    """The number of each pixel's colour in the list of classes."""
    codes = pixels.astype(np.int64) @ np.array([65536, 256, 1])  # (H, W)
    found, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if classes is None or not classes.has_colours:
        common = [_colour(found[n]) for n in np.argsort(-counts)[:SHOWN]]
        raise UserError(
            "a mask is in colours, and nothing says which class each is",
            where=file,
            expected="numbers of classes, or a classes.txt beside the folders with lines such as `1 road 128,64,128`",
            found=f"{len(found)} colours: {'; '.join(common)}{'; ...' if len(found) > SHOWN else ''}",
        )
    known = {(r << 16) | (g << 8) | b: index for index, (r, g, b) in classes.colours.items()}
    strange = [n for n, code in enumerate(found) if int(code) not in known]
    if strange:
        named = [f"{_colour(found[n])} ({counts[n]} pixels)" for n in sorted(strange, key=lambda n: -counts[n])[:SHOWN]]
        raise UserError(
            "a mask has a colour that is not in the list of classes",
            where=file,
            expected=f"the {len(known)} colours of {classes.file}",
            found="; ".join(named) + ("; ..." if len(strange) > SHOWN else ""),
            cure="add the colour to the list; where it lies at edges alone, write the masks without smoothing, as PNG",
        )
    return np.array([known[int(code)] for code in found])[inverse].reshape(codes.shape)


def _colour(code: int) -> str:
    return listed((code >> 16, code >> 8 & 255, code & 255))


def listed(colour: Colour) -> str:
    """A colour as `classes.txt` has it.

    >>> listed((128, 64, 0))
    '128,64,0'
    """
    return ",".join(map(str, colour))


def _expect_sharp(mask: Mask, file: Path, classes: ClassList | None) -> None:
    """UserError where JPEG has smeared a mask: it has numbers that are in no list, or too many of them."""
    counts = Counter(dict(zip(*(part.tolist() for part in np.unique(mask.values, return_counts=True)), strict=True)))
    meant = set(classes.names) | {VOID} if classes is not None else {0, VOID}
    if set(counts) <= meant or (classes is None and len(counts) <= 2):
        return
    strange = sorted(set(counts) - meant)
    raise UserError(
        "a mask is a JPEG, whose compression smears the numbers of classes",
        where=file,
        expected="a format that keeps every number, such as PNG",
        found=f"{len(counts)} numbers, among them {', '.join(map(str, strange[:SHOWN]))}{', ...' if len(strange) > SHOWN else ''}",
        cure="export the masks anew as PNG; of two classes a threshold at 128 restores them",
    )


def expect_areas(values: np.ndarray, file: Path) -> None:
    """UserError where numbers change from pixel to pixel: a photograph, or a mask that was made smaller with smoothing."""
    changes = float((values[:, 1:] != values[:, :-1]).mean()) if values.shape[1] > 1 else 0.0
    kinds = len(np.unique(values))
    if kinds > 32 and changes > SMEARED:
        raise UserError(
            "a mask has no areas of classes: it looks like a photograph, or was resized with smoothing",
            where=file,
            expected="few numbers, one a class",
            found=f"{kinds} numbers, and {changes:.0%} of the pixels differ from their right neighbour",
            cure="masks of class numbers, resized by nearest neighbour",
        )
