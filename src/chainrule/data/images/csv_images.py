"""The reader of a CSV of images: a column `path` of files, or a column a pixel, beside the label."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.images.arrays import as_bytes
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.layout import Layout, sort_labels
from chainrule.data.tables.csv_files import column_of, read_csv, to_numbers

PATH_COLUMN = "path"


def read_csv_images(layout: Layout, target: str | None) -> RawImageSet:
    """A CSV of images, or a folder with train.csv (and val.csv, test.csv); paths are below the folder of their CSV."""
    tables = {split: read_csv(file) for split, file in layout.splits.items()}
    header, train, _ = tables["train"]
    label = target or ("label" if "label" in header else header[-1])
    place = column_of(label, header, layout.train)
    classes = sort_labels({row[place] for row in train})
    splits = {}
    for split, (columns, rows, lines) in tables.items():
        file = layout.splits[split]
        if set(columns) != set(header):
            raise UserError(
                "the tables of the splits have different columns",
                where=file,
                expected=", ".join(header[:20]),
                found=", ".join(columns[:20]),
            )
        place = columns.index(label)
        for row, line in zip(rows, lines, strict=True):
            if not row[place].strip():
                raise UserError("a label is empty", where=f"{file}, line {line}")
            if row[place] not in classes:
                raise UserError(
                    "a label is out of range",
                    where=f"{file}, line {line}",
                    expected=f"one of the {len(classes)} in train",
                    found=row[place],
                )
        labels = np.array([classes.index(row[place]) for row in rows], dtype=np.int64)
        if PATH_COLUMN in header:
            splits[split] = RawImages(labels, files=_paths(columns, rows, lines, file))
        else:
            pixels = _pixels(columns, rows, lines, [columns.index(c) for c in header if c != label], file)
            splits[split] = RawImages(labels, pixels, origin=str(file))
    return RawImageSet(splits, classes, str(layout.place))


def _paths(columns: list[str], rows: list[list[str]], lines: list[int], file: Path) -> list[Path]:
    paths = [file.parent / row[columns.index(PATH_COLUMN)] for row in rows]
    for path, line in zip(paths, lines, strict=True):
        if not path.is_file():
            raise UserError("an image is not there", where=f"{file}, line {line}", found=path)
    return paths


def _pixels(columns: list[str], rows: list[list[str]], lines: list[int], places: list[int], file: Path) -> np.ndarray:
    """The columns at `places` as square images uint8 (N, side, side, 1), row by row."""
    side = math.isqrt(len(places))
    if side * side != len(places) or side < 2:
        raise UserError(
            "the columns are no square image",
            where=file,
            expected="a column `path`, or H*H columns of pixels beside the label",
            found=f"{len(places)} columns",
        )
    values = to_numbers(rows, columns, places, file, lines)  # (N, side * side)
    return as_bytes(values.reshape(len(rows), side, side), str(file))
