"""What `predict` and `explain` are asked about from Python: values, in the place of the names that a command line has.

A text or a path means what it means there. Arrays, tensors, frames, images and dictionaries are values; which inputs they
are, the kind of the run's data knows (`chainrule.core.data.kind.Kind.given`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.discovery import all_kinds
from chainrule.core.errors import UserError
from chainrule.core.recipe import Recipe
from chainrule.data.given.frames import cells_of_frame, is_frame, is_series
from chainrule.data.inputs import InMemory
from chainrule.data.tables.formats.cells import Cells, cells_of_columns

_NUMBERS = (int, float, np.number, np.bool_)
FORMS = "a text, a path, an array, a tensor, a frame, an image of PIL, a dictionary of columns, or a list of them"


def named_inputs(given: Any) -> list[Any]:
    """What was given, an input each: texts and paths as text, values as they are. A text is never taken apart.

    A list of numbers, or of equally long lists of numbers, is one array.

    Raises:
        UserError: there is nothing, an empty text, a Path that is not there, or something that is none of these.

    >>> named_inputs("a/b.png"), named_inputs([Path("."), "b"]), named_inputs([[1, 2], [3, 4]])[0].shape
    (['a/b.png'], ['.', 'b'], (2, 2))
    """
    if isinstance(given, np.ndarray) and given.dtype.kind in "OUS" and given.ndim == 1:
        given = given.tolist()
    elif is_series(given) and all(isinstance(value, str) for value in given):
        given = list(given)
    each = _each(given)
    if not each:
        raise UserError("there is nothing to predict from", expected="one input or more")
    for place, one in enumerate(each):
        if not _is_one(one) and not isinstance(one, (list, tuple)):
            raise UserError(
                "an input is of no form that is known",
                where=f"input {place}" if len(each) > 1 else None,
                expected=FORMS,
                found=type(one).__name__,
            )
        if isinstance(one, str) and not one.strip():
            raise UserError("an input is empty", expected="the name of a file, a row, a text", found=repr(one))
        if isinstance(one, Path) and not one.exists() and not {"#", "*"} & set(one.name):  # a sheet, a pattern
            raise UserError("there is no such file", where=one, expected="a file or a folder")
    return [str(one) if isinstance(one, Path) else one for one in each]


def as_inputs(named: Sequence[Any], recipe: Recipe, spec: Any) -> list[str]:
    """The inputs of `named_inputs` as a task reads them; values as the kind of data that the run learnt from has them.

    Args:
        named: texts and values.
        recipe: the run's, which says what kinds of data it learns from.
        spec: what the run keeps of its data.

    Raises:
        UserError: a value is none of what this kind is asked.
    """
    found: list[str] = []
    kinds = [kind for kind in all_kinds().values() if kind.name in recipe.kinds and kind.given is not None]
    kind = next(iter(sorted(kinds, key=lambda kind: type(spec) is not kind.spec)), None)
    for place, one in enumerate(named):
        if isinstance(one, str):
            found.append(one)
            continue
        if kind is None or kind.given is None:
            raise UserError(
                "this run is asked by names and texts alone", expected="a file, a text", found=type(one).__name__
            )
        where = f"input {place}" if len(named) > 1 else "the input given"
        found += kind.given(_plain(one, where), spec, where)
    return found


def cells_given(value: Any, columns: Sequence[str], where: str) -> Cells:
    """Rows of a table: a frame, a dictionary of cells or of columns, or an array (N, D) or (D,) of the `columns` in order.

    >>> cells_given(np.array([[1, 2.5]]), ["a", "b"], "it").rows, cells_given({"b": 1, "a": "x"}, ["a", "b"], "it").header
    ([['1', '2.5']], ['b', 'a'])
    """
    if is_frame(value):
        return cells_of_frame(value, where)
    if isinstance(value, Mapping):
        columns_given = [_cells_of(cells) for cells in value.values()]
        if len({len(cells) for cells in columns_given}) > 1:
            raise UserError(
                "the columns have unequal lengths",
                where=where,
                found=", ".join(f"{name}: {len(cells)}" for name, cells in zip(value, columns_given, strict=True)),
            )
        return cells_of_columns(list(value), columns_given, where, first=0)
    rows = np.asarray(value)
    if rows.ndim < 2:
        rows = rows.reshape(-1, 1) if len(columns) == 1 else rows.reshape(1, -1)
    if rows.ndim != 2 or rows.shape[1] != len(columns):
        few = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
        raise UserError(
            "the array has another number of columns than the run's table",
            where=where,
            expected=f"(N, {len(columns)}), or a row: {few}",
            found=tuple(np.shape(value)),
        )
    return cells_of_columns(columns, [_cells_of(rows[:, place]) for place in range(rows.shape[1])], where, first=0)


def _cells_of(column: Any) -> list[Any]:
    """A cell, or a column of them, as values of Python's."""
    cells = np.asarray(column, dtype=object).reshape(-1).tolist()
    return [cell.item() if isinstance(cell, np.generic) else cell for cell in cells]


def numbers_given(value: Any, where: str, expected: str) -> np.ndarray:
    """An array of numbers as float64; UserError where it is none."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError("the input is not numeric", where=where, expected=expected, found=_name(value)) from None


def texts_given(value: Any, spec: Any, where: str) -> list[str]:
    """For `Kind.given` of texts: a frame with a column `text`. Texts themselves are inputs already."""
    if is_frame(value):
        return [InMemory(where, cells_of_frame(value, where))]
    raise UserError(
        "the input is no text", where=where, expected="a text, a list of texts, or a frame with a column text",
        found=_name(value),
    )  # fmt: skip


def _each(given: Any) -> list[Any]:
    if _is_one(given) or hasattr(given, "columns"):  # a frame of another library has its names as elements
        return [given]
    if isinstance(given, (list, tuple)) and given and _is_numeric(given):
        try:
            return [np.asarray(given)]
        except ValueError:  # of unequal lengths: each for itself
            return list(given)
    if isinstance(given, (list, tuple)) and _is_a_row(given):
        row = np.empty(len(given), dtype=object)
        row[:] = given
        return [row]
    if isinstance(given, Iterable) and not isinstance(given, (bytes, bytearray)):
        return list(given)
    return [given]


def _is_one(value: Any) -> bool:
    """Whether a value is one thing to be asked about, or rows or images that lie in one thing."""
    if isinstance(value, (str, Path, Mapping, np.ndarray, np.generic, int, float)):
        return True
    return is_frame(value) or is_series(value) or _is_tensor(value) or _is_image(value)


def _is_a_row(value: Sequence[Any]) -> bool:
    """Whether a list is the cells of one row, numbers and words; words alone are inputs each.

    >>> _is_a_row([1, "red"]), _is_a_row(["a.csv", "b.csv"]), _is_a_row([[1, "red"]])
    (True, False, False)
    """
    some = any(isinstance(cell, _NUMBERS) for cell in value)
    return some and all(cell is None or isinstance(cell, (str, *_NUMBERS)) for cell in value)


def _is_numeric(value: Any) -> bool:
    """Whether it is a number, or a list of numbers, or of such lists."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_numeric, value))
    return isinstance(value, _NUMBERS)


def _plain(value: Any, where: str) -> Any:
    """Tensors as arrays, a series of pandas as an array or, where its index has names, as a row by columns."""
    if _is_tensor(value):
        from chainrule.data.given.tensors import array_of

        return array_of(value, where)
    if is_series(value):
        index = getattr(value, "index", None)
        if index is not None and all(isinstance(name, str) for name in index):
            return dict(zip(index, value.tolist(), strict=True))
        return value.to_numpy()
    return value


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _is_image(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "PIL" and hasattr(value, "getpixel")


def _name(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" {tuple(shape)}" if shape is not None else "")
