"""What a run's spec says of its table: which columns x has, and how its rows become the table's again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.spec import MAY_LACK, Spec
from chainrule.data.tables.schema.column import Column
from chainrule.data.tables.schema.number_format import NumberFormat


@dataclass(frozen=True, kw_only=True)
class TableSpec(Spec):
    """A table whose rows were encoded and brought to scale.

    Attributes:
        where: the path or the name of the data set.
        columns: all columns beside the target, in order.
        target: the column of the target; None where there is none.
        classes: names of the classes; None for numbers and where there is no target.
        mean, std: of each kept feature over the training split; 0 and 1 unless `standardized`.
        dtype: of x, as torch names it.
        categories: the values of each column of text.
        features: what a row becomes, a column each or a category each, before the constant ones are dropped.
        image: height and width where the columns are pixels.
        missing: whether a missing value is filled in (`fill`), by the numbers in `fill`, or an error (`refuse`).
        dropped: features that are constant on the training split, with their value.
        target_scale: mean and std of the target of a regression on the training split.
        schema: what the columns of a file mean (`chainrule.data.tables.schema.column`), the target among them, as JSON;
            empty for arrays, and where an earlier version wrote the spec. `columns` are what those become: of a date several.
        commonest: the class with most rows of the training split, of equals the first; runs of old have it not.
    """

    where: str
    columns: list[str]
    target: str | None
    classes: list[str] | None
    mean: list[float]
    std: list[float]
    dtype: str = "float32"
    categories: dict[str, list[str]] = field(default_factory=dict)
    features: list[str] = field(default_factory=list)
    image: list[int] | None = field(default=None, metadata={"key": "picture"})
    missing: str = "refuse"
    fill: dict[str, float] = field(default_factory=dict)
    dropped: dict[str, float] = field(default_factory=dict)
    standardized: bool = True
    target_scale: dict[str, float] | None = field(default=None, metadata=MAY_LACK)
    schema: list[dict[str, Any]] = field(default_factory=list)
    commonest: str | None = field(default=None, metadata=MAY_LACK)

    @property
    def class_names(self) -> list[str]:
        """The classes, where the target is one of classification."""
        assert self.classes is not None
        return self.classes

    def __post_init__(self) -> None:
        if not isinstance(getattr(torch, self.dtype, None), torch.dtype):
            raise UserError("what run.json says of the data is not understood", where="dtype", found=repr(self.dtype))
        if not self.features:  # records of old: a column was a feature
            object.__setattr__(self, "features", feature_names(self.columns, self.categories))
        columns_of(self)  # what cannot be understood is told when the run is opened, not at its first answer


def columns_of(spec: TableSpec) -> list[Column]:
    """What the columns of a table mean to a run, those left out and the target among them."""
    if spec.schema:
        return [Column.from_json(column, spec.categories.get(column["name"], ())) for column in spec.schema]
    return [
        Column(name, "category", categories=tuple(spec.categories[name]))
        if name in spec.categories
        else Column(name, number=NumberFormat(""))
        for name in [*spec.columns, *([spec.target] if spec.target else [])]
    ]


def input_columns(spec: TableSpec) -> list[Column]:
    """Those that become the columns of x, in order."""
    return [column for column in columns_of(spec) if column.outputs and column.name != spec.target]


def feature_names(columns: Sequence[str], categories: Mapping[str, Sequence[str]]) -> list[str]:
    """A name for each number that a row becomes: a column's own, or `column=category` for each of its categories.

    >>> feature_names(["age", "sex"], {"sex": ["f", "m"]})
    ['age', 'sex=f', 'sex=m']
    """
    names: list[str] = []
    for column in columns:
        names += [f"{column}={value}" for value in categories[column]] if column in categories else [column]
    return names


def kept_features(spec: TableSpec) -> list[str]:
    """What x has, in order."""
    return [feature for feature in spec.features if feature not in spec.dropped]


def kept_columns(spec: TableSpec) -> list[str]:
    """The columns of a table without categories that x has, in order."""
    return [column for column in spec.columns if column not in spec.dropped]


def original_rows(x: Tensor, spec: TableSpec) -> Tensor:
    """Rows on the scale of x as rows (N, all columns) of the table, the dropped constants put back; float64."""
    kept = x.double().cpu() * torch.tensor(spec.std, dtype=torch.float64) + torch.tensor(spec.mean, dtype=torch.float64)
    rows = torch.empty(len(x), len(spec.columns), dtype=torch.float64)
    place = 0
    for index, column in enumerate(spec.columns):
        if column in spec.dropped:
            rows[:, index] = spec.dropped[column]
        else:
            rows[:, index] = kept[:, place]
            place += 1
    return rows
