"""Tables of Apache Arrow as cells: Parquet, and the folders that Hugging Face's `datasets` writes or publishes.

pyarrow reads them alone: `save_to_disk` writes streams of Arrow, a published set is Parquet, and both carry in their
schema what the columns are. So the library `datasets` is not needed, and nothing of it is unpickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError, missing_extra
from chainrule.core.memory import expect_memory
from chainrule.data.images.packed import ImageFile, PackedImage
from chainrule.data.split_names import by_split
from chainrule.data.tables.formats.cells import Cells, cells_of_columns, open_bytes, unreadable

DAMAGED = "the file is damaged or cut short: copy or write it again"
POINTER = 8  # bytes that a cell takes at least
_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})(.*)")


def read_parquet(place: Path) -> Cells:
    """All columns of a Parquet file, or of several that a pattern names; rows are counted from 1."""

    def read(pyarrow: Any, file: Path) -> Any:
        opened = pyarrow.parquet.ParquetFile(open_bytes(file))
        form = opened.metadata
        groups = [form.row_group(number) for number in range(form.num_row_groups)]
        need = max(sum(group.total_byte_size for group in groups), POINTER * form.num_rows * form.num_columns)
        expect_memory(need, "the table unpacked", where=file, cure="less of it, or more memory")
        return opened.read()

    return _read(place, read)


def read_arrow(place: Path) -> Cells:
    """The same of streams of Arrow, as `save_to_disk` writes them."""
    return _read(place, lambda pyarrow, file: pyarrow.ipc.open_stream(pyarrow.memory_map(str(file))).read_all())


def hub_splits(folder: Path) -> dict[str, Path]:
    """The tables in a folder of Hugging Face's `datasets`, a pattern of files each; none where it is no such folder.

    That is one of `save_to_disk`, with a folder a split; or one of Parquet files `SPLIT-00000-of-00001.parquet`, in it
    or in the one folder that it has. Splits go by any of their usual names.
    """
    if (folder / "dataset_dict.json").is_file():
        parts = [(child.name, child) for child in folder.iterdir() if child.is_dir()]
        found = {split: part / "*.arrow" for split, part in by_split(parts, folder).items()}
        return found if "train" in found else {}
    if (folder / "state.json").is_file() and any(folder.glob("*.arrow")):
        return {"train": folder / "*.arrow"}
    places = [folder, *(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))]
    holding = [place for place in places[:1] + (places[1:] if len(places) == 2 else []) if _parts_in(place)]
    if not holding:
        return {}
    names = [(name, holding[0] / f"{name}-*-of-*.parquet") for name in sorted(_parts_in(holding[0]))]
    found = by_split(names, folder)
    return found if "train" in found else {}


def _parts_in(place: Path) -> set[str]:
    """What stands before the numbers of parts: the names of splits."""
    return {match[1] for file in place.glob("*-of-*.parquet") if (match := _PART.fullmatch(file.name))}


def _read(place: Path, read: Any) -> Cells:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "tables") from None
    files = [place] if place.exists() else sorted(place.parent.glob(place.name))
    _expect_all_parts(files)
    tables = []
    for file in files:
        try:
            tables.append(read(pyarrow, file))
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise error if isinstance(error, UserError) else unreadable(file, error, DAMAGED) from None
    if not tables:
        raise unreadable(place, "no such file")
    try:
        whole = pyarrow.concat_tables(tables)
    except pyarrow.ArrowException as error:
        raise unreadable(place, error, "the parts of one table have the same columns") from None
    return _cells(whole, place)


def _expect_all_parts(files: Sequence[Path]) -> None:
    """UserError where a part is missing of those that the names of the others count."""
    parts = [match for file in files if (match := _PART.fullmatch(file.name))]
    if parts and len(parts) != int(parts[0][3]):
        there = {int(match[2]) for match in parts}
        lacking = [n for n in range(int(parts[0][3])) if n not in there]
        raise UserError(
            "a part of the table is missing",
            where=files[0].parent,
            expected=f"{int(parts[0][3])} parts, {parts[0][1]}-00000-of-{parts[0][3]} and so on",
            found=f"{len(parts)}; without number {', '.join(f'{n:05d}' for n in lacking[:5])}",
            cure="copy what is missing",
        )


def _cells(table: Any, place: Path) -> Cells:
    """Columns as cells: numbers of classes by their names, images as what they are called, and beside as files."""
    features = _features(table.schema)
    images: dict[str, list[ImageFile]] = {}
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        feature = features.get(name)
        feature = feature if isinstance(feature, dict) else {}
        values = _values(column, name, place)
        if feature.get("_type") == "Image" or _holds_images(column.type):
            images[name] = [_image(value, row, name, place) for row, value in enumerate(values, 1)]
            values = [f"row {row}" for row in range(1, len(values) + 1)]
        elif feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
            values = [_class_name(value, feature["names"]) for value in values]
        columns.append(values)
    return replace(cells_of_columns(table.column_names, columns, str(place), place.parent), images=images)


def _values(column: Any, name: str, place: Path) -> list[Any]:
    """A column as values of Python's; UserError where one has none: a date beyond its calendar, bytes that are no text."""
    try:
        return column.to_pylist()
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            "a column has values that cannot be read",
            where=f"{place}, column {name!r}",
            found=f"{column.type}: {error}",
            cure="correct them, or leave the column out of the file",
        ) from None


def _features(schema: Any) -> dict[str, Any]:
    """What `datasets` notes of the columns in a schema; nothing where it has noted none."""
    try:
        found = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _holds_images(kind: Any) -> bool:
    """Whether a column is bytes, or has bytes beside a path, as images are kept."""
    return str(kind) in ("binary", "large_binary") or str(kind).startswith("struct<bytes: ")


def _image(value: Any, row: int, column: str, place: Path) -> ImageFile:
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if content is None and path:
        return place.parent / path
    if not content:
        raise UserError(
            "an image is missing", where=f"{place}, row {row}, column {column!r}", expected="bytes, or a path"
        )
    return PackedImage(place, f"row {row}, column {column!r}", content=content)


def _class_name(value: Any, names: Sequence[Any]) -> Any:
    """The name of a class by its number; none for -1, which says that the label is not told."""
    if isinstance(value, int) and 0 <= value < len(names):
        return str(names[value])
    return None if value == -1 else value
