"""Images in one place and their labels in another: `--data images=DIR --data labels=FILE`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.column_names import FILES, LABELS, column_called
from chainrule.data.images.csv_images import PATH_COLUMN
from chainrule.data.images.decoding import image_files
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.labels import is_missing, label_text
from chainrule.data.layout import Layout, sort_labels
from chainrule.data.tables.formats.csv_files import column_of
from chainrule.data.text.characters import read_file

ROLES = ("images", "labels")
NAME_COLUMNS = ("name", "file", PATH_COLUMN, "image", "filename")  # of the files, by what their column is called


def read_labelled_files(layout: Layout, target: str | None) -> RawImageSet:
    """The images below a folder, each with the label that a list gives it.

    The list is a table with a column of file names (`name`, `file`, `path`, `image`, `filename`, else its first) and
    one of labels (the one named, `label`, else the last); or a text of lines `name label`. A name is that of a file
    below the folder, with or without its ending.

    Raises:
        UserError: other roles than images and labels; a name without an image, an image without a label: both counts
            and the first that lacks its partner.
    """
    if set(layout.sources) != set(ROLES):
        raise UserError(
            "images with classes do not know these roles",
            found=str(layout),
            expected="images=FOLDER and labels=FILE; or train=, val=, test=",
        )
    folder, listed = layout.sources["images"], layout.sources["labels"]
    if not isinstance(folder.place, Path) or not folder.place.is_dir():
        raise UserError("images= names no folder", where=folder, expected="a folder of images")
    files, labels = image_files(folder.place), _listed(listed, target)
    by_name = {name: file for file in files for name in _names_of(file, folder.place)}
    given = {by_name[name]: label for name, label in labels.items() if name in by_name}
    lost = next((name for name in labels if name not in by_name), None)
    alone = next((file for file in files if file not in given), None)
    if lost is not None or alone is not None or len(given) != len(labels):
        raise UserError(
            "images and labels do not fit each other",
            where=listed if lost is not None else folder,
            expected="a label for each image, and an image for each label",
            found=f"{len(files)} images, {len(labels)} labels; "
            + (f"no image {lost!r}" if lost is not None else f"no label of {alone or 'one of two files of one name'}"),
        )
    classes = sort_labels(set(labels.values()))
    numbers = np.array([classes.index(given[file]) for file in files], dtype=np.int64)
    return RawImageSet({"train": RawImages(numbers, files=files)}, classes, str(layout))


def _names_of(file: Path, folder: Path) -> tuple[str, ...]:
    """What a list may call a file: its path below the folder, or its name, with or without the ending."""
    below = file.relative_to(folder)
    return (below.as_posix(), below.with_suffix("").as_posix(), file.name, file.stem)


def _listed(layout: Layout, target: str | None) -> dict[str, str]:
    """The label of each name."""
    found: dict[str, str] = {}
    for name, label, where in _table(layout, target) if layout.form == "csv" else _lines(layout):
        if not name or is_missing(label):
            raise UserError("a name or its label is missing", where=where, expected="name and label")
        if name in found:
            raise UserError("a name is listed twice", where=where, found=name)
        found[name] = label
    return found


def _table(layout: Layout, target: str | None) -> list[tuple[str, str, str]]:
    cells = layout.tables["train"]
    usual = column_called(FILES, cells.header) or cells.header[0]
    name = next((column for column in NAME_COLUMNS if column in cells.header), usual)
    others = [column for column in cells.header if column != name]
    if not others:
        raise UserError("the list has no column of labels beside its names", where=cells.origin, found=name)
    label = target or column_called(LABELS, others) or others[-1]
    at, of = cells.header.index(name), column_of(label, cells.header, cells.origin)
    return [(row[at].strip(), label_text(row[of]), cells.where(index)) for index, row in enumerate(cells.rows)]


def _lines(layout: Layout) -> list[tuple[str, str, str]]:
    if layout.form != "file":
        raise UserError("labels= names no list", where=layout, expected="a .csv, or a text of lines: name label")
    lines = enumerate(read_file(layout.train, layout.options.get("encoding")).splitlines(), 1)
    parts = [(line.strip().rpartition(" "), f"{layout}, line {number}") for number, line in lines if line.strip()]
    return [(name.strip(), label_text(label), where) for (name, _, label), where in parts]
