"""Datasets and DataLoaders of torch, read sample by sample; a sample that fails is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from chainrule.core.errors import ChainruleError, UserError
from chainrule.data.given.tensors import array_of


def is_dataset(value: Any) -> bool:
    return isinstance(value, (Dataset, DataLoader))


def read_samples(data: Any, where: str) -> tuple[Any, Any]:
    """x and y of all samples: arrays (N, ...) and (N,), or a list of texts and their labels.

    Of a DataLoader its dataset is read: batches and their order are the run's.

    Raises:
        UserError: a sample cannot be read, is no pair, or has another shape than the first: its number is named.
    """
    dataset = data.dataset if isinstance(data, DataLoader) else data
    texts: list[str] = []
    parts: list[np.ndarray] = []
    labels: list[Any] = []
    for number, sample in _samples(dataset, where):
        place = f"{where}, sample {number}"
        x, y = _pair(sample, place)
        labels.append(y)
        if isinstance(x, str):
            texts.append(x)
            continue
        array = _array(x, place)
        if parts and (array.shape, array.dtype) != (parts[0].shape, parts[0].dtype):
            raise UserError(
                "the samples are of unequal shape or type",
                where=place,
                expected=f"{parts[0].dtype} {parts[0].shape}, as sample 0",
                found=f"{array.dtype} {array.shape}",
                cure="bring them to one size in the Dataset",
            )
        parts.append(array)
    if not labels:
        raise UserError("the Dataset has no samples", where=where)
    if texts and parts:
        raise UserError("some samples are texts and others are not", where=where, found=f"{len(texts)} texts")
    return texts or np.stack(parts), labels


def _array(x: Any, place: str) -> np.ndarray:
    if isinstance(x, torch.Tensor):
        return array_of(x, place)
    try:
        return np.asarray(x)
    except (TypeError, ValueError) as error:  # lists of unequal length
        raise UserError("the input of a sample is no array", where=place, found=error) from None


def _samples(dataset: Any, where: str) -> Iterator[tuple[int, Any]]:
    """The samples with their numbers, in order."""
    iterator = _iterator(dataset, where) if isinstance(dataset, IterableDataset) else None
    number, count = 0, None if iterator is not None else _length(dataset, where)
    while count is None or number < count:
        try:
            sample = dataset[number] if iterator is None else next(iterator)
        except ChainruleError:
            raise
        except Exception as error:
            if iterator is not None and isinstance(error, StopIteration):  # by number it is an error as any other
                return
            raise UserError(
                "a sample of the Dataset cannot be read",
                where=f"{where}, sample {number}",
                found=f"{type(error).__name__}: {error}",
                cure="repair it, or leave it out with torch.utils.data.Subset",
            ) from error
        yield number, sample
        number += 1


def _iterator(dataset: Any, where: str) -> Iterator[Any]:
    try:
        return iter(dataset)
    except Exception as error:
        raise UserError(
            "the IterableDataset gives no samples",
            where=where,
            expected="__iter__ that gives pairs (x, y)",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _length(dataset: Any, where: str) -> int:
    try:
        return len(dataset)
    except Exception as error:
        raise UserError(
            "the Dataset does not say how many samples it has",
            where=where,
            found=f"{type(error).__name__}: {error}",
            cure="__len__, or torch.utils.data.IterableDataset with __iter__",
        ) from error


def _pair(sample: Any, place: str) -> tuple[Any, Any]:
    if not isinstance(sample, (tuple, list)) or len(sample) != 2:
        found = f"{type(sample).__name__}" + (f" of {len(sample)}" if isinstance(sample, (tuple, list, dict)) else "")
        raise UserError("a sample is no pair (x, y)", where=place, expected="(x, y)", found=found)
    x, y = sample
    if isinstance(y, (torch.Tensor, np.ndarray, np.generic)):
        if y.size != 1 if isinstance(y, (np.ndarray, np.generic)) else y.numel() != 1:
            raise UserError("the target of a sample is no single number", where=place, found=tuple(y.shape))
        y = y.item()
    if not isinstance(y, (int, float, str)):
        raise UserError("the target of a sample is neither a number nor a text", where=place, found=type(y).__name__)
    return x, y
