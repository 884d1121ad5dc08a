"""Answers as files: an index image with a palette, and the classes laid over the image; what each class has of it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from chainrule.core.files.atomic import write_bytes

OPACITY = 0.5  # of the colours over the image


def index_image(answer: np.ndarray, values: Sequence[int], colours: Sequence[Sequence[int]]) -> Image.Image:
    """Positions of classes (H, W) as an image of the classes' own numbers, whose palette has their colours.

    Numbers above 255 do not fit into a palette: then it is grey, of 16 bits.
    """
    table = np.zeros(256, np.int64)
    table[: len(values)] = values
    numbers = table[answer]
    if max(values) > 255:
        return Image.fromarray(numbers.astype(np.uint16))
    image = Image.fromarray(numbers.astype(np.uint8), mode=None)
    palette = np.zeros((256, 3), np.uint8)
    palette[list(values)] = np.array(colours, np.uint8)
    image.putpalette(palette.flatten().tolist())
    return image


def overlay(image: np.ndarray, answer: np.ndarray, colours: Sequence[Sequence[int]]) -> Image.Image:
    """The image (H, W, C) with half of each pixel's class's colour: RGB."""
    painted = np.array(colours, np.float32)[answer]  # (H, W, 3)
    grey = np.broadcast_to(image, painted.shape).astype(np.float32)
    return Image.fromarray(((1 - OPACITY) * grey + OPACITY * painted).round().astype(np.uint8))


def what_is_seen(answer: np.ndarray, classes: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Share of the pixels of each class, and number of its connected parts (by four neighbours), for an answer (H, W).

    >>> what_is_seen(np.array([[0, 1, 0], [0, 1, 1]]), ["sky", "road"])
    ({'sky': 0.5, 'road': 0.5}, {'sky': 2, 'road': 1})
    """
    from scipy import ndimage

    counts = np.bincount(answer.reshape(-1), minlength=len(classes))
    shares = {name: round(float(count / answer.size), 6) for name, count in zip(classes, counts, strict=True)}
    return shares, {name: int(ndimage.label(answer == k)[1]) if counts[k] else 0 for k, name in enumerate(classes)}


def in_words(shares: Mapping[str, float], parts: Mapping[str, float]) -> str:
    """The classes that are there, the largest first, with the number of their parts where there are several.

    >>> in_words({"sky": 0.25, "road": 0.75, "car": 0.0}, {"sky": 2, "road": 1, "car": 0})
    'road 75.0 %, sky 25.0 % in 2 parts'
    """
    there = sorted((name for name, share in shares.items() if share), key=lambda name: -shares[name])
    several = {name: f" in {parts[name]} parts" if parts[name] > 1 else "" for name in there}
    return ", ".join(f"{name} {100 * shares[name]:.1f} %{several[name]}" for name in there)


def write_image(image: Image.Image, file: Path) -> None:
    """A PNG that appears complete or not at all."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_bytes(file, buffer.getvalue())
