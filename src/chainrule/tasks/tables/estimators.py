"""A task over rows from an estimator: its table, its preprocessing, and how its settings are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch

from chainrule.core.errors import UserError
from chainrule.core.settings import Preprocessing
from chainrule.data.dataset import Dataset
from chainrule.data.preprocess import preprocessed
from chainrule.data.tables.loading import Missing, TableSplit, load_table
from chainrule.data.tables.spec import TableSpec
from chainrule.nn.fitted import Estimator, Fitted
from chainrule.run.run import Run
from chainrule.tasks.tables.training import grid_search

T = TypeVar("T")
Candidates = Sequence[Mapping[str, Any]]


def estimator_task(
    build: Callable[..., T],
    run: Run,
    estimator: Estimator,
    candidates: Candidates | Callable[[Dataset[TableSpec, TableSplit]], Candidates] = ({},),
    *,
    task: Literal["density", "classification", "regression"],
    choose_by: str | None = None,
    preprocess: Preprocessing | bool,
    encode: bool,
    missing: Missing,
    val_fraction: float,
    dtype: torch.dtype = torch.float64,
    **more: Any,
) -> T:
    """The task of an estimator on the run's table.

    Args:
        build: makes the task from run, `data`, `model` and `learn`: `TableClassifier`, `TableRegressor`, ...
        run: the run it belongs to.
        estimator: of scikit-learn's convention, with `decide`.
        candidates: settings of its constructor that are tried; or what gives them for the data.
        task, encode, missing, val_fraction, dtype: as `load_table` has them.
        choose_by: the metric of the task on the validation split that chooses, lower is better.
        preprocess: what is done to rows before the model; True is `standardize`, False `none`.
        more: what else `build` takes.
    """
    kind: Preprocessing = preprocess if isinstance(preprocess, str) else "standardize" if preprocess else "none"
    data = load_table(
        run.data,
        task=task,
        dtype=dtype,
        standardize=kind == "standardize",
        encode=encode,
        missing=missing,
        val_fraction=val_fraction,
    )
    learn = grid_search(
        candidates(data) if callable(candidates) else candidates, choose_by=(choose_by, True) if choose_by else None
    )
    return build(run, data=data, model=preprocessed(Fitted(estimator), kind, data.spec), learn=learn, **more)


def at_most(name: str, values: Sequence[int], data: Dataset[TableSpec, TableSplit], of: str, most: int) -> None:
    """UserError if one of the `values` of a setting is above `most`, of which the data have no more."""
    if max(values) > most:
        raise UserError(
            f"the setting {name} is more than there are {of}",
            where=data.spec.where,
            expected=f"{most} at most",
            found=max(values),
        )
