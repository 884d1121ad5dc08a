"""One table in every form that is read gives the same spec, the same tensors, the same `data check`; broken ones are told."""

from __future__ import annotations

import csv
import gzip
import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.tables.formats.table_files import read_cells
from chainrule.data.tables.loading import TableSplit, read_table_splits
from chainrule.data.tables.new_rows import read_rows
from chainrule.data.tables.spec import TableSpec

openpyxl = pytest.importorskip("openpyxl")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

HEADER = ["width", "height", "ripe", "kind"]
# Sheets keep 15 digits of a number.
ROWS: list[list[Any]] = [[i, round(0.7 * i, 3), i % 3 == 0, "ab"[i % 2]] for i in range(40)]


def as_csv(file: Path, delimiter: str = ",") -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows([HEADER, *[[int(v) if isinstance(v, bool) else v for v in row] for row in ROWS]])
    return file


def as_jsonl(file: Path) -> Path:
    file.write_text("".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in ROWS), encoding="utf-8")
    return file


def as_parquet(file: Path) -> Path:
    parquet.write_table(pa.table(dict(zip(HEADER, zip(*ROWS, strict=True), strict=True))), file)
    return file


def as_xlsx(file: Path, *more: str) -> Path:
    book = openpyxl.Workbook()
    for row in [HEADER, *ROWS]:
        book.active.append(row)
    for name in more:
        book.create_sheet(name)
    book.save(file)
    return file


WRITERS: dict[str, Callable[[Path], Path]] = {
    ".tsv": lambda file: as_csv(file, "\t"),
    ".jsonl": as_jsonl,
    ".parquet": as_parquet,
    ".xlsx": as_xlsx,
}


def packed(file: Path) -> Path:
    target = file.with_name(file.name + ".gz")
    target.write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    return target


def splits(source: Path | str, target: str | None = "kind") -> tuple[TableSpec, dict[str, TableSplit]]:
    return read_table_splits(
        str(source),
        target=target,
        task="classification",
        dtype=torch.float32,
        standardize=True,
        drop_constant=True,
        val_fraction=0.1,
        test_fraction=0.2,
        seed=0,
    )


@pytest.mark.parametrize("gz", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("ending", WRITERS)
def test_every_form_is_the_table_that_the_csv_is(ending: str, gz: bool, tmp_path: Path) -> None:
    expected, parts = splits(as_csv(tmp_path / "t.csv"))
    file = WRITERS[ending](tmp_path / f"t{ending}")
    file = packed(file) if gz else file
    spec, found = splits(file)
    assert replace(spec, where="") == replace(expected, where="")
    assert all(torch.equal(found[name].x, parts[name].x) for name in parts)
    seen = check(str(file), "kind")
    assert {**seen, "where": ""} == {**check(str(tmp_path / "t.csv"), "kind"), "where": ""}
    names, rows = read_rows([str(file)], spec)
    assert torch.equal(rows, read_rows([str(tmp_path / "t.csv")], spec)[1])
    assert names[0].endswith(", row 1" if ending == ".parquet" else ", row 2" if ending == ".xlsx" else names[0][-8:])


def test_a_folder_of_splits_in_any_form(tmp_path: Path) -> None:
    as_parquet(tmp_path / "train.parquet")
    packed(as_jsonl(tmp_path / "test.jsonl"))
    found = check(str(tmp_path), "kind")
    assert found["kind"] == "table" and found["found"] == {"train": 40, "test": 40}
    as_csv(tmp_path / "train.csv")
    with pytest.raises(UserError, match=r"(?s)train is there twice.*train.csv, train.parquet"):
        check(str(tmp_path), "kind")


def test_texts_in_any_form(tmp_path: Path) -> None:
    rows = [{"text": f"line {i}\nof verse", "label": i % 2} for i in range(20)]
    file = tmp_path / "t.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    assert check(str(file), None)["kind"] == "sentences" and check(str(file), None)["classes"] == ["0", "1"]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert check(str(tmp_path / "t.parquet"), None)["train by class"] == {"0": 10, "1": 10}


def test_a_name_that_a_line_lacks_has_no_value(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"a": 1}\n\n{"b": 2.50, "a": null}\n')
    cells = read_cells(file)
    assert (cells.header, cells.rows, cells.lines) == (["a", "b"], [["1", ""], ["", "2.5"]], [1, 3])


def test_numbers_keep_every_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=200).astype(np.float32)
    parquet.write_table(pa.table({"v": values, "u": np.arange(200) + 2**53 - 300}), tmp_path / "t.parquet")
    cells = read_cells(tmp_path / "t.parquet")
    assert np.array_equal(np.array([float(row[0]) for row in cells.rows]), values.astype(np.float64))
    assert [int(row[1]) for row in cells.rows] == (np.arange(200) + 2**53 - 300).tolist()


def test_sheets(tmp_path: Path) -> None:
    file = as_xlsx(tmp_path / "t.xlsx", "May (1)")
    with pytest.raises(UserError, match=r"(?s)2 sheets.*Sheet, May \(1\).*t.xlsx#Sheet"):
        read_cells(file)
    assert splits(f"{file}#Sheet")[0].counts == splits(as_csv(tmp_path / "t.csv"))[0].counts
    with pytest.raises(UserError, match=r"(?s)no sheet 'June'.*Sheet, May"):
        check(f"{file}#June", None)
    with pytest.raises(UserError, match=r"(?s)empty.*sheet 'May \(1\)'"):
        check(f"{file}#May (1)", None)


def without_header(folder: Path) -> Path:
    book = openpyxl.Workbook()
    for row in ROWS[1:]:
        book.active.append([row[0], row[1], int(row[2])])
    book.save(folder / "t.xlsx")
    return folder / "t.xlsx"


def cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


def of_text(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def nested(folder: Path) -> Path:
    parquet.write_table(pa.table({"a": [[1, 2], [3]], "b": [1, 2]}), folder / "t.parquet")
    return folder / "t.parquet"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (without_header, ["numbers where column names belong", "sheet 'Sheet'", "put a line of column names above"]),
        (lambda f: cut(as_parquet(f / "t.parquet")), ["cannot be read", "t.parquet", "cut short"]),
        (lambda f: cut(as_xlsx(f / "t.xlsx")), ["cannot be read", "t.xlsx", "cut short"]),
        (lambda f: cut(packed(as_csv(f / "t.csv"))), ["cannot be read", "t.csv.gz", "cut short"]),
        (lambda f: cut(packed(as_jsonl(f / "t.jsonl"))), ["cannot be read", "t.jsonl.gz", "cut short"]),
        (of_text("t.parquet", ""), ["cannot be read", "t.parquet"]),
        (of_text("t.jsonl", '{"a": 1}\n{"a": '), ["no JSON", "line 2", "cut short"]),
        (of_text("t.jsonl", '{"a": 1}\n[2]'), ["no object", "line 2"]),
        (of_text("t.jsonl", '{"a": {"b": 1}}'), ["more than one value", "line 1, column 'a'", "dict"]),
        (of_text("t.jsonl", ""), ["empty"]),
        (nested, ["more than one value", "row 1, column 'a'"]),
        (of_text("t.tsv", "a\tb\n1,2\n"), ["another number of columns", "line 2", "cure:"]),
        (of_text("t.csv", "5.1,3.5,1.4,0.2,setosa\n6.2,3.4,5.4,2.3,virginica\n"), ["column names belong", "line 1"]),
    ],
)
def test_broken_tables_are_told(make: Callable[[Path], Path], words: list[str], tmp_path: Path) -> None:
    file = make(tmp_path)
    for read in (lambda: check(str(file), None), lambda: splits(file, None)):
        with pytest.raises(UserError) as error:
            read()
        assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("header", ["name,2021,2020,2019", "label,0,1,2", "who,0.1,0.5,0.9", "1.5,a,b"])
def test_numbers_in_order_may_be_names(header: str, tmp_path: Path) -> None:
    assert read_cells(of_text("t.csv", f"{header}\n{'1,' * header.count(',')}2\n")(tmp_path)).header == header.split(
        ","
    )


@pytest.mark.parametrize(("ending", "package"), [(".parquet", "pyarrow"), (".xlsx", "openpyxl")])
def test_a_library_that_is_not_there(ending: str, package: str, tmp_path: Path, monkeypatch) -> None:
    file = WRITERS[ending](tmp_path / f"t{ending}")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"(?s){package}.*chainrule\[tables\]"):
        read_cells(file)


def test_decimal_commas_give_the_table_of_decimal_points(tmp_path: Path) -> None:
    """As Excel writes it in much of Europe: semicolons between cells, commas in numbers, a byte-order mark."""
    points, commas = as_csv(tmp_path / "points.csv"), tmp_path / "commas.csv"
    text = as_csv(tmp_path / "semicolons.csv", ";").read_text("utf-8").replace(".", ",")
    commas.write_text("\ufeff" + text, encoding="utf-8")
    (spec, found), (expected, parts) = splits(commas), splits(points)
    assert replace(spec, where="", schema=[]) == replace(expected, where="", schema=[])
    assert [column.get("number", {}).get("decimal") for column in spec.schema] == [",", ",", ",", None]
    assert all(torch.equal(found[name].x, parts[name].x) for name in parts)
    assert torch.equal(read_rows(["3;2,1;0"], spec)[1], read_rows(["3,2.1,0"], spec)[1])


def test_a_workbook_with_flipped_bits_is_read_or_told(tmp_path: Path) -> None:
    whole = as_xlsx(tmp_path / "t.xlsx").read_bytes()
    told = 0
    for seed in range(12):
        draw = random.Random(seed)
        changed = bytearray(whole)
        for _ in range(20):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        (tmp_path / "u.xlsx").write_bytes(changed)
        try:
            read_cells(tmp_path / "u.xlsx")
        except UserError as error:
            told += "the table cannot be read" in str(error)
    assert told > 6


def test_a_chart_beside_the_sheet_is_no_sheet(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(as_xlsx(tmp_path / "t.xlsx"))
    book.create_chartsheet("chart").add_chart(openpyxl.chart.BarChart())
    book.save(tmp_path / "t.xlsx")
    assert read_cells(tmp_path / "t.xlsx").header == HEADER


def test_values_of_a_column_that_have_no_form_are_told(tmp_path: Path) -> None:
    text = pa.StringArray.from_buffers(2, pa.py_buffer(np.int32([0, 1, 2]).tobytes()), pa.py_buffer(b"\xff\xfe"))
    late = pa.array([2**60, 1]).view(pa.timestamp("us"))
    for name, column in (("text", text), ("late", late)):
        parquet.write_table(pa.table({"a": [1, 2], name: column}), tmp_path / "t.parquet")
        with pytest.raises(UserError, match=rf"t\.parquet, column '{name}'"):
            read_cells(tmp_path / "t.parquet")


def test_a_name_that_comes_twice_in_a_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": 2}\n{"a": 1, "a": 2}\n')
    with pytest.raises(UserError, match=r"line 2(.|\n)*'a' comes twice"):
        read_cells(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": np.ones((2, 3)), "y": np.array([0.0, np.inf])}, r"a target is infinite(.|\n)*y\[1\]"),
        ({"x": np.ones((2, 3)), "y": np.array([0j, 1j])}, "neither numbers nor texts"),
        ({"x": np.ones((0, 3)), "y": np.ones(0)}, "the array has no row"),
    ],
)
def test_arrays_that_are_no_table(arrays: dict[str, np.ndarray], says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(UserError, match=says):
        check(str(tmp_path / "t.npz"), None)
