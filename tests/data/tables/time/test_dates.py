"""Dates as people write them: `datetime` is the oracle; day or month first is decided by the whole column."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from chainrule.core.errors import UserError
from chainrule.data.tables.time.dates import read_dates
from chainrule.data.tables.time.series_files import usual_step

DAYS = [datetime.date(2019, 11, 25) + datetime.timedelta(days) for days in range(90)]
ENGLISH = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]  # strftime's depend on the locale
FORMS = {
    "2019-11-25": lambda d: d.isoformat(),
    "2019/1/5": lambda d: f"{d.year}/{d.month}/{d.day}",
    "2019.01.05": lambda d: f"{d:%Y.%m.%d}",
    "20191125": lambda d: f"{d:%Y%m%d}",
    "25.11.2019": lambda d: f"{d:%d.%m.%Y}",
    "11/25/2019": lambda d: f"{d:%m/%d/%Y}",
    "25/11/19": lambda d: f"{d:%d/%m/%y}",
    "2019年11月25日": lambda d: f"{d.year}年{d.month}月{d.day}日",
    "5 Nov 2019": lambda d: f"{d.day} {ENGLISH[d.month - 1]} {d.year}",
    "25-Nov-19": lambda d: f"{d.day:02}-{ENGLISH[d.month - 1]}-{d:%y}",
    "Nov 5, 2019": lambda d: f"{ENGLISH[d.month - 1]} {d.day}, {d.year}",
    "Mon 25.11.2019": lambda d: f"{['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'][d.weekday()]} {d:%d.%m.%Y}",
    "as openpyxl has it": lambda d: f"{d.isoformat()}T00:00:00",
}


@pytest.mark.parametrize("form", FORMS)
def test_days(form: str) -> None:
    for order in (DAYS, DAYS[::-1]):
        found = read_dates([FORMS[form](day) for day in order])
        assert found is not None and found.unit == "us"
        assert found.moments.astype("datetime64[D]").tolist() == order
        assert found.text(3) == order[3].isoformat()


def test_times_of_day() -> None:
    cells = ["2020-01-31 08:30", "2020-01-31T23:59:59.250", "2020-01-31T08:30:00+02:00", "2020-01-31 08:30:00Z"]
    expected = ["2020-01-31T08:30", "2020-01-31T23:59:59.250", "2020-01-31T06:30", "2020-01-31T08:30"]
    found = read_dates(cells)
    assert found is not None and (found.moments == np.array(expected, dtype="datetime64[us]")).all()
    half = read_dates(["1/31/2020 12:05 AM", "1/31/2020 1:05 PM"])
    assert half is not None and half.moments.astype(str).tolist() == [
        "2020-01-31T00:05:00.000000", "2020-01-31T13:05:00.000000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (["2019-11", "2019-12", "2020-01"], ""),
        (["11/2019", "12/2019", "01/2020"], ""),
        (["2019年11月", "2019年12月", "2020年1月"], ""),
        (["Nov 2019", "Dec 2019", "Jan 2020"], ""),
        (["Nov-19", "Dec-19", "Jan-20"], ""),
        (["201911", "201912", "202001"], "month"),
    ],
)
def test_months(cells: list[str], name: str) -> None:
    found = read_dates(cells, name)
    assert found is not None and found.unit == "month" and np.diff(found.values).tolist() == [1, 1]
    assert found.text(2) == "2020-01"


def test_quarters_years_and_seconds() -> None:
    for cells, name, expected in (
        (["2019Q4", "2020 Q1"], "", ["2019-10", "2020-01"]),
        (["2020-W01", "2020W05"], "", ["2019-12-30", "2020-01-27"]),
        (["2020/1/5 上午 12:05:00", "2020/1/5 下午 3:00:00"], "", ["2020-01-05T00:05", "2020-01-05T15:00"]),
        (["1999", "2000"], "Year", ["1999-01", "2000-01"]),
        (["1577836800", "1577840400"], "timestamp", ["2020-01-01", "2020-01-01T01:00"]),
        (["1577836800000", "1577836800250"], "时间", ["2020-01-01", "2020-01-01T00:00:00.250000"]),
    ):
        found = read_dates(cells, name)
        assert found is not None and [found.text(0), found.text(1)] == expected
    for cells in (["1999", "2000"], ["1577836800", "1577840400"], ["201911", "201912"]):
        assert read_dates(cells, "sold") is None  # plain numbers, unless the column is called so


def test_day_or_month_first_by_evidence() -> None:
    firsts = [f"01/{month:02}/2020" for month in range(1, 13)]  # of each month, or twelve days of January
    found = read_dates([*firsts, "01/01/2021"])
    assert found is not None and found.text(1) == "2020-02-01"
    found = read_dates(["03/04/2020", "03/05/2020", "03/13/2020"])
    assert found is not None and found.text(0) == "2020-03-04"
    with pytest.raises(UserError, match="read in two ways"):
        read_dates(["03/04/2020", "05/06/2020"], "day", "row {}".format)


@pytest.mark.parametrize(
    "cells",
    [["1.5", "2.5"], ["1234.5", "1235.1"], ["m1", "m2"], ["2020-01-31", "x"], ["31.02.2020", "30.02.2020"], [""], []],
)
def test_what_is_no_date(cells: list[str]) -> None:
    assert read_dates(cells, "date") is None


@pytest.mark.parametrize(("fault", "words"), [("", "a date is missing"), ("30.02.2020", "not understood")])
def test_a_fault_among_dates_is_told(fault: str, words: str) -> None:
    cells = [f"{day:%d.%m.%Y}" for day in DAYS[:30]]
    cells[4] = fault
    with pytest.raises(UserError, match=words + r"\n.*row 4"):
        read_dates(cells, "day", "row {}".format)


@pytest.mark.parametrize(
    ("cells", "step", "counts"),
    [
        (["2020-01-31", "2020-02-29", "2020-03-31", "2020-05-31"], "a month", [1, 1, 2]),
        (["2020-01-15", "2020-02-15", "2020-03-15"], "a month", [1, 1]),
        (["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07", "2020-01-10"], "a working day", [1, 1, 1, 3]),
        (["2020-01-04", "2020-01-05", "2020-01-06", "2020-01-09"], "a day", [1, 1, 3]),
        (["2020-01-01", "2020-01-08", "2020-01-15"], "a week", [1, 1]),
        (["2020-01-01 00:00", "2020-01-01 00:15", "2020-01-01 00:30", "2020-01-01 01:00"], "0:15:00", [1, 1, 2]),
        (["2020-01-01", "2020-01-02", "2020-01-12", "2020-03-01"], "", [1, 1, 1]),
    ],
)
def test_the_usual_step(cells: list[str], step: str, counts: list[float]) -> None:
    found = read_dates(cells)
    assert found is not None
    words, steps = usual_step(found.values, found.unit)
    assert words == step and steps.tolist() == counts
