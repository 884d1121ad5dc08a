"""Numbers as people write them: 1234.5, 1.234,5, 1 234, 12 %, € 5,00. How a column writes them is decided over all of it."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

_CURRENCY = r"[$€£¥￥₩₹₽元円]|(?:US|A|C|HK|NT|R)\$|USD|EUR|GBP|CHF|CNY|RMB|JPY|kr|zł"
_UNIT = re.compile(rf"(?P<sign>[+-]?)(?P<before>{_CURRENCY})?\s*(?P<number>[^%％‰]*?)\s*(?P<after>[%％‰]|{_CURRENCY})?")
_WORD_BEHIND = re.compile(r"[+-]?\d[\d.,]*\s*(?P<unit>[^\W\d_][^\d,.;:]*)")
_FRACTION = re.compile(r"\d[.,]\d")
_MANY = 10  # different numbers before one word, which are then no codes
_SHARES = ("%", "‰")
TRUTH = {"true": 1, "false": 0}  # in any case
_SPACES = str.maketrans({"−": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " ", "’": "'"})

# What a number shows of its marks; the first that fits. Three digits behind a single mark do not tell which one it is.
_SHAPE = re.compile(
    r"[+-]?(?:"
    r"(?P<digits>\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<point_or_groups>[1-9]\d{0,2}\.\d{3})|(?P<comma_or_groups>[1-9]\d{0,2},\d{3})"
    r"|(?P<groups_by_comma>(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3})(?:\.\d*)?)|(?P<groups_by_point>[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?)"
    r"|(?P<groups_by_space>[1-9]\d{0,2}(?: \d{3})+(?:[.,]\d+)?)|(?P<groups_by_quote>[1-9]\d{0,2}(?:'\d{3})+(?:[.,]\d+)?)"
    r"|(?P<point>(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<comma>(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?)"
    r")"
)


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Attributes:
        decimal: the decimal mark; empty is a point, or a comma where there is no point (runs of earlier versions).
        thousands: what groups digits; empty is nothing.
        unit: a percent sign, a currency or a word that stands beside the numbers: 12 % is the number 12.
        truth: whether the column has nothing but 0 and 1, for which true and false may stand.

    >>> [NumberFormat(",", ".").parse(cell) for cell in ("1.234,5", "0,1", "7", "a")]
    [1234.5, 0.1, 7.0, None]
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""
    truth: bool = False

    @property
    def is_share(self) -> bool:
        """Whether a number without its sign could be meant otherwise: 0.12 as 12 %."""
        return self.unit in _SHARES

    def parse(self, cell: str) -> float | None:
        """The number that a cell is, also infinity; None where it is none.

        A unit may be missing, but not from a percentage that may be a share: 0.12 is 12 % or 0.12 %. The other mark is taken
        too where it can only be a decimal one: 1,5 beside 2.5, not 1,500.
        """
        if self.truth and cell.strip().lower() in TRUTH:
            return float(TRUTH[cell.strip().lower()])
        number, unit = split_unit(cell, self.unit)
        if unit and unit != self.unit:
            return None
        value = self._parse_bare(number)
        return None if value is not None and self.is_share and not unit and 0 < abs(value) < 1 else value

    def _parse_bare(self, number: str) -> float | None:
        if _pattern(self.decimal or ".", self.thousands).fullmatch(number):
            return _value(number, self.decimal or ".", self.thousands)
        shape = _SHAPE.fullmatch(number)
        other = {".": "comma", "": "comma", ",": "point"}[self.decimal]
        if shape is not None and (shape[other] or (not self.decimal and shape["comma_or_groups"])):
            mark = {"comma": ",", "point": "."}[other]
            return None if mark == self.thousands else _value(number, mark, "")
        return float(number) if number.lower().lstrip("+-") in ("inf", "infinity") else None

    def parse_typed(self, cells: Iterable[str]) -> np.ndarray:
        """The numbers (N,) float64 of a column that had numbers for cells: written with a point, whatever the marks here.

        What a sheet shows as a percentage is one: 12% is 12 where that is the column's unit, else 0.12.
        """
        cells = list(cells)
        if not self.is_share and any(cell.endswith("%") for cell in cells):
            cells = [repr(float(cell[:-1]) / 100) if cell.endswith("%") else cell for cell in cells]
        return replace(self, decimal=".", thousands="").parse_all(cells)

    def parse_all(self, cells: Iterable[str]) -> np.ndarray:
        """The numbers of cells (N,) float64, nan where there is none."""
        cells = list(cells)
        if self.decimal in (".", "") and not self.is_share:
            plain = plain_numbers(cells)
            if plain is not None:
                return plain
        known: dict[str, float] = {}
        for cell in cells:
            if cell not in known:
                value = self.parse(cell)
                known[cell] = math.nan if value is None else value
        return np.fromiter(map(known.__getitem__, cells), np.float64, len(cells))

    def __str__(self) -> str:
        marks = {" ": "a blank", "'": "an apostrophe", ",": "a comma", ".": "a point"}
        words = ["decimal comma"] if self.decimal == "," else []
        words += [f"{marks[self.thousands]} between thousands"] if self.thousands else []
        return ", ".join([*words, *([f"in {self.unit}"] if self.unit else [])])


@dataclass(frozen=True)
class Evidence:
    """What the cells of a column show of the marks in numbers.

    Attributes:
        counts: how many cells have which shape of `_SHAPE`; others have none.
        first: the first cell of each shape.
        units: how many cells have which unit.
    """

    counts: Mapping[str, int]
    first: Mapping[str, str]
    units: Mapping[str, int]

    @property
    def numbers(self) -> int:
        """How many cells are numbers, in some way of writing."""
        return sum(self.counts.values())

    @property
    def unit(self) -> str:
        """The unit of most numbers."""
        return max(self.units, key=lambda unit: self.units[unit], default="")

    @property
    def decimal(self) -> str:
        """The decimal mark that some cell shows beyond doubt; both where cells contradict each other; else empty."""
        has_space = [self.first[name] for name in ("groups_by_space", "groups_by_quote") if name in self.first]
        comma = self.has("comma") or any("," in cell for cell in has_space)
        point = self.has("point") or any("." in cell for cell in has_space)
        comma |= self.has("groups_by_point")
        point |= self.has("groups_by_comma")
        return "." * point + "," * comma

    def has(self, shape: str) -> bool:
        return bool(self.counts.get(shape))

    @property
    def thousands(self) -> str:
        """What groups digits beyond doubt."""
        marks = {"groups_by_space": " ", "groups_by_quote": "'", "groups_by_comma": ",", "groups_by_point": "."}
        return next((mark for shape, mark in marks.items() if self.has(shape)), "")


def evidence_of(counts: Mapping[str, int], known_unit: str = "") -> Evidence:
    """What distinct cells show, each with how often it is there; `known_unit` may stand behind numbers, as kg does.

    >>> evidence_of({"1,5": 3, "2": 1, "a": 1}).decimal
    ','
    """
    shapes, first, units = dict[str, int](), dict[str, str](), dict[str, int]()
    for cell, count in counts.items():
        number, unit = split_unit(cell, known_unit)
        found = _SHAPE.fullmatch(number)
        if found is None or found.lastgroup is None:
            continue
        shapes[found.lastgroup] = shapes.get(found.lastgroup, 0) + count
        first.setdefault(found.lastgroup, cell)
        units[unit] = units.get(unit, 0) + count
    return Evidence(shapes, first, units)


def shared_unit(counts: Mapping[str, int]) -> str:
    """The word that stands behind the numbers in all of some distinct cells: kg; none where they may be codes, as 1a.

    >>> shared_unit({f"{n} kg": 1 for n in range(12)}), shared_unit({"1a": 3, "2a": 4}), shared_unit({"red": 1})
    ('kg', '', '')
    """
    unit = ""
    for cell in counts:
        found = _WORD_BEHIND.fullmatch(cell)
        if found is None or (unit and found["unit"] != unit):
            return ""
        unit = found["unit"]
    return unit if len(counts) >= _MANY or any(_FRACTION.search(cell) for cell in counts) else ""


def split_unit(cell: str, known: str = "") -> tuple[str, str]:
    """A cell as a number with plain blanks and signs, and the unit beside it: a sign, a currency, or one that is `known`.

    >>> split_unit(" 12\\u202f000 % "), split_unit("-€5,00"), split_unit("red")
    (('12 000', '%'), ('-5,00', '€'), ('red', ''))
    """
    text = cell.strip().translate(_SPACES)
    if known and text.endswith(known):
        return text[: -len(known)].strip(), known
    found = _UNIT.fullmatch(text)
    if found is None or not (found["before"] or found["after"]):
        return text, ""
    unit = (found["before"] or found["after"]).replace("％", "%").replace("￥", "¥")
    return found["sign"] + found["number"].strip(), unit


def is_number_text(cell: str) -> bool:
    """Whether a cell is a number in some way of writing: the head of a file is looked at so, where no column is known yet.

    >>> [is_number_text(cell) for cell in ("1.5", "1,5", "1 234", "12 %", "nan", "a")]
    [True, True, True, True, False, False]
    """
    return _SHAPE.fullmatch(split_unit(cell)[0]) is not None


@functools.cache
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    d, t = re.escape(decimal), re.escape(thousands)
    grouped = rf"|[1-9]\d{{0,2}}(?:{t}\d{{3}})+(?:{d}\d*)?" if thousands else ""
    grouped += rf"|[1-9]\d?(?:{t}\d{{2}})+{t}\d{{3}}(?:{d}\d*)?" if thousands == "," else ""  # 1,23,456 of India
    return re.compile(rf"[+-]?(?:(?:\d+{d}?\d*|{d}\d+)(?:[eE][+-]?\d+)?{grouped})")


def _value(number: str, decimal: str, thousands: str) -> float:
    return float((number.replace(thousands, "") if thousands else number).replace(decimal, "."))


def plain_numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Cells that Python reads as finite numbers, all of them; None where one is not, or has an underscore."""
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    return None if not np.isfinite(values).all() or "_" in "".join(cells) else values
