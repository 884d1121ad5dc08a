"""Dates as people write them: 2020-01-31, 31.12.2020, 12/31/2020, 2020年1月5日, 5 Jan 2020. The order is that of all cells."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

_TIME = r"(?:[T ]\s*(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,]\d+)?)?\s*(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?)?"
_Y, _M, _D = r"(?P<y>\d{4})", r"(?P<m>\d{1,2})", r"(?P<d>\d{1,2})"
_WORD = r"(?P<word>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_MONTHS = {
    name: i
    for i, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)
}

# The ways of writing, the surest first. `dmy` and `mdy` are told apart by a number above 12, or by the point.
FORMS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern + _TIME, re.IGNORECASE)
    for name, pattern in {
        "ymd": rf"{_Y}(?P<sep>[-/.]){_M}(?P=sep){_D}",
        "年月日": rf"{_Y}\s*年\s*{_M}\s*月\s*(?:{_D}\s*[日号])?",
        "dmy": rf"{_D}(?P<sep>[-/.]){_M}(?P=sep){_Y}",
        "mdy": rf"{_M}(?P<sep>[-/]){_D}(?P=sep){_Y}",
        "d month y": rf"{_D}[- ]{_WORD}[- ,]+{_Y}",
        "month d y": rf"{_WORD}[- ]{_D}(?:st|nd|rd|th)?,?[- ]{_Y}",
        "ym": rf"{_Y}[-/]{_M}",
        "month y": rf"{_WORD}[- ]{_Y}",
    }.items()
}
ORDERS = ("ymd", "dmy", "mdy")  # that the user may name
PARTS = ("year", "month", "weekday", "days")  # the numbers that a date becomes


@dataclass(frozen=True)
class Moment:
    """A date as numbers: days since 1970-01-01, with the time of day as a fraction; weekdays are 0, Monday, to 6."""

    year: int
    month: int
    weekday: int
    days: float


@functools.lru_cache(2**16)
def read_date(cell: str, form: str) -> Moment | None:
    """The date that a cell is in a form of `FORMS`; None where it is none.

    >>> read_date("31.12.2020", "dmy"), read_date("12/31/2020", "dmy")
    (Moment(year=2020, month=12, weekday=3, days=18627.0), None)
    """
    found = FORMS[form].fullmatch(cell.strip())
    if found is None:
        return None
    parts = found.groupdict()
    month = int(parts["m"]) if parts.get("m") else _MONTHS[parts["word"].lower()]
    try:
        day = datetime.date(int(parts["y"]), month, int(parts.get("d") or 1))
        clock = datetime.time(int(parts["H"] or 0), int(parts["M"] or 0), int(parts["S"] or 0))
    except ValueError:  # a 31st of February, an hour 25
        return None
    zone = re.fullmatch(r"([+-])(\d\d):?(\d\d)", parts["zone"] or "")
    ahead = 0 if zone is None else (-1 if zone[1] == "-" else 1) * (int(zone[2]) * 60 + int(zone[3]))
    seconds = clock.hour * 3600 + clock.minute * 60 + clock.second - ahead * 60
    days = (day - datetime.date(1970, 1, 1)).days + seconds / 86400
    return Moment(day.year, day.month, day.weekday(), days)


def date_forms(cells: Iterable[str]) -> dict[str, int]:
    """The forms in which most of some distinct cells are dates, each with how many are; several where the order is open.

    >>> date_forms(["31.12.2020", "1.2.2021"]), date_forms(["1/2/2020", "3/4/2020"])
    ({'dmy': 2}, {'dmy': 2, 'mdy': 2})
    """
    cells = list(cells)
    counts = {form: sum(read_date(cell, form) is not None for cell in cells) for form in FORMS}
    most = max(counts.values(), default=0)
    return {form: count for form, count in counts.items() if count == most and most}


def days_of(cells: Iterable[str], form: str) -> np.ndarray:
    """Days since 1970-01-01 (N,) float64; nan where a cell is no date of this form."""
    found = (read_date(cell, form) for cell in cells)
    return np.array([np.nan if moment is None else moment.days for moment in found])
