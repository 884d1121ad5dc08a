"""Settings of how tables are read: what the user says of columns where the data alone would be read otherwise."""

from __future__ import annotations

from typing import Literal

from chainrule.core.data.option import Option

KINDS = Option(
    "kinds",
    kinds=("table",),
    type=tuple[str, ...] | None,
    default=None,
    text="Kinds of columns, NAME:KIND,...: number, category, date (or its order: ymd, dmy, mdy), ignore.",
    text_zh="各列的类型，写作 列名:类型,...；类型有 number、category、date（或指明顺序：ymd、dmy、mdy）、ignore。",
)
IGNORE = Option(
    "ignore",
    kinds=("table",),
    type=tuple[str, ...] | None,
    default=None,
    text="Columns that are left out, NAME,NAME,....",
    text_zh="不使用的列，写作 列名,列名,……。",
)
INDEX = Option(
    "index",
    kinds=("table",),
    type=str | None,
    default=None,
    text="The column that numbers or names the rows; it is left out.",
    text_zh="给各行编号或命名的列；不用于学习。",
)
DECIMAL = Option(
    "decimal",
    kinds=("table", "series"),
    type=Literal[".", ","] | None,
    default=None,
    text="The decimal mark, where the columns themselves do not tell it.",
    text_zh="小数点的写法；各列本身看不出时才需要。",
    later=True,
)
THOUSANDS = Option(
    "thousands",
    kinds=("table", "series"),
    type=Literal[".", ",", "'", "space"] | None,
    default=None,
    text="What stands between thousands, where the columns themselves do not tell it.",
    text_zh="千位分隔符；各列本身看不出时才需要。",
    later=True,
)
UNKNOWN = Option(
    "unknown",
    kinds=("table",),
    type=Literal["refuse", "ignore"],
    default="refuse",
    text="A category that training never saw: an error, or a row with none of the column's categories set.",
    text_zh="训练时没有见过的类别：报错，或按该列所有类别都不成立处理。",
    later=True,
)
GAPS = Option(
    "missing",
    kinds=("table",),
    type=Literal["refuse", "fill"],
    default="refuse",
    text="A missing value: an error, or filled in by the training split's mean.",
    text_zh="缺失值：报错，或用训练集的均值填补。",
)
