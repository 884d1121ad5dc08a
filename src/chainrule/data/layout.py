"""How data lie at a path, by its name and what stands there: every reader asks this before it reads.

`check` asks kind by kind what a path means (images with classes, a table, a text); this says only how it is laid out,
which several kinds share.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from chainrule.core.data.request import SPLITS, DataRequest
from chainrule.core.errors import UserError
from chainrule.data.catalog.record import Source
from chainrule.data.catalog.sources import SOURCES, expect_there, resolve
from chainrule.data.formats.content import form_of, is_hidden_name
from chainrule.data.given.source import GivenSource
from chainrule.data.split_names import KNOWN, by_split, split_called
from chainrule.data.tables.formats.arrow_tables import hub_splits
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.formats.table_files import read_cells, read_head, table_ending

IDX_FILE = "train-images-idx3-ubyte"  # with or without .gz
UNLABELLED = ("unsup", "unlabeled", "unlabelled")  # folders beside those of the classes
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
        """How many files below a folder are of which form (`form_of`); hidden files are not counted."""
        found: Counter[str] = Counter()
        for part in self.splits.values() if self.sources else [self.place]:
            assert isinstance(part, Path)
            for place, folders, files in os.walk(part):
                folders[:] = [name for name in folders if not is_hidden_name(name)]
                found.update(form_of(Path(place, name)) for name in files if not is_hidden_name(name))
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
        expect_there(place)
        found = layout_of(place.source) if place.is_one else _together(place)
        sources = {role: replace(part, options=place.options) for role, part in found.sources.items()}
        return replace(found, options=place.options, sources=sources)
    if isinstance(place, str):
        found = layout_of(resolve(place))
        return replace(found, known=place) if place in SOURCES else found
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
    if (place / "data_batch_1.bin").is_file():
        return Layout(place, "cifar10", {"train": place})
    tables = _tables_of_splits(place)
    if "train" in tables:
        return Layout(place, "csv", tables)
    tables = hub_splits(place)
    if tables:
        return Layout(place, "csv", tables)
    if any(place.glob("*.tar")):
        return Layout(place, "shards", {"train": place})
    parts = split_folders(place)
    if any(_holds_shards(part) for part in parts.values()):
        return Layout(place, "shards", {"train": place})
    return Layout(place, "folder", parts)


def _holds_shards(folder: Path) -> bool:
    """Whether a folder holds .tar files, and no folders of classes beside them."""
    return any(folder.glob("*.tar")) and not subfolders(folder)


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


def _tables_of_splits(folder: Path) -> dict[str, Path]:
    """The table of each split in a folder, train.csv and the like; UserError where there are two of one split."""
    files = [file for file in folder.iterdir() if table_ending(file) is not None and file.is_file()]
    return by_split(((file.name[: file.name.lower().rindex(table_ending(file) or "")], file) for file in files), folder)


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders train, val and test in a folder, by any of their usual names; without train, the folder itself is it.

    Raises:
        UserError: two folders are one split; there is none for training beside those for validation and test.
    """
    children = subfolders(folder)
    parts = by_split(((child.name, child) for child in children), folder)
    parts = parts or by_split(_after_common_beginning(children), folder)
    if "train" in parts:
        return parts
    if len(parts) > 1 and len(parts) == len(children):
        raise UserError(
            "there is no training split",
            where=folder,
            expected=KNOWN,
            found=", ".join(child.name for child in children),
            cure="rename the folder to train",
        )
    return {"train": folder}


def _after_common_beginning(folders: list[Path]) -> list[tuple[str, Path]]:
    """Folders by what their names end with, where the rest is the same: seg_train and seg_test."""
    ends = [
        (match[1], match[2], folder) for folder in folders if (match := re.fullmatch(r"(.+[-_. ])(\w+)", folder.name))
    ]
    alike = len(ends) == len(folders) and len({beginning for beginning, _, _ in ends}) == 1
    return [(end, folder) for _, end, folder in ends] if alike and len(ends) > 1 else []


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, hidden ones left out: the classes, where they hold images or texts."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not is_hidden_name(child.name))


def class_folders(folder: Path) -> list[Path]:
    """The subfolders that are classes: not those of samples without one, `unsup` or `unlabeled`, beside two others."""
    children = subfolders(folder)
    classes = [child for child in children if child.name.casefold() not in UNLABELLED]
    return classes if len(classes) > 1 else children


def folders_left_out(layout: Layout) -> list[str]:
    """What is to be said of the subfolders that are taken for no class, or that may be none, a line each."""
    found = []
    for place in layout.splits.values():
        classes = class_folders(place)
        left = [child.name for child in subfolders(place) if child not in classes]
        found += [f"left out: {place / name}, samples without a class" for name in left]
    doubtful = [child.name for child in class_folders(layout.train) if split_called(child.name)]
    if doubtful and len(doubtful) < len(class_folders(layout.train)):
        found.append(
            f"the folder {doubtful[0]} in {layout.train} is read as a class; for splits, train is a folder beside it"
        )
    return found


def sort_labels(labels: set[str]) -> list[str]:
    """Labels in the order that their classes are numbered in: whole numbers by size, then texts by letters.

    >>> sort_labels({"10", "9", "cat", "Cat"})
    ['9', '10', 'Cat', 'cat']
    """
    whole = {label: int(label) for label in labels if label.isdecimal() and len(label) < 300}  # ² is no decimal
    return sorted(labels, key=lambda label: (label not in whole, whole.get(label, 0), label))
