"""What an evaluation measured: which part of which data, how many samples, and how many of them were trained on.

Samples are told apart by what they are: an image by its bytes, a row by its values, a text by its words. What they were
labelled as does not count. Of one long text it is characters: those in passages that the training text has too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.catalog.record import BY_SEED
from chainrule.data.catalog.sources import SOURCES
from chainrule.data.dataset import Dataset
from chainrule.data.formats.npz import has_array
from chainrule.data.given.source import GivenSource
from chainrule.data.images.masks.pairs import find_pairs, form_of_masks
from chainrule.data.layout import Layout
from chainrule.data.streams.shards import shards_by_split

PASSAGE = 32  # characters that two texts must have in common
MOST_BYTES = 2**29  # of the samples that are looked through: about what is read in the time of a short wait
AT_ONCE = 4096


@dataclass(frozen=True)
class Seen:
    """How many samples were measured, of what unit, and how many were trained on; None where that is not known, and why."""

    count: int
    unit: str
    trained_on: int | None
    unknown: str = ""


def seen_of(measured: Any, data: Dataset[Any, Any]) -> Seen:
    """How many samples of a split a run's training split has too; not known where that is gone, or too large to be read."""
    images = getattr(data.spec, "channels", 0) * getattr(data.spec, "size", 0) ** 2
    if images * data.spec.counts.get("train", 0) > MOST_BYTES:
        return Seen(len(measured), "samples", None, "the training images are too many to be read for it")
    try:
        return seen(measured, data.train)
    except UserError as error:
        reason = str(error).partition("\n")[0]
        return Seen(len(measured), "samples", None, f"the training data are not here: {reason}")


def seen(measured: Any, train: Any) -> Seen:
    """How many samples of a split the training split has too.

    Args:
        measured, train: splits of one kind: with `x` (N, ...), `texts`, or `codes` of a text.
    """
    if hasattr(measured, "codes"):
        return _seen_text(measured.codes.numpy(), train.codes.numpy())
    for split in (measured, train):
        if _size(split) > MOST_BYTES:
            return Seen(len(measured), "samples", None, "the data are too large to be looked through")
    known = set(_marks(train, train))
    return Seen(len(measured), "samples", sum(mark in known for mark in _marks(measured, train)))


def part_measured(layout: Layout) -> str:
    """What `evaluate` measures of other data: `test`, their own test split, or `all` of them where there is none."""
    place = layout.place
    if layout.sources:
        own = layout.sources.get("")
        has_test = "test" in layout.sources or (own is not None and part_measured(own) == "test")
    elif isinstance(place, GivenSource):
        has_test = "test" in place.tables or "x_test" in place.arrays
    elif layout.known:
        has_test = SOURCES[layout.known].split != BY_SEED
    elif layout.form in ("idx", "cifar10"):
        has_test = True
    elif layout.form == "npz" and isinstance(place, Path) and place.is_file():
        has_test = has_array(place, "x_test")
    elif layout.form == "shards" and isinstance(place, Path):
        has_test = "test" in shards_by_split(place)
    else:
        has_test = "test" in layout.splits or (isinstance(place, Path) and (place / "test.txt").is_file())
        if not has_test and form_of_masks(layout) is not None:  # images/test, masks/test; lists of Pascal VOC
            has_test = "test" in find_pairs(layout).splits
    return "test" if has_test else "all"


def _size(split: Any) -> int:
    if hasattr(split, "texts"):
        return sum(map(len, split.texts))
    if isinstance(split.x, list):
        return sum(x.nbytes for x in split.x)
    shape = tuple(split.x.shape)
    return int(np.prod(shape)) * (split.x.element_size() if isinstance(split.x, Tensor) else 1)


def _marks(split: Any, like: Any) -> Iterator[int]:
    """A number for each sample, equal where the samples are; numbers are compared as `like` has them."""
    if hasattr(split, "texts"):
        yield from (hash(text.strip()) for text in split.texts)
        return
    if isinstance(split.x, list):  # each of a shape of its own
        yield from (hash((tuple(x.shape), x.cpu().contiguous().numpy().tobytes())) for x in split.x)
        return
    for start in range(0, len(split.x), AT_ONCE):
        x = split.x[start : start + AT_ONCE]
        x = x.to("cpu", like.x.dtype) if isinstance(like.x, Tensor) else x.cpu()
        rows = (x + 0 if x.is_floating_point() else x).flatten(1).contiguous()  # -0 is 0
        yield from (hash(row.tobytes()) for row in rows.view(torch.uint8).numpy()) if rows.shape[1] else ()


def _seen_text(codes: np.ndarray, train: np.ndarray) -> Seen:
    """Characters of a text that lie in a passage of `PASSAGE` characters which the training text has."""
    covered = np.zeros(len(codes) + 1, dtype=np.int64)
    if min(len(codes), len(train)) >= PASSAGE and len(codes) + len(train) <= MOST_BYTES // 16:
        found = np.isin(_passages(codes), _passages(train)).nonzero()[0]
        np.add.at(covered, found, 1)
        np.add.at(covered, found + PASSAGE, -1)
    elif len(codes) + len(train) > MOST_BYTES // 16:
        return Seen(len(codes), "characters", None, "the texts are too long to be looked through")
    return Seen(len(codes), "characters", int((covered.cumsum() > 0).sum()))


def _passages(codes: np.ndarray) -> np.ndarray:
    """A number for each passage, by where it begins: a polynomial of its codes, modulo 2^64."""
    count, factor = len(codes) - PASSAGE + 1, np.uint64(6364136223846793005)
    found = np.zeros(count, dtype=np.uint64)
    for offset in range(PASSAGE):
        found = found * factor + codes[offset : offset + count].astype(np.uint64) + np.uint64(1)
    return found
