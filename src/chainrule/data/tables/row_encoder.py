"""From a row as the table has it to a row as a model sees it: missing values, categories, scale. As torch code."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.data.tables.spec import TableSpec, feature_names


class RowEncoder(nn.Module):
    """Rows (N, columns) float64, categories by number and nan where a value is missing, to features (N, D) float64.

    feature = (value - mean) / std, where value is the number (the training mean where it is missing), or 1 or 0 for
    whether the category is this one (0 for each where it is missing, or was never seen in training). Everything that it
    knows comes from the training split, by way of the spec that `load_table` wrote.

    >>> spec = TableSpec(columns=["age", "sex"], categories={"sex": ["f", "m"]}, fill={"age": 30.0}, where="people.csv",
    ...                  mean=[0.0, 0.0, 0.0], std=[10.0, 1.0, 1.0], target=None, classes=None,
    ...                  counts={}, splits={}, fingerprint="")
    >>> nan = float("nan")
    >>> RowEncoder(spec)(torch.tensor([[20.0, 1.0], [nan, nan]])).tolist()
    [[2.0, 0.0, 1.0], [3.0, 0.0, 0.0]]
    """

    column: Tensor
    category: Tensor
    fill: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, spec: TableSpec) -> None:
        super().__init__()
        categories, fill = spec.categories, spec.fill
        places: list[tuple[int, int]] = []  # column, and the number of the category or -1
        for index, column in enumerate(spec.columns):
            values = categories.get(column)
            numbers = [-1] if values is None else range(len(values))
            names = feature_names([column], categories)
            places += [(index, n) for n, name in zip(numbers, names, strict=True) if name not in spec.dropped]
        self.register_buffer("column", torch.tensor([place[0] for place in places]))
        self.register_buffer("category", torch.tensor([float(place[1]) for place in places], dtype=torch.float64))
        self.register_buffer("fill", torch.tensor([fill.get(c, -1.0) for c in spec.columns], dtype=torch.float64))
        self.register_buffer("mean", torch.tensor(spec.mean, dtype=torch.float64))
        self.register_buffer("std", torch.tensor(spec.std, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        rows = rows.double()
        values = torch.where(rows.isnan(), self.fill, rows).index_select(1, self.column)
        values = torch.where(self.category >= 0, (values == self.category).double(), values)
        return (values - self.mean) / self.std


class RawRowModel(nn.Module):
    """A model over features as one over rows as the table has them: what is deployed."""

    def __init__(self, model: nn.Module, spec: TableSpec, dtype: torch.dtype) -> None:
        super().__init__()
        self.encode, self.model, self.dtype = RowEncoder(spec), model, dtype

    def forward(self, rows: Tensor) -> Any:
        return self.model(self.encode(rows).to(self.dtype))

    def random_rows(self, count: int) -> tuple[Tensor]:
        """Rows (count, columns) float64 about where the training rows are, each category equally often.

        An exported file takes float64 too: times and places on a map are large beside their differences, which float32
        has no digits for. What follows the encoding is in the model's own precision.
        """
        rows = torch.zeros(count, len(self.encode.fill), dtype=torch.float64)
        spread = self.encode.mean + self.encode.std * torch.randn(count, len(self.encode.mean), dtype=torch.float64)
        for place, (column, category) in enumerate(
            zip(self.encode.column.tolist(), self.encode.category.tolist(), strict=True)
        ):
            if category < 0:
                rows[:, column] = spread[:, place]
            else:
                rows[:, column] = torch.where(torch.rand(count) < 0.5, category, rows[:, column])
        return (rows,)


TOPICS = (Topic("Tables: categories, missing values, regression", code=("RowEncoder",)),)
