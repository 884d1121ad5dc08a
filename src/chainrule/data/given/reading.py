"""What is given in Python as data: which kind it is, checked before anything is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chainrule.core.data.words import expect_filled
from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import SOURCES, expect_one_meaning
from chainrule.data.formats.npz import split_arrays
from chainrule.data.given.frames import cells_of_frame, is_frame
from chainrule.data.given.samples import is_dataset, read_samples
from chainrule.data.given.source import MARK, Given, GivenSource
from chainrule.data.given.tensors import array_of
from chainrule.data.images.arrays import as_bytes, pixel_scale
from chainrule.data.labels import read_labels
from chainrule.data.layout import SPLITS, sort_labels
from chainrule.data.tables.formats.cells import Cells, are_numbers, cells_of_columns

Part = Cells | tuple[np.ndarray, np.ndarray | None]  # a table, or x and y

LOOKED_AT = 2**21  # bytes at a time
FORMS = (
    "(x, y) of arrays or tensors, (sentences, labels), a frame of pandas or polars, a Dataset or DataLoader of torch, "
    'or {"train": ..., "test": ...} of these'
)


def given(data: Any) -> Given:
    """Data of the user's own objects, as what a run takes in the place of a path.

    Which kind they are is told by what they are: numbers (N, D) are the rows of a table, (N, H, W), (N, H, W, C) and
    (N, C, H, W) images, texts sentences; a frame is a table, or sentences where it has a column `text`. Of images,
    bytes are taken as they are; floats and whole numbers from 0 to 1 in all splits are times 255 and rounded, those
    from 0 to 255 rounded.

    Args:
        data: (x, y), x alone, a frame, a Dataset, or a dictionary of these with the keys train, val, test.

    Raises:
        UserError: it is none of these, x and y have unequal lengths, a layout can be read in two ways, a sample of a
            Dataset cannot be read; split and sample are named.

    >>> str(given((np.zeros((4, 2)), [0, 1, 0, 1])))
    'given in Python: train x float64 (4, 2), y int64 (4,); fingerprint 475892591a53'
    """
    splits = data if isinstance(data, Mapping) and not is_frame(data) else {"train": data}
    if "train" not in splits or set(splits) - set(SPLITS):
        raise UserError(
            "the splits given in Python have names that are not known",
            expected="train, and val and test where they are there",
            found=", ".join(map(str, splits)) or "nothing",
        )
    classes = _class_names(splits["train"])
    parts = {name: _read_part(value, name) for name, value in splits.items()}
    tables = {name: part for name, part in parts.items() if isinstance(part, Cells)}
    if tables:
        if len(tables) < len(parts):
            raise UserError("one split is a table and another is not", found=", ".join(tables) + " is one")
        texts = [f"{name} {_describe(value, tables[name])}" for name, value in splits.items()]
        mark = _mark_of_tables(tables)
        return Given(_source("table", f"{'; '.join(texts)}; fingerprint {mark}", tables=tables))
    arrays = {name: part for name, part in parts.items() if not isinstance(part, Cells)}
    texts = [f"{name} x {_shape(x)}" + (f", y {_shape(y)}" if y is not None else "") for name, (x, y) in arrays.items()]
    mark = _mark(a for pair in arrays.values() for a in pair if a is not None)
    if _rank(arrays) > 2:
        arrays, classes = _images(arrays, classes)
    named = split_arrays(["x"])
    return Given(
        _source(
            "images" if _rank(arrays) > 2 else "table",
            f"{'; '.join(texts)}; fingerprint {mark}",
            arrays={
                n: a for split, pair in arrays.items() for n, a in zip(named[split], pair, strict=True) if a is not None
            },
            classes=classes,
        )
    )


def as_source(data: Any) -> Any:
    """What `train` and the other verbs take as data: paths and names as they are, objects as `given` has them.

    Raises:
        UserError: it is empty, or a name that is a known data set and a path of the working folder too.
    """
    if data is None or isinstance(data, Given):
        return data
    if isinstance(data, (str, Path)):
        return _place(data)
    if isinstance(data, Mapping) and data and all(isinstance(value, (str, Path)) for value in data.values()):
        return {name: _place(value) for name, value in data.items()}
    return given(data)


def _place(named: str | Path) -> str:
    """A path or a name; a Path is always a path, also where it is called like a known data set."""
    if isinstance(named, Path):
        return f"./{named}" if str(named) in SOURCES else str(named)
    expect_filled(data=named)
    expect_one_meaning(named)
    return named


def _source(kind: str, text: str, **parts: Any) -> GivenSource:
    return GivenSource(MARK + text, kind, "given in Python", "as given", "the user's own", **parts)


def _read_part(value: Any, split: str) -> Part:
    where = f"data given in Python, {split}"
    if is_frame(value):
        return cells_of_frame(value, where)
    if is_dataset(value):
        return _pair(*read_samples(value, where), where)
    if isinstance(value, (tuple, list)) and len(value) == 2 and not _is_sample_pair(value):
        return _pair(value[0], value[1], where)
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return _pair(value, None, where)
    length = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
    raise UserError(
        "the data given in Python are of no kind that is known",
        where=where,
        expected=FORMS,
        found=f"{type(value).__name__}{length}",
    )


def _is_sample_pair(value: Sequence[Any]) -> bool:
    """Whether two things are two samples (x, y) rather than x and y of all samples."""
    return all(isinstance(part, tuple) and len(part) == 2 for part in value)


def _pair(x: Any, y: Any, where: str) -> Part:
    """x and y of all samples, as arrays or, where x are texts, as a table of sentences."""
    if isinstance(x, (list, tuple)) and x and all(isinstance(text, str) for text in x):
        if y is None:
            raise UserError("the sentences have no labels", where=where, expected="(sentences, labels)")
        labels = _array(y, f"{where}, y").tolist()
        _expect_length(len(x), len(labels), where)
        return cells_of_columns(["text", "label"], [list(x), labels], where, first=0)
    inputs = _array(x, f"{where}, x")
    if inputs.dtype.kind not in "buif":
        raise UserError(
            "x is not numeric", where=where, expected="numbers, or a list of texts", found=f"{_shape(inputs)}"
        )
    if inputs.ndim < 2:
        raise UserError(
            "x has one number a sample, or is one sample",
            where=where,
            expected="(N, D), (N, H, W), (N, H, W, C) or (N, C, H, W)",
            found=inputs.shape,
            cure="x[:, None] for a single column" if inputs.ndim else None,
        )
    if y is None:
        return inputs, None
    targets = _array(y, f"{where}, y")
    if targets.ndim == 2 and targets.shape[1] > 1:
        raise UserError(
            "y has several numbers a sample", where=where, expected=f"({len(inputs)},)", found=targets.shape,
            cure="y.argmax(1), where they are classes one-hot",
        )  # fmt: skip
    _expect_length(len(inputs), len(targets) if targets.ndim else 1, where)
    if targets.dtype.kind == "U" and targets.ndim == 1:
        targets = np.array(read_labels(targets.tolist(), lambda number: f"{where}, sample {number}"))
    return inputs, targets


def _expect_length(inputs: int, targets: int, where: str) -> None:
    if inputs != targets:
        raise UserError("x and y have unequal lengths", where=where, expected=f"{inputs} targets", found=targets)


def _array(value: Any, where: str) -> np.ndarray:
    """As a NumPy array, sharing memory where that can be."""
    if isinstance(value, torch.Tensor):
        return array_of(value, where)
    if isinstance(value, np.ma.MaskedArray):  # what is masked is missing, whatever lies below
        value = np.ma.filled(value.astype(np.float64), np.nan) if np.ma.is_masked(value) else value.data
    try:
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
    except ValueError as error:  # rows of unequal length
        raise UserError("this is no array", where=where, found=error) from None
    if array.dtype.kind == "O":
        texts: list[object] = array.reshape(-1).tolist()
        if are_numbers(texts) and not any(value is None or isinstance(value, str) for value in texts):
            return array.astype(np.float64)
        if not all(isinstance(v, str) for v in texts):
            raise UserError(
                "the array holds Python objects", where=where, expected="numbers, or texts",
                found=next(type(v).__name__ for v in texts if not isinstance(v, str)),
                cure="one frame, with the target as a column of it" if is_frame(value) else None,
            )  # fmt: skip
        array = array.astype(str)
    return array


def _rank(arrays: Mapping[str, tuple[np.ndarray, np.ndarray | None]]) -> int:
    ranks = {name: x.ndim for name, (x, _) in arrays.items()}
    if len(set(ranks.values())) > 1:
        raise UserError("the splits have unequal layouts", found=", ".join(f"{n}: {r} axes" for n, r in ranks.items()))
    return ranks["train"]


def _images(
    arrays: Mapping[str, tuple[np.ndarray, np.ndarray | None]], classes: list[str] | None
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray | None]], list[str] | None]:
    """Images as bytes (N, H, W, C), on one scale over all splits; labels that are texts as numbers, and their names."""
    for name, (x, _) in arrays.items():
        if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] in (1, 3):
            raise UserError(
                "the layout of the images can be read in two ways",
                where=f"data given in Python, {name}",
                expected="one axis alone that may be the channels",
                found=f"{x.shape}: (N, H, W, C) of {x.shape[1]} x {x.shape[2]} pixels, "
                f"or (N, C, H, W) of {x.shape[2]} x {x.shape[3]}",
                cure="x[..., 0] or x[:, 0] where there is one channel; images of at least 4 x 4 pixels",
            )
    scales = [pixel_scale(x, f"data given in Python, {name}") for name, (x, _) in arrays.items() if x.size]
    scale = max(scales, default=1.0)
    if any(x.dtype != np.uint8 and pixel_scale(x, "") != scale for x, _ in arrays.values() if x.size):
        scale = 1.0  # a split may be dark: what one split has above 1, all count by
    texts = arrays["train"][1]
    if texts is not None and texts.dtype.kind in "US":
        classes = sort_labels({str(label) for label in texts.tolist()})
    found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    for name, (x, y) in arrays.items():
        if y is not None and y.dtype.kind in "US":
            y = _numbers(y, classes or [], f"data given in Python, {name}")
        found[name] = (as_bytes(x, f"data given in Python, {name}, x", scale), y)
    return found, classes


def _numbers(labels: np.ndarray, classes: list[str], where: str) -> np.ndarray:
    number = {name: index for index, name in enumerate(classes)}
    strange = next((i for i, label in enumerate(labels.tolist()) if label not in number), None)
    if strange is not None:
        raise UserError(
            "a label is out of range",
            where=f"{where}, sample {strange}",
            expected=f"one of the {len(classes)} in train",
            found=labels[strange],
        )
    return np.array([number[label] for label in labels.tolist()], dtype=np.int64)


def _class_names(train: Any) -> list[str] | None:
    """The names that a Dataset says its classes have, as those of torchvision do."""
    names = getattr(getattr(train, "dataset", train), "classes", None)
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else None


def _shape(array: np.ndarray) -> str:
    kind = "texts" if array.dtype.kind in "US" else array.dtype
    return f"{kind} {tuple(array.shape)}"


def _describe(value: Any, cells: Cells) -> str:
    if is_frame(value):
        shown = ", ".join(cells.header[:8]) + (", ..." if len(cells.header) > 8 else "")
        return f"{type(value).__module__.partition('.')[0]} frame ({len(cells.rows)}, {len(cells.header)}): {shown}"
    return f"{len(cells.rows)} sentences with labels"


def _mark(arrays: Iterable[np.ndarray]) -> str:
    """Twelve hex digits that change when any value changes."""
    digest = hashlib.blake2b(digest_size=6)
    for array in arrays:
        digest.update(str((array.dtype, array.shape)).encode())
        rows = max(1, LOOKED_AT // max(1, array[:1].nbytes))
        for first in range(0, len(array), rows):  # one that is mapped is read a part at a time
            digest.update(np.ascontiguousarray(array[first : first + rows]).view(np.uint8).data)
    return digest.hexdigest()


def _mark_of_tables(tables: Mapping[str, Cells]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for cells in tables.values():
        for row in (cells.header, *cells.rows):
            digest.update("\0".join(row).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
