"""How data lie at a path, by its name and what stands there: every reader asks this before it reads.

`check` asks kind by kind what a path means (images with classes, a table, a text); this says only how it is laid out,
which several kinds share.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from chainrule.core.data.request import SPLITS, DataRequest
from chainrule.core.errors import UserError
from chainrule.data.catalog.record import Source
from chainrule.data.catalog.sources import SOURCES, resolve
from chainrule.data.given.source import GivenSource
from chainrule.data.tables.arrow_tables import hub_splits
from chainrule.data.tables.cells import Cells
from chainrule.data.tables.table_files import READERS, read_cells, read_head, table_ending

IDX_FILE = "train-images-idx3-ubyte"  # with or without .gz
CIFAR10_FOLDER = "cifar-10-batches-bin"

Form = Literal["shipped", "idx", "cifar10", "csv", "npz", "shards", "folder", "file", "splits", "roles", "name"]


Split = TypeVar("Split")


@dataclass(frozen=True)
class Layout:
    """A place and how the data lie there.

    Attributes:
        place: a path, or a known data set that ships with a dependency.
        form: `shipped`; `idx` and `cifar10` for folders of published files; `csv` for a table in any form of
            `read_cells`, or a folder with train.csv or another of them; `npz`; `shards` for .tar files of webdataset, or
            a folder with some; else `folder` or `file`. Of several sources: `splits` where each is a split and they have unequal forms, else that form; `roles` where they are
            parts of one set, as images and their labels. `name` for what is neither a path nor a known data set.
        splits: the file or the folder of each split that the user has made, `train` at least. Without a folder of its
            own train is the whole place.
        sources: of several sources, each by its split or role; "" is the one that has all other splits.
        known: the name of a known data set; else empty.
        title: what several sources are called together.
        options: settings of the reading that were given, those of `run.data`.
    """

    place: Source | Path
    form: Form
    splits: dict[str, Path]
    sources: dict[str, Layout] = field(default_factory=dict)
    known: str = ""
    title: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.title or (self.place.name if isinstance(self.place, Source) else str(self.place))

    @property
    def kind(self) -> str | None:
        """Of a known data set, or of data given in Python, the name of its kind; None where it is to be recognised."""
        if isinstance(self.place, GivenSource):
            return None if self.place.tables else self.place.kind
        return SOURCES[self.known].kind if self.known else None

    @property
    def train(self) -> Path:
        return self.splits["train"]

    @cached_property
    def tables(self) -> dict[str, Cells]:
        """The table of each split, where the form is `csv`."""
        if isinstance(self.place, GivenSource):
            return dict(self.place.tables)
        return {name: read_cells(file, self.options.get("encoding")) for name, file in self.splits.items()}

    @cached_property
    def head(self) -> Cells | None:
        """Header and first rows of the training table, where the form is `csv`; None where they cannot be read."""
        if isinstance(self.place, GivenSource):
            return self.place.tables["train"]
        try:
            return read_head(self.train, self.options.get("encoding"))
        except UserError:
            return None  # the reader says what is wrong

    @cached_property
    def endings(self) -> Counter[str]:
        """How many files below a folder end in what, in small letters; hidden files are not counted."""
        found: Counter[str] = Counter()
        for part in self.splits.values() if self.sources else [self.place]:
            assert isinstance(part, Path)
            for _, _, files in os.walk(part):
                found.update(Path(name).suffix.lower() for name in files if not name.startswith("."))
        return found


Place = str | Path | Source | Layout | DataRequest  # whatever data are found at


def layout_of(place: Place) -> Layout:
    """How the data lie at a path, a known data set, or the sources that a run was asked to read; nothing is opened.

    Of a source that stands for a split it is that split, where it has splits of its own, else all of it.

    Raises:
        UserError: it is neither a path nor a known data set; sources of these roles make no set together.
    """
    if isinstance(place, Layout):
        return place
    if isinstance(place, DataRequest):
        found = layout_of(place.source) if place.is_one else _together(place)
        sources = {role: replace(part, options=place.options) for role, part in found.sources.items()}
        return replace(found, options=place.options, sources=sources)
    if isinstance(place, str):
        found = layout_of(resolve(place))  # a path goes before a known name
        return replace(found, known=place) if place in SOURCES and found.place != Path(place) else found
    if isinstance(place, GivenSource):
        return Layout(place, "csv" if place.tables else "npz", {name: Path() for name in place.tables})
    if isinstance(place, Source):
        return Layout(place, "shipped", {}, known=place.name)
    if not place.is_dir():
        endings: dict[str, Form] = {".npz": "npz", ".tar": "shards"}
        form = "csv" if table_ending(place) else endings.get(place.suffix.lower(), "file")
        return Layout(place, form, {"train": place})
    if any((place / f"{IDX_FILE}{end}").is_file() for end in (".gz", "")):
        return Layout(place, "idx", {"train": place})
    if (place / CIFAR10_FOLDER).is_dir():
        return Layout(place, "cifar10", {"train": place / CIFAR10_FOLDER})
    tables = {name: file for name in SPLITS if (file := _table_of_split(place, name)) is not None}
    if "train" in tables:
        return Layout(place, "csv", tables)
    tables = hub_splits(place)
    if tables:
        return Layout(place, "csv", tables)
    if any(place.glob("*.tar")):
        return Layout(place, "shards", {"train": place})
    return Layout(place, "folder", split_folders(place))


def _together(request: DataRequest) -> Layout:
    """Several sources as one set."""
    parts = {role: layout_of(source) for role, source in request.sources.items()}
    if not set(parts) <= {"", *SPLITS}:
        return Layout(next(iter(parts.values())).place, "roles", {}, parts, title=str(request))
    if not {"", "train"} & set(parts):
        if len(parts) == 1:  # `--data test=A`: to measure on
            return next(iter(parts.values()))
        raise UserError("no source is named for training", found=f"--data {request}", cure="--data train=PATH")
    first = parts.get("", parts.get("train"))
    assert first is not None
    if {part.form for part in parts.values()} <= {"csv"} or {part.form for part in parts.values()} <= {"folder"}:
        splits = {} if "" not in parts else dict(first.splits)
        splits |= {role: part.splits.get(role, part.train) for role, part in parts.items() if role}
        return Layout(first.place, first.form, splits, parts, first.known, str(request))
    return Layout(first.place, "splits", {}, parts, known=first.known, title=str(request))


def joined(layout: Layout, read: Callable[[Layout], Mapping[str, Split]]) -> dict[str, Split]:
    """The splits of several sources: each is read by itself, and gives the split that it stands for."""
    found: dict[str, Split] = {}
    for role, part in layout.sources.items():
        own = read(part)
        found |= own if not role else {role: own.get(role, own["train"])}
    return found


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
