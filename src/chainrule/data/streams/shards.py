"""Shards of webdataset: tar files in which an image and its label stand one after the other under one key.

An index of where each image lies is made at the start, so that any image can be read by its number: a run on shards has
the order of epochs that it would have in memory, resumes without reading what it has passed, and its numbers are the same.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.errors import UserError, missing_extra
from chainrule.data.images.decoding import SUFFIXES
from chainrule.data.images.packed import PackedImage
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.labels import is_missing, label_text
from chainrule.data.layout import SPLITS, sort_labels, split_folders
from chainrule.data.split_names import KNOWN, split_in

LABELS = ("cls", "json", "txt")  # endings of what names the class, the first that is there
NAMES = ("label", "cls", "class")  # of the label in a JSON object


def read_shards(place: Path) -> RawImageSet:
    """The images in the .tar files of a folder, or in one of them, and their classes.

    A file `train-000000.tar`, and `val-` or `test-` by any of their usual names, is of that split, and so are those in a
    folder `train/`; the others are of train where none is named so.

    Raises:
        UserError: a shard is missing in a sequence of numbers, or cut short; a sample has no image or no label: shard
            and key are named.
    """
    shards = shards_by_split(place)
    parts = {split: [sample for shard in files for sample in _samples(shard)] for split, files in shards.items()}
    classes = sort_labels({label for _, label in parts["train"]})
    number = {name: index for index, name in enumerate(classes)}
    splits = {}
    for split, samples in parts.items():
        strange = next((image for image, label in samples if label not in number), None)
        if strange is not None:
            raise UserError(
                "a label is out of range", where=strange, expected=f"one of the {len(classes)} in train",
                found=dict(samples)[strange],
            )  # fmt: skip
        labels = np.array([number[label] for _, label in samples], dtype=np.int64)
        splits[split] = RawImages(labels, files=[image for image, _ in samples])
    taken = {file for files in shards.values() for file in files}
    left = [file.name for file in _shards_in(place) if file not in taken]
    notes = [f"passed over: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}, of no split"] if left else []
    return RawImageSet(splits, classes, str(place), notes=notes)


def shards_by_split(place: Path) -> dict[str, list[Path]]:
    """The shards of each split in the order of their names.

    Raises:
        UserError: one is missing in between, or all of a split.
    """
    files = _shards_in(place)
    if files:
        of = {file: split_in(file.stem) for file in files}
        named = {split: [file for file in files if of[file] == split] for split in SPLITS}
        if not named["train"]:
            named["train"] = [file for file in files if of[file] is None]
        shards = {split: found for split, found in named.items() if found}
    else:
        shards = {split: _shards_in(folder) for split, folder in split_folders(place).items()}
    if "train" not in shards and len(shards) > 1:
        raise UserError(
            "there is no training split", where=place, expected=KNOWN, found=", ".join(file.name for file in files[:5])
        )
    shards = shards if "train" in shards else {"train": files}  # of one split, which is all that was named
    for split, found in shards.items():
        if not found:
            raise UserError(
                f"the split {split} has no shards", where=split_folders(place)[split], expected=".tar files"
            )
        _expect_sequence(found)
    return shards


def _shards_in(place: Path) -> list[Path]:
    return sorted(place.glob("*.tar")) if place.is_dir() else [place]


def _expect_sequence(files: list[Path]) -> None:
    """UserError where the numbers at the ends of the names leave one out."""
    numbered: dict[str, dict[int, Path]] = {}
    for file in files:
        match = re.fullmatch(r"(.*?)(\d+)", file.stem)
        if match:
            numbered.setdefault(match[1], {})[int(match[2])] = file
    for prefix, found in numbered.items():
        low, high = min(found), max(found)
        missing = [n for n in range(min(low, 1) if low > 1 else low, high + 1) if n not in found]
        if missing:
            like = next(iter(found.values()))
            width = len(like.stem) - len(prefix)
            names = [f"{prefix}{n:0{width}d}.tar" for n in missing]
            raise UserError(
                f"{len(missing)} shard{' is' if len(missing) == 1 else 's are'} missing",
                where=like.parent,
                expected=f"{prefix}{min(low, missing[0]):0{width}d}.tar to {found[high].name}",
                found=f"no {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}",
                cure="copy what is missing, or number the shards from 0 without a gap",
            )


def _samples(shard: Path) -> Iterator[tuple[PackedImage, str]]:
    """Image and label of each sample; which members are one sample is said by webdataset's own rule."""
    try:
        from webdataset.tariterators import group_by_keys
    except ImportError:
        raise missing_extra("webdataset", "shards") from None
    try:
        for sample in group_by_keys(_members(shard)):
            key = sample["__key__"]
            image = next((sample[name] for name in sample if f".{name.rpartition('.')[2]}" in SUFFIXES), None)
            label = next((sample[name] for name in LABELS if name in sample), None)
            if image is None or label is None:
                raise UserError(
                    f"a sample has no {'image' if image is None else 'label'}",
                    where=f"{shard}: {key}",
                    expected=f"an image ({' '.join(sorted(SUFFIXES))}) and a label (.cls, .json or .txt) of one key",
                    found=", ".join(f".{name}" for name in sample if not name.startswith("__")),
                    cure="write the shard again with both, one after the other, or without this sample",
                )
            yield image, _label(label, key, shard)
    except ValueError as error:  # two members of one name; group_by_keys puts more behind the message
        if isinstance(error, UserError):
            raise
        raise UserError("a shard cannot be read", where=shard, found=error.args[0]) from None


def _label(member: PackedImage, key: str, shard: Path) -> str:
    where, ending = f"{shard}: {member.name}", member.name.rpartition(".")[2].lower()
    try:
        text = member.read().decode("utf-8").strip()
        value: Any = text
        if ending == "json":
            content = json.loads(text)
            value = next(content[name] for name in NAMES if name in content) if isinstance(content, dict) else content
    except (ValueError, StopIteration, RecursionError) as error:
        raise UserError(
            "a label cannot be read",
            where=where,
            expected='{"label": ...}' if ending == "json" else "text",
            found=str(error) or "no label",
        ) from None
    if is_missing(str(value)) or isinstance(value, (dict, list)):
        raise UserError(
            "a label is missing or no single value", where=where, found=str(value).strip()[:60] or "an empty text"
        )
    return label_text(str(value))


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    """The files of a tar and where they lie, as `group_by_keys` takes them; UserError where it is cut short."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.isfile():
                    packed = PackedImage(shard, member.name, member.offset_data, member.size)
                    yield {"fname": member.name, "data": packed, "__url__": str(shard)}
            whole = tar.offset + tarfile.BLOCKSIZE <= shard.stat().st_size  # an archive ends with blocks of zeros
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _damaged(shard, error) from None
    if not whole:
        raise _damaged(shard, "the end of the archive is not there")


def _damaged(shard: Path, error: object) -> UserError:
    return UserError(
        "a shard cannot be read", where=shard, found=error, cure="it is cut short or damaged: copy or write it again"
    )
