"""One image file: decoded as every reader has it, or what is wrong with it, in words."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from chainrule.core.errors import UserError
from chainrule.data.images.packed import ImageFile, is_empty, opened

# What Pillow raises for a file that is no image, or a broken one, or one too large to be meant.
UNREADABLE = (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
TOO_LARGE = "too large to be meant"  # so begins the reason of an image that is refused for its size
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


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
    try:
        with Image.open(opened(file)) as image:
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
        with Image.open(opened(file)) as image:
            image.load()
            _upright(image).convert("RGB")
    except UNREADABLE as error:
        return _reason(file, error)
    return None


def image_files(folder: Path) -> list[Path]:
    """The image files below a folder, sorted; hidden ones, as a Mac's `._cat.jpg`, are none."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES and not is_hidden(file, folder) and not file.is_dir()
    )


def is_hidden(file: Path, folder: Path) -> bool:
    """Whether a file below a folder, or a folder between the two, begins with a dot."""
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


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
        with Image.open(opened(file)) as image:
            return 1 if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I") else 3
    except UNREADABLE as error:
        raise _unreadable(file, error) from None


def _reason(file: ImageFile, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        return f"{TOO_LARGE}: {int(pixels[1]) if pixels else 0:,} pixels; at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} are read"
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

    image = ImageOps.exif_transpose(image)
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
        return (pixels.astype(np.int64) >> 8).astype(np.uint8)
    return (pixels * (255.0 if high <= 1 else 1.0)).round().astype(np.uint8)


def mixed_kinds(files: Sequence[ImageFile]) -> tuple[int, str | None]:
    """The channels that most images have, and the first that is of the other kind."""
    with ignore_warnings():
        kinds = [colour_channels(file) for file in files]
    usual = Counter(kinds).most_common(1)[0][0]
    return usual, next((str(f) for f, k in zip(files, kinds, strict=True) if k != usual), None)
