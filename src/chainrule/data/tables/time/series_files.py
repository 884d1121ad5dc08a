"""Series as they stand in a table: rows by their dates, one series or several, and what is to be said of their dates."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.catalog.record import Source
from chainrule.data.labels import read_labels
from chainrule.data.layout import SPLITS, Layout, Place, joined, layout_of
from chainrule.data.tables.formats.cells import Cells, is_number, no_names
from chainrule.data.tables.formats.csv_files import column_of
from chainrule.data.tables.formats.table_files import is_table_file
from chainrule.data.tables.mackey_glass import mackey_glass
from chainrule.data.tables.schema.column import Column
from chainrule.data.tables.schema.deciding import Wishes, decide_numbers
from chainrule.data.tables.schema.number_format import NumberFormat
from chainrule.data.tables.time.dates import Dates, read_dates

NO_OPTIONS: Mapping[str, Any] = {}
_SHOWN = 3  # gaps that a line names
_MOST_SERIES = 1000


@dataclass(frozen=True)
class Columns:
    """Which columns of a table a series is read from.

    Attributes:
        target: that of the values; None: the last that is neither dates nor the series' names.
        dates: those of dates: a name; empty for none, so that the rows stay as they are; None: whichever there is.
        series: that of the series' names; None for one series.
        number: how the values are written; None: decided over all of them.
    """

    target: str | None = None
    dates: str | None = None
    series: str | None = None
    number: NumberFormat | None = None


@dataclass(frozen=True)
class Series:
    """One series in the order of time.

    Attributes:
        name: what the column of series says; empty where there is one series alone.
        values: (T,) float64.
        times: its dates, int64 (T,), where there are any.
        begins: where the given val and test splits begin among its values, of those that were given.
    """

    name: str
    values: Tensor
    times: np.ndarray | None = None
    begins: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What was read: the series and from which columns; what is to be said of the order of rows, and of gaps in time."""

    columns: Columns
    where: str
    series: list[Series]
    order: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    dates: Dates | None = None

    @property
    def target(self) -> str:
        return self.columns.target or "x"

    @property
    def notes(self) -> list[str]:
        return [*self.order, *self.gaps]


def read_series(source: Place, columns: Columns) -> Found:
    """The series at a place: what lies in val and test follows what lies in train in time.

    Raises:
        UserError: it is no series; a date comes twice in one; the sources name their columns differently, or one begins
            before the one before it ends.
    """
    layout = layout_of(source)
    if not layout.sources:
        return _read_one(layout, columns)
    if "val" in layout.sources and "test" not in layout.sources:
        raise UserError("a series with a val source needs a test source too, which follows in time", where=layout)

    def read(part: Layout) -> dict[str, Found]:
        return {"train": _read_one(part, columns)}

    parts = joined(layout, read)
    given = [parts[split] for split in SPLITS if split in parts]
    if len({found.columns.target for found in given}) > 1:
        raise UserError(
            "the sources name their columns differently",
            where=layout,
            found=", ".join(f"{found.target!r} in {found.where}" for found in given),
            cure="--target COLUMN, one that each has",
        )
    order, gaps = (
        [f"{found.where}: {note}" for found in given for note in getattr(found, of)] for of in ("order", "gaps")
    )
    return Found(parts["train"].columns, str(layout), _follow_each_other(parts), order, gaps, parts["train"].dates)


def _follow_each_other(parts: dict[str, Found]) -> list[Series]:
    """The series of several sources, each with what follows in the next."""
    names = list(dict.fromkeys(s.name for found in parts.values() for s in found.series))
    joint = []
    for name in names:
        own = {split: s for split in SPLITS if split in parts for s in parts[split].series if s.name == name}
        begins, count, last = {}, 0, None
        for split in (split for split in SPLITS if split in parts):
            begins[split] = count
            if split not in own:
                continue
            times = own[split].times
            if last is not None and times is not None and times[0] <= last:
                raise UserError(
                    "a source begins before the one before it ends",
                    where=parts[split].where,
                    expected="train, then val, then test, in time",
                    found=f"its dates overlap{f' in the series {name!r}' if name else ''}",
                )
            last, count = (times[-1] if times is not None else None), count + len(own[split].values)
        begins.pop("train", None)
        values = torch.cat([series.values for series in own.values()])
        known = [series.times for series in own.values() if series.times is not None]
        joint.append(Series(name, values, np.concatenate(known) if len(known) == len(own) else None, begins))
    return joint


def _read_one(layout: Layout, columns: Columns) -> Found:
    place = layout.place
    if isinstance(place, Source) and layout.form != "csv":
        if place.name != "mackey-glass":
            raise UserError(
                f"{layout} is a set of {place.kind}, not a series",
                expected="a .csv with a column of numbers",
                cure="--data mackey-glass",
            )
        return Found(Columns("x", ""), str(layout), [Series("", torch.from_numpy(mackey_glass()))])
    if layout.form != "csv" or (isinstance(place, Path) and not is_table_file(place)):
        raise UserError(
            "this is no series", where=place, expected="a .csv with a line of column names and a column of numbers"
        )
    options, cells = layout.options, layout.tables["train"]
    for named in filter(None, (options.get("dates"), options.get("series"))):
        column_of(named, cells.header, layout)
    dates = columns.dates if columns.dates is not None else options.get("dates")
    asked = Columns(columns.target, dates, columns.series or options.get("series"), columns.number)
    return series_of_cells(cells, asked, str(layout), Wishes.of(options))


def series_of_cells(cells: Cells, columns: Columns, where: str, wishes: Wishes | None = None) -> Found:
    """The series in a table, each sorted by its dates; columns of dates and of names that it has not are none."""
    if (
        cells.delimiter
        and any(map(is_number, cells.header))
        and all(is_number(n) or is_dated("", [n]) for n in cells.header)
    ):
        raise no_names(cells.header, where)
    named = columns.series if columns.series in cells.header else None
    column, dates = find_dates(cells, columns)
    target = columns.target
    if target is None:
        rest = [name for name in cells.header if name not in (column, named)]
        target = rest[-1] if rest else cells.header[-1]
    at = column_of(target, cells.header, where)
    if target in (column, named):
        raise UserError(
            f"the column {target!r} holds the {'dates' if target == column else 'names of the series'}, not the values",
            where=where,
            expected="--target COLUMN, a column of numbers",
            found=", ".join(cells.header[:20]),
        )
    if not is_number(cells.rows[0][at]) and is_dated(target, [row[at] for row in cells.rows]):
        raise UserError(
            f"the column {target!r} holds dates, not the values of a series",
            where=where,
            expected="--target COLUMN, a column of numbers",
            found=", ".join(cells.header[:20]),
        )
    wishes = wishes or Wishes()
    if columns.number is None:
        read = decide_numbers(cells, at, wishes)
    else:
        read = wishes.changed(Column(target, number=columns.number))
    values = read.encode(cells, at, fill=False)[:, 0]
    rows = _rows_by_series(cells, named)
    order: list[str] = []
    series = []
    for name, own in rows.items():
        times = None
        if dates is not None:
            own, said = _in_order(own, dates, column)
            order += [note for note in said if note not in order]
            times = dates.values[own]
            _expect_one_value_a_date(own, dates, cells, Columns(target, column, named), name)
        series.append(Series(name, torch.from_numpy(values[own].copy()), times))
    gaps = [] if dates is None else gaps_in_words(series, dates, column)
    return Found(Columns(target, column, named, read.number), where, series, order, gaps, dates)


def find_dates(cells: Cells, columns: Columns) -> tuple[str, Dates | None]:
    """The column of dates and what they are; an empty name where there is none."""
    if columns.dates is not None and columns.dates not in cells.header:
        return "", None
    if columns.dates is not None:
        at = column_of(columns.dates, cells.header, cells.origin)
        found = read_dates([row[at] for row in cells.rows], columns.dates, cells.where)
        if found is None:
            raise UserError(
                f"the column {columns.dates!r} holds no dates",
                where=cells.origin,
                expected="dates in one form, such as 2020-01-31",
                found=", ".join(row[at] for row in cells.rows[:3]),
            )
        return columns.dates, found
    for at, name in enumerate(cells.header):
        if name not in (columns.target, columns.series) and len(cells.header) > 1:
            found = read_dates([row[at] for row in cells.rows], name, cells.where)
            if found is not None:
                return name, found
    return "", None


def _rows_by_series(cells: Cells, column: str | None) -> dict[str, np.ndarray]:
    """The rows of each series, in the order of their first appearance."""
    if column is None:
        return {"": np.arange(len(cells.rows))}
    at = cells.header.index(column)
    names = read_labels((row[at] for row in cells.rows), cells.where, column)
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    if len(rows) > _MOST_SERIES:
        raise UserError(
            f"the column {column!r} names {len(rows):,} series",
            where=cells.origin,
            expected=f"{_MOST_SERIES:,} at most",
            found=", ".join(list(rows)[:3]) + ", ...",
        )
    return {name: np.array(own) for name, own in rows.items()}


def _in_order(rows: np.ndarray, dates: Dates, column: str) -> tuple[np.ndarray, list[str]]:
    """The rows of a series by their dates, and what is to be said of the order that they were in."""
    times = dates.values[rows]
    if (np.diff(times) >= 0).all():
        return rows, []
    if (np.diff(times) <= 0).all():
        return rows[::-1], [
            f"the dates (column {column!r}) fall, the newest is first: turned round, so that time runs forwards"
        ]
    return rows[np.argsort(times, kind="stable")], [
        f"the rows are not in the order of their dates (column {column!r}): sorted by them"
    ]


def _expect_one_value_a_date(rows: np.ndarray, dates: Dates, cells: Cells, columns: Columns, name: str) -> None:
    """UserError where a series has two values of one date."""
    again = np.flatnonzero(np.diff(dates.values[rows]) == 0)
    if not len(again):
        return
    first, second = sorted((int(rows[again[0]]), int(rows[again[0] + 1])))
    apart = None if columns.series or not columns.target else _column_that_tells_apart(cells, dates, columns.target)
    raise UserError(
        "a date comes twice in the series" + (f" {name!r}" if name else ""),
        where=f"{cells.where(second)}, column {columns.dates!r}",
        expected="one value a date, or a column that names the series of each row",
        found=f"{dates.text(second)}, as in {cells.unit} {cells.lines[first]}"
        + (f"; {len(again):,} dates in all come again" if len(again) > 1 else ""),
        cure=f"series={apart}"
        if apart
        else "remove or average the rows of one date, or name the series by series=COLUMN",
    )


def _column_that_tells_apart(cells: Cells, dates: Dates, target: str) -> str | None:
    """A column with which no date comes twice, of words or else of whole numbers, each several times."""
    found: dict[bool, str] = {}
    for name, texts in zip(cells.header, cells.columns, strict=True):
        words = [text.strip() for text in texts]
        numeric = all(map(is_number, words))
        if name == target or 2 * len(set(words)) > len(words) or (numeric and not all(map(str.isdecimal, words))):
            continue
        if len(set(zip(words, dates.values.tolist(), strict=True))) == len(words):
            found.setdefault(numeric, name)
    return found.get(False, found.get(True))


# -- gaps ---------------------------------------------------------------------------------------------------------------


def usual_step(times: np.ndarray, unit: str) -> tuple[str, np.ndarray]:
    """The usual step of rising dates in words, and how many of it each step is; of no usual one, empty words.

    Months count as equal, and so do the days from Friday to Monday where no date is at a weekend.

    >>> days = np.array(["2020-01-30", "2020-01-31", "2020-02-03"], dtype="datetime64[us]").astype(np.int64)
    >>> usual_step(days, "us")
    ('a working day', array([1., 1.]))
    """
    if len(times) < 2:
        return "", np.ones(len(times[1:]))
    steps = np.diff(times)
    if unit == "month":
        return _commonest(steps, {1: "a month", 3: "a quarter", 12: "a year"}, "months")
    moments = times.astype("datetime64[us]")
    days = moments.astype("datetime64[D]")
    if (moments == days).all():
        inside = moments.astype("datetime64[M]")
        ends = (days + 1).astype("datetime64[M]") - inside == np.timedelta64(1, "M")
        if len(set((days - inside.astype("datetime64[D]")).tolist())) == 1 or ends.all():
            return _commonest(np.diff(inside.astype(np.int64)), {1: "a month", 3: "a quarter", 12: "a year"}, "months")
        numbers = days.astype(np.int64)
        if ((numbers + 3) % 7 < 5).all() and Counter(np.diff(numbers).tolist()).most_common(1)[0][0] == 1:
            return "a working day", np.busday_count(days[:-1], days[1:]).astype(np.float64)
        return _commonest(np.diff(numbers), {1: "a day", 7: "a week"}, "days")
    seconds = {3_600_000_000: "an hour", 60_000_000: "a minute", 1_000_000: "a second"}
    return _commonest(steps, seconds, "microseconds")


def _commonest(steps: np.ndarray, names: dict[int, str], unit: str) -> tuple[str, np.ndarray]:
    step, count = Counter(steps.tolist()).most_common(1)[0]
    if 2 * count < len(steps) or step <= 0:
        return "", np.ones(len(steps))
    words = names.get(step) or (
        str(datetime.timedelta(microseconds=step)) if unit == "microseconds" else f"{step} {unit}"
    )
    return words, steps / step


def gaps_in_words(series: Sequence[Series], dates: Dates, column: str) -> list[str]:
    """What is to be said of the steps between dates: that they are uneven, or how many are missing, and where."""
    gaps: list[str] = []
    uneven, missing, usual = 0, 0, Counter[str]()
    for one in series:
        assert one.times is not None
        words, counts = usual_step(one.times, dates.unit)
        uneven += words == "" and len(counts) > 1
        usual[words] += 1
        text = Dates(one.times, dates.unit, "").text
        for place in np.flatnonzero(counts > 1.5).tolist():
            missing += round(float(counts[place])) - 1
            gaps.append((f"{one.name}: " if one.name else "") + f"{text(place + 1)} after {text(place)}")
    if uneven:
        return [
            f"the dates (column {column!r}) are unevenly apart: the values are taken as if they followed each other evenly"
        ]
    if not gaps:
        return []
    shown = "; ".join(gaps[:_SHOWN]) + ("; ..." if len(gaps) > _SHOWN else "")
    many = f"{len(gaps)} gaps" if len(gaps) > 1 else "a gap"
    return [
        f"{many} in the dates (column {column!r}), which are {usual.most_common(1)[0][0]} apart, {missing:,} missing: {shown}; "
        "the values are taken as if they followed each other"
    ]


def dates_in_words(found: Found) -> str:
    """What `data check` says of the dates: from when to when, and how far apart."""
    assert found.dates is not None
    times = [one.times for one in found.series if one.times is not None]
    text = Dates(np.array([min(t[0] for t in times), max(t[-1] for t in times)]), found.dates.unit, "").text
    step = usual_step(times[0], found.dates.unit)[0]
    return f"{found.columns.dates}, {text(0)} to {text(1)}" + (f", {step} apart" if step else "")


def is_dated(name: str, cells: Sequence[str]) -> bool:
    """Whether cells are dates, also where day and month can be read either way round.

    >>> is_dated("when", ["1/2/2020", "5/2/2020"]), is_dated("x", ["1", "2"])
    (True, False)
    """
    try:
        return read_dates(cells, name, str) is not None
    except UserError:
        return True
