"""A text as characters: its splits along the text, its vocabulary, and the streams that truncated BPTT reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.data.request import DataRequest
from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.data.batches import Batch, BatchLoader
from chainrule.data.catalog.record import Source
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.formats.content import is_hidden_name, is_text, texts_among, told_as_passed_over
from chainrule.data.formats.encoding import decode as decode_bytes
from chainrule.data.layout import SPLITS, Layout, Place, joined, layout_of, split_folders
from chainrule.data.samplers import Windows
from chainrule.data.spec import Spec
from chainrule.data.split_names import by_split
from chainrule.data.splits import fingerprint
from chainrule.data.streams.memory import choose_memory
from chainrule.data.streams.text import ZEROS, map_codes

BYTES_EACH = 8  # of memory for a byte of text, while it is encoded: itself, its code points, its codes
LARGEST_MARK = 4  # bytes of a byte-order mark: a file without more is empty


@dataclass(frozen=True)
class TextSplit:
    """Characters by their numbers in the vocabulary (N,): uint8, or int16, int32 where there are more than 256."""

    codes: Tensor

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True, kw_only=True)
class TextSpec(Spec):
    """A text: where it is, its distinct characters in order, and whether the test split chooses too, as in char-rnn."""

    where: str
    vocabulary: list[str]
    val_is_test: bool


def load_text(
    request: DataRequest, *, val_fraction: float = 0.05, test_fraction: float = 0.1, characters: int = 0
) -> Dataset[TextSpec, TextSplit]:
    """The run's text. Where it has no published splits, its end is the test split, and what stands before that validates.

    Spec: where, vocabulary (the characters in order), counts, how the splits were made, whether the validation split is
    the test split, fingerprint.

    Args:
        request: what is read, and where the spec is kept.
        val_fraction: the share held out for validation; with 0 the test split is it, as in char-rnn.
        test_fraction: the share at the end that is held out.
        characters: use only so many characters from the beginning (0: all).
    """

    def fits(wanted: int) -> bool:
        choice = choose_memory(wanted, request.record.get("in_memory"))
        request.record["in_memory"] = choice
        return choice["chosen"]

    def read() -> tuple[TextSpec, dict[str, TextSplit]]:
        request.note(*remarks(layout_of(request)))
        shares = request.share("val", val_fraction), request.share("test", test_fraction)
        return read_text_splits(request, *shares, characters, fits)

    return dataset_of(request, TextSpec, read)


def read_text_splits(
    source: Place, val_fraction: float, test_fraction: float, characters: int, fits: Callable[[int], bool] | None = None
) -> tuple[TextSpec, dict[str, TextSplit]]:
    """Reads, checks and splits; what `load_text` gives a run.

    `fits` says whether so many bytes are read into memory; all are where it is not given. What is not stays in the cache
    as the numbers of its characters.
    """
    layout = layout_of(source)
    files = {} if isinstance(layout.place, Source) or layout.sources else text_files(layout.place)
    encoding = layout.options.get("encoding")
    stored: list[str] | None = None
    if files and fits is not None and not fits(BYTES_EACH * _size(files)):
        where = str(layout.place)
        stored, codes = map_codes(files, characters, encode, encoding)
        texts: dict[str, Any] = {**codes}  # the text itself, or its codes: both have a length and slices
    else:
        where, plain = read_texts(layout)
        texts = {name: text[:characters] if characters else text for name, text in plain.items()}
    made = dict.fromkeys(texts, "as published")
    whole = texts["train"]
    end = len(whole)
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if name in texts or (name == "val" and not fraction):
            continue
        begin = max(end - max(2, round(len(whole) * fraction)), 0)
        texts[name] = whole[begin:end]
        made[name] = f"characters {begin:,} to {end:,} of {len(whole):,}"
        end = begin
    texts["train"] = whole[:end]
    if end < len(whole):
        made["train"] = f"the first {end:,} characters of {len(whole):,}"
    val_is_test = "val" not in texts
    if val_is_test:
        texts["val"], made["val"] = texts["test"], made["test"]
    for name, text in texts.items():
        if len(text) < 2:
            raise UserError(
                "there are too few characters", where=f"{name} of {where}", expected="2 or more", found=len(text)
            )
    vocabulary = sorted(set().union(*texts.values())) if stored is None else stored
    if len(vocabulary) < 2:
        raise UserError("the text has only one distinct character", where=where, found=repr(vocabulary[0]))
    splits = {
        name: TextSplit(encode(texts[name], vocabulary, where) if stored is None else texts[name]) for name in SPLITS
    }
    spec = TextSpec(
        where=where,
        vocabulary=vocabulary,
        counts={name: len(split) for name, split in splits.items()},
        splits=made,
        val_is_test=val_is_test,
        fingerprint=fingerprint(*(split.codes for split in splits.values())),
    )
    return spec, splits


def read_texts(source: Place) -> tuple[str, dict[str, str]]:
    """Where the text is, and it: `train` alone, or the published splits.

    A source is a known data set, a text file, a folder with train.txt (and val.txt, test.txt), or a folder whose texts,
    at any depth, are one in the order of their paths: files ending in .txt, or without an ending. Where it has folders
    train and test (or val), each is a split.
    """
    layout = layout_of(source)
    place = layout.place
    if layout.sources:
        return str(layout), joined(layout, lambda part: read_texts(part)[1])
    if isinstance(place, Source):
        if place.kind != "text":
            raise UserError(f"{place.name} is no text", expected="a text", found=place.kind, cure="chainrule data list")
        from pydoc_data.topics import topics

        return place.name, {"train": "\n".join(topics[name] for name in sorted(topics))}
    encoding = layout.options.get("encoding")
    return str(place), {name: _joined_text(files, encoding) for name, files in text_files(place).items()}


def text_files(place: Path) -> dict[str, list[Path]]:
    """The files of each split at a path; UserError where there are none, or one is empty."""
    if place.is_file():
        found = {"train": [place]}
    else:
        named = by_split(((file.stem, file) for file in place.glob("*.[tT][xX][tT]")), place)
        found = {split: [file] for split, file in named.items()}
        if "train" not in found:
            found = {split: _texts_below(folder) for split, folder in split_folders(place).items()}
    for split, files in found.items():
        if not files:
            where = place if split == "train" else split_folders(place)[split]
            raise UserError("the folder holds no text", where=where, expected="files ending in .txt")
    for file in (file for files in found.values() for file in files):
        if file.stat().st_size <= LARGEST_MARK:
            read_file(file)  # says that it is empty, where it is
    return found


def _texts_below(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden_name(name)]
        found += [file for name in names if not is_hidden_name(name) and is_text(file := Path(place, name))]
    return sorted(file for file in found if file.is_file())


def remarks(layout: Layout) -> list[str]:
    """What is to be said of the reading: files that are taken for one text, a table that is, what of a folder is no text."""
    if layout.form == "csv" and isinstance(layout.place, Path) and layout.place.is_file():
        return [f"{layout.place} is a table: it is read character by character, with its separators and labels"]
    if layout.form != "folder" or layout.sources:
        return []
    assert isinstance(layout.place, Path)
    of_splits = text_files(layout.place)
    found = [
        f"{split}: {len(files):,} files are read as one text, in the order of their paths"
        for split, files in of_splits.items()
        if len(files) > 1
    ]
    folders = sorted({file.parent.name for file in of_splits["train"]})
    if found and len(folders) > 1:
        named = ", ".join(folders[:5]) + (", ..." if len(folders) > 5 else "")
        found.append(f"the folders {named} are no classes here; a recipe that learns classes of texts: bag-of-words")
    return found + told_as_passed_over(
        {form: count for form, count in layout.endings.items() if not texts_among({form: count})}
    )


def _size(texts: Mapping[str, Sequence[Path]]) -> int:
    return sum(file.stat().st_size for files in texts.values() for file in files)


def _joined_text(files: Sequence[Path], encoding: str | None) -> str:
    """The files as one text, with a line end between them where it lacks."""
    parts = [read_file(file, encoding) for file in files]
    return "".join(part if part.endswith("\n") else part + "\n" for part in parts[:-1]) + parts[-1]


def read_file(file: Path, encoding: str | None = None) -> str:
    """The text of a file, its line ends as they are: in UTF-8, as its byte-order mark says, or in the encoding named.

    Raises:
        UserError: it cannot be read, is empty, or is no such text; the likely encoding is told.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError("a file cannot be read", where=file, found=error.strerror) from None
    text = decode_bytes(content, file, encoding, zeros=ZEROS)
    if not text:
        raise UserError("the file is empty", where=file, expected="a text")
    return text


def encode(text: str, vocabulary: list[str], where: object) -> Tensor:
    """The characters' numbers (N,) in the vocabulary, in the smallest type that torch can index with later.

    >>> encode("abca", ["a", "b", "c"], "here").tolist()
    [0, 1, 2, 0]
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    known = np.array([ord(character) for character in vocabulary], dtype=np.int64)
    table = np.full(0x110000, -1, dtype=np.int32)
    table[known] = np.arange(len(known), dtype=np.int32)
    codes = table[points]
    if len(codes) and codes.min() < 0:
        at = int((codes < 0).argmax())
        strangers = sorted({chr(point) for point in points[codes < 0]})
        shown = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in strangers[:5])
        raise UserError(
            "a character is not in the vocabulary of the run",
            where=f"{where}, line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}",
            expected=f"one of the {len(vocabulary)} characters of the training data",
            found=f"{text[at]!r}"
            + (f"; unknown in all: {shown}" if len(strangers) > 1 else f" (U+{ord(text[at]):04X})"),
            cure="take it out, or train on a text that has it",
        )
    small = np.uint8 if len(vocabulary) <= 256 else np.int16 if len(vocabulary) <= 32768 else np.int32
    return torch.from_numpy(codes.astype(small))


def decode(codes: Tensor, vocabulary: list[str]) -> str:
    """The inverse of `encode`."""
    return "".join(vocabulary[code] for code in codes.tolist())


def windows(characters: int, batch_size: int, length: int) -> int:
    """How many windows of at most `length` an epoch over so many characters has; UserError where they are too few.

    >>> windows(1001, batch_size=10, length=30)  # ten streams of 100
    4
    """
    if characters - 1 < batch_size * length:
        raise UserError(
            "the training split has too few characters",
            expected=f"{batch_size * length + 1:,} or more: batch_size times length, and one",
            found=f"{characters:,}",
            cure="a smaller batch_size or length, or more text",
        )
    return len(Windows(characters - 1, batch_size, length))


class Streams(BatchLoader[Batch]):
    """The text as parallel streams, read in windows: `Windows` over its characters, each the target of the one before.

    x (b, T) and y (b, T) of a batch, y the characters one further. Each character but the first is predicted once an
    epoch (where the text does not divide, up to B - 1 of them by two streams).

    Args:
        codes: the text (N,), on the device that trains.
        batch_size: the number of streams B, over all processes together.
        length: the most characters of a window.
        world: which of the streams are this process's.
    """

    def __init__(self, codes: Tensor, batch_size: int, length: int, *, world: World | None = None) -> None:
        world = world or World()
        if batch_size < world.size:
            raise UserError(
                "there are fewer streams than processes", expected=f"batch_size={world.size} or more", found=batch_size
            )
        windows(len(codes), batch_size, length)  # UserError where the text is too short
        self.mine = torch.arange(batch_size).tensor_split(world.size)[world.rank]

        def collate(at: Tensor, count: int, processes: int) -> Batch:
            return Batch(codes[at].long(), codes[at + 1].long(), at[:, 0], count, processes)

        super().__init__(Windows(len(codes) - 1, batch_size, length, device=codes.device), collate, world=world)


TOPICS = (Topic("Back-propagation through time, truncated", code=("Streams",)),)
