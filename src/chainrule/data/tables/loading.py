"""Tables as tensors: float (N, D), encoded and standardised by the training split, with splits and an optional target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.layout import SPLITS, Place
from chainrule.data.splits import fingerprint, hold_out
from chainrule.data.tables.files import RawRows, RawTable, read_table, with_numeric_labels
from chainrule.data.tables.row_encoder import RowEncoder
from chainrule.data.tables.schema.column import Column
from chainrule.data.tables.spec import TableSpec, columns_of, feature_names
from chainrule.data.tables.targets import Task, read_targets
from chainrule.functional.shared_rows import column_deviation

Missing = Literal["refuse", "fill"]


@dataclass(frozen=True)
class TableSplit:
    """Rows x (N, D), and y (N,): classes as int64, values of a regression as x has them, or None."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


def load_table(
    request: DataRequest,
    *,
    task: Task,
    dtype: torch.dtype = torch.float32,
    standardize: bool = True,
    drop_constant: bool = True,
    encode: bool = False,
    missing: Missing = "refuse",
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Dataset[TableSpec, TableSplit]:
    """The run's table; test and validation splits are held out by the seed where none is given.

    Spec: columns, features (what x has: a category each of a column of text), those dropped as constant on the training
    split (with their value), mean and std a kept feature over the training split (0 and 1 with `standardize` off;
    pixels share one std), target (with mean and std on the training split, for regression), class names, counts, how
    the splits were made, fingerprint.

    For `density` a column `label` or the named target is left out of x; its classes stratify the splits if each has
    four rows or more, and are else forgotten. The other tasks need a target, by default `label` or the last column.

    Args:
        request: what is read, and where the spec is kept.
        task: what the target is for.
        dtype: of x, and of the values of a regression.
        standardize: whether x has mean 0 and deviation 1 on the training split.
        drop_constant: whether constant features are left out; else they are an error.
        encode: whether a column of text is one of categories, each a feature of 0 and 1; else text is an error.
        missing: `fill` puts the training split's mean (and no category) for a missing value; `refuse` is an error.
        val_fraction, test_fraction: what is held out where no split is given.
    """

    def read() -> tuple[TableSpec, dict[str, TableSplit]]:
        kept = None if request.spec is None else TableSpec.from_json(request.spec)
        return read_table_splits(
            request,
            target=request.target if kept is None else request.target or kept.target,
            task=task,
            dtype=dtype,
            standardize=standardize,
            drop_constant=drop_constant,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", test_fraction),
            seed=request.seed,
            encode=encode,
            missing=request.options.get("missing", missing),
            schema=None if kept is None else columns_of(kept),
            say=request.note,
        )

    return dataset_of(request, TableSpec, read)


def read_table_splits(
    source: Place,
    *,
    target: str | None,
    task: Task,
    dtype: torch.dtype,
    standardize: bool,
    drop_constant: bool,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    encode: bool = False,
    missing: Missing = "refuse",
    schema: Sequence[Column] | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> tuple[TableSpec, dict[str, TableSplit]]:
    """Reads, checks, splits, encodes and standardises; what `load_table` gives a run."""
    raw = read_table(source, target, needs_target=task != "density", encode=encode, missing=missing, schema=schema)
    if task == "regression":
        raw = replace(
            raw, splits={name: with_numeric_labels(rows, raw.target_column) for name, rows in raw.splits.items()}
        )
    for note in raw.notes:
        say(note)
    for rows in raw.splits.values():
        check_squares(rows, raw.columns, torch.float64 if standardize else dtype)
    classes, targets = read_targets(raw, task)
    splits = {name: (torch.from_numpy(rows.x), targets[name]) for name, rows in raw.splits.items()}
    x, y = splits["train"]
    by_class = y is not None and classes is not None
    indices, made = hold_out(
        y if y is not None and by_class else torch.zeros(len(x)),
        splits,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        seed=seed,
        by_class=by_class,
    )
    splits |= {name: (x[index], None if y is None else y[index]) for name, index in indices.items()}
    _check_counts(splits, raw.where)
    features, y = feature_names(raw.columns, raw.categories), splits["train"][1]
    regression = task == "regression" and y is not None
    spec = TableSpec(
        where=raw.where,
        columns=raw.columns,
        categories=raw.categories,
        schema=[column.to_json() for column in raw.schema],
        features=features,
        target=raw.target,
        classes=classes,
        image=list(raw.image) if raw.image else None,
        missing=missing,
        fill=_means(splits["train"][0], raw) if missing == "fill" else {},
        standardized=standardize,
        dtype=str(dtype).removeprefix("torch."),
        mean=[0.0] * len(features),
        std=[1.0] * len(features),
        counts={name: len(splits[name][0]) for name in SPLITS},
        splits=made,
        fingerprint=fingerprint(*(t for name in SPLITS for t in splits[name] if t is not None)),
        target_scale={"mean": float(y.mean()), "std": float(column_deviation(y[:, None], len(y)))}
        if regression and y is not None
        else None,
        commonest=classes[int(y.bincount().argmax())] if classes is not None and y is not None else None,
    )
    spec = _scaled(spec, splits["train"][0], drop_constant)
    encoder = RowEncoder(spec)

    def part(x: Tensor, y: Tensor | None) -> TableSplit:
        return TableSplit(encoder(x).to(dtype), y.to(dtype) if y is not None and y.is_floating_point() else y)

    return spec, {name: part(*splits[name]) for name in SPLITS}


def _means(x: Tensor, raw: RawTable) -> dict[str, float]:
    """What stands for a missing number: the mean of its column over the training split."""
    means = x.nanmean(0)
    empty = [c for i, c in enumerate(raw.columns) if c not in raw.categories and bool(means[i].isnan())]
    if empty:
        raise UserError(
            "a column has no value at all on the training split",
            where=raw.where,
            found=", ".join(empty[:10]),
            cure="remove it from the table",
        )
    return {c: float(means[i]) for i, c in enumerate(raw.columns) if c not in raw.categories}


def _scaled(spec: TableSpec, x: Tensor, drop_constant: bool) -> TableSpec:
    """The spec with what is found on the training rows x: which features are constant, and mean and std of the others."""
    features = spec.features
    plain = RowEncoder(spec)(x)  # (N, columns) -> (N, features), in their own units
    constant = (plain == plain[0]).all(0)
    _check_constant(constant, spec, drop_constant)
    dropped = {features[i]: float(plain[0, i]) for i in constant.nonzero()[:, 0].tolist()}
    kept = plain[:, ~constant]
    mean, std = torch.zeros(kept.shape[1]).double(), torch.ones(kept.shape[1]).double()
    if spec.standardized:
        mean, std = kept.mean(0), column_deviation(kept, len(kept))
        if spec.image:  # pixels share one unit, so one deviation: one that is seldom inked is not blown up by its own
            std = std.square().mean().sqrt().expand(len(std))
    return replace(spec, dropped=dropped, mean=mean.tolist(), std=std.tolist())


def check_squares(rows: RawRows, columns: Sequence[str], dtype: torch.dtype = torch.float64) -> None:
    """UserError that names the first cell whose square overflows in `dtype`: deviations and distances would be infinite."""
    most = math.sqrt(torch.finfo(dtype).max)
    beyond = np.abs(rows.x) > most  # nan is not
    if beyond.any():
        row, column = np.argwhere(beyond)[0].tolist()
        raise UserError(
            f"a value is too large: its square is beyond {str(dtype).removeprefix('torch.')}",
            where=f"{rows.where(row)}, column {columns[column]!r}",
            expected=f"numbers of a size up to {most:.3g}",
            found=f"{rows.x[row, column]:g}",
            cure="if it stands for a missing value, leave the cell empty; else another unit",
        )


def _check_counts(splits: dict[str, tuple[Tensor, Tensor | None]], where: str) -> None:
    for name in ("train", "test"):
        if not len(splits[name][0]):
            raise UserError(
                f"there are too few rows for a {name} split",
                where=where,
                expected="5 rows or more, or a split given",
                found=f"{sum(len(x) for x, _ in splits.values())} rows",
                cure=f"more rows, --{name} 0.2, or --{name} PATH" if name == "test" else "more rows",
            )


def _check_constant(constant: Tensor, spec: TableSpec, drop_constant: bool) -> None:
    names = [spec.features[i] for i in constant.nonzero()[:, 0].tolist()]
    if len(names) == len(spec.features):
        raise UserError("every column is constant on the training split", where=spec.where, found=", ".join(names[:10]))
    if names and not drop_constant:
        raise UserError(
            f"{len(names)} column{' is' if len(names) == 1 else 's are'} constant on the training split",
            where=spec.where,
            found=", ".join(names[:10]) + (", ..." if len(names) > 10 else ""),
            cure="drop_constant=yes leaves them out, or remove them from the table",
        )


TOPICS = (
    Topic(
        "Tables: categories, missing values, regression",
        "表格：类别、缺失值、回归",
        code=("load_table",),
        command="chainrule train mlp-regression missing=fill",
    ),
)
