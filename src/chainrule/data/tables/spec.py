"""What a run's spec says of its table: which columns x has, and how its rows become the table's again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def kept_features(spec: dict[str, Any]) -> list[str]:
    """What x has, in order."""
    return [feature for feature in spec.get("features", spec["columns"]) if feature not in spec["dropped"]]


def kept_columns(spec: dict[str, Any]) -> list[str]:
    """The columns of a table without categories that x has, in order."""
    return [column for column in spec["columns"] if column not in spec["dropped"]]


def original_rows(x: Tensor, spec: dict[str, Any]) -> Tensor:
    """Rows on the scale of x as rows (N, all columns) of the table, the dropped constants put back; float64."""
    kept = x.double().cpu() * torch.tensor(spec["std"], dtype=torch.float64) + torch.tensor(
        spec["mean"], dtype=torch.float64
    )
    rows = torch.empty(len(x), len(spec["columns"]), dtype=torch.float64)
    place = 0
    for index, column in enumerate(spec["columns"]):
        if column in spec["dropped"]:
            rows[:, index] = spec["dropped"][column]
        else:
            rows[:, index] = kept[:, place]
            place += 1
    return rows
