"""Dates as people write them: a column of cells as moments, in the one form that all of them have.

2020-01-31  2020/1/31  2020.1.31  20200131   with a time of day or not: 2020-01-31T08:30:00+01:00
31.12.2020  12/31/2020  31/12/20             day or month first, by evidence over the whole column
2020年1月5日  2020年1月                        5 Jan 2020  January 5, 2020  Jan-20  5. März 2020  5 février 2020
2020-01  01/2020  2020Q3  2020  2020-W05     months, quarters, years, weeks of ISO 8601
1577836800                                   seconds (or milliseconds) since 1970, in a column that is called so
43861                                        days as Excel counts them, likewise
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chainrule.core.errors import UserError

_TIME = (
    r"(?:[T\s,]*(?P<noon>上午|下午)?\s*(?P<H>\d{1,2})[:时點点](?P<M>\d{2})(?:[:分](?P<S>\d{2})?秒?)?(?:[.,](?P<f>\d{1,9}))?"
    r"\s*(?:Uhr)?(?P<half>[AaPp])?\.?(?:[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_NAME = r"(?P<name>[^\W\d_]{3,10})\.?"
FORMS = {  # by what a cell of each looks like
    "2020-01-31": re.compile(r"(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})" + _TIME),
    "20200131": re.compile(r"(?P<y>1[6-9]\d\d|2[01]\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])" + _TIME),
    "2020年1月31日": re.compile(r"(?P<y>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月\s*(?P<d>\d{1,2})\s*[日号號]" + _TIME),
    "31.12.2020": re.compile(r"(?P<a>\d{1,2})(?P<s>[-/.])(?P<b>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})" + _TIME),
    "5 Jan 2020": re.compile(
        r"(?P<d>\d{1,2})\.?[\s-]+(?:de )?" + _NAME + r",?[\s-]+(?:de )?(?P<y>\d{4}|\d{2})" + _TIME
    ),
    "Jan 5, 2020": re.compile(_NAME + r"\s+(?P<d>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y>\d{4})" + _TIME),
    "2020-01": re.compile(r"(?P<y>\d{4})[-/](?P<m>\d{1,2})"),
    "01/2020": re.compile(r"(?P<m>\d{1,2})[-/](?P<y>\d{4})"),
    "2020年1月": re.compile(r"(?P<y>\d{4})\s*年\s*(?:(?P<m>\d{1,2})\s*月)?"),
    "Jan 2020": re.compile(_NAME + r"[\s,-]+(?P<y>\d{4}|\d{2})"),
    "2020-W05": re.compile(r"(?P<y>\d{4})[\s-]?[Ww](?P<w>\d{1,2})(?:-(?P<weekday>[1-7]))?"),
    "2020Q1": re.compile(r"(?P<y>\d{4})[\s-]?[Qq](?P<q>[1-4])"),
}
_MONTHS = {  # by their first letters, in English, German, French and Spanish
    name: number
    for number, names in enumerate(
        [
            *("jan ene", "feb fév fev", "mar mär mrz", "apr avr abr", "may mai", "jun juin"),
            *("jul juil", "aug aoû aou ago", "sep", "oct okt", "nov", "dec dez déc dic"),
        ],
        1,
    )
    for name in names.split()
}
_WEEKDAY = re.compile(
    r"^(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*|(?:mo|di|mi|do|fr|sa|so|montag|dienstag|mittwoch|donnerstag|freitag|samstag"
    r"|sonntag)\b)\.?,?\s+|\s*[(（]?(?:星期|周)[一二三四五六日天][)）]?$",
    re.I,
)
NUMBERS_OF_TIME = re.compile(r"date|time|stamp|epoch|unix|^ts$|datum|zeit|fecha|日期|时间|時間|时刻", re.I)
_DAYS = re.compile(r"date|day|datum|tag$|fecha|日期", re.I)
_YEARS = re.compile(r"year|^yr$|jahr|ann[eé]e|年", re.I)
_EPOCH = datetime.datetime(1970, 1, 1)
_EXCEL_DAYS = re.compile(r"[2-6]\d{4}(?:\.\d+)?")  # 1954 to 2091
_EXCEL_EPOCH = 25_569  # the number of 1970-01-01
_MICROSECOND = datetime.timedelta(microseconds=1)
_MOST_FAULTS = 0.1  # share of the cells of a column of dates that may be none, and are then told

Unit = Literal["us", "month"]


@dataclass(frozen=True)
class Dates:
    """A column of dates.

    Attributes:
        values: int64 (N,), microseconds or months since the beginning of 1970.
        unit: which: months where no cell has a day.
        form: an example of how they are written.
    """

    values: np.ndarray
    unit: Unit
    form: str

    @property
    def moments(self) -> np.ndarray:
        """As datetime64 (N,); of a month its first day."""
        return self.values.astype("datetime64[M]" if self.unit == "month" else "datetime64[us]")

    def text(self, row: int) -> str:
        """One of them in ISO's form, as short as it can be.

        >>> read_dates(["5.1.2020", "31.1.2020"]).text(1)
        '2020-01-31'
        """
        words = str(self.moments[row]).removesuffix(".000000")
        return words.removesuffix("T00:00:00").removesuffix(":00")


def read_dates(cells: Sequence[str], name: str = "", where: Callable[[int], str] | None = None) -> Dates | None:
    """The cells as dates; None where they are no dates.

    Args:
        cells: of a column, as they were found.
        name: of the column: plain numbers are years or seconds only where it says so.
        where: the place of a cell, for a column nearly all of whose cells are dates: then one that is none is an error.

    Raises:
        UserError: see `where`; day and month can be read either way round, and nothing tells which.

    >>> read_dates(["2020/1/31", "2020/2/1"]).values.tolist()
    [1580428800000000, 1580515200000000]
    >>> read_dates(["1.5", "2"]) is None
    True
    """
    if not len(cells):
        return None
    texts = [_WEEKDAY.sub("", cell.strip()) for cell in cells]
    form, found = _best_form(texts, name)
    faults = [row for row, match in enumerate(found) if match is None]
    if len(faults) > _MOST_FAULTS * len(cells) or len(faults) == len(cells):
        return None
    if form == "31.12.2020":
        read, faults = _day_or_month_first(found, texts, faults, where)
    else:
        read = [None if parts is None else _moment(parts) for parts in found]
        faults = [row for row, value in enumerate(read) if value is None]
    if faults:
        if where is None or len(faults) > _MOST_FAULTS * len(cells):
            return None
        raise UserError(
            "a date is not understood" if texts[faults[0]] else "a date is missing",
            where=where(faults[0]) + (f", column {name!r}" if name else ""),
            expected=f"a date such as {form}, as in {len(cells) - len(faults)} of {len(cells)} rows",
            found=cells[faults[0]] or "an empty cell",
        )
    values = np.array(read, dtype=np.int64)
    return Dates(values, "month" if form in _OF_MONTHS else "us", cells[0].strip())


_OF_MONTHS = ("2020-01", "01/2020", "2020年1月", "Jan 2020", "2020Q1", "2020", "202001")
Parts = dict[str, str | None]


def _best_form(texts: Sequence[str], name: str) -> tuple[str, list[Parts | None]]:
    """The form that most cells have, and what it finds in each."""
    found: dict[str, list[Parts | None]] = {}
    for form, pattern in FORMS.items():
        if pattern.fullmatch(texts[0]) or pattern.fullmatch(texts[-1]) or pattern.fullmatch(texts[len(texts) // 2]):
            matches = [pattern.fullmatch(text) for text in texts]
            found[form] = [None if match is None else match.groupdict() for match in matches]
    numbers = _numbers_as_dates(texts, name)
    if numbers is not None:
        found[numbers[0]] = numbers[1]
    if not found:
        return "", [None] * len(texts)
    return max(found.items(), key=lambda item: sum(parts is not None for parts in item[1]))


def _numbers_as_dates(texts: Sequence[str], name: str) -> tuple[str, list[Parts | None]] | None:
    """Plain numbers where the column's name says that they are times: years, months, seconds since 1970."""
    if _YEARS.search(name) and all(re.fullmatch(r"[12]\d{3}(\.0)?", text) for text in texts):
        return "2020", [{"y": text[:4]} for text in texts]
    if not (NUMBERS_OF_TIME.search(name) or _YEARS.search(name) or re.search("month|月", name, re.I)):
        return None
    if all(re.fullmatch(r"(1[6-9]|2[01])\d\d(0[1-9]|1[0-2])", text) for text in texts):
        return "202001", [{"y": text[:4], "m": text[4:]} for text in texts]
    if all(re.fullmatch(r"\d{9,10}(\.\d+)?|1\d{12}(\.0)?", text) for text in texts):
        return "1577836800", [{"seconds": text} for text in texts]
    if _DAYS.search(name) and all(_EXCEL_DAYS.fullmatch(text) for text in texts):
        return "43861", [{"seconds": repr((float(text) - _EXCEL_EPOCH) * 86_400)} for text in texts]
    return None


def _moment(parts: Parts) -> int | None:
    """Microseconds, or months where there is no day; None where there is no such day."""
    if parts.get("seconds"):
        seconds = float(parts["seconds"] or 0)
        return round(seconds * (1000 if seconds >= 1e12 else 1_000_000))
    year = int(parts["y"] or 0)
    if len(parts["y"] or "") == 2:
        year += 1900 if year >= 69 else 2000
    month = int(parts.get("m") or 1)
    if parts.get("name"):
        name = unicodedata.normalize("NFC", parts["name"] or "").lower()
        month = _MONTHS.get(name[:4]) or _MONTHS.get(name[:3], 0)
    if parts.get("q"):
        month = 3 * int(parts["q"] or 1) - 2
    if parts.get("w"):  # a week of ISO 8601, its Monday
        try:
            day = datetime.datetime.fromisocalendar(year, int(parts["w"] or 0), int(parts.get("weekday") or 1))
        except ValueError:
            return None
        return (day - _EPOCH) // _MICROSECOND
    if not 1 <= month <= 12 or not year >= 1:
        return None
    if parts.get("d") is None:
        return 12 * (year - 1970) + month - 1
    try:
        hour = int(parts.get("H") or 0)
        half = (parts.get("half") or parts.get("noon") or "").lower()
        if half:
            hour = hour % 12 + (12 if half in ("p", "下午") else 0)
        fraction = int((parts.get("f") or "0").ljust(6, "0")[:6])
        moment = datetime.datetime(
            year, month, int(parts["d"] or 0), hour, int(parts.get("M") or 0), int(parts.get("S") or 0), fraction
        )
    except ValueError:
        return None
    zone = parts.get("zone") or ""
    minutes = int(zone[1:3]) * 60 + int(zone[-2:]) if zone[:1] in ("+", "-") else 0
    return (moment - _EPOCH) // _MICROSECOND - (-1 if zone[:1] == "-" else 1) * minutes * 60_000_000


def moment_of(cell: str, form: str, *, day_first: bool) -> tuple[int, Unit] | None:
    """One cell in a form of `FORMS`, and its unit; None where it is no such date.

    >>> moment_of("31.1.2020", "31.12.2020", day_first=True), moment_of("2020-01", "2020-01", day_first=True)
    ((1580428800000000, 'us'), (600, 'month'))
    """
    found = FORMS[form].fullmatch(_WEEKDAY.sub("", cell.strip()))
    if found is None:
        return None
    parts: Parts = found.groupdict()
    if "a" in parts:
        parts |= {"d": parts["a" if day_first else "b"], "m": parts["b" if day_first else "a"]}
    value = _moment(parts)
    is_day = parts.get("d") is not None or parts.get("w") is not None
    return None if value is None else (value, "us" if is_day else "month")


def _day_or_month_first(
    found: Sequence[Parts | None], texts: Sequence[str], faults: list[int], where: Callable[[int], str] | None
) -> tuple[list[int | None], list[int]]:
    """31.12.2020 or 12/31/2020, whichever leaves fewer cells unread; of both, the one in which the rows follow each other.

    A point between the numbers is written by those who put the day first.
    """
    readings: dict[str, list[int | None]] = {}
    for first, day, month in (("day", "a", "b"), ("month", "b", "a")):
        readings[first] = [None if p is None else _moment({**p, "d": p[day], "m": p[month]}) for p in found]
    unread = {first: [row for row, value in enumerate(values) if value is None] for first, values in readings.items()}
    fewest = min(len(rows) for rows in unread.values())
    left = [first for first, rows in unread.items() if len(rows) == fewest]
    if len(left) == 1 or readings["day"] == readings["month"]:
        return readings[left[0]], unread[left[0]]
    if next(p for p in found if p is not None)["s"] == ".":
        return readings["day"], unread["day"]
    scores = {first: _evenness([v for v in readings[first] if v is not None]) for first in left}
    if scores["day"] != scores["month"]:
        first = max(scores, key=lambda name: scores[name])
        return readings[first], unread[first]
    if where is None:
        return readings["month"], list(range(len(found)))
    row = next(row for row, p in enumerate(found) if p is not None and p["a"] != p["b"])
    raise UserError(
        "the dates can be read in two ways",
        where=where(row),
        expected="2020-01-31, or a day above 12 somewhere",
        found=f"{texts[row]}: day or month first",
        cure="write them as 2020-01-31",
    )


def _evenness(values: Sequence[int]) -> tuple[bool, float]:
    """Whether the values rise, or fall, throughout; and how large a share of their steps is the usual one."""
    steps = np.diff(np.array(values))
    if not len(steps):
        return True, 0.0
    one_way = bool((steps >= 0).all() or (steps <= 0).all())
    days = np.abs(steps) // 86_400_000_000
    months = np.where((days >= 28) & (days <= 31), 30, days)  # a month is a step like any other
    return one_way, Counter(months.tolist()).most_common(1)[0][1] / len(steps)
