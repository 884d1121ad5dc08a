"""Settings of how series are read from a table."""

from __future__ import annotations

from chainrule.core.data.option import Option

SERIES = Option(
    "series",
    kinds=("series",),
    type=str | None,
    default=None,
    text="The column that tells several series of one table apart: a shop, a station.",
    text_zh="区分同一表格中多个序列的列：店铺、站点。",
)
DATES = Option(
    "dates",
    kinds=("series",),
    type=str | None,
    default=None,
    text="The column of dates that rows are sorted by; without it whichever column holds dates.",
    text_zh="用于排序的日期列；不写则自动识别。",
)
