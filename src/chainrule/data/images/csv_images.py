"""The reader of a CSV of images: a column `path` of files, or a column a pixel, beside the label."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.images.arrays import as_bytes
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.labels import read_labels
from chainrule.data.layout import Layout, sort_labels
from chainrule.data.tables.cells import Cells
from chainrule.data.tables.csv_files import column_of, to_numbers

PATH_COLUMN = "path"


def read_csv_images(layout: Layout, target: str | None) -> RawImageSet:
    """A table of images, or a folder with train.csv (and val.csv, test.csv); paths are below the folder of their table."""
    header = layout.tables["train"].header
    plain = [name for name in header if name not in layout.tables["train"].images]
    if not plain:
        raise UserError("the table has no column of labels beside its images", where=layout.tables["train"].origin)
    label = target or ("label" if "label" in header else plain[-1])
    column_of(label, header, layout.tables["train"].origin)
    classes = sort_labels(set(_labels(layout.tables["train"], label)))
    splits = {}
    for split, cells in layout.tables.items():
        columns = cells.header
        if set(columns) != set(header):
            raise UserError(
                "the tables of the splits have different columns",
                where=cells.origin,
                expected=", ".join(header[:20]),
                found=", ".join(columns[:20]),
            )
        names, number = _labels(cells, label), {name: index for index, name in enumerate(classes)}
        strange = next((index for index, name in enumerate(names) if name not in number), None)
        if strange is not None:
            raise UserError(
                "a label is out of range",
                where=cells.where(strange),
                expected=f"one of the {len(classes)} in train",
                found=names[strange],
            )
        labels = np.array([number[name] for name in names], dtype=np.int64)
        if cells.images:
            splits[split] = RawImages(labels, files=next(iter(cells.images.values())))
        elif PATH_COLUMN in header:
            splits[split] = RawImages(labels, files=_paths(cells))
        else:
            pixels = _pixels(cells, [columns.index(c) for c in header if c != label])
            splits[split] = RawImages(labels, pixels, origin=cells.origin)
    return RawImageSet(splits, classes, str(layout))


def _labels(cells: Cells, column: str) -> list[str]:
    at = cells.header.index(column)
    return read_labels((row[at] for row in cells.rows), cells.where, column)


def _paths(cells: Cells) -> list[Path]:
    paths = [cells.folder / row[cells.header.index(PATH_COLUMN)] for row in cells.rows]
    for index, path in enumerate(paths):
        if not path.is_file():
            raise UserError("an image is not there", where=cells.where(index), found=path)
    return paths


def _pixels(cells: Cells, places: list[int]) -> np.ndarray:
    """The columns at `places` as square images uint8 (N, side, side, 1), row by row."""
    side = math.isqrt(len(places))
    if side * side != len(places) or side < 2:
        raise UserError(
            "the columns are no square image",
            where=cells.origin,
            expected="a column `path`, or H*H columns of pixels beside the label",
            found=f"{len(places)} columns",
        )
    values = to_numbers(cells, places)  # (N, side * side)
    return as_bytes(values.reshape(len(cells.rows), side, side), cells.origin)
