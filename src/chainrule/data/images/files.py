"""Readers of images: idx, CIFAR's binary batches, folders of classes, CSV, npz. Each gives arrays and class names."""

from __future__ import annotations

import csv
import gzip
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import Source
from chainrule.data.images.decoding import SUFFIXES, image_files


@dataclass
class RawImages:
    """One split as it was found: uint8 images (N, H, W, C), or files to decode; labels; where each sample stands."""

    labels: np.ndarray
    arrays: np.ndarray | None = None
    files: list[Path] = field(default_factory=list)
    origin: str = ""

    def where(self, index: int) -> str:
        return str(self.files[index]) if self.files else f"{self.origin}, sample {index}"


@dataclass
class RawImageSet:
    """Splits as the publisher or the user made them (`train` always), and the names of the classes."""

    splits: dict[str, RawImages]
    classes: list[str]
    where: str


def read_images(source: Source | Path, target: str | None) -> RawImageSet:
    """Recognises what `source` is and reads it."""
    if isinstance(source, Source):
        return _digits(source)
    if source.is_dir():
        if (source / "train-images-idx3-ubyte.gz").is_file() or (source / "train-images-idx3-ubyte").is_file():
            return _idx_folder(source)
        if (source / "cifar-10-batches-bin").is_dir():
            return _cifar10(source / "cifar-10-batches-bin")
        if (source / "train.csv").is_file():
            return _csv_images(source, target)
        return _class_folders(source)
    if source.suffix.lower() == ".npz":
        return _npz(source)
    if source.suffix.lower() == ".csv":
        return _csv_images(source, target)
    raise UserError(
        "this is no set of images",
        where=source,
        expected="a folder with one subfolder a class, a .csv, a .npz with x and y, or MNIST's idx files",
    )


def _digits(source: Source) -> RawImageSet:
    if source.name != "digits":
        raise UserError(
            f"{source.name} is a {source.kind}, not a set of images", cure="--data digits, or a folder of images"
        )
    from sklearn.datasets import load_digits

    data = load_digits()
    arrays = (data.images * (255.0 / 16.0)).round().astype(np.uint8)[..., None]
    return RawImageSet(
        {"train": RawImages(data.target.astype(np.int64), arrays, origin="digits")},
        [str(i) for i in range(10)],
        "digits",
    )


def read_idx(file: Path) -> np.ndarray:
    """An idx file (gzipped or not) as an array, checked against its own header."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError("an idx file cannot be read", where=file, found=error) from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise UserError("this is no idx file of bytes", where=file, expected="00 00 08, the rank, then a size an axis")
    rank = content[3]
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if body.size != math.prod(shape):
        raise UserError("an idx file is cut short", where=file, expected=f"{math.prod(shape)} bytes", found=body.size)
    return body.reshape(shape)


def _idx_folder(folder: Path) -> RawImageSet:
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        files = [
            next(
                (
                    folder / f"{prefix}-{part}{end}"
                    for end in (".gz", "")
                    if (folder / f"{prefix}-{part}{end}").is_file()
                ),
                None,
            )
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


def _cifar10(folder: Path) -> RawImageSet:
    def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
        file = folder / name
        if not file.is_file() or file.stat().st_size == 0 or file.stat().st_size % 3073:
            expected = "a multiple of 3,073 bytes"
            raise UserError("a CIFAR-10 batch is missing or cut short", where=file, expected=expected)
        records = np.fromfile(file, np.uint8).reshape(-1, 3073)
        return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0].astype(np.int64)

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


def _class_folders(folder: Path) -> RawImageSet:
    made = {name: folder / name for name in ("train", "val", "test") if (folder / name).is_dir()}
    parts = made if "train" in made else {"train": folder}
    classes = sorted(d.name for d in parts["train"].iterdir() if d.is_dir() and not d.name.startswith("."))
    if len(classes) < 2:
        raise UserError(
            "a set of classes needs two at least",
            where=parts["train"],
            expected="one subfolder a class, with images in each",
            found=f"{len(classes)} subfolder{'' if len(classes) == 1 else 's'}",
        )
    splits = {}
    for split, place in parts.items():
        files, labels = [], []
        for child in sorted(d for d in place.iterdir() if d.is_dir() and not d.name.startswith(".")):
            if child.name not in classes:
                raise UserError(
                    f"the class {child.name!r} is in {split} and not in train", where=child, expected=", ".join(classes)
                )
            found = image_files(child)
            if not found and split == "train":
                others = sorted({f.suffix.lower() or f.name for f in child.rglob("*") if f.is_file()})
                raise UserError(
                    "a class has no image",
                    where=child,
                    expected="files ending in " + " ".join(sorted(SUFFIXES)),
                    found="files ending in " + " ".join(others[:10]) if others else "an empty folder",
                    cure="put images into it, or remove the folder",
                )
            files += found
            labels += [classes.index(child.name)] * len(found)
        splits[split] = RawImages(np.array(labels, dtype=np.int64), files=files)
    return RawImageSet(splits, classes, str(folder))


def _npz(file: Path) -> RawImageSet:
    try:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no npz file, which is a zip archive of arrays")
        with np.load(file, allow_pickle=False) as z:
            content = {name: z[name] for name in z.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        found = "arrays of Python objects, which are a pickle" if "allow_pickle" in str(error) else str(error)
        raise UserError(
            "the npz file cannot be read", where=file, found=found, expected="numeric arrays x and y"
        ) from None
    names = {
        "train": ("x", "y") if "x" in content else ("x_train", "y_train"),
        "val": ("x_val", "y_val"),
        "test": ("x_test", "y_test"),
    }
    splits = {}
    for split, (xn, yn) in names.items():
        if xn in content and yn in content:
            x, y = content[xn], content[yn]
            if y.ndim == 2 and y.shape[1] == 1:
                raise UserError(
                    "the target has a shape that would broadcast silently",
                    where=f"{file}: {yn}",
                    expected=f"({len(y)},)",
                    found=y.shape,
                    cure=f"{yn} = {yn}[:, 0]",
                )
            if y.ndim != 1 or x.shape[:1] != y.shape:
                raise UserError(
                    "the target does not fit the images",
                    where=f"{file}: {yn}",
                    expected=f"{x.shape[:1]}",
                    found=y.shape,
                )
            splits[split] = RawImages(
                _whole_labels(y, f"{file}: {yn}"), _as_bytes(x, f"{file}: {xn}"), origin=f"{file}: {xn}"
            )
    if "train" not in splits:
        found = ", ".join(content) or "nothing"
        raise UserError("the npz file lacks its arrays", where=file, expected="x and y", found=found)
    labels = splits["train"].labels
    count = int(labels.max(initial=-1)) + 1
    if count > len(labels):
        raise UserError(
            "there are fewer samples than classes",
            where=f"{file}: {names['train'][1]}",
            found=f"the label {count - 1}",
            cure="number the classes from 0 without a gap",
        )
    return RawImageSet(splits, [str(i) for i in range(count)], str(file))


def _as_bytes(x: np.ndarray, where: str) -> np.ndarray:
    """Images as uint8 (N, H, W, C): bytes as they are, floats in [0, 1] scaled."""
    if x.ndim == 3:
        x = x[..., None]
    elif x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] not in (1, 3):
        x = x.transpose(0, 2, 3, 1)
    if x.ndim != 4 or x.shape[3] not in (1, 3):
        expected = "(N, H, W), (N, H, W, C) or (N, C, H, W)"
        raise UserError("the images have no shape that is known", where=where, expected=expected, found=x.shape)
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "buif":
        raise UserError("pixels are no numbers", where=where, expected="uint8, or floats from 0 to 1", found=x.dtype)
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(1) if len(x) else np.zeros(0, bool)
    if bad.any():
        raise UserError(
            "an image holds values that are no numbers",
            where=f"{where}[{int(bad.argmax())}]",
            cure="remove or repair it",
        )
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    if low < 0 or high > 255:
        found = f"{low:g} to {high:g}"
        raise UserError("pixels are out of range", where=where, expected="0 to 1, or 0 to 255", found=found)
    return (x * (255.0 if high <= 1.0 else 1.0)).round().astype(np.uint8)


def _whole_labels(y: np.ndarray, where: str) -> np.ndarray:
    if y.dtype.kind not in "iub" and not (y.dtype.kind == "f" and bool((y == np.floor(y)).all())):
        raise UserError("labels are no whole numbers", where=where, expected="0, 1, 2, ...", found=y.dtype)
    labels = y.astype(np.int64)
    if len(labels) and labels.min() < 0:
        raise UserError(
            "a label is out of range",
            where=f"{where}[{int(labels.argmin())}]",
            expected="0 or more",
            found=int(labels.min()),
        )
    return labels


def _csv_images(source: Path, target: str | None) -> RawImageSet:
    files = (
        {"train": source}
        if source.is_file()
        else {s: source / f"{s}.csv" for s in ("train", "val", "test") if (source / f"{s}.csv").is_file()}
    )
    rows = {split: _csv_rows(file) for split, file in files.items()}
    header = list(rows["train"][0])
    label = target or ("label" if "label" in header else header[-1])
    if label not in header:
        raise UserError(
            f"the table has no column {label!r}",
            where=files["train"],
            expected="one of " + ", ".join(header[:20]),
            cure="--target COLUMN",
        )
    classes = sorted(
        {row[label] for row in rows["train"]}, key=lambda c: (not c.isdigit(), int(c) if c.isdigit() else 0, c)
    )
    splits = {}
    for split, table in rows.items():
        file = files[split]
        if set(table[0]) != set(header):
            raise UserError(
                "the tables of the splits have different columns",
                where=file,
                expected=", ".join(header[:20]),
                found=", ".join(list(table[0])[:20]),
            )
        for number, row in enumerate(table):
            if not row[label].strip():
                raise UserError("a label is empty", where=f"{file}, line {number + 2}")
            if row[label] not in classes:
                raise UserError(
                    "a label is out of range",
                    where=f"{file}, line {number + 2}",
                    expected=f"one of the {len(classes)} in train",
                    found=row[label],
                )
        labels = np.array([classes.index(row[label]) for row in table], dtype=np.int64)
        if "path" in header:
            paths = [file.parent / row["path"] for row in table]
            for number, path in enumerate(paths):
                if not path.is_file():
                    raise UserError("an image is not there", where=f"{file}, line {number + 2}", found=path)
            splits[split] = RawImages(labels, files=paths)
        else:
            splits[split] = RawImages(
                labels, _pixel_columns(table, [c for c in header if c != label], file), origin=str(file)
            )
    return RawImageSet(splits, classes, str(source))


def _csv_rows(file: Path) -> list[dict[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError("the table cannot be read", where=file, found=error) from None
    if not rows:
        raise UserError("the table is empty", where=file, expected="a line of column names, then a line a sample")
    for number, row in enumerate(rows):
        if None in row or None in row.values():
            raise UserError("a line has another number of columns than the header", where=f"{file}, line {number + 2}")
    return rows


def _pixel_columns(rows: Sequence[dict[str, str]], columns: list[str], file: Path) -> np.ndarray:
    side = math.isqrt(len(columns))
    if side * side != len(columns) or side < 2:
        raise UserError(
            "the columns are no square image",
            where=file,
            expected="a column `path`, or H*H columns of pixels beside the label",
            found=f"{len(columns)} columns",
        )
    values = np.empty((len(rows), len(columns)), dtype=np.float64)
    for number, row in enumerate(rows):
        for place, column in enumerate(columns):
            try:
                values[number, place] = float(row[column])
            except ValueError:
                raise UserError(
                    "a pixel is no number", where=f"{file}, line {number + 2}, column {column!r}", found=row[column]
                ) from None
    return _as_bytes(values.reshape(len(rows), side, side), str(file))
