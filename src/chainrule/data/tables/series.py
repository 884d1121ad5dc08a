"""Series of numbers in time: read, split in time, seen through windows; and those that `predict` is asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.core.files.standard_streams import say
from chainrule.data.dataset import Dataset, dataset_of
from chainrule.data.inputs import STDIN, Asked, InMemory, asked_paths, files_below, is_folder, is_list, stdin_lines
from chainrule.data.labels import is_missing
from chainrule.data.layout import SPLITS
from chainrule.data.spec import MAY_LACK, Spec
from chainrule.data.splits import fingerprint
from chainrule.data.tables.formats.table_files import READERS, is_table_file, read_cells, table_ending
from chainrule.data.tables.schema.deciding import Wishes
from chainrule.data.tables.schema.number_format import NumberFormat
from chainrule.data.tables.time.series_files import NO_OPTIONS, Columns, Found, Series, read_series, series_of_cells
from chainrule.data.tables.time.windows import SeriesSplit, Window, differenced, joint_windows, windows


@dataclass(frozen=True, kw_only=True)
class SeriesSpec(Spec):
    """A series seen through windows.

    Attributes:
        where: the path or the name of the data set.
        target: the column.
        lags, difference, log, mean, std: of the `Window`.
        dtype: of x and y, as torch names it.
        mean_step: mean of |v_t - v_(t-1)| over the training part, the unit of MASE.
        low, high: of the training part.
        dates: the column that the rows were sorted by; empty where there is none; None in runs of old, which took rows
            as they stood.
        series: the column that names the series; None for one series.
        number: how the values are written (`NumberFormat`); None in runs of old, and of a series that is in no table.
    """

    where: str
    target: str
    lags: int
    difference: int
    log: bool
    mean: float
    std: float
    dtype: str
    mean_step: float
    low: float
    high: float
    dates: str | None = field(default=None, metadata=MAY_LACK)
    series: str | None = field(default=None, metadata=MAY_LACK)
    number: dict[str, Any] | None = field(default=None, metadata=MAY_LACK)


def window_of(spec: SeriesSpec) -> Window:
    """The window that a run with this spec sees through."""
    return Window(spec.lags, spec.difference, spec.log, spec.mean, spec.std)


def load_series(
    request: DataRequest,
    *,
    lags: int,
    difference: int = 0,
    log: bool = False,
    dtype: torch.dtype = torch.float32,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Dataset[SeriesSpec, SeriesSplit]:
    """The run's series: its last part is the test split, the part before that the validation split.

    Rows are sorted by their dates where there are any. Windows reach back over the border: at a time of the test split
    everything before it is known. What is fitted (mean and std) comes from the training part alone, and no target of the
    training split lies later. Several series, of a table with a column that names them, are each windowed by itself, share
    one scale, and are split at the same dates; without dates each at the same share of its length.

    Spec: where, target, dates and series (the columns), lags, difference, log, mean and std, `mean_step` (the unit of
    MASE), low and high of the training part, counts, how the splits were made, fingerprint.

    Args:
        request: what is read, and where the spec is kept.
        lags: values that the model sees.
        difference: over how many steps differences are taken; 1 removes a trend, 12 a year of months; 0 is none.
        log: whether logarithms are taken, for a series above 0 whose swings grow with it.
        dtype: of x and y.
        val_fraction, test_fraction: the test split's share of the times, and the validation split's of the rest.
    """
    known = None if request.spec is None else SeriesSpec.from_json(request.spec)

    def read() -> tuple[SeriesSpec, dict[str, SeriesSplit]]:
        found = read_series(request, columns_of(known, request.target))
        if known is None:
            request.note(*found.notes)
        return split_series(
            found,
            lags=lags,
            difference=difference,
            log=log,
            dtype=dtype,
            val_fraction=request.share("val", val_fraction),
            test_fraction=request.share("test", test_fraction),
        )

    return dataset_of(request, SeriesSpec, read)


def columns_of(spec: SeriesSpec | None, target: str | None) -> Columns:
    """Which columns a run reads: a new one looks for the dates, one of an earlier version has rows as they stand."""
    if spec is None:
        return Columns(target)
    return Columns(target, spec.dates or "", spec.series, None if spec.number is None else NumberFormat(**spec.number))


def split_series(
    found: Found,
    *,
    lags: int,
    difference: int,
    log: bool,
    dtype: torch.dtype,
    val_fraction: float,
    test_fraction: float,
) -> tuple[SeriesSpec, dict[str, SeriesSplit]]:
    """Series as windows, split in time, on the scale of the training part."""
    context = lags + difference
    for one in found.series:
        check_log(one.values, log, f"{found.where}, series {one.name!r}" if one.name else found.where)
    borders = [borders_in_time(one, found.series, val_fraction, test_fraction) for one in found.series]
    stretches = [
        {"train": (context, val), "val": (max(val, context), test), "test": (max(test, context), len(one.values))}
        for one, (val, test) in zip(found.series, borders, strict=True)
    ]
    counts = {part: sum(max(0, s[part][1] - s[part][0]) for s in stretches) for part in SPLITS}
    _expect_windows(found, counts, context)
    training = [one.values[:val] for one, (val, _) in zip(found.series, borders, strict=True)]
    known = torch.cat([differenced(values, difference, log) for values in training if len(values) > difference])
    steps = torch.cat([(values[1:] - values[:-1]).abs() for values in training])
    seen, std = torch.cat(training), float(known.std(correction=0))
    if not std > 1e-12 * float(known.abs().max()):
        raise UserError(
            "the series is constant on the training part",
            where=found.where,
            found=f"{float(seen[0]):g} throughout" if not difference else f"differences of {float(known[0]):g}",
        )
    spec = SeriesSpec(
        where=found.where,
        target=found.target,
        dates=found.columns.dates or "",
        series=found.columns.series,
        number=None if found.columns.number is None else asdict(found.columns.number),
        lags=lags,
        difference=difference,
        log=log,
        mean=float(known.mean()),
        std=std,
        dtype=str(dtype).removeprefix("torch."),
        mean_step=float(steps.mean()),
        low=float(seen.min()),
        high=float(seen.max()),
        counts=counts,
        splits=_splits_in_words(found, borders),
        fingerprint=fingerprint(*(one.values for one in found.series)),
    )
    window = window_of(spec)
    return spec, {
        part: joint_windows(
            [
                windows(one.values[: s[part][1]], s[part][0], window, dtype)
                for one, s in zip(found.series, stretches, strict=True)
            ]
        )
        for part in SPLITS
    }


def borders_in_time(one: Series, every: Sequence[Series], val_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Where the validation and the test part of a series begin: as given, else the last share of the dates of all series."""

    def last_share(count: int, fraction: float) -> int:
        return count - round(count * fraction)

    count = len(one.values)
    times = [other.times for other in every if other.times is not None]
    if one.begins or one.times is None or len(times) < len(every):
        test = one.begins["test"] if "test" in one.begins else last_share(count, test_fraction)
        return (one.begins["val"] if "val" in one.begins else last_share(test, val_fraction)), test
    dates = np.unique(np.concatenate(times))  # those of one series are its own
    test = last_share(len(dates), test_fraction)
    val = last_share(test, val_fraction)
    ends = np.append(dates, dates[-1] + 1)
    return int(np.searchsorted(one.times, ends[val])), int(np.searchsorted(one.times, ends[test]))


def _expect_windows(found: Found, counts: Mapping[str, int], context: int) -> None:
    """UserError where a series has no window, or train or test fewer than two."""
    shortest = min(found.series, key=lambda one: len(one.values))
    short = [part for part in ("train", "test") if counts[part] < 2]
    if short or len(shortest.values) <= context:
        name = f" {shortest.name!r}" if shortest.name else ""
        raise UserError(
            f"the series{name} is too short for a {(short or ['train'])[0]} split",
            where=found.where,
            found=f"{len(shortest.values)} values",
            expected=f"2 or more values a split to predict, after the {context} that a window reads",
            cure="fewer lags, a smaller difference, or a longer series",
        )


def _splits_in_words(found: Found, borders: Sequence[tuple[int, int]]) -> dict[str, str]:
    given, (val, test), count = found.series[0].begins, borders[0], len(found.series[0].values)
    if len(found.series) == 1:
        return {
            "train": f"the first {val} values",
            "val": "as given" if "val" in given else f"the {test - val} values after them",
            "test": "as given" if "test" in given else f"the last {count - test} of {count} values",
        }
    how = "the same dates in each" if found.dates is not None else "the same share of each"
    return {
        "train": f"the beginnings of {len(found.series)} series",
        "val": "as given" if "val" in given else f"what follows them, {how}",
        "test": "as given" if "test" in given else f"the ends of the {len(found.series)} series, {how}",
    }


def asked_series(
    inputs: Iterable[str], spec: SeriesSpec, options: Mapping[str, Any] = NO_OPTIONS
) -> Iterator[Asked[Tensor]]:
    """The user's own series, each (T,) float64, the newest value last, one after the other.

    An input is a table with the run's column, sorted by the run's column of dates where it has that; a folder of such
    files, a CSV with a column `path` that lists such files, numbers such as 112,118,132 with the newest last, or `-` for
    series on stdin, numbers on a line each. Of a run of several series, each of a table is one. `options` say how files
    are read: encoding, decimal, thousands.
    """
    for text in inputs:
        path = Path(text)
        if text == STDIN:
            yield from (Asked(line, read_history(line, spec)) for line in stdin_lines())
        elif is_folder(text):
            yield from (
                one for file in files_below(path, READERS, "series") for one in _histories(str(file), spec, options)
            )
        elif is_table_file(path) and is_list(path, [spec.target]):
            for listed in asked_paths([text]):
                for one in _histories(listed.name, spec, options):
                    yield Asked(one.name, one.value, {**listed.own, **one.own})
        else:
            yield from _histories(text, spec, options, tell=True)


def read_history(text: str, spec: SeriesSpec) -> Tensor:
    """The user's own series (T,) float64: a .csv with the run's column, or numbers such as 112,118,132."""
    return _histories(text, spec)[0].value


def _histories(
    text: str, spec: SeriesSpec, options: Mapping[str, Any] = NO_OPTIONS, tell: bool = False
) -> list[Asked[Tensor]]:
    """The series that a word names: those of a file, or numbers. `tell` says where rows had to be put in order."""
    path = Path(text)
    if isinstance(text, InMemory):
        asked = [Asked(str(text), torch.from_numpy(np.array(text.value, dtype=np.float64)))]
    elif table_ending(path):
        if not is_table_file(path):
            raise UserError("there is no such file", where=path, expected="a .csv, or numbers such as 1,2,3")
        cells = read_cells(path, options.get("encoding"))
        columns = columns_of(spec, spec.target if len(cells.header) > 1 else None)
        found = series_of_cells(cells, columns, str(path), Wishes.of(options))
        series = found.columns.series
        for note in found.order if tell else ():
            say(f"{text}: {note}")
        asked = [
            Asked(f"{text}, {one.name}", one.values, {series: one.name}) if series else Asked(text, one.values)
            for one in found.series
        ]
    else:
        mark = next((mark for mark in ";\t" if mark in text), ",")
        known = columns_of(spec, None).number if mark != "," else None  # commas between numbers are none within
        numbers = [cell.strip() for cell in text.split(mark)]
        values = (known or NumberFormat()).parse_all(numbers)
        if any(np.isnan(value) and not is_missing(cell) for cell, value in zip(numbers, values, strict=True)):
            raise UserError(
                "the series is not understood",
                expected="a .csv, or numbers such as 1,2,3; with decimal commas 1,5;2,5;3,5",
                found=text[:60],
            )
        if not np.isfinite(values).all():
            raise UserError("a value is missing or infinite", where=text[:60], expected="finite numbers")
        asked = [Asked(text, torch.from_numpy(values))]
    needed = spec.lags + spec.difference
    for one in asked:
        if len(one.value) < needed:
            raise UserError(
                "the series is too short to forecast from",
                where=one.name[:60],
                expected=f"{needed} values or more",
                found=len(one.value),
            )
        check_log(one.value, spec.log, one.name[:60])
    return asked


def check_log(values: Tensor, log: bool, where: str) -> None:
    """UserError where logarithms are to be taken of what has none."""
    if log and bool((values <= 0).any()):
        at = int((values <= 0).nonzero()[0])
        raise UserError(
            "the series has a value without a logarithm",
            where=f"{where}, value {at + 1}",
            expected="above 0",
            found=f"{float(values[at]):g}",
            cure="log=no",
        )


TOPICS = (Topic("Forecasting a time series", code=("load_series",)),)
