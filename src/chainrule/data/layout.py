"""How data lie at a path, by its name and what stands there: every reader asks this before it reads.

`check` asks kind by kind what a path means (images with classes, a table, a text); this says only how it is laid out,
which several kinds share.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import Source
from chainrule.data.given.source import GivenSource
from chainrule.data.tables.cells import Cells
from chainrule.data.tables.table_files import READERS, read_cells, table_ending

SPLITS = ("train", "val", "test")
IDX_FILE = "train-images-idx3-ubyte"  # with or without .gz
CIFAR10_FOLDER = "cifar-10-batches-bin"

Form = Literal["shipped", "idx", "cifar10", "csv", "npz", "folder", "file"]


@dataclass(frozen=True)
class Layout:
    """A place and how the data lie there.

    Attributes:
        place: a path, or a known data set that ships with a dependency.
        form: `shipped`; `idx` and `cifar10` for folders of published files; `csv` for a table in any form of
            `read_cells`, or a folder with train.csv or another of them; `npz`; else `folder` or `file`.
        splits: the file or the folder of each split that the user has made, `train` at least. Without a folder of its
            own train is the whole place.
    """

    place: Source | Path
    form: Form
    splits: dict[str, Path]

    @property
    def train(self) -> Path:
        return self.splits["train"]

    @cached_property
    def tables(self) -> dict[str, Cells]:
        """The table of each split, where the form is `csv`."""
        if isinstance(self.place, GivenSource):
            return dict(self.place.tables)
        return {name: read_cells(file) for name, file in self.splits.items()}

    @cached_property
    def endings(self) -> Counter[str]:
        """How many files below a folder end in what, in small letters; hidden files are not counted."""
        assert isinstance(self.place, Path)
        return Counter(f.suffix.lower() for f in self.place.rglob("*") if f.is_file() and not f.name.startswith("."))


def layout_of(place: Source | Path) -> Layout:
    """How the data lie at a place that `resolve` gave; nothing is opened."""
    if isinstance(place, GivenSource):
        return Layout(place, "csv" if place.tables else "npz", {name: Path() for name in place.tables})
    if isinstance(place, Source):
        return Layout(place, "shipped", {})
    if not place.is_dir():
        form: Form = "csv" if table_ending(place) else "npz" if place.suffix.lower() == ".npz" else "file"
        return Layout(place, form, {"train": place})
    if any((place / f"{IDX_FILE}{end}").is_file() for end in (".gz", "")):
        return Layout(place, "idx", {"train": place})
    if (place / CIFAR10_FOLDER).is_dir():
        return Layout(place, "cifar10", {"train": place / CIFAR10_FOLDER})
    tables = {name: file for name in SPLITS if (file := _table_of_split(place, name)) is not None}
    if "train" in tables:
        return Layout(place, "csv", tables)
    return Layout(place, "folder", split_folders(place))


def _table_of_split(folder: Path, split: str) -> Path | None:
    """The table of a split in a folder, train.csv and the like; UserError where there are two."""
    places = [folder / f"{split}{ending}{packed}" for ending in READERS for packed in ("", ".gz")]
    found = [file for file in places if file.is_file()]
    if len(found) > 1:
        raise UserError(
            f"the split {split} is there twice",
            where=folder,
            found=", ".join(file.name for file in found),
            cure="keep one of them",
        )
    return found[0] if found else None


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders train, val and test in a folder; where there is no train, the folder itself as train."""
    parts = {name: folder / name for name in SPLITS if (folder / name).is_dir()}
    return parts if "train" in parts else {"train": folder}


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, hidden ones left out: the classes, where they hold images or texts."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def sort_labels(labels: set[str]) -> list[str]:
    """Labels in the order that their classes are numbered in: whole numbers by size, then texts by letters.

    >>> sort_labels({"10", "9", "cat", "Cat"})
    ['9', '10', 'Cat', 'cat']
    """
    return sorted(labels, key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label))
