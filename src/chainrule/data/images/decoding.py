"""One image file: decoded as every reader has it, or what is wrong with it, in words."""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from chainrule.core.errors import UserError
from chainrule.data.formats.content import IMAGE_ENDINGS, form_of, images_among, is_hidden_name
from chainrule.data.images.packed import ImageFile, is_empty, opened

# What Pillow raises for a file that is no image, or a broken one, or one too large to be meant.
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # where warnings are errors
)
TOO_LARGE = "too large to be meant"  # so begins the reason of an image that is refused for its size
MOST_PIXELS = (
    89_478_485  # of one image; from here on Pillow warns of files that are small and unpack to fill the memory
)
LARGE = 2**24  # pixels; larger images are decoded one at a time, for each takes up to 16 bytes a pixel
# Decoded in this process, whatever the name says. Never EPS, which Pillow hands to Ghostscript, a program of its own.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = IMAGE_ENDINGS

_one_large = threading.Lock()


def open_image(file: ImageFile) -> Image.Image:
    """An image file opened, its pixels not yet decoded: every reader of images opens them here.

    Raises:
        one of UNREADABLE: it is none of FORMATS, has more than MOST_PIXELS, or is no file.
    """
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise OSError("a folder, a pipe or a device, and no file")
    image = Image.open(opened(file), formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise Image.DecompressionBombError(f"({image.width * image.height} pixels)")
    return image


def _memory_for(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """What a thread holds while it decodes: of large images one at a time is decoded."""
    return _one_large if image.width * image.height > LARGE else contextlib.nullcontext()


def decode(
    file: ImageFile, channels: int, size: tuple[int, int], margin: float | None = None, border: int = 0
) -> np.ndarray:
    """One image file as uint8 (H, W, C): upright, 8 bits, transparency laid on white, the first image of a film.

    It is stretched to (H, W). With `margin` the shorter side is brought to `margin` times its share of (H, W), and the
    middle is cut out: proportions stay, and what lies at the edges goes. With `border` an image that lacks at most so
    many pixels in height and width gets a border of zeros instead, as arrays do.

    Raises:
        UserError: names a file that cannot be read, and why.
    """
    height, width = size
    with contextlib.ExitStack() as held:
        try:
            image = held.enter_context(open_image(file))
            held.enter_context(_memory_for(image))
            image.load()
            plain = _upright(image).convert("L" if channels == 1 else "RGB")
        except UNREADABLE as error:
            raise _unreadable(file, error) from None
        if margin is not None:
            plain = _middle(plain, height, width, margin)
        elif 0 <= height - plain.height <= border and 0 <= width - plain.width <= border:
            inner = plain
            plain = Image.new(inner.mode, (width, height))
            plain.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
        elif plain.size != (width, height):
            plain = plain.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(plain, dtype=np.uint8).reshape(height, width, channels)


def decoding_error(file: ImageFile) -> str | None:
    """Why `decode` could not read a file, in a line; None where it can. The header may be whole and the rest not."""
    try:
        with open_image(file) as image, _memory_for(image):
            image.load()
            _upright(image).convert("RGB")
    except UNREADABLE as error:
        return _reason(file, error)
    return None


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, sorted; hidden ones, as a Mac's `._cat.jpg`, are none."""
    return walked(folder)[0]


def walked(folder: Path, without: Collection[Path] = ()) -> tuple[list[Path], Counter[str]]:
    """The image files below a folder, sorted, and how many other files are of which form; hidden ones are neither.

    Folders of `without` are not entered.
    """
    images: list[Path] = []
    others: Counter[str] = Counter()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden_name(name) and Path(place, name) not in without]
        for name in names:
            if not is_hidden_name(name):
                file = Path(place, name)
                form = form_of(file)
                images.append(file) if images_among([(form, 1)]) else others.update([form or file.name])
    return sorted(images), others


@contextlib.contextmanager
def ignore_warnings() -> Iterator[None]:
    """Silences Pillow on odd metadata and large images: what hinders is told as an error. Not for threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _middle(image: Image.Image, height: int, width: int, margin: float) -> Image.Image:
    """The middle (height, width) of the image, brought to as small a size as covers `margin` times that."""
    image = _shortened(image, height, width)
    scale = max(margin * height / image.height, margin * width / image.width)
    image = image.resize(
        (max(width, round(image.width * scale)), max(height, round(image.height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _shortened(image: Image.Image, height: int, width: int) -> Image.Image:
    """A strip without its ends, which go in any case: enlarged, 20,000 pixels by one would fill the memory."""
    longest = [math.ceil(8 * image.height * width / height), math.ceil(8 * image.width * height / width)]
    w, h = min(image.width, longest[0]), min(image.height, longest[1])
    left, top = (image.width - w) // 2, (image.height - h) // 2
    return image if (w, h) == image.size else image.crop((left, top, left + w, top + h))


def colour_channels(file: ImageFile) -> int:
    """1 for a grey image, 3 for one in colour, from its header alone."""
    try:
        with open_image(file) as image:
            return 1 if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I") else 3
    except UNREADABLE as error:
        raise _unreadable(file, error) from None


def _reason(file: ImageFile, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        return f"{TOO_LARGE}: {int(pixels[1]) if pixels else 0:,} pixels; at most {MOST_PIXELS:,} are read"
    if isinstance(error, UnidentifiedImageError):
        return "an empty file" if is_empty(file) else "no image of a format that is known"
    return str(error)


def _unreadable(file: ImageFile, error: Exception) -> UserError:
    found = _reason(file, error)
    cure = "make it smaller, or remove it" if found.startswith(TOO_LARGE) else "repair or remove this file"
    return UserError("an image cannot be read", where=file, found=found, cure=cure)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the camera says, numbers brought to 8 bits, transparency laid on white."""
    from PIL import ImageOps

    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode == "LAB":  # Pillow makes it RGB, and nothing else
        return image.convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Whole numbers of 16 bits without their lower 8; fractions from 0 to 1 times 255, or from 0 to 255 as they are."""
    floats = pixels.dtype.kind == "f"
    low, high, most = float(pixels.min()), float(pixels.max()), 255 if floats else 65535
    if not (low >= 0 and high <= most):  # nan is neither
        kinds = "0 to 1, or 0 to 255, for fractions" if floats else "0 to 65,535 for whole numbers"
        raise ValueError(f"pixels from {low:g} to {high:g}; known are {kinds}")
    if not floats:
        return (pixels >> 8).astype(np.uint8)
    return (pixels * (255.0 if high <= 1 else 1.0)).round().astype(np.uint8)


def mixed_kinds(files: Sequence[ImageFile]) -> tuple[int, str | None]:
    """The channels that most images have, and the first that is of the other kind."""
    with ignore_warnings():
        kinds = [colour_channels(file) for file in files]
    usual = Counter(kinds).most_common(1)[0][0]
    return usual, next((str(f) for f, k in zip(files, kinds, strict=True) if k != usual), None)
