"""Sets of images in every form that the readers know, small and made on the spot."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.images.loading import ImageSplit, read_image_splits
from chainrule.data.images.spec import ImageSpec


def stripes(count: int, side: int = 8, channels: int = 0, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Noise whose level tells the class, bytes (N, H, W) or (N, H, W, C), and the classes 0, 1, ... in turn."""
    rng = np.random.default_rng(count)
    y = np.arange(count) % classes
    shape = (count, side, side, channels) if channels else (count, side, side)
    level = (200 // classes * y).reshape(-1, *([1] * (len(shape) - 1)))
    return (rng.integers(0, 50, shape) + level).astype(np.uint8), y.astype(np.int64)


def npz(file: Path, count: int = 40, **changes: np.ndarray) -> str:
    """An npz of `stripes`; `changes` replace or add arrays."""
    x, y = stripes(count)
    np.savez(file, **{"x": x, "y": y, **changes})
    return str(file)


def write_images(
    folder: Path, count: int, mode: str = "L", size: tuple[int, int] = (8, 8), suffix: str = ".png"
) -> Path:
    """`count` files of noise, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(folder.name))
    for index in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{index}{suffix}")
    return folder


def png(width: int, height: int, kind: int = 0, bits: int = 1, row: bytes | None = None) -> bytes:
    """A PNG written by hand, every row the same, black unless given: a large one costs little."""
    packer = zlib.compressobj(9)
    line = b"\0" + (bytes((width * bits * (3 if kind == 2 else 1) + 7) // 8) if row is None else row)
    body = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_folder(folder: Path, train: int = 30, test: int = 10, packed: bool = True) -> Path:
    """The four files of MNIST, with other images."""
    folder.mkdir(parents=True)
    for prefix, count in (("train", train), ("t10k", test)):
        x, y = stripes(count)
        for name, array in (("images-idx3-ubyte", x), ("labels-idx1-ubyte", y)):
            content = idx_bytes(array)
            file = folder / f"{prefix}-{name}{'.gz' if packed else ''}"
            file.write_bytes(gzip.compress(content) if packed else content)
    return folder


def cifar_folder(folder: Path, count: int = 4) -> Path:
    """CIFAR-10's binary batches, `count` records each: a byte of class, then the red, green and blue planes."""
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rng = np.random.default_rng(number)
        records = rng.integers(0, 256, (count, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(count) % 2
        (place / f"{name}.bin").write_bytes(records.tobytes())
    (place / "batches.meta.txt").write_text("airplane\nautomobile\n\n", "utf-8")
    return folder


def image_spec(**fields: Any) -> ImageSpec:
    """A spec of images, of which a test says what matters to it."""
    rest = {"where": "here", "classes": [], "mean": [0.5], "std": [0.5], "counts": {}, "splits": {}, "fingerprint": ""}
    return ImageSpec(**{**rest, "channels": 1, "size": 8, **fields})


def read(source: Path | str, **changes: Any) -> tuple[ImageSpec, dict[str, ImageSplit]]:
    settings = {"target": None, "size": 8, "channels": 0, "seed": 0, "val_fraction": 0.1, **changes}
    return read_image_splits(str(source), **settings)


def refused(source: Path | str, *words: str, **changes: Any) -> str:
    """The error of reading it; holds all of `words`."""
    with pytest.raises(UserError) as caught:
        read(source, **changes)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    return message
