"""Frames of pandas and polars as cells; neither library is loaded for it."""

from __future__ import annotations

from typing import Any

from chainrule.data.tables.formats.cells import Cells, cells_of_columns


def is_frame(value: Any) -> bool:
    """Whether it is a data frame, by the library that its class is of."""
    return type(value).__module__.partition(".")[0] in ("pandas", "polars") and type(value).__name__ == "DataFrame"


def is_series(value: Any) -> bool:
    """Whether it is a column of a data frame, a Series of pandas or polars."""
    return type(value).__module__.partition(".")[0] in ("pandas", "polars") and type(value).__name__ == "Series"


def cells_of_frame(frame: Any, origin: str) -> Cells:
    """The columns of a frame as cells; its index is none of them. Rows are counted from 0, as the frame does."""
    names = [str(name) for name in frame.columns]
    if type(frame).__module__.startswith("polars"):
        columns = [frame[name].to_list() for name in frame.columns]
    else:
        parts = [frame.iloc[:, place] for place in range(len(names))]
        columns = [part.astype(object).where(part.notna(), None).tolist() for part in parts]
    return cells_of_columns(names, columns, origin, first=0)
