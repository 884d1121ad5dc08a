"""Tables as tensors: float (N, D), encoded and standardised by the training split, with splits and an optional target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import resolve
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.splits import fingerprint, hold_out
from chainrule.data.tables.files import SPLITS, RawRows, RawTable, read_csv, read_table, to_numbers
from chainrule.data.tables.row_encoder import RowEncoder, feature_names

if TYPE_CHECKING:
    from chainrule.run.run import Run

Task = Literal["density", "classification", "regression"]
Missing = Literal["refuse", "fill"]
MIN_A_CLASS = 4  # rows of a class that can be split into train, val and test


@dataclass(frozen=True)
class TableSplit:
    """Rows x (N, D), and y (N,): classes as int64, values of a regression as x has them, or None."""

    x: Tensor
    y: Tensor | None

    def __len__(self) -> int:
        return len(self.x)


def load_table(
    run: Run,
    *,
    task: Task,
    dtype: torch.dtype = torch.float32,
    standardize: bool = True,
    drop_constant: bool = True,
    encode: bool = False,
    missing: Missing = "refuse",
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Dataset[TableSplit]:
    """The run's table; test and validation splits are held out by the seed where none is given.

    Spec: columns, features (what x has: a category each of a column of text), those dropped as constant on the training
    split (with their value), mean and std a kept feature over the training split (0 and 1 with `standardize` off;
    pixels share one std), target (with mean and std on the training split, for regression), class names, counts, how the splits were made, fingerprint.

    For `density` a column `label` or the named target is left out of x; its classes stratify the splits if each has
    four rows or more, and are else forgotten. The other tasks need a target, by default `label` or the last column.

    Args:
        run: whose data are read, and whose record keeps the spec.
        task: what the target is for.
        dtype: of x, and of the values of a regression.
        standardize: whether x has mean 0 and deviation 1 on the training split.
        drop_constant: whether constant features are left out; else they are an error.
        encode: whether a column of text is one of categories, each a feature of 0 and 1; else text is an error.
        missing: `fill` puts the training split's mean (and no category) for a missing value; `refuse` is an error.
        val_fraction, test_fraction: what is held out where no split is given.
    """
    place = run.record["data"]

    def read() -> tuple[dict[str, Any], dict[str, TableSplit]]:
        return read_table_splits(
            place["source"],
            target=place["target"],
            task=task,
            dtype=dtype,
            standardize=standardize,
            drop_constant=drop_constant,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=run.seed,
            encode=encode,
            missing=missing,
        )

    return dataset_of(place, read)


def read_table_splits(
    source: str,
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
) -> tuple[dict[str, Any], dict[str, TableSplit]]:
    """Reads, checks, splits, encodes and standardises; what `load_table` gives a run."""
    raw = read_table(resolve(source), target, needs_target=task != "density", encode=encode, fill=missing == "fill")
    classes, targets = _targets(raw, task)
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
    spec = {
        "where": raw.where,
        "columns": raw.columns,
        "categories": raw.categories,
        "features": feature_names(raw.columns, raw.categories),
        "target": raw.target,
        "classes": classes,
        "picture": list(raw.image) if raw.image else None,
        "missing": missing,
        "fill": _means(splits["train"][0], raw) if missing == "fill" else {},
        "dropped": {},
        "standardized": standardize,
        "dtype": str(dtype).removeprefix("torch."),
        "mean": [],
        "std": [],
        "counts": {name: len(splits[name][0]) for name in SPLITS},
        "splits": made,
        "fingerprint": fingerprint(*(t for name in SPLITS for t in splits[name] if t is not None)),
    }
    _fit_scale(spec, splits["train"][0], raw, drop_constant)
    y = splits["train"][1]
    if task == "regression" and y is not None:
        spec["target_scale"] = {"mean": float(y.mean()), "std": float(y.std(correction=0))}
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


def _fit_scale(spec: dict[str, Any], x: Tensor, raw: RawTable, drop_constant: bool) -> None:
    """Finds on the training rows x which features are constant, and mean and std of the others."""
    features = spec["features"]
    plain = RowEncoder({**spec, "mean": [0.0] * len(features), "std": [1.0] * len(features)})(x)
    constant = (plain == plain[0]).all(0)
    _check_constant(constant, spec, drop_constant)
    spec["dropped"] = {features[i]: float(plain[0, i]) for i in constant.nonzero()[:, 0].tolist()}
    kept = plain[:, ~constant]
    mean, std = torch.zeros(kept.shape[1]).double(), torch.ones(kept.shape[1]).double()
    if spec["standardized"]:
        mean, std = kept.mean(0), kept.std(0, correction=0)
        if raw.image:  # pixels share one unit, so one deviation: one that is seldom inked is not blown up by its own
            std = std.square().mean().sqrt().expand(len(std))
    spec |= {"mean": mean.tolist(), "std": std.tolist()}


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
    return names, RowEncoder(spec)(torch.from_numpy(np.concatenate(parts)))


def read_other(source: str, target: str | None, spec: dict[str, Any]) -> Tensor:
    """Rows of other data with the same columns, on the scale of x: their own test split, else all of them; float64."""
    place = resolve(source)
    if isinstance(place, Path) and place.is_file() and place.suffix.lower() == ".csv":
        return RowEncoder(spec)(torch.from_numpy(_named_columns(place, spec).x))
    raw = read_table(place, target or spec["target"] if isinstance(place, Path) else None, needs_target=False)
    return RowEncoder(spec)(torch.from_numpy(_select(raw, raw.splits.get("test", raw.splits["train"]), spec).x))


def read_labelled(source: str, target: str | None, spec: dict[str, Any], dtype: torch.dtype) -> TableSplit:
    """Rows and targets of other data with the same columns: their own test split, else all of them."""
    place = resolve(source)
    named = (target or spec["target"]) if isinstance(place, Path) else None
    raw = read_table(place, named, needs_target=True, encode=bool(spec["categories"]), fill=spec["missing"] == "fill")
    rows = raw.splits.get("test", raw.splits["train"])
    y: Tensor
    if spec["classes"] is None:
        y = _values(rows, raw.target or "y").to(dtype)
    else:
        labels, known = _as_text(rows.labels).tolist(), {name: i for i, name in enumerate(spec["classes"])}
        strange = next((i for i, label in enumerate(labels) if label not in known), None)
        if strange is not None:
            raise UserError(
                "a label is none of those that the run knows",
                where=rows.where(strange),
                expected=f"one of {', '.join(spec['classes'][:20])}",
                found=labels[strange],
            )
        y = torch.tensor([known[label] for label in labels])
    x = _renumbered(_select(raw, rows, spec), raw, spec)
    return TableSplit(RowEncoder(spec)(torch.from_numpy(x)).to(dtype), y)


def _renumbered(rows: RawRows, raw: RawTable, spec: dict[str, Any]) -> np.ndarray:
    """Categories by the numbers that they have in the run's own table."""
    x = rows.x.copy()
    for index, column in enumerate(spec["columns"]):
        if column not in spec["categories"]:
            continue
        names, known = raw.categories.get(column, []), spec["categories"][column]
        for row, value in enumerate(rows.x[:, index].tolist()):
            if not np.isnan(value):
                name = names[int(value)] if names else f"{value:g}"
                if name not in known:
                    raise UserError(
                        "a category is not known",
                        where=f"{rows.where(row)}, column {column!r}",
                        expected=f"one of {', '.join(known[:20])}",
                        found=name,
                    )
                x[row, index] = known.index(name)
    return x


def _named_columns(file: Path, spec: dict[str, Any]) -> RawRows:
    """All columns of a user's file, found by name; those that the run dropped may be absent, others are not read."""
    if file.suffix.lower() == ".npz":
        raw = read_table(file, None, needs_target=False, fill=spec.get("missing") == "fill")
        return _select(raw, raw.splits["train"], spec)
    header, rows, lines = read_csv(file)
    return _placed(header, rows, lines, file, spec)


def _placed(header: list[str], rows: list[list[str]], lines: list[int], file: Path, spec: dict[str, Any]) -> RawRows:
    _expect_columns(header, spec, str(file))
    x = np.zeros((len(rows), len(spec["columns"])))  # a dropped column may be absent; nothing reads it
    used = [(i, column) for i, column in enumerate(spec["columns"]) if column in _used_columns(spec)]
    places = [header.index(column) for _, column in used]
    x[:, [i for i, _ in used]] = to_numbers(
        rows, header, places, file, lines, categories=spec.get("categories"), fill=spec.get("missing") == "fill"
    )
    return RawRows(x, None, str(file), lines)


def _used_columns(spec: dict[str, Any]) -> set[str]:
    """The columns that some kept feature reads."""
    kept, categories = set(kept_features(spec)), spec.get("categories", {})
    return {c for c in spec["columns"] if any(f in kept for f in feature_names([c], categories))}


def _select(raw: RawTable, rows: RawRows, spec: dict[str, Any]) -> RawRows:
    _expect_columns(raw.columns, spec, raw.where)
    x = np.zeros((len(rows.x), len(spec["columns"])))
    for index, column in enumerate(spec["columns"]):
        if column in raw.columns:
            x[:, index] = rows.x[:, raw.columns.index(column)]
    return RawRows(x, None, rows.origin, rows.lines)


def _expect_columns(header: list[str], spec: dict[str, Any], where: str) -> None:
    used = _used_columns(spec)
    missing = [column for column in spec["columns"] if column in used and column not in header]
    if missing:
        raise UserError(
            "the table lacks columns that the run was trained on",
            where=where,
            expected=", ".join(missing[:10]),
            found=", ".join(header[:10]),
        )


def _typed_row(text: str, spec: dict[str, Any]) -> np.ndarray:
    cells = text.split(",")
    columns = spec["columns"]
    if len(cells) != len(columns):
        few = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise UserError(
            "a row has the wrong number of values", where=text, expected=f"{len(columns)}: {few}", found=len(cells)
        )
    return _placed(columns, [cells], [1], Path("the row given"), spec).x


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
            raise UserError(
                "a target is no number",
                where=f"{rows.where(row)}, column {target!r}",
                expected="a finite number",
                found=cell or "an empty cell",
            )
    return torch.from_numpy(values)


def _check_counts(splits: dict[str, tuple[Tensor, Tensor | None]], where: str) -> None:
    for name in ("train", "test"):
        if not len(splits[name][0]):
            raise UserError(
                f"there are too few rows for a {name} split",
                where=where,
                expected="5 rows or more, or a split given",
                found=f"{sum(len(x) for x, _ in splits.values())} rows",
            )


def _check_constant(constant: Tensor, spec: dict[str, Any], drop_constant: bool) -> None:
    names = [spec["features"][i] for i in constant.nonzero()[:, 0].tolist()]
    if len(names) == len(spec["features"]):
        raise UserError(
            "every column is constant on the training split", where=spec["where"], found=", ".join(names[:10])
        )
    if names and not drop_constant:
        raise UserError(
            f"{len(names)} column{' is' if len(names) == 1 else 's are'} constant on the training split",
            where=spec["where"],
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
