"""A column of a table: what its cells mean, decided once on the training data, and applied to every later cell."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from chainrule.core.errors import UserError
from chainrule.data.tables.formats.cells import Cells
from chainrule.data.tables.schema.dates import days_of, later_date
from chainrule.data.tables.schema.number_format import NumberFormat

Kind = Literal["number", "category", "date", "ignored"]
MISSING = frozenset(
    {"", "?", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none"}
)  # no value, in any case
_TOLD = 3  # cells of one error


@dataclass(frozen=True)
class Column:
    """What the cells of a column mean.

    Attributes:
        name: of the column.
        kind: `number`, `category`, `date`, which becomes numbers, or `ignored`, which nothing reads.
        number: how its numbers are written.
        form: how its dates are written, one of `chainrule.data.tables.schema.dates.FORMS`.
        parts: the numbers that a date becomes, of year, month, weekday and days since 1970-01-01: those that vary.
        categories: its words, in order.
        missing: what stands for no value in the training data beside what always does.
        why: of an ignored one, why.
    """

    name: str
    kind: Kind = "number"
    number: NumberFormat = field(default_factory=NumberFormat)
    form: str = ""
    parts: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    why: str = ""

    @property
    def outputs(self) -> list[str]:
        """The names of the numbers that a cell becomes: the column's own; of a date one for each part.

        >>> Column("when", "date", parts=("year", "days")).outputs, Column("age").outputs
        (['when.year', 'when.days'], ['age'])
        """
        if self.kind == "ignored":
            return []
        return [f"{self.name}.{part}" for part in self.parts] if self.kind == "date" else [self.name]

    @cached_property
    def _numbers_of_categories(self) -> dict[str, int]:
        return {category: number for number, category in enumerate(self.categories)}

    @cached_property
    def _numbers_by_normal_form(self) -> dict[str, int]:
        return {unicodedata.normalize("NFC", category): number for number, category in enumerate(self.categories)}

    def _number_of(self, word: str) -> float:
        """The number of a category, in whichever normal form it is written; nan of one that is not known."""
        number = self._numbers_of_categories.get(word)
        if number is None and not word.isascii():
            number = self._numbers_by_normal_form.get(unicodedata.normalize("NFC", word))
        return np.nan if number is None else number

    def is_missing(self, cell: str) -> bool:
        """Whether a cell without blanks around it stands for no value. `none` among words is a word.

        >>> Column("a").is_missing("None"), Column("a", "category", categories=("none", "x")).is_missing("none")
        (True, False)
        """
        if self.kind == "category":
            return cell not in self._numbers_of_categories and (is_missing_word(cell) or cell in self.missing)
        return cell.lower() in MISSING or cell in self.missing

    def values(self, texts: Sequence[str]) -> np.ndarray:
        """The numbers (N, outputs) float64 that cells mean; nan where a cell is missing or means nothing."""
        if self.kind == "number":
            return self.number.parse_all(texts)[:, None]
        if self.kind == "category":
            return np.array([self._number_of(text.strip()) for text in texts], dtype=np.float64)[:, None]
        if self.parts == ("days",):
            return days_of(texts, self.form)[:, None]
        found = [later_date(text, self.form) for text in texts]
        nothing = [np.nan] * len(self.parts)
        rows = [nothing if date is None else [float(getattr(date, part)) for part in self.parts] for date in found]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.parts))

    def encode(self, cells: Cells, place: int, *, fill: bool, ignore_unknown: bool = False) -> np.ndarray:
        """The numbers (N, outputs) float64 of the column at `place` of a table.

        Args:
            cells: the table.
            place: where the column stands in it.
            fill: whether a value may be missing: nan.
            ignore_unknown: whether a category that was never seen is none of those that were: nan.

        Raises:
            UserError: a value is missing, is not numeric, no date, no category that is known; the lines are named.
        """
        texts = cells.columns[place]
        values = self.values_at(cells, place)
        bad = np.flatnonzero(~np.isfinite(values).all(1))
        if len(bad):
            missing = [row for row in bad.tolist() if self.is_missing(texts[row].strip())]
            gaps = set(missing)
            faults = [row for row in bad.tolist() if row not in gaps]
            if faults and not (ignore_unknown and self.kind == "category"):
                raise self.fault(cells, place, faults)
            if missing and not fill:
                raise self.gap(cells, place, missing)
        return values

    def values_at(self, cells: Cells, place: int) -> np.ndarray:
        """As `values`, of the column at `place` of a table, whose cells may have been numbers already."""
        if self.kind != "number":
            return self.values(cells.columns[place])
        if place in cells.typed:
            return self.number.parse_typed(cells.columns[place])[:, None]
        plain = cells.plain(place) if self.number.decimal != "," and not self.number.is_share else None
        return self.values(cells.columns[place]) if plain is None else plain[:, None]

    def gap(self, cells: Cells, place: int, rows: Sequence[int]) -> UserError:
        """The error for cells without a value."""
        word = "a category" if self.kind == "category" else "a finite number" if self.kind == "number" else "a date"
        named = f"; kinds={self.name}:category where it is a word" if self.kind == "category" else ""
        return UserError(
            "a value is missing or infinite",
            where=f"{cells.where(rows[0])}, column {self.name!r}",
            expected=word,
            found=cells_in_words(cells, place, rows),
            cure=f"fill it in, remove the line, or missing=fill where the recipe has it{named}",
        )

    def fault(self, cells: Cells, place: int, rows: Sequence[int]) -> UserError:
        """The error for cells that mean nothing in this column."""
        cell, where = cells.columns[place][rows[0]].strip(), f"{cells.where(rows[0])}, column {self.name!r}"
        found = cells_in_words(cells, place, rows)
        if self.kind == "category":
            few = ", ".join(self.categories[:20])
            cure = "unknown=ignore answers with none of the column's categories set"
            return UserError("a category is not known", where=where, expected=f"one of {few}", found=found, cure=cure)
        if self.kind == "date":
            return UserError(
                "a cell is no date", where=where, expected=f"a date in the form {self.form}", found=found,
                cure=f"correct it; or kinds={self.name}:category, or ignore={self.name}",
            )  # fmt: skip
        if NumberFormat("").parse(cell) in (float("inf"), float("-inf")):
            return UserError(
                "a value is missing or infinite",
                where=where,
                expected="a finite number",
                found=found,
                cure="fill it in, or remove the line",
            )
        style = f", {self.number}" if str(self.number) else ""
        other = "decimal=. says that the point" if self.number.decimal == "," else "decimal=, says that the comma"
        if self.number.is_share and replace(self.number, unit="").parse(cell) is not None:
            return UserError(
                f"a number has no {self.number.unit} sign, and may be a share or {self.number.unit}",
                where=where,
                expected=f"a number{style}",
                found=found,
                cure=f"write the sign: 12{self.number.unit}",
            )
        return UserError(
            "a cell is not numeric",
            where=where,
            expected=f"a number{style}, as {len(cells.rows) - len(rows)} of {len(cells.rows)} cells of the column are"
            if len(cells.rows) > len(rows)
            else f"a finite number{style}",
            found=found,
            cure=f"correct it; missing=fill takes it for missing in training; kinds={self.name}:category makes words of the "
            f"column, ignore={self.name} leaves it out; {other} is a decimal mark",
        )

    def __str__(self) -> str:
        """What `data check` shows of it."""
        if self.kind == "ignored":
            return f"left out: {self.why}" if self.why else "left out"
        if self.kind == "category":
            some = ", ".join(self.categories[:5]) + (", ..." if len(self.categories) > 5 else "")
            words = f"category: {some}" if len(self.categories) > 1 else f"constant: {some}"
        elif self.kind == "date":
            words = f"date ({self.form}): {', '.join(self.parts)}"
        else:
            words = ", ".join(filter(None, ["number", str(self.number), "0 or 1" * self.number.truth]))
        empty = [repr(token) for token in self.missing]
        return words + (f"; {', '.join(empty)} is missing" if empty else "")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, what is at its default left out; categories have their own place in a spec."""
        plain = Column(self.name)
        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "categories"}
        found = {name: value for name, value in named.items() if name == "name" or value != getattr(plain, name)}
        if "number" in found:
            found["number"] = dataclasses.asdict(self.number)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], categories: Sequence[str] = ()) -> Column:
        """The column that `to_json` wrote, with its categories."""
        found: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in content.items()}
        if "number" in found:
            found["number"] = NumberFormat(**found["number"])
        return cls(**found, categories=tuple(categories))


def is_missing_word(cell: str) -> bool:
    """Whether a cell among words stands for no value.

    >>> [is_missing_word(cell) for cell in ("", "NA", "None", "none")]
    [True, True, True, False]
    """
    return cell.lower() in MISSING and cell != "none"


def cells_in_words(cells: Cells, place: int, rows: Sequence[int]) -> str:
    """Some cells of a column with their lines, and how many there are."""
    texts = [cells.columns[place][row].strip() for row in rows]
    if len(rows) == 1:
        return texts[0] or "an empty cell"
    told = [
        f"{text or 'an empty cell'} in {cells.unit} {cells.lines[row]}" for text, row in zip(texts, rows, strict=True)
    ]
    more = f", ...: {len(rows)} of {len(cells.rows)} cells" if len(rows) > _TOLD else ""
    return ", ".join(told[:_TOLD]) + more


def encode_columns(
    cells: Cells,
    columns: Iterable[Column],
    *,
    fill: bool,
    ignore_unknown: bool = False,
    used: Collection[str] | None = None,
) -> np.ndarray:
    """The rows of a table as numbers (N, outputs of all columns) float64; columns are found by their names.

    A column that is not among those `used` is not read, may be absent, and is 0.
    """
    places = {name: place for place, name in enumerate(cells.header)}
    parts = [
        np.zeros((len(cells.rows), len(column.outputs)))
        if used is not None and column.name not in used
        else column.encode(cells, places[column.name], fill=fill, ignore_unknown=ignore_unknown)
        for column in columns
        if column.outputs
    ]
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(cells.rows), 0))
