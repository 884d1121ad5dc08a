"""Readers of tables: CSV, folders of CSV, npz, image sets as rows of pixels, and known tables. Each gives plain arrays."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.catalog.sources import SOURCES, Source
from chainrule.data.images.files import RawImageSet, read_images
from chainrule.data.tables import plane

SPLITS = ("train", "val", "test")
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})  # what stands for no value, in any case
MOST_CATEGORIES = 100  # of a column; more distinct texts are names or sentences, not categories


@dataclass
class RawRows:
    """One split as it was found: numbers x float64 (N, D), labels (N,) as text or numbers, where each row stands.

    Of a column of categories x holds the number of the category; a missing value is nan.
    """

    x: np.ndarray
    labels: np.ndarray | None
    origin: str
    lines: Sequence[int] | None = None  # the line of each row in its file, for CSV

    def where(self, row: int) -> str:
        return f"{self.origin}, line {self.lines[row]}" if self.lines is not None else f"{self.origin}, row {row}"


@dataclass
class RawTable:
    """Splits as the publisher or the user made them (`train` always), and the names of the columns."""

    splits: dict[str, RawRows]
    columns: list[str]
    where: str
    target: str | None = None
    image: tuple[int, int] | None = None  # height and width where the columns are pixels
    categories: dict[str, list[str]] = field(default_factory=dict)  # of the columns that hold text


def read_table(
    source: Source | Path, target: str | None, *, needs_target: bool, encode: bool = False, fill: bool = False
) -> RawTable:
    """Recognises what `source` is and reads it.

    The target is the column named, else `label`, else the last one if the task needs a target, else none. With
    `encode` a column of text is one of categories, else it is an error; with `fill` a value may be missing.
    """
    if isinstance(source, Source):
        return _shipped(source, target)
    if source.is_dir():
        files = {name: source / f"{name}.csv" for name in SPLITS if (source / f"{name}.csv").is_file()}
        if "train" in files:
            return _csv_table(files, source, target, needs_target, encode, fill)
        if any(
            (source / name).exists()
            for name in ("train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", "cifar-10-batches-bin")
        ):
            return _pixel_table(read_images(source, target))
    elif source.suffix.lower() in (".csv", ".data"):
        return _csv_table({"train": source}, source, target, needs_target, encode, fill)
    elif source.suffix.lower() == ".npz":
        return _npz_table(source, needs_target, fill)
    raise UserError(
        "this is no table",
        where=source,
        expected="a .csv with a line of column names, a folder with train.csv, a .npz with x (N, D), or a table of chainrule data list",
    )


def read_csv(file: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Column names, the cells of each row as text, and the line that each row ends on.

    Fields are separated by whichever of comma, semicolon and tab the first line has most of; empty lines are skipped.
    A published file without a line of names, recognised by its own name, has those of `known_tables`.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=max(",;\t", key=first.count), strict=True)
            rows, lines = [], []
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError("the table cannot be read", where=file, found=error) from None
    known = next((s.columns for s in SOURCES.values() if s.columns and file.name in s.files), None)
    if known is not None and rows and len(rows[0]) == len(known) and list(rows[0]) != list(known):
        rows, lines = [list(known), *rows], [0, *lines]
    if len(rows) < 2:
        raise UserError(
            "the table is empty",
            where=file,
            expected="a line of column names, then a line a sample",
            found=f"{len(rows)} line{'' if len(rows) == 1 else 's'}",
        )
    header = [name.strip() for name in rows[0]]
    if all(_is_number(name) for name in header):
        raise UserError(
            "the first line holds numbers where column names belong",
            where=f"{file}, line {lines[0]}",
            found=", ".join(header[:5]),
            cure="put a line of column names above",
        )
    for name in header:
        if header.count(name) > 1:
            raise UserError("two columns have one name", where=f"{file}, line {lines[0]}", found=repr(name))
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(header):
            raise UserError(
                "a line has another number of columns than the header",
                where=f"{file}, line {line}",
                expected=len(header),
                found=len(row),
            )
    return header, rows[1:], lines[1:]


def to_numbers(
    rows: list[list[str]],
    columns: list[str],
    places: list[int],
    file: Path,
    lines: list[int],
    *,
    categories: Mapping[str, list[str]] | None = None,
    fill: bool = False,
) -> np.ndarray:
    """The cells of the columns at `places` as float64 (N, len(places)); UserError names the first that is no number.

    A cell of a column in `categories` becomes the number of its category. With `fill` a missing value is nan.
    """
    chosen = [[row[place] for place in places] for row in rows]
    known = {column: {c: i for i, c in enumerate(values)} for column, values in (categories or {}).items()}
    try:
        values = np.array(chosen, dtype=np.float64).reshape(len(rows), len(places))
    except ValueError:
        values = np.empty((len(rows), len(places)))
        for index, place in enumerate(places):
            numbers = known.get(columns[place])
            cells = [row[index].strip() for row in chosen]
            values[:, index] = [
                numbers.get(c, np.nan) if numbers else float(c) if _is_number(c) else np.nan for c in cells
            ]
    bad = ~np.isfinite(values)
    for row, index in np.argwhere(bad).tolist():
        cell, column = chosen[row][index].strip(), columns[places[index]]
        if fill and cell.lower() in MISSING:
            continue
        _raise_bad_cell(cell, column, known.get(column), f"{file}, line {lines[row]}, column {column!r}")
    return values


def _raise_bad_cell(cell: str, column: str, numbers: Mapping[str, int] | None, where: str) -> None:
    if cell.lower() in MISSING:
        raise UserError(
            "a value is missing or infinite",
            where=where,
            expected="a finite number" if numbers is None else "a category",
            found=cell or "an empty cell",
            cure="fill it in, remove the line, or missing=fill where the recipe has it",
        )
    if numbers is not None:
        raise UserError(
            "a category is not known", where=where, expected=f"one of {', '.join(list(numbers)[:20])}", found=cell
        )
    text = not _is_number(cell)
    raise UserError(
        "a cell is no number" if text else "a value is missing or infinite",
        where=where,
        expected="a finite number",
        found=cell,
        cure="write categories as numbers, or remove the column" if text else "fill it in, or remove the line",
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _categories(
    tables: Mapping[Path, tuple[list[str], list[list[str]]]], columns: Sequence[str], fill: bool
) -> dict[str, list[str]]:
    """The columns that hold text, with their distinct values over all files, sorted."""
    found = {}
    for column in columns:
        cells = {row[header.index(column)].strip() for header, rows in tables.values() for row in rows}
        given = {cell for cell in cells if not (fill and cell.lower() in MISSING)}
        if all(_is_number(cell) or cell.lower() in MISSING for cell in given):
            continue
        if len(given) > MOST_CATEGORIES:
            raise UserError(
                f"the column {column!r} holds {len(given)} distinct texts, too many for categories",
                where=next(iter(tables)),
                expected=f"numbers, or {MOST_CATEGORIES} categories at most",
                found=", ".join(sorted(given)[:3]) + ", ...",
                cure="remove the column",
            )
        found[column] = sorted(given)
    return found


def _csv_table(
    files: dict[str, Path], where: Path, target: str | None, needs_target: bool, encode: bool, fill: bool
) -> RawTable:
    tables = {name: read_csv(file) for name, file in files.items()}
    header = tables["train"][0]
    label = _target_of(header, target, needs_target, files["train"])
    for name, (columns, _, _) in tables.items():
        if set(columns) != set(header):
            odd = sorted(set(columns) ^ set(header))
            raise UserError(
                "the tables have different columns",
                where=files[name],
                expected=f"those of {files['train']}",
                found=f"{', '.join(odd[:5])} in only one of them",
            )
    kept = [column for column in header if column != label]
    read = {files[name]: (columns, rows) for name, (columns, rows, _) in tables.items()}
    categories = _categories(read, kept, fill) if encode else {}
    splits = {}
    for name, (columns, rows, lines) in tables.items():
        places = [columns.index(column) for column in kept]
        x = to_numbers(rows, columns, places, files[name], lines, categories=categories, fill=fill)
        labels = None if label is None else np.array([row[columns.index(label)].strip() for row in rows])
        splits[name] = RawRows(x, labels, str(files[name]), lines)
    return RawTable(splits, kept, str(where), label, categories=categories)


def _target_of(header: list[str], target: str | None, needs_target: bool, file: Path) -> str | None:
    if target is not None and target not in header:
        raise UserError(
            f"the table has no column {target!r}",
            where=file,
            expected="one of " + ", ".join(header[:20]),
            cure="--target COLUMN",
        )
    label = target or ("label" if "label" in header else header[-1] if needs_target else None)
    if label is not None and len(header) == 1:
        raise UserError("the table has no column beside its target", where=file, found=label)
    return label


def _npz_table(file: Path, needs_target: bool, fill: bool) -> RawTable:
    try:
        with np.load(file, allow_pickle=False) as z:
            content = {name: z[name] for name in z.files}
    except (OSError, ValueError, EOFError) as error:
        pickled = "pickle" in str(error)
        raise UserError(
            "the npz file holds Python objects, which are a pickle" if pickled else "the npz file cannot be read",
            where=file,
            expected="numeric arrays x (N, D) and, with classes, y (N,)",
            found=None if pickled else error,
        ) from None
    names = {
        "train": ("x", "y") if "x" in content else ("x_train", "y_train"),
        "val": ("x_val", "y_val"),
        "test": ("x_test", "y_test"),
    }
    splits = {
        split: RawRows(_matrix(content[x], f"{file}: {x}", fill), _labels(content, x, y, file), f"{file}: {x}")
        for split, (x, y) in names.items()
        if x in content
    }
    labelled = bool(splits) and all(rows.labels is not None for rows in splits.values())
    if "train" not in splits or (needs_target and not labelled):
        raise UserError(
            "the npz file lacks its arrays",
            where=file,
            expected="x, and y for each x" if needs_target else "x",
            found=", ".join(content) or "nothing",
        )
    width = splits["train"].x.shape[1]
    for rows in splits.values():
        if rows.x.shape[1] != width:
            raise UserError(
                "the splits have different columns", where=rows.origin, expected=width, found=rows.x.shape[1]
            )
    return RawTable(splits, [f"x{i}" for i in range(width)], str(file), "y" if labelled else None)


def _matrix(x: np.ndarray, where: str, fill: bool) -> np.ndarray:
    if x.ndim != 2 or x.shape[1] == 0:
        raise UserError(
            "the array is no table",
            where=where,
            expected="(N, D)",
            found=x.shape,
            cure="x[:, None] for a single column" if x.ndim == 1 else "x.reshape(len(x), -1)" if x.ndim > 2 else None,
        )
    if x.dtype.kind not in "fiub":
        raise UserError("the array holds no numbers", where=where, expected="float, integer or bool", found=x.dtype)
    values = x.astype(np.float64)
    bad = np.isinf(values) if fill else ~np.isfinite(values)
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            "a value is missing or infinite",
            where=f"{where}[{row}, {column}]",
            expected="a finite number",
            found=values[row, column],
            cure="fill it in, or remove the row",
        )
    return values


def _labels(content: dict[str, np.ndarray], x: str, y: str, file: Path) -> np.ndarray | None:
    if y not in content:
        return None
    labels = content[y]
    if labels.ndim != 1 or len(labels) != len(content[x]):
        raise UserError(
            "the target does not fit the rows",
            where=f"{file}: {y}",
            expected=f"({len(content[x])},)",
            found=labels.shape,
            cure=f"{y} = {y}[:, 0]" if labels.ndim == 2 and labels.shape[1] == 1 else None,
        )
    return labels


def _shipped(source: Source, target: str | None) -> RawTable:
    if source.name in plane.PROBLEMS:
        x, y = plane.make(source.name)
        if target not in (None, "label"):
            raise UserError(f"the table has no target {target!r}", where=source.name, expected="label")
        return RawTable({"train": RawRows(x, y.astype(str), source.name)}, ["x1", "x2"], source.name, "label")
    from sklearn import datasets

    loaders = {
        "digits": datasets.load_digits,
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "breast-cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
    }
    if source.name not in loaders:
        raise UserError(f"{source.name} is a set of {source.kind}, not a table", cure="--data iris, or a .csv")
    data = loaders[source.name]()
    columns = [str(name) for name in data.feature_names]
    if source.name == "diabetes":  # the one with a number to predict
        labels, label = np.array([repr(float(v)) for v in data.target]), "progression"
    else:
        labels, label = np.array([str(data.target_names[i]) for i in data.target]), "label"
    if target not in (None, label):
        raise UserError(f"the table has no target {target!r}", where=source.name, expected=label)
    image = (8, 8) if source.name == "digits" else None
    return RawTable({"train": RawRows(data.data, labels, source.name)}, columns, source.name, label, image)


def _pixel_table(images: RawImageSet) -> RawTable:
    """Images of one size as rows of their pixels, 0 to 255."""
    splits = {}
    for name, part in images.splits.items():
        assert part.arrays is not None  # published sets are arrays
        labels = np.array(images.classes)[part.labels]
        splits[name] = RawRows(part.arrays.reshape(len(part.arrays), -1).astype(np.float64), labels, part.origin)
    height, width, channels = images.splits["train"].arrays.shape[1:]  # type: ignore[union-attr]
    columns = [f"pixel{i}" for i in range(height * width * channels)]
    return RawTable(splits, columns, images.where, "label", (height, width) if channels == 1 else None)
