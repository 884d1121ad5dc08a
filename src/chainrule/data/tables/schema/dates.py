"""Dates as numbers: how a column writes them is decided over all of it, and each part that varies is a column of its own."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.data.tables.time.dates import FORMS, NUMBERS_OF_TIME, moment_of

TIME_OF_DAY = "08:30"
ORDERS = ("ymd", "dmy", "mdy")  # that the user may name
PARTS = ("year", "month", "weekday", "days")  # the numbers that a date becomes
_NUMERIC = "31.12.2020"  # whose order is open
_ORDER_OF = {"ymd": "2020-01-31", "dmy": _NUMERIC, "mdy": _NUMERIC}
_TIME = re.compile(
    r"(?P<H>\d{1,2}):(?P<M>[0-5]\d)(?::(?P<S>[0-5]\d(?:\.\d+)?))?(?:\s*(?P<half>[AaPp])\.?[Mm]\.?|\s*Uhr)?"
)
_EPOCH = datetime.datetime(1970, 1, 1)


@dataclass(frozen=True)
class Moment:
    """A date as numbers: days since 1970-01-01, with the time of day as a fraction; weekdays are 0, Monday, to 6.

    Of a month without a day the weekday is None, and the days are those of its first.
    """

    year: int
    month: int
    weekday: int | None
    days: float


@functools.lru_cache(2**16)
def read_date(cell: str, form: str) -> Moment | None:
    """The date that a cell is in a form of `date_forms`, or in an order of `ORDERS`; None where it is none.

    >>> read_date("31.12.2020", "dmy"), read_date("12/31/2020", "dmy"), read_date("2020年1月", "2020年1月")
    (Moment(year=2020, month=12, weekday=3, days=18627.0), None, Moment(year=2020, month=1, weekday=None, days=18262.0))
    """
    if form == TIME_OF_DAY:
        return _time_of_day(cell)
    found = moment_of(cell, _ORDER_OF.get(form, form), day_first=form == "dmy")
    if found is None:
        return None
    value, unit = found
    if unit == "month":
        year, month = 1970 + value // 12, 1 + value % 12
        return Moment(year, month, None, float((datetime.datetime(year, month, 1) - _EPOCH).days))
    try:
        when = _EPOCH + datetime.timedelta(microseconds=value)
    except OverflowError:
        return None
    return Moment(when.year, when.month, when.weekday(), value / 86_400_000_000)


def _time_of_day(cell: str) -> Moment | None:
    """A time without a date, as a share of the day.

    >>> [_time_of_day(cell).days for cell in ("06:00", "6:00 PM", "18:00:00")]
    [0.25, 0.75, 0.75]
    """
    found = _TIME.fullmatch(cell.strip())
    if found is None:
        return None
    hour, half = int(found["H"]), (found["half"] or "").lower()
    hour = hour % 12 + (12 if half == "p" else 0) if half else hour
    return Moment(1970, 1, None, (hour * 3600 + int(found["M"]) * 60 + float(found["S"] or 0)) / 86_400)


def date_forms(cells: Iterable[str]) -> dict[str, int]:
    """The forms in which most of some distinct cells are dates, each with how many are; two where the order is open.

    >>> date_forms(["31.12.2020", "1.2.2021"]), date_forms(["1/2/2020", "3/4/2020"])
    ({'dmy': 2}, {'dmy': 2, 'mdy': 2})
    """
    cells = list(cells)
    names = [name for form in FORMS for name in (("dmy", "mdy") if form == _NUMERIC else (form,))] + [TIME_OF_DAY]
    likely = [name for name in names if any(read_date(cell, name) is not None for cell in cells[:100])]
    counts = {form: sum(read_date(cell, form) is not None for cell in cells) for form in likely}
    most = max(counts.values(), default=0)
    return {form: count for form, count in counts.items() if count == most}


def later_date(cell: str, form: str) -> Moment | None:
    """As `read_date`; a date that can be read in one way alone, 2020-01-31, is taken in a column of any form.

    So it is that sheets and frames, whose dates have a type, are read as the text is.

    >>> later_date("2020-01-31T00:00:00", "dmy") == later_date("31.1.2020", "dmy")
    True
    """
    return read_date(cell, form) or (None if cell[4:5] != "-" or form == "ymd" else read_date(cell, "ymd"))


def are_compact_dates(name: str, cells: Sequence[str]) -> bool:
    """Whether whole numbers are dates without marks, 20200131: all of them, in a column that is called as times are.

    >>> are_compact_dates("date", ["20200131", "20200201"]), are_compact_dates("n", ["20200131"])
    (True, False)
    """
    return NUMBERS_OF_TIME.search(name) is not None and all(map(FORMS["20200131"].fullmatch, cells))


def days_of(cells: Iterable[str], form: str) -> np.ndarray:
    """Days since 1970-01-01 (N,) float64; nan where a cell is no date of this form."""
    found = (later_date(cell, form) for cell in cells)
    return np.array([np.nan if moment is None else moment.days for moment in found])
