"""The target column as classes or as numbers."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.labels import read_labels
from chainrule.data.layout import sort_labels
from chainrule.data.tables.files import RawRows, RawTable

Task = Literal["density", "classification", "regression"]
LARGEST = math.sqrt(np.finfo(np.float64).max)  # of a target: its square is a number
MIN_A_CLASS = 4  # rows of a class that can be split into train, val and test


def read_targets(raw: RawTable, task: Task) -> tuple[list[str] | None, dict[str, Tensor | None]]:
    """Class names, and y of each split, as the task needs them."""
    nothing: dict[str, Tensor | None] = dict.fromkeys(raw.splits)
    if raw.target is None:
        return None, nothing
    if task == "regression":
        return None, {name: target_values(rows, raw.target) for name, rows in raw.splits.items()}
    labels = {name: labels_as_text(rows, raw.target) for name, rows in raw.splits.items()}
    found, counts = np.unique(labels["train"], return_counts=True)
    classes = sort_labels(set(found.tolist()))
    strangers = {name: ~np.isin(part, found) for name, part in labels.items()}
    if task == "density":
        if counts.min(initial=MIN_A_CLASS) < MIN_A_CLASS or any(s.any() for s in strangers.values()):
            return None, nothing
    else:
        _check_classes(raw, found, counts, labels, strangers)
    index = {name: number for number, name in enumerate(classes)}
    return classes, {name: torch.tensor([index[c] for c in part.tolist()]) for name, part in labels.items()}


def _check_classes(
    raw: RawTable,
    found: np.ndarray,
    counts: np.ndarray,
    labels: dict[str, np.ndarray],
    strangers: dict[str, np.ndarray],
) -> None:
    if len(found) < 2:
        raise UserError(
            "there is only one class",
            where=f"{raw.where}, column {raw.target!r}",
            expected="two at least",
            found=", ".join(found) or "none",
            cure="--target COLUMN",
        )
    if len(raw.splits) == 1 and counts.min() < MIN_A_CLASS:
        raise UserError(
            "a class has too few rows to be split",
            where=f"{raw.where}, column {raw.target!r}",
            expected=f"{MIN_A_CLASS} or more a class",
            found=f"{counts.min()} of {found[counts.argmin()]}",
            cure="remove it, or name another column with --target",
        )
    for name, out in strangers.items():
        if out.any():
            row = int(out.argmax())
            raise UserError(
                "a label is out of range",
                where=raw.splits[name].where(row),
                expected=f"one of the {len(found)} in train",
                found=labels[name][row],
            )


def labels_as_text(rows: RawRows, target: str | None) -> np.ndarray:
    """The labels of a split as texts (N,): whole numbers without a point, no blanks around; UserError names a missing one."""
    labels = rows.labels
    assert labels is not None
    whole = labels.dtype.kind == "f" and bool(((labels == np.floor(labels)) & (np.abs(labels) < 2**53)).all())
    texts = (labels.astype(np.int64) if whole else labels).astype(str).tolist()
    return np.array(read_labels(texts, rows.where, target))


def target_values(rows: RawRows, target: str) -> Tensor:
    """The target of a regression (N,) float64; UserError names the first that is missing, infinite, or not numeric."""
    assert rows.labels is not None
    values, cells = np.empty(len(rows.labels)), rows.labels.tolist()
    read_labels(map(str, cells), rows.where, target)
    for row, cell in enumerate(cells):
        try:
            values[row] = float(cell)
        except ValueError:
            values[row] = np.nan
        if not abs(values[row]) <= LARGEST:
            finite = np.isfinite(values[row])
            raise UserError(
                "a target is too large: its square is beyond float64" if finite else "a target is not numeric",
                where=f"{rows.where(row)}, column {target!r}",
                expected=f"a number of a size up to {LARGEST:.3g}" if finite else "a finite number",
                found=cell or "an empty cell",
            )
    return torch.from_numpy(values)
