"""What the columns of a table mean, decided over all their cells on the training data, never cell by cell."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from chainrule.core.errors import UserError, unknown
from chainrule.data.tables.formats.cells import Cells, no_names
from chainrule.data.tables.schema.column import MISSING, Column, Kind, is_missing_word
from chainrule.data.tables.schema.dates import ORDERS, PARTS, are_compact_dates, date_forms, later_date, read_date
from chainrule.data.tables.schema.number_format import (
    TRUTH,
    Evidence,
    NumberFormat,
    evidence_of,
    is_number_text,
    shared_unit,
)

MOST_CATEGORIES = 100  # of a column; more distinct texts are names or sentences, not categories
NEARLY_ALL = 0.9  # of the cells: the others are faults
FEW_ROWS = 20  # fewer tell no identifier
_NAMELESS = re.compile(r"(?:Unnamed: \d+)?")  # as a file has it, and as pandas names it
_FRACTION = re.compile(r"\d[.,]\d")
_DIFFERENT_NUMBERS = 20
_LOOKED_AT = 100  # rows


@dataclass(frozen=True)
class Wishes:
    """What the user says of the columns, from the settings of the reading."""

    kinds: Mapping[str, str] = field(default_factory=dict)
    decimal: str | None = None
    thousands: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wishes:
        """The wishes of a request; UserError for a kind that is not known."""
        kinds: dict[str, str] = {}
        words = (*get_args(Kind)[:-1], "ignore", *ORDERS)
        pairs = options.get("kinds") or ()
        for place, pair in enumerate(pairs):
            name, sign, kind = (part.strip() for part in pair.rpartition(":"))
            if not sign and place + 1 < len(pairs):
                name, kind = kind, ""  # the beginning of a name with a comma in it
            elif kind not in words:
                raise unknown("there is no kind of column", kind, words, cure="kinds=NAME:KIND,NAME:KIND")
            if kinds.setdefault(name, kind) != kind:
                raise UserError(
                    "a column has two kinds", found=f"{name}:{kinds[name]} and {name}:{kind}", cure="one of them"
                )
        kinds |= dict.fromkeys(options.get("ignore") or (), "ignore")
        kinds |= {options["index"]: "ignore"} if options.get("index") else {}
        space = {"space": " "}
        thousands = options.get("thousands")
        if thousands is not None and thousands == options.get("decimal"):
            raise UserError(
                "one mark cannot be the decimal one and stand between thousands",
                found=f"decimal={thousands} thousands={thousands}",
                cure=f"leave one of them out, or thousands={'.' if thousands == ',' else ','}",
            )
        return cls(kinds, options.get("decimal"), space.get(thousands or "", thousands))

    def with_whole_names(self, header: Sequence[str]) -> Wishes:
        """The same, where names of columns with commas in them, which a list of words cuts, are whole."""
        words, kinds = list(self.kinds), dict[str, str]()
        while words:
            ends = [n for n in range(len(words), 0, -1) if any(mark.join(words[:n]) in header for mark in (", ", ","))]
            end = ends[0] if ends else 1
            name = next((mark.join(words[:end]) for mark in (", ", ",") if mark.join(words[:end]) in header), words[0])
            kinds[name] = self.kinds[words[end - 1]]
            del words[:end]
        return replace(self, kinds=kinds)

    def changed(self, column: Column) -> Column:
        """A column whose numbers are written otherwise in data that come later."""
        if (self.decimal is None and self.thousands is None) or column.kind != "number":
            return column
        decimal = self.decimal or ("," if self.thousands == "." else column.number.decimal)
        kept = column.number.thousands if column.number.thousands != decimal else ""
        thousands = self.thousands or kept or {".": ",", ",": ".", "": ""}[decimal]
        return replace(column, number=replace(column.number, decimal=decimal, thousands=thousands))


def decide(
    cells: Cells, wishes: Wishes, *, target: str | None = None, fill_faults: bool = False, encode: bool = True
) -> list[Column]:
    """What each column means, in the order of the table; the target is left as it is, a number where it is one.

    Args:
        cells: the training data.
        wishes: what the user says of the columns.
        target: the column of labels.
        fill_faults: whether a stray cell in a column of numbers is taken for missing.
        encode: whether words are categories; else they are faults.

    Raises:
        UserError: a column has stray cells, a mark that can be read in two ways, or cannot be learnt from.
    """
    wishes = wishes.with_whole_names(cells.header)
    strange = next((name for name in wishes.kinds if name not in cells.header), None)
    if strange is not None:
        raise unknown("the table has no column", strange, cells.header[:20])
    if target is not None and wishes.kinds.get(target) == "ignore":
        raise UserError(
            f"the column {target!r} is the target, and cannot be left out", where=cells.origin, cure="--target COLUMN"
        )
    if cells.delimiter:
        _expect_names(cells)
    found: list[Column] = []
    for place, name in enumerate(cells.header):
        wish = wishes.kinds.get(name)
        if wish == "ignore":
            found.append(Column(name, "ignored"))
        elif name == target:
            found.append(_target_column(cells, place, wishes))
        else:
            found.append(_nameless(cells, place) or _decide_column(cells, place, wishes, fill_faults, encode))
    found = _with_one_mark(cells, found, wishes)
    _refuse_useless(cells, [column for column in found if wishes.kinds.get(column.name) != "category"])
    return found


def _expect_names(cells: Cells) -> None:
    """UserError where the first line is a row as the others are: its numbers stand above numbers, its words above the same.

    Several whole numbers in order may be names: years.
    """
    named = [(name, cells.columns[place]) for place, name in enumerate(cells.header) if name]
    numbers = [is_number_text(name) for name, _ in named]
    whole = [int(name) for name, _ in named if name.isdecimal()]
    in_order = len(whole) > 1 and len(whole) == sum(numbers) and all(a < b for a, b in itertools.pairwise(whole))
    if (
        any(numbers)
        and not in_order
        and all(
            all(map(is_number_text, column[:_LOOKED_AT])) if numeric else name in column
            for numeric, (name, column) in zip(numbers, named, strict=True)
        )
    ):
        raise no_names(cells.header, cells.origin)


def decide_numbers(cells: Cells, place: int, wishes: Wishes) -> Column:
    """A column that is to hold numbers, whatever its cells are: how they are written."""
    name = cells.header[place]
    texts = [text.strip() for text in cells.columns[place]]
    given = [text for text in texts if text.lower() not in MISSING]
    return Column(name, "number", _number_format(cells, place, evidence_of(Counter(given)), wishes))


def _decide_column(cells: Cells, place: int, wishes: Wishes, fill_faults: bool, encode: bool) -> Column:
    name, wish = cells.header[place], wishes.kinds.get(cells.header[place])
    forced = (wishes.decimal or wishes.thousands) and place not in cells.typed
    plain = cells.plain(place) if wish in (None, "number") and not forced else None
    texts = [text.strip() for text in cells.columns[place]]
    if plain is not None:
        if wish is None and encode and are_compact_dates(name, texts):
            return _date(cells, place, texts, None)
        return Column(name, number=NumberFormat(truth=bool(np.isin(plain, (0, 1)).all())))
    if wish in ("category", "date", *ORDERS) and not encode:
        raise UserError(
            "numbers alone can be learnt from here",
            where=cells.origin,
            found=f"kinds={name}:{wish}",
            cure=f"ignore={name}",
        )
    if wish == "category":
        return _category(name, texts, is_word=lambda text: text != "")
    if wish in ("date", *ORDERS):
        return _date(cells, place, texts, wish)
    counts = Counter(text for text in texts if text.lower() not in MISSING)
    present = sum(counts.values())
    if counts and {text.lower() for text in counts} <= {*TRUTH, "0", "1"} and wish in (None, "number"):
        return Column(name, number=NumberFormat(truth=True))
    unit = shared_unit(counts)
    evidence = evidence_of(counts, unit)
    if wish != "number" and not _holds_numbers(counts, evidence, present):
        forms = date_forms(counts) if present else {}
        dated = sum(counts[text] for text in counts if forms and read_date(text, next(iter(forms))) is not None)
        if dated >= NEARLY_ALL * present and encode:
            return _date(cells, place, texts, None, fill_faults)
        if encode:
            return _category(name, texts)
    column = Column(name, "number", _number_format(cells, place, evidence, wishes))
    faults = np.flatnonzero(~np.isfinite(column.values_at(cells, place)[:, 0])).tolist()
    faults = [row for row in faults if texts[row].lower() not in MISSING]
    if faults and not fill_faults:
        raise column.fault(cells, place, faults)
    return replace(column, missing=tuple(sorted({texts[row] for row in faults})))


def _holds_numbers(counts: Mapping[str, int], evidence: Evidence, present: int) -> bool:
    """Whether a column is one of numbers: nearly all cells are, or most are and they are no codes of categories."""
    if evidence.numbers >= NEARLY_ALL * present:
        return True
    if 2 * evidence.numbers < present:
        return False
    different = sum(evidence_of({text: 1}).numbers for text in counts)
    fractions = sum(evidence.counts.get(shape, 0) for shape in ("point", "comma"))
    return different > _DIFFERENT_NUMBERS or 2 * different > evidence.numbers or fractions > 0


# -- numbers ----------------------------------------------------------------------------------------------------------


def _number_format(cells: Cells, place: int, seen: Evidence, wishes: Wishes) -> NumberFormat:
    """How the numbers of a column are written, by what its cells show beyond doubt, else by the separator of the file."""
    where = f"{cells.origin}, column {cells.header[place]!r}"
    if place in cells.typed:
        return NumberFormat(unit=seen.unit)
    if wishes.decimal or wishes.thousands:
        decimal = wishes.decimal or ("," if wishes.thousands == "." else ".")
        thousands = wishes.thousands or (seen.thousands or {".": ",", ",": "."}[decimal])
        return NumberFormat(decimal, "" if thousands == decimal else thousands, seen.unit)
    marks = seen.decimal
    if len(marks) > 1 or (not marks and seen.has("point_or_groups") and seen.has("comma_or_groups")):
        some = [cell for shape, cell in seen.first.items() if shape != "digits"]
        rows = [next(r for r, text in enumerate(cells.columns[place]) if text.strip() == cell) for cell in some]
        raise UserError(
            "some numbers have a comma and others a point",
            where=where,
            expected="one mark for decimals, and another or none between thousands",
            found=", ".join(
                f"{cell} in {cells.unit} {cells.lines[row]}" for cell, row in zip(some[:3], rows[:3], strict=True)
            ),
            cure="write all of them with a point; decimal=, or decimal=. where one of the marks is between thousands",
        )
    if not marks and seen.has("comma_or_groups") and cells.delimiter != ",":
        raise ambiguous(cells, place, seen.first["comma_or_groups"])
    decimal = marks or "."
    grouped = {".": "comma_or_groups", ",": "point_or_groups"}[decimal]
    return NumberFormat(
        decimal, seen.thousands or ({".": ",", ",": "."}[decimal] if seen.has(grouped) else ""), seen.unit
    )


def ambiguous(cells: Cells, place: int, cell: str) -> UserError:
    """The error for a cell whose one mark may be a decimal one or stand between thousands."""
    row = next(r for r, text in enumerate(cells.columns[place]) if text.strip() == cell)
    mark = "," if "," in cell else "."
    return UserError(
        f"a number can be read in two ways: is the {'comma' if mark == ',' else 'point'} a decimal mark, or between thousands?",
        where=f"{cells.where(row)}, column {cells.header[place]!r}",
        found=cell,
        cure=f"decimal={mark}, or thousands={mark}",
    )


def _with_one_mark(cells: Cells, columns: list[Column], wishes: Wishes) -> list[Column]:
    """The columns, where one that shows no decimal mark, 1.234, 2.345 and such, is read by the marks of the other columns.

    Where others have decimal commas and none a decimal point, the point is between thousands; where some have points too,
    it is not told. A column of digits alone has a comma then, so that a later 1.234 is not taken for a little more than 1.
    """
    commas = {column.name for column in columns if column.kind == "number" and column.number.decimal == ","}
    if not commas or wishes.decimal or wishes.thousands:
        return columns
    seen: dict[int, Evidence] = {}
    for place, column in enumerate(columns):
        number = column.number
        if column.kind == "number" and (number.decimal, number.thousands) == (".", "") and place not in cells.typed:
            seen[place] = evidence_of(Counter(text.strip() for text in cells.columns[place]), number.unit)
    points = any(evidence.decimal == "." for evidence in seen.values())
    found = list(columns)
    for place, evidence in seen.items():
        grouped = evidence.has("point_or_groups")
        if grouped and points and not evidence.decimal:
            raise ambiguous(cells, place, evidence.first["point_or_groups"])
        if not points and evidence.numbers:
            number = replace(columns[place].number, decimal=",", thousands="." if grouped else "")
            found[place] = replace(columns[place], number=number)
    return found


def _target_column(cells: Cells, place: int, wishes: Wishes) -> Column:
    """The target as numbers, where it may hold any: as classes it is text, and what is missing its reader tells."""
    try:
        return decide_numbers(cells, place, wishes)
    except UserError:
        return Column(cells.header[place])


# -- words and dates --------------------------------------------------------------------------------------------------


def _category(name: str, texts: Sequence[str], is_word: Any = None) -> Column:
    word = is_word or (lambda text: not is_missing_word(text))
    return Column(name, "category", categories=tuple(sorted(text for text in set(texts) if word(text))))


def _date(cells: Cells, place: int, texts: Sequence[str], wish: str | None, fill_faults: bool = False) -> Column:
    name = cells.header[place]
    given = list(dict.fromkeys(text for text in texts if text.lower() not in MISSING))
    forms = date_forms(given)
    form = wish if wish is not None and wish in ORDERS else next(iter(forms), "ymd")
    if wish not in ORDERS and "." not in "".join(given[:1]) and {"dmy", "mdy"} <= set(forms):
        raise UserError(
            "the order of day and month is not told by any date",
            where=f"{cells.origin}, column {name!r}",
            found=", ".join(given[:3]),
            cure=f"kinds={name}:dmy, or kinds={name}:mdy",
        )
    whole = Column(name, "date", form=form, parts=("days",))
    faults = np.flatnonzero(np.isnan(whole.values(texts)[:, 0])).tolist()
    faults = [row for row in faults if texts[row].lower() not in MISSING]
    if faults and not fill_faults:
        raise whole.fault(cells, place, faults)
    dates = [date for text in given if (date := later_date(text, form)) is not None]
    parts = [part for part in PARTS if len({getattr(date, part) for date in dates}) > 1]
    missing = tuple(sorted({texts[row] for row in faults}))
    return replace(whole, parts=tuple(parts) or ("days",), missing=missing)


def _nameless(cells: Cells, place: int) -> Column | None:
    """A column without a name is left out where it counts or names the rows, as a saved index does, or has no value."""
    name = cells.header[place]
    if not _NAMELESS.fullmatch(name):
        return None
    texts = [text.strip() for text in cells.columns[place]]
    if not any(texts):
        return Column(name, "ignored", why="it is empty")
    if counts_rows(texts):
        return Column(name, "ignored", why="it counts the rows")
    if len(set(texts)) == len(texts) > 1 and not any(_FRACTION.search(text) for text in texts):
        return Column(name, "ignored", why="it names the rows")
    if name:
        return None
    raise UserError(
        "a column has no name",
        where=f"{cells.origin}, column {place + 1}",
        expected="a name, or row numbers, which are left out",
        found=", ".join(texts[:3]),
        cure="give it a name in the first line",
    )


def counts_rows(texts: Sequence[str]) -> bool:
    """Whether a column is whole numbers, each one more than the last.

    >>> counts_rows(["0", "1", "2"]), counts_rows(["1", "3"])
    (True, False)
    """
    try:
        numbers = np.array(list(map(int, texts)), dtype=np.int64)
    except (ValueError, OverflowError):
        return False
    return len(numbers) > 1 and bool((np.diff(numbers) == 1).all())


def _refuse_useless(cells: Cells, columns: Sequence[Column]) -> None:
    """UserError where columns of words cannot be learnt from: names, sentences; all of them, with the one cure for all."""
    told: dict[str, str] = {}
    for column in columns:
        if column.kind != "category":
            continue
        words, some = column.categories, ", ".join(word[:40] for word in column.categories[:3]) + ", ..."
        long = sum(len(word) > 25 or word.count(" ") > 3 for word in words) > len(words) / 2
        if len(words) > MOST_CATEGORIES:
            what = "sentences" if long else "distinct texts"
            told[column.name] = f"holds {len(words)} {what}, too many for categories: {some}"
        elif FEW_ROWS <= len(cells.rows) == len(words):
            told[column.name] = f"is different in every row: {some}"
    if told:
        first = next(iter(told))
        raise UserError(
            f"the column {first!r} {told[first].partition(':')[0]}"
            if len(told) == 1
            else f"{len(told)} columns can be no categories",
            where=cells.origin,
            expected=f"numbers, dates, or {MOST_CATEGORIES} categories at most",
            found="; ".join(
                f"{name!r} {what}" if len(told) > 1 else what.partition(": ")[2] for name, what in told.items()
            ),
            cure=f"ignore={','.join(told)} leaves {'it' if len(told) == 1 else 'them'} out; numbers with a unit: write bare "
            "ones; texts are learnt from by bag-of-words, text=COLUMN",
        )
