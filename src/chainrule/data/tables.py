"""Tables as tensors: float (N, D), standardised by the training split, with splits and an optional target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from chainrule.data.dataset import Dataset
from chainrule.data.sources import resolve
from chainrule.data.splits import fingerprint, hold_out
from chainrule.data.table_files import SPLITS, RawRows, RawTable, read_csv, read_table, to_numbers
from chainrule.errors import UserError

if TYPE_CHECKING:
    from chainrule.run.run import Run

Task = Literal["density", "classification", "regression"]
MIN_A_CLASS = 4  # rows of a class that can be split into train, val and test


@dataclass(frozen=True)
class TableSplit:
    """Rows x (N, D), and y (N,): classes as int64, values of a regression as x has them, or None."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


def load_table(
    run: Run, *, task: Task, dtype: torch.dtype = torch.float32, standardize: bool = True, drop_constant: bool = True,
    val_fraction: float = 0.1, test_fraction: float = 0.2,
) -> Dataset[TableSplit]:  # fmt: skip
    """The run's table; test and validation splits are held out by the seed where none is given.

    Spec: columns, those dropped as constant (with their value), mean and std a kept column over the training split
    (0 and 1 with `standardize` off; pixels share one std), target, class names, counts, how the splits were made, fingerprint.

    For `density` a column `label` or the named target is left out of x; its classes stratify the splits if each has
    four rows or more, and are else forgotten. The other tasks need a target, by default `label` or the last column.
    """
    place = run.record["data"]

    def read() -> tuple[dict[str, Any], dict[str, TableSplit]]:
        return read_table_splits(
            place["source"], target=place["target"], task=task, dtype=dtype, standardize=standardize,
            drop_constant=drop_constant, val_fraction=val_fraction, test_fraction=test_fraction, seed=run.seed,
        )  # fmt: skip

    data = Dataset(read, place.get("spec"))
    place["spec"] = data.spec
    return data


def read_table_splits(
    source: str, *, target: str | None, task: Task, dtype: torch.dtype, standardize: bool, drop_constant: bool,
    val_fraction: float, test_fraction: float, seed: int,
) -> tuple[dict[str, Any], dict[str, TableSplit]]:  # fmt: skip
    """Reads, checks, splits and standardises; what `load_table` gives a run."""
    raw = read_table(resolve(source), target, needs_target=task != "density")
    classes, targets = _targets(raw, task)
    splits = {name: (torch.from_numpy(rows.x), targets[name]) for name, rows in raw.splits.items()}
    x, y = splits["train"]
    by_class = y is not None and classes is not None
    indices, made = hold_out(
        y if y is not None and by_class else torch.zeros(len(x)), splits,
        test_fraction=test_fraction, val_fraction=val_fraction, seed=seed, by_class=by_class,
    )  # fmt: skip
    splits |= {name: (x[index], None if y is None else y[index]) for name, index in indices.items()}
    _check_counts(splits, raw.where)
    x = splits["train"][0]
    constant = (x == x[0]).all(0)
    _check_constant(constant, raw, drop_constant)
    kept_places = (~constant).nonzero()[:, 0]
    mean, std = torch.zeros(len(kept_places)).double(), torch.ones(len(kept_places)).double()
    if standardize:
        mean, std = x[:, kept_places].mean(0), x[:, kept_places].std(0, correction=0)
        if raw.picture:  # pixels share one unit, so one deviation: one that is seldom inked is not blown up by its own
            std = std.square().mean().sqrt().expand(len(std))
    spec = {
        "where": raw.where, "columns": raw.columns, "target": raw.target, "classes": classes,
        "picture": list(raw.picture) if raw.picture else None,
        "dropped": {raw.columns[i]: float(x[0, i]) for i in constant.nonzero()[:, 0].tolist()},
        "standardized": standardize, "mean": mean.tolist(), "std": std.tolist(),
        "counts": {name: len(splits[name][0]) for name in SPLITS}, "splits": made,
        "fingerprint": fingerprint(*(t for name in SPLITS for t in splits[name] if t is not None)),
    }  # fmt: skip

    def part(x: Tensor, y: Tensor | None) -> TableSplit:
        return TableSplit(
            ((x[:, kept_places] - mean) / std).to(dtype), y.to(dtype) if y is not None and y.is_floating_point() else y
        )

    return spec, {name: part(*splits[name]) for name in SPLITS}


def kept_columns(spec: dict[str, Any]) -> list[str]:
    """The columns that x has, in order."""
    return [column for column in spec["columns"] if column not in spec["dropped"]]


def standardize_rows(values: np.ndarray, spec: dict[str, Any]) -> Tensor:
    """Rows (N, D) of the kept columns, as the table has them, on the scale of x; float64."""
    return (torch.from_numpy(values) - torch.tensor(spec["mean"], dtype=torch.float64)) / torch.tensor(
        spec["std"], dtype=torch.float64
    )


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


def read_rows(inputs: list[str], spec: dict[str, Any]) -> tuple[list[str], Tensor]:
    """The user's rows on the scale of x (N, D) float64, and what to call each.

    An input is a file (.csv with the columns by name, .npz with all columns in x) or a row such as 5.1,3.5,1.4,0.2.
    """
    names: list[str] = []
    parts: list[np.ndarray] = []
    for text in inputs:
        path = Path(text)
        if path.suffix.lower() in (".csv", ".npz"):
            if not path.is_file():
                raise UserError("there is no such file", where=path, expected="a .csv or a .npz")
            rows = _named_columns(path, spec)
            names += [rows.where(index) for index in range(len(rows.x))]
            parts.append(rows.x)
        else:
            names.append(text)
            parts.append(_typed_row(text, spec))
    return names, standardize_rows(np.concatenate(parts), spec)


def read_other(source: str, target: str | None, spec: dict[str, Any]) -> Tensor:
    """Rows of other data with the same columns, on the scale of x: their own test split, else all of them; float64."""
    place = resolve(source)
    if isinstance(place, Path) and place.is_file() and place.suffix.lower() == ".csv":
        return standardize_rows(_named_columns(place, spec).x, spec)
    raw = read_table(place, target or spec["target"] if isinstance(place, Path) else None, needs_target=False)
    return standardize_rows(_select(raw, raw.splits.get("test", raw.splits["train"]), spec).x, spec)


def _named_columns(file: Path, spec: dict[str, Any]) -> RawRows:
    """The kept columns of a user's file, found by name; other columns are not read."""
    if file.suffix.lower() == ".npz":
        raw = read_table(file, None, needs_target=False)
        return _select(raw, raw.splits["train"], spec)
    header, rows, lines = read_csv(file)
    _expect_columns(header, spec, str(file))
    places = [header.index(column) for column in kept_columns(spec)]
    return RawRows(to_numbers(rows, header, places, file, lines), None, str(file), lines)


def _select(raw: RawTable, rows: RawRows, spec: dict[str, Any]) -> RawRows:
    _expect_columns(raw.columns, spec, raw.where)
    places = [raw.columns.index(column) for column in kept_columns(spec)]
    return RawRows(rows.x[:, places], None, rows.origin, rows.lines)


def _expect_columns(header: list[str], spec: dict[str, Any], where: str) -> None:
    missing = [column for column in kept_columns(spec) if column not in header]
    if missing:
        raise UserError(
            "the table lacks columns that the run was trained on", where=where, expected=", ".join(missing[:10]),
            found=", ".join(header[:10]),
        )  # fmt: skip


def _typed_row(text: str, spec: dict[str, Any]) -> np.ndarray:
    cells = text.split(",")
    columns = spec["columns"]
    if len(cells) != len(columns):
        few = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise UserError("a row has the wrong number of values", where=text, expected=f"{len(columns)}: {few}",
                        found=len(cells))  # fmt: skip
    row = to_numbers([cells], columns, list(range(len(columns))), Path("the row given"), [1])
    return row[:, [columns.index(column) for column in kept_columns(spec)]]


def _targets(raw: RawTable, task: Task) -> tuple[list[str] | None, dict[str, Tensor | None]]:
    """Class names, and y of each split, as the task needs them."""
    nothing: dict[str, Tensor | None] = dict.fromkeys(raw.splits)
    if raw.target is None:
        return None, nothing
    if task == "regression":
        return None, {name: _values(rows, raw.target) for name, rows in raw.splits.items()}
    labels = {name: _as_text(rows.labels) for name, rows in raw.splits.items()}
    found, counts = np.unique(labels["train"], return_counts=True)
    classes = sorted(found.tolist(), key=lambda c: (not c.isdigit(), int(c) if c.isdigit() else 0, c))
    strangers = {name: ~np.isin(part, found) for name, part in labels.items()}
    if task == "density":
        if counts.min(initial=MIN_A_CLASS) < MIN_A_CLASS or any(s.any() for s in strangers.values()):
            return None, nothing
    else:
        _check_classes(raw, found, counts, labels, strangers)
    index = {name: number for number, name in enumerate(classes)}
    return classes, {name: torch.tensor([index[c] for c in part.tolist()]) for name, part in labels.items()}


def _check_classes(
    raw: RawTable, found: np.ndarray, counts: np.ndarray, labels: dict[str, np.ndarray], strangers: dict[str, np.ndarray]
) -> None:  # fmt: skip
    if len(found) < 2:
        raise UserError("there is only one class", where=f"{raw.where}, column {raw.target!r}", expected="two at least",
                        found=", ".join(found) or "none", cure="--target COLUMN")  # fmt: skip
    if len(raw.splits) == 1 and counts.min() < MIN_A_CLASS:
        raise UserError(
            "a class has too few rows to be split", where=f"{raw.where}, column {raw.target!r}",
            expected=f"{MIN_A_CLASS} or more a class", found=f"{counts.min()} of {found[counts.argmin()]}",
            cure="remove it, or name another column with --target",
        )  # fmt: skip
    for name, out in strangers.items():
        if out.any():
            row = int(out.argmax())
            raise UserError("a label is out of range", where=raw.splits[name].where(row),
                            expected=f"one of the {len(found)} in train", found=labels[name][row])  # fmt: skip


def _as_text(labels: np.ndarray | None) -> np.ndarray:
    assert labels is not None
    whole = labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())
    return (labels.astype(np.int64) if whole else labels).astype(str)


def _values(rows: RawRows, target: str) -> Tensor:
    assert rows.labels is not None
    values = np.empty(len(rows.labels))
    for row, cell in enumerate(rows.labels.tolist()):
        try:
            values[row] = float(cell)
        except ValueError:
            values[row] = np.nan
        if not np.isfinite(values[row]):
            raise UserError("a target is no number", where=f"{rows.where(row)}, column {target!r}",
                            expected="a finite number", found=cell or "an empty cell")  # fmt: skip
    return torch.from_numpy(values)


def _check_counts(splits: dict[str, tuple[Tensor, Tensor | None]], where: str) -> None:
    for name in ("train", "test"):
        if not len(splits[name][0]):
            raise UserError(
                f"there are too few rows for a {name} split", where=where, expected="5 rows or more, or a split given",
                found=f"{sum(len(x) for x, _ in splits.values())} rows",
            )  # fmt: skip


def _check_constant(constant: Tensor, raw: RawTable, drop_constant: bool) -> None:
    names = [raw.columns[i] for i in constant.nonzero()[:, 0].tolist()]
    if len(names) == len(raw.columns):
        raise UserError("every column is constant on the training split", where=raw.where, found=", ".join(names[:10]))
    if names and not drop_constant:
        raise UserError(
            f"{len(names)} column{' is' if len(names) == 1 else 's are'} constant on the training split", where=raw.where,
            found=", ".join(names[:10]) + (", ..." if len(names) > 10 else ""),
            cure="drop_constant=yes leaves them out, or remove them from the table",
        )  # fmt: skip
