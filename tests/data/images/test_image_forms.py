"""Every form of an image file: the pixels that it means, by Pillow or by hand; and files that were spoiled at random."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.images.decoding import decode, decoding_error, ignore_warnings
from chainrule.data.images.loading import decode_files
from tests.data.image_sets import image_spec, png

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8)
GREY = COLOURS[:, :, 0]
ALPHA = np.dstack([COLOURS, RNG.integers(0, 256, (9, 7)).astype(np.uint8)])
DEEP = RNG.integers(0, 65536, (9, 7)).astype(np.uint16)


def on_white(rgba: np.ndarray) -> np.ndarray:
    """What shows of an image with transparency on white paper, in float64."""
    share = rgba[..., 3:] / 255.0
    return rgba[..., :3] * share + 255.0 * (1 - share)


def luma(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))[..., None]


# -- right answers: form of the file, how it is written, what the pixels must be, and how far off they may be ----------


def saved(image: Image.Image, **options: Any) -> Callable[[Path], None]:
    return lambda file: image.save(file, **options)


def film(*frames: Image.Image, **options: Any) -> Callable[[Path], None]:
    return lambda file: frames[0].save(file, save_all=True, append_images=list(frames[1:]), duration=50, **options)


def turned(orientation: int) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(COLOURS).save(file, exif=exif)

    return write


CMYK = Image.fromarray(COLOURS).convert("CMYK")
PALETTE = Image.fromarray(COLOURS).quantize(16)
CLEAR_PALETTE = Image.fromarray(np.where(GREY > 99, 1, 0).astype(np.uint8), "L").convert("P")
CLEAR_PALETTE.putpalette([10, 20, 30, 200, 100, 50])
ONE_BIT = Image.fromarray(GREY > 127)
FIRST, SECOND = (Image.new("RGB", (7, 9), colour) for colour in ("red", "blue"))
SOLID_ALPHA = np.dstack([COLOURS, np.full((9, 7), 255, np.uint8)])
DEEP_COLOURS = np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]])

RIGHT: dict[str, tuple[str, Callable[[Path], None], np.ndarray, float]] = {
    "CIE L*a*b*, half as light": (".tif", saved(Image.new("LAB", (7, 9), (136, 128, 128))), np.full((9, 7, 3), 128), 1),
    "grey": (".png", saved(Image.fromarray(GREY)), np.repeat(GREY[..., None], 3, 2), 0),
    "colour": (".bmp", saved(Image.fromarray(COLOURS)), COLOURS, 0),
    "CMYK TIFF": (".tif", saved(CMYK), np.asarray(CMYK.convert("RGB")), 0),
    "CMYK JPEG": (".jpg", saved(CMYK, quality=100, subsampling=0), np.asarray(CMYK.convert("RGB")), 6),
    "16 bits PNG": (".png", saved(Image.fromarray(DEEP)), np.repeat(DEEP[..., None] // 256, 3, 2), 0),
    "16 bits TIFF": (".tiff", saved(Image.fromarray(DEEP)), np.repeat(DEEP[..., None] // 256, 3, 2), 0),
    "16 bits TIFF, big end first": (
        ".tif",
        saved(Image.frombytes("I;16B", (7, 9), DEEP.astype(">u2").tobytes())),
        np.repeat(DEEP[..., None] // 256, 3, 2),
        0,
    ),
    "16 bits PGM": (
        ".pgm",
        lambda file: file.write_bytes(b"P5 7 9 65535\n" + DEEP.astype(">u2").tobytes()),
        np.repeat(DEEP[..., None] // 256, 3, 2),
        0,
    ),
    "16 bits PNG in colour": (
        ".png",
        lambda file: file.write_bytes(png(7, 9, kind=2, bits=16, row=DEEP_COLOURS[0].astype(">u2").tobytes())),
        np.repeat(DEEP_COLOURS[:1] // 256, 9, 0),
        0,
    ),
    "32 bits, whole numbers up to 65,535": (
        ".tif",
        saved(Image.fromarray(DEEP.astype(np.int32))),
        np.repeat(DEEP[..., None] // 256, 3, 2),
        0,
    ),
    "fractions from 0 to 1": (
        ".tif",
        saved(Image.fromarray((GREY / 255).astype(np.float32))),
        np.repeat(GREY[..., None], 3, 2),
        0,
    ),
    "fractions up to 255": (
        ".tif",
        saved(Image.fromarray(GREY.astype(np.float32))),
        np.repeat(GREY[..., None], 3, 2),
        0,
    ),
    "1 bit PNG": (".png", saved(ONE_BIT), np.repeat(np.where(GREY > 127, 255, 0)[..., None], 3, 2), 0),
    "1 bit TIFF": (".tif", saved(ONE_BIT), np.repeat(np.where(GREY > 127, 255, 0)[..., None], 3, 2), 0),
    "palette": (".png", saved(PALETTE), np.asarray(PALETTE.convert("RGB")), 0),
    "palette with one colour clear": (
        ".png",
        saved(CLEAR_PALETTE, transparency=1),
        np.where(GREY[..., None] > 99, 255, [10, 20, 30]),
        0,
    ),
    "palette with half clear colours": (
        ".png",
        saved(CLEAR_PALETTE, transparency=b"\x80\xff"),
        np.where(GREY[..., None] > 99, [200, 100, 50], on_white(np.array([10, 20, 30, 128]))),
        1,
    ),
    "alpha": (".png", saved(Image.fromarray(ALPHA)), on_white(ALPHA), 1),
    "alpha that hides nothing": (".png", saved(Image.fromarray(SOLID_ALPHA)), COLOURS, 0),
    "alpha WebP": (".webp", saved(Image.fromarray(ALPHA), lossless=True, exact=True), on_white(ALPHA), 1),
    "grey and alpha": (
        ".png",
        saved(Image.fromarray(np.dstack([GREY, ALPHA[..., 3]]))),
        on_white(np.dstack([GREY, GREY, GREY, ALPHA[..., 3]])),
        1,
    ),
    "a clear colour": (
        ".png",
        saved(Image.fromarray(COLOURS), transparency=tuple(int(v) for v in COLOURS[2, 3])),
        np.where((COLOURS[2, 3] == COLOURS).all(2, keepdims=True), 255, COLOURS),
        0,
    ),
    "film GIF": (".gif", film(FIRST, SECOND), np.asarray(FIRST), 0),
    "film WebP": (".webp", film(FIRST, SECOND, lossless=True), np.asarray(FIRST), 0),
    "film PNG": (".png", film(FIRST, SECOND), np.asarray(FIRST), 0),
    "film PNG with an image of its own": (".png", film(SECOND, FIRST, default_image=True), np.asarray(SECOND), 0),
    "pages TIFF": (".tif", saved(FIRST.copy(), save_all=True, append_images=[SECOND.copy()]), np.asarray(FIRST), 0),
    "turned 1, not at all": (".png", turned(1), COLOURS, 0),
    "turned 2, mirrored": (".png", turned(2), COLOURS[:, ::-1], 0),
    "turned 3, on its head": (".png", turned(3), COLOURS[::-1, ::-1], 0),
    "turned 6, to the right": (".png", turned(6), np.rot90(COLOURS, -1), 0),
    "turned 8, to the left": (".tif", turned(8), np.rot90(COLOURS), 0),
    "turned 5, mirrored and turned": (".png", turned(5), COLOURS.transpose(1, 0, 2), 0),
    "turned 77, which is nonsense": (".png", turned(77), COLOURS, 0),
}


@pytest.mark.parametrize("form", RIGHT)
def test_pixels_are_what_the_file_means(form: str, tmp_path: Path) -> None:
    suffix, write, expected, off = RIGHT[form]
    write(file := tmp_path / f"a{suffix}")
    height, width, _ = expected.shape
    found = decode(file, 3, (height, width))
    assert np.abs(found.astype(float) - expected).max() <= off
    grey = luma(np.round(expected).astype(np.uint8))
    assert np.abs(decode(file, 1, (height, width)).astype(float) - grey).max() <= off + 1
    spec = image_spec(size=12, channels=3, border=0)
    assert np.array_equal(
        decode_files([file], spec)[0].permute(1, 2, 0),
        Image.fromarray(found).resize((12, 12), Image.Resampling.BILINEAR),
    )


@pytest.mark.parametrize("mode", ["F above", "F below", "F nan", "I above", "I below"])
def test_numbers_that_no_rule_brings_to_eight_bits_are_refused(mode: str, tmp_path: Path) -> None:
    """A scan of microscopes or a map of heights would train as black or white, and nobody would know."""
    kind, _, what = mode.partition(" ")
    pixels = np.full((9, 7), 100, dtype={"F": np.float32, "I": np.int32}[kind])
    pixels[4, 5] = {"above": 70000, "below": -1, "nan": np.nan}[what]
    Image.fromarray(pixels).save(file := tmp_path / "map.tif")
    with pytest.raises(UserError, match=r"cannot be read\n +where: .*map.tif\n +found: .*known are"):
        decode(file, 3, (9, 7))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "PPM"])
def test_spoiled_files_are_decoded_or_refused_in_words(form: str, tmp_path: Path) -> None:
    """Bytes changed and ends cut off at random: no other exception gets out, and `data check` agrees with training."""
    rng, held = np.random.default_rng(3), io.BytesIO()
    Image.fromarray(COLOURS).save(held, form)
    whole, file, refused = held.getvalue(), tmp_path / "a.png", 0
    for turn in range(120):
        content = bytearray(whole if turn % 3 else whole[: rng.integers(len(whole))])
        for _ in range(turn % 3):
            content[rng.integers(len(content))] = rng.integers(256)
        file.write_bytes(content)
        with ignore_warnings():
            why = decoding_error(file)
            try:
                decode(file, 3, (5, 5))
            except UserError as error:
                refused += 1
                assert why is not None and why in str(error)
            else:
                assert why is None
    assert refused > 20
