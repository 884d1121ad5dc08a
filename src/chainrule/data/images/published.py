"""Readers of published sets: scikit-learn's digits, MNIST's idx files, the binary batches of CIFAR-10."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.catalog.shipped import shipped_table
from chainrule.data.catalog.sources import Source
from chainrule.data.formats.unpacking import read_unpacked
from chainrule.data.images.raw import RawImages, RawImageSet


def read_digits(source: Source) -> RawImageSet:
    """scikit-learn's digits, the 17 levels of grey as bytes; UserError where `source` is another set."""
    if source.name != "digits":
        raise UserError(
            f"{source.name} is a {source.kind}, not a set of images", cure="--data digits, or a folder of images"
        )
    data = shipped_table("digits")
    # (N, 64) -> (N, 8, 8, 1)
    arrays = (data.x.reshape(-1, 8, 8) * (255.0 / 16.0)).round().astype(np.uint8)[..., None]
    return RawImageSet({"train": RawImages(data.y, arrays, origin="digits")}, [str(i) for i in range(10)], "digits")


def read_idx(file: Path) -> np.ndarray:
    """An idx file (gzipped or not) as an array, checked against its own header."""
    try:
        content = read_unpacked(file)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError("an idx file cannot be read", where=file, found=error) from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise UserError("this is no idx file of bytes", where=file, expected="00 00 08, the rank, then a size an axis")
    rank = content[3]
    if not 1 <= rank <= 4:
        raise UserError("an idx file has no such rank", where=file, expected="1 (labels) to 4", found=rank)
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if body.size != math.prod(shape) or max(shape) > len(content):  # also of sizes beside one that is 0
        raise UserError("an idx file is cut short", where=file, expected=f"{math.prod(shape)} bytes", found=body.size)
    return body.reshape(shape)


def read_idx_folder(folder: Path) -> RawImageSet:
    """The four idx files of MNIST or one of its successors, each gzipped or not."""
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        files = [
            next(filter(Path.is_file, (folder / f"{prefix}-{part}{end}" for end in (".gz", ""))), None)
            for part in ("images-idx3-ubyte", "labels-idx1-ubyte")
        ]
        if files[0] is None or files[1] is None:
            expected = f"{prefix}-images-idx3-ubyte and -labels-idx1-ubyte (.gz)"
            raise UserError("an idx file is missing", where=folder, expected=expected)
        x, y = read_idx(files[0]), read_idx(files[1]).astype(np.int64)
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise UserError(
                "images and labels do not fit",
                where=files[0],
                expected=f"images (N, H, W) and labels ({len(x)},)",
                found=f"{x.shape} and {y.shape}",
            )
        splits[split] = RawImages(y, x[..., None], origin=str(files[0]))
    fashion = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    count = int(splits["train"].labels.max(initial=-1)) + 1
    classes = fashion if "fashion" in folder.name and count == 10 else [str(i) for i in range(count)]
    return RawImageSet(splits, classes, str(folder))


def read_cifar10(folder: Path) -> RawImageSet:
    """`folder` holds the batches themselves: each record a label, then 3 planes of 32x32 bytes."""

    def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
        file = folder / name
        if not file.is_file() or file.stat().st_size == 0 or file.stat().st_size % 3073:
            expected = "a multiple of 3,073 bytes"
            raise UserError("a CIFAR-10 batch is missing or cut short", where=file, expected=expected)
        records = np.fromfile(file, np.uint8).reshape(-1, 3073)
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
        return images, records[:, 0].astype(np.int64)

    parts = [batch(f"data_batch_{i}.bin") for i in range(1, 6)]
    test_x, test_y = batch("test_batch.bin")
    try:
        names = (folder / "batches.meta.txt").read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "the names of the classes cannot be read", where=folder / "batches.meta.txt", found=error
        ) from None
    train = RawImages(
        np.concatenate([y for _, y in parts]),
        np.concatenate([x for x, _ in parts]),
        origin=f"{folder}/data_batch_*.bin",
    )
    return RawImageSet(
        {"train": train, "test": RawImages(test_y, test_x, origin=f"{folder}/test_batch.bin")}, names, str(folder)
    )
