"""Dates as numbers: how a column writes them is decided over all of it, and each part that varies is a column of its own."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chainrule.data.tables.time.dates import FORMS, moment_of

ORDERS = ("ymd", "dmy", "mdy")  # that the user may name
PARTS = ("year", "month", "weekday", "days")  # the numbers that a date becomes
_NUMERIC = "31.12.2020"  # whose order is open
_ORDER_OF = {"ymd": "2020-01-31", "dmy": _NUMERIC, "mdy": _NUMERIC}
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


def date_forms(cells: Iterable[str]) -> dict[str, int]:
    """The forms in which most of some distinct cells are dates, each with how many are; two where the order is open.

    >>> date_forms(["31.12.2020", "1.2.2021"]), date_forms(["1/2/2020", "3/4/2020"])
    ({'dmy': 2}, {'dmy': 2, 'mdy': 2})
    """
    cells = list(cells)
    names = [name for form in FORMS for name in (("dmy", "mdy") if form == _NUMERIC else (form,))]
    likely = [name for name in names if any(read_date(cell, name) is not None for cell in cells[:100])]
    counts = {form: sum(read_date(cell, form) is not None for cell in cells) for form in likely}
    most = max(counts.values(), default=0)
    return {form: count for form, count in counts.items() if count == most}


def days_of(cells: Iterable[str], form: str) -> np.ndarray:
    """Days since 1970-01-01 (N,) float64; nan where a cell is no date of this form."""
    found = (read_date(cell, form) for cell in cells)
    return np.array([np.nan if moment is None else moment.days for moment in found])
