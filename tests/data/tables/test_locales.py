"""Exports of spreadsheets in other countries, and the same table as text and as numbers: one right reading, or words."""

from __future__ import annotations

import datetime
import unicodedata
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chainrule.core.data.words import request_of
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.given.inputs import cells_given
from chainrule.data.given.reading import given
from chainrule.data.labels import alike_in_words
from chainrule.data.tables.files import RawTable, read_table
from chainrule.data.tables.formats.cells import Cells, cells_of_columns
from chainrule.data.tables.formats.csv_files import find_separator
from chainrule.data.tables.formats.table_files import read_cells
from chainrule.data.tables.loading import read_table_splits
from chainrule.data.tables.new_rows import RowReader, read_labelled, read_rows
from chainrule.data.tables.schema.column import Column
from chainrule.data.tables.schema.deciding import Wishes, decide
from chainrule.data.tables.schema.number_format import NumberFormat
from chainrule.data.tables.schema.suspicion import suspicious
from chainrule.data.tables.spec import TableSpec

KIND = ["a", "b"] * 12


def column(values: list[str], *, name: str = "v", beside: list[str] | None = None, **options: Any) -> Any:
    """What a column of a file between semicolons becomes, over and over to 24 rows, beside other numbers."""
    other = (beside or ["0", "3", "6"]) * 24
    rows = [[values[i % len(values)], other[i], KIND[i]] for i in range(24)]
    cells = Cells([name, "e", "y"], rows, range(2, 26), "t.csv", delimiter=";")
    found = decide(cells, Wishes.of(options), target="y")
    return found[0].encode(cells, 0, fill=False)[: len(values)].tolist(), found[0]


NUMBERS = {
    "Germany": (["1.234,56", "17,5", "1.000.000,00"], [1234.56, 17.5, 1e6]),
    "Switzerland": (["1'234.50", "17.5", "1’000’000.00"], [1234.5, 17.5, 1e6]),
    "France": (["1\u202f234,5", "17,5", "1\u00a0000\u00a0000,25"], [1234.5, 17.5, 1000000.25]),
    "India": (["1,23,456.5", "12,345", "12,34,567"], [123456.5, 12345.0, 1234567.0]),
    "China": (["1.2万元", "3万元", "0.5万元"], [1.2, 3.0, 0.5]),
    "percent": (["12%", "35", "3,5 %"], [12.0, 35.0, 3.5]),
    "true": (["TRUE", "False", "1"], [1.0, 0.0, 1.0]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_by_country(name: str) -> None:
    cells, wanted = NUMBERS[name]
    assert column(cells)[0] == [[value] for value in wanted]


def test_the_marks_of_the_other_columns() -> None:
    commas = ["1,5", "2,5"]
    assert column(["1.250 €", "2.300 €"], beside=commas)[0] == [[1250.0], [2300.0]]
    seen = column(["950", "120"], beside=commas)[1]
    assert np.isnan(seen.values(["1.250"])[0, 0]), "not a little more than 1"
    assert seen.values(["1,5"])[0, 0] == seen.values(["1.5"])[0, 0] == 1.5


REFUSED = {
    r"no % sign, and may be a share(.|\n)*0,35 in line 3": lambda: column(["12%", "0,35", "40 %"]),
    r"not numeric(.|\n)*in \$(.|\n)*€6.00 in line 4": lambda: column(["$5.00", "$7.00", "€6.00"]),
    "order of day and month": lambda: column(["03-05-2024", "04-06-2024"]),
    "one mark cannot be": lambda: column(["1"], decimal=",", thousands=","),
    "'y' is the target, and cannot be left out": lambda: column(["1"], ignore=["y"]),
    "no column 'V'; did you mean v": lambda: column(["1"], ignore=["V"]),
    "first line holds numbers": lambda: decide(
        Cells(["7", "a"], [["1", "b"], ["2", "a"]], (2, 3), "t.csv", delimiter=","), Wishes()
    ),
    "a name for one column alone": lambda: cells_of_columns(["Sales 2024", "", ""], [["a"], ["b"], ["c"]], "t.xlsx"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_can_be_read_in_two_ways_is_told(words: str) -> None:
    with pytest.raises(UserError, match=words):
        REFUSED[words]()


DATES = {
    "2024-W10": [2024, 3, 4],
    "2024-W10-3": [2024, 3, 6],
    "5. März 2024": [2024, 3, 5],
    "1 juillet 2024": [2024, 7, 1],
    "3 août 2024": [2024, 8, 3],
    "Di, 05.03.2024": [2024, 3, 5],
    "5 de marzo de 2024": [2024, 3, 5],
}


@pytest.mark.parametrize("cell", DATES)
def test_dates_by_country(cell: str) -> None:
    day = datetime.date(*DATES[cell])
    values, found = column([cell, cell.replace("2024", "2023")])
    assert found.kind == "date" and values[0][-1] == (day - datetime.date(1970, 1, 1)).days


def test_times_and_dates_without_marks() -> None:
    assert column(["06:00", "6:00 PM", "18:30:00"])[0] == [[0.25], [0.75], [18.5 / 24]]
    values, found = column(["20240305", "20241231"], name="Datum")
    assert found.kind == "date" and [row[-1] for row in values] == [19787, 20088]
    assert column(["20240305", "20241231"])[1].kind == "number", "not called a date"


def test_titles_above_the_names_and_sums_below() -> None:
    table = ["a;b;y\n", *(f"{i},5;{i};x\n" for i in range(9))]
    assert find_separator(["Sales of 2024\n", "\n", *table]) == find_separator(["# of May\n", *table]) == ";"
    assert find_separator(["text\n", "well, then\n", "no, not so\n", "yes, so\n"]) == ";", "one that no line has"
    cells = Cells(["r", "v"], [["n", "1"], ["N", "2"], ["Summe", "3"]], range(2, 5), "t.csv", delimiter=";")
    found = suspicious(cells, decide(cells, Wishes(), target="v"), np.zeros((3, 1)), "v")
    assert found == [
        "the categories 'N' and 'n' of column 'r' differ in capitals or blanks alone, and stay 2 categories",
        "line 4 has 'Summe' in column 'r', as a line of sums has: remove it, if it is one",
    ]
    assert alike_in_words(["a", "b"], " of column 'r'") == []


# -- the same table as text and as numbers ----------------------------------------------------------------------------

DAYS = [datetime.date(2024, 1, 1) + datetime.timedelta(days=9 * i) for i in range(24)]
PRICE = [round(980.25 + 37.5 * i, 3) for i in range(24)]
SHARE = [(7 * i) % 40 for i in range(24)]
NEW = [i % 3 == 0 for i in range(24)]
TARGET = [round(2 * price - share, 3) for price, share in zip(PRICE, SHARE, strict=True)]
NAMES = ["Preis", "Rabatt", "Tag", "Größe", "Ziel"]


def german(number: float, digits: int = 2) -> str:
    return f"{number:,.{digits}f}".translate(str.maketrans(",.", ".,"))


def as_csv(folder: Path) -> str:
    rows = zip(PRICE, SHARE, DAYS, NEW, TARGET, strict=True)
    lines = [f"{german(p)} €;{s} %;{d:%d.%m.%Y};{n};{german(t, 3)}" for p, s, d, n, t in rows]
    (folder / "de.csv").write_text("\n".join(["sep=;", ";".join(NAMES), *lines]), "utf-8-sig")
    return str(folder / "de.csv")


def as_xlsx(folder: Path) -> str:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [NAMES, *zip(PRICE, [s / 100 for s in SHARE], DAYS, NEW, TARGET, strict=True)]:
        book.active.append(list(row))
    for row in book.active.iter_rows(min_row=2):
        row[1].number_format = "0%"
    book.save(folder / "de.xlsx")
    return str(folder / "de.xlsx")


def splits(place: str) -> tuple[TableSpec, Any]:
    raw = {"task": "regression", "dtype": torch.float64, "standardize": True, "drop_constant": True, "encode": True}
    shares = {"val_fraction": 0.0, "test_fraction": 0.25, "seed": 0}
    return read_table_splits(request_of(place, target="Ziel"), target="Ziel", **raw, **shares)  # type: ignore[arg-type]


def test_a_german_export_is_the_workbook_that_it_was_saved_from(tmp_path: Path) -> None:
    """Decimal commas, thousands, currency, percent and dates as text mean what the sheet has as numbers."""
    text, sheet = as_csv(tmp_path), as_xlsx(tmp_path)
    (spec, found), (typed, same) = splits(text), splits(sheet)
    assert (spec.columns, spec.fingerprint) == (typed.columns, typed.fingerprint)
    assert torch.equal(found["train"].x, same["train"].x) and torch.equal(found["train"].y, same["train"].y)
    for place in (text, sheet):
        rows = read_labelled(place, "Ziel", spec, torch.float64)
        assert torch.equal(rows.y, torch.tensor(TARGET, dtype=torch.float64)) and torch.equal(
            rows.x, read_rows([text], spec)[1]
        )
    (tmp_path / "later.csv").write_text("Preis;Rabatt;Tag;Größe\n1.250;1,5 %;2024-01-31;0\n", "utf-8")
    with pytest.raises(UserError, match=r"two ways(.|\n)*line 2, column 'Preis'(.|\n)*decimal=\."):
        read_rows([str(tmp_path / "later.csv")], typed)  # a sheet has no marks
    assert RowReader(typed, {"decimal": ","}).read(read_cells(tmp_path / "later.csv"))[0, :2].tolist() == [1250.0, 1.5]
    typed_row = {name: value[2] for name, value in zip(NAMES, (PRICE, SHARE, DAYS, NEW), strict=False)}
    row = RowReader(spec).read(cells_given({**typed_row, "Preis": Decimal("1.234")}, NAMES[:4], "it"))
    assert row[0, 0] == 1.234 and row[0, 1] == SHARE[2] and row[0, -1] == NEW[2], "a number is no text with a point"
    (tmp_path / "mac.csv").write_text(unicodedata.normalize("NFD", Path(text).read_text("utf-8-sig")), "utf-8")
    assert torch.equal(read_rows([str(tmp_path / "mac.csv")], spec)[1], read_rows([text], spec)[1])


def test_a_target_is_read_by_the_marks_of_its_table(tmp_path: Path) -> None:
    lines = [f"{i},5;{1 + i % 9}.{100 + i}" for i in range(24)]
    (tmp_path / "t.csv").write_text("\n".join(["x;Ziel", *lines]), "utf-8")
    spec, found = splits(str(tmp_path / "t.csv"))
    assert found["train"].y.min() >= 1100
    (tmp_path / "later.csv").write_text("x;Ziel\n1,5;1.200\n2,5;1,75\n", "utf-8")
    rows = read_labelled(str(tmp_path / "later.csv"), "Ziel", spec, torch.float64)
    assert rows.y.tolist() == [1200.0, 1.75]
    (tmp_path / "later.csv").write_text("x;Ziel\n1,5;n. v.\n", "utf-8")
    with pytest.raises(UserError, match=r"a target is not numeric(.|\n)*line 2(.|\n)*n. v."):
        read_labelled(str(tmp_path / "later.csv"), "Ziel", spec, torch.float64)


def test_values_given_in_python_mean_what_they_are() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({0: [1.234, 2.345] * 12, 1: [f"{i},5" for i in range(24)], 2: KIND})
    raw: RawTable = read_table(request_of(given(frame)), "2", needs_target=True, encode=True)
    assert raw.splits["train"].x[:2].tolist() == [[1.234, 0.5], [2.345, 1.5]], "a float is not 1,234"
    cells = cells_of_columns(["v"], [[1.234, "NA", "-", 2.5, 3.25]], "a sheet")
    column_of_germany = Column("v", number=NumberFormat(",", "."))
    values = column_of_germany.encode(replace(cells, rows=cells.rows[:1]), 0, fill=False)
    assert cells.typed == {0} and values.tolist() == [[1.234]], "nor where the column has gaps and faults"
    masked = np.ma.masked_array([[1.0], [7.0]], mask=[[False], [True]])
    with pytest.raises(UserError, match="missing"):
        read_table(request_of(given((masked, [0, 1]))), None, needs_target=True)
    counts = np.array([[1, 2.5], [3, 4]], dtype=object)
    assert (
        read_table(request_of(given((counts, [0, 1]))), None, needs_target=True).splits["train"].x.dtype == np.float64
    )


def test_labels_that_are_true_or_1(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i},{i % 2 == 0}\n" for i in range(24)), "utf-8")
    (tmp_path / "j.jsonl").write_text('{" x": 1, "y": true}\n{" x": 2, "y": false}\n', "utf-8")
    assert read_cells(tmp_path / "j.jsonl").header == ["x", "y"]
    asked = {"task": "classification", "dtype": torch.float64, "standardize": True, "drop_constant": True}
    request = request_of(str(tmp_path / "t.csv"), target=" y ")
    spec, _ = read_table_splits(request, target=request.target, val_fraction=0.1, test_fraction=0.2, seed=0, **asked)  # type: ignore[arg-type]
    assert spec.classes == ["False", "True"]
    assert read_labelled(str(tmp_path / "j.jsonl"), "y", spec, torch.float64).y.tolist() == [1, 0]


def test_files_with_the_ending_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_text("a,y\n1,u\n", "utf-8")
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04\xc7\x00")
    (tmp_path / "t.ods").write_bytes(b"PK\x03\x04")
    pytest.importorskip("openpyxl")
    for name, words in (("t.xlsx", "name it .csv"), ("t.csv", "name a workbook .xlsx"), ("t.ods", "save it as .csv")):
        with pytest.raises(UserError, match=words):
            check(str(tmp_path / name), None)
