"""The reader of a table of images: a column of files, or a column a pixel, beside the label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.column_names import FILES, LABELS, SPLITS, column_called
from chainrule.data.formats.content import IMAGE_ENDINGS
from chainrule.data.images.arrays import as_bytes
from chainrule.data.images.listed_files import ListedFiles
from chainrule.data.images.packed import ImageFile
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.labels import read_labels
from chainrule.data.layout import Layout, sort_labels
from chainrule.data.split_names import KNOWN, split_called
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.formats.csv_files import column_of, to_numbers

PATH_COLUMN = "path"
_LOOKED_AT = 50  # rows
_BOXES = ({"xmin", "ymin"}, {"x1", "y1", "x2", "y2"}, {"bbox"}, {"boxes"})  # columns of lists of boxes


def read_csv_images(layout: Layout, target: str | None) -> RawImageSet:
    """A table of images, or a folder with train.csv (and val.csv, test.csv).

    A column of files is one called `path`, or one whose cells end as images do; `ListedFiles` says where they are looked
    for. A column `split` with the names of splits in it divides one table.
    """
    first = layout.tables["train"]
    header, files = first.header, None if first.images else file_column(first)
    plain = [name for name in header if name not in first.images and name != files]
    if not plain:
        raise UserError("the table has no column of labels beside its images", where=first.origin)
    split = split_column(first) if len(layout.tables) == 1 else None
    label = target or column_called(LABELS, plain) or next(n for n in reversed(plain) if n != split or len(plain) == 1)
    column_of(label, header, first.origin)
    if files is not None:
        _expect_no_boxes(first, files, label, named=target is not None)
    classes = sort_labels(set(_names(first, label)))
    parts: dict[str, tuple[Cells, np.ndarray]] = {}
    for name, cells in layout.tables.items():
        labels = _labels(cells, label, classes, header)
        for own, rows in _rows_by_split(cells, split).items() if split else [(name, list(range(len(labels))))]:
            parts[own] = (cells, np.array(rows, dtype=np.int64))
            if own == "train" and split:
                _expect_all_classes(labels[rows], classes, cells)
    splits = {}
    for name, (cells, of_split) in parts.items():
        labels = _labels(cells, label, classes, header)[of_split]
        if cells.images:
            column: Sequence[ImageFile] = next(iter(cells.images.values()))
            splits[name] = RawImages(labels, files=[column[row] for row in of_split])
        elif files is not None:
            skips = bool(layout.options.get("skip_broken"))
            told = split is not None or len(layout.tables) > 1 or split_called(Path(cells.origin).stem) is not None
            paths = _paths(cells, files, label, of_split.tolist(), name if told else "", skips)
            splits[name] = RawImages(labels, files=paths)
        else:
            others = [cells.header.index(c) for c in header if c not in (label, split)]
            splits[name] = RawImages(labels, _pixels(cells, others)[of_split], origin=cells.origin)
    columns = {"path": files, "label": label, "split": split} if files is not None else {}
    taken = {what: column for what, column in columns.items() if column is not None}
    unusual = ", ".join(f"{column} as {what}" for what, column in taken.items() if column != what or what == "split")
    notes = [f"columns of {layout}: {unusual}"] if unusual else []
    return RawImageSet(splits, classes, str(layout), notes=notes, columns=taken)


def file_column(cells: Cells) -> str | None:
    """The column that names image files: `path`; one whose cells end as images do; one with a usual name, whose first
    cell is found without its ending; None where there is none."""
    if PATH_COLUMN in cells.header:
        return PATH_COLUMN
    by_ending = [name for name in cells.header if _ends_as_images(cells, name)]
    if by_ending:
        return column_called(FILES, by_ending) or by_ending[0]
    usual = [name for name in cells.header if column_called(FILES, [name])]
    listed = ListedFiles(cells.folder)
    return next((name for name in usual if cells.rows and listed.find(_column(cells, name)[0]) is not None), None)


def split_column(cells: Cells) -> str | None:
    """The column that says of each row which split it is of; UserError where it is called `split` and says another thing."""
    name = column_called(SPLITS, cells.header)
    if name is None:
        return None
    strange = next((i for i, cell in enumerate(_column(cells, name)) if split_called(cell) is None), None)
    if strange is None:
        return name
    if name.casefold() not in ("split", "划分"):
        return None
    raise UserError(
        "a row is of no split that is known",
        where=f"{cells.where(strange)}, column {name!r}",
        expected=KNOWN,
        found=_column(cells, name)[strange] or "an empty cell",
        cure="name it so, or rename the column",
    )


def _column(cells: Cells, name: str) -> list[str]:
    at = cells.header.index(name)
    return [row[at].strip() for row in cells.rows]


def _ends_as_images(cells: Cells, name: str) -> bool:
    column = _column(cells, name)[:_LOOKED_AT]
    return bool(column) and all(Path(cell).suffix.lower() in IMAGE_ENDINGS for cell in column)


def _expect_no_boxes(cells: Cells, files: str, label: str, *, named: bool) -> None:
    """UserError where rows are boxes within images, or the label is another image: a mask."""
    plain = {name.casefold() for name in cells.header}
    boxes = next((names for names in _BOXES if names <= plain), None)
    if boxes is not None and not named:
        raise UserError(
            "the table lists boxes within images, and no classes of images",
            where=cells.origin,
            expected="a row an image: a column path, and a column label",
            found=", ".join(cells.header),
            cure="a list of an image a row, or --target COLUMN where each image has one row",
        )
    if _ends_as_images(cells, label):
        raise UserError(
            "the label of each image is an image: a mask?",
            where=cells.origin,
            expected="a column label beside the column of files",
            found=f"the columns {', '.join(cells.header)}; of files: {files} and {label}",
            cure="--target COLUMN, or rename the column of classes to label; no recipe learns masks yet",
        )


def _labels(cells: Cells, label: str, classes: list[str], header: list[str]) -> np.ndarray:
    """The numbers of the classes (N,), blanks around a label left out."""
    if set(cells.header) != set(header):
        raise UserError(
            "the tables of the splits have different columns",
            where=cells.origin,
            expected=", ".join(header[:20]),
            found=", ".join(cells.header[:20]),
        )
    names, number = _names(cells, label), {name: index for index, name in enumerate(classes)}
    strange = next((index for index, name in enumerate(names) if name not in number), None)
    if strange is not None:
        raise UserError(
            "a label is out of range",
            where=cells.where(strange),
            expected=f"one of the {len(classes)} in train",
            found=names[strange],
        )
    return np.array([number[name] for name in names], dtype=np.int64)


def _names(cells: Cells, label: str) -> list[str]:
    at = cells.header.index(label)
    return read_labels((row[at] for row in cells.rows), cells.where, label)


def _rows_by_split(cells: Cells, split: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, cell in enumerate(_column(cells, split)):
        found.setdefault(split_called(cell) or "", []).append(row)
    if "train" not in found:
        raise UserError(
            "no row is of the training split", where=f"{cells.origin}, column {split!r}", expected=KNOWN,
            found=", ".join(sorted(set(_column(cells, split)))),
        )  # fmt: skip
    return {name: found[name] for name in ("train", "val", "test") if name in found}


def _expect_all_classes(labels: np.ndarray, classes: list[str], cells: Cells) -> None:
    lacking = [name for number, name in enumerate(classes) if number not in set(labels.tolist())]
    if lacking:
        raise UserError(
            "a class has no training sample", where=cells.origin, found=f"none of {', '.join(lacking[:10])}",
            cure="move some of its rows to train, or remove the class",
        )  # fmt: skip


def _paths(cells: Cells, column: str, label: str, rows: list[int], split: str, skips: bool) -> list[ImageFile]:
    """The files of these rows; UserError names the first that is not there, or is listed with two labels."""
    listed, names, labels = ListedFiles(cells.folder), _column(cells, column), _column(cells, label)
    paths: list[ImageFile] = []
    seen: dict[ImageFile, int] = {}
    for row in rows:
        path = listed.find(names[row], split)
        if path is None and not skips:
            raise UserError(
                "an image is not there",
                where=cells.where(row),
                expected=f"a path below {cells.folder or Path()}, or a file in one of the folders there",
                found=cells.folder / names[row] if names[row] else "an empty cell",
                cure="skip_broken=yes leaves out what is not there or broken",
            )
        path = path or cells.folder / names[row]
        before = seen.setdefault(path, row)
        if labels[before] != labels[row]:
            raise UserError(
                "an image is listed twice, with two labels",
                where=f"{cells.where(before)} and {cells.lines[row]}",
                found=f"{names[row]}: {labels[before]} and {labels[row]}",
                expected="one label an image",
            )
        paths.append(path)
    return paths


def _pixels(cells: Cells, places: list[int]) -> np.ndarray:
    """The columns at `places` as square images uint8 (N, side, side, 1), row by row."""
    side = math.isqrt(len(places))
    if side * side != len(places) or side < 2:
        raise UserError(
            "the columns are no square image",
            where=cells.origin,
            expected="a column `path` of image files and a column `label`, or H*H columns of pixels beside the label",
            found=f"{len(places)} columns beside the label: {', '.join(cells.header[place] for place in places[:10])}",
            cure="rename the column of files to path, and that of classes to label",
        )
    values = to_numbers(cells, places)  # (N, side * side)
    return as_bytes(values.reshape(len(cells.rows), side, side), cells.origin)
