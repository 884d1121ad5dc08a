"""Tables as people have them: each file has one right outcome, the same for `data check`, training and every later row."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chainrule.core.data.words import request_of
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.kinds.table import TABLE
from chainrule.data.tables.files import RawTable, read_table
from chainrule.data.tables.loading import TableSplit, read_table_splits
from chainrule.data.tables.new_rows import read_labelled, read_rows
from chainrule.data.tables.spec import TableSpec

ROWS = 24
LENGTH = [round(0.37 * i - 1.2, 2) for i in range(ROWS)]
PRICE = [1000 + 137 * i for i in range(ROWS)]
KIND = ["ab"[i % 2] for i in range(ROWS)]


def table(*columns: list[Any], separator: str = ",", header: str = "") -> str:
    """Lines of a CSV; a cell with the separator in it stands in quotes."""
    quoted = [[f'"{cell}"' if separator in str(cell) else str(cell) for cell in column] for column in columns]
    names = header or separator.join(
        ["length", "price", "kind"][3 - len(columns) :] if len(columns) < 3 else ["length", "price", "kind"]
    )
    return "\n".join([names, *(separator.join(row) for row in zip(*quoted, strict=True))]) + "\n"


def comma(values: list[Any]) -> list[str]:
    return [str(value).replace(".", ",") for value in values]


CLEAN = table(LENGTH, PRICE, KIND)
GERMAN = table(comma(LENGTH), [f"{p:,}".replace(",", ".") for p in PRICE], KIND, separator=";")


@dataclass
class Same:
    """The file says the same as `CLEAN`."""

    content: str | bytes
    options: dict[str, Any] = field(default_factory=dict)
    ending: str = ".csv"


SAME = {
    "decimal commas between semicolons": Same(GERMAN),
    "decimal commas in quotes": Same(table(comma(LENGTH), PRICE, KIND)),
    "decimal commas between tabs": Same(table(comma(LENGTH), PRICE, KIND, separator="\t"), ending=".tsv"),
    "thousands": Same(table(LENGTH, [f"{p:,}" for p in PRICE], KIND)),
    "thousands by blanks": Same(table(LENGTH, [f"{p:,}".replace(",", "\u202f") for p in PRICE], KIND)),
    "thousands named": Same(table(LENGTH, [f"{p:,}" for p in PRICE], KIND, separator=";"), {"thousands": ","}),
    "currency": Same(table(LENGTH, [f"€ {p}" for p in PRICE], KIND)),
    "percent": Same(table([f"{v} %" for v in LENGTH], PRICE, KIND)),
    "minus as printed": Same(CLEAN.replace("-", "−")),
    "a line that says the separator": Same("sep=;\n" + table(LENGTH, PRICE, KIND, separator=";")),
    "bars": Same(table(LENGTH, PRICE, KIND, separator="|")),
    "utf-16": Same(CLEAN.encode("utf-16")),
    "utf-16 between tabs": Same(table(LENGTH, PRICE, KIND, separator="\t").encode("utf-16")),
    "byte-order mark": Same("\ufeff" + CLEAN),
    "gb18030": Same(table(LENGTH, PRICE, KIND, header="length,price,kind").encode("gb18030"), {"encoding": "gb18030"}),
    "old line ends": Same(CLEAN.replace("\n", "\r")),
    "rows without any cell": Same(CLEAN + ",,\n,,\n"),
    "a nameless row number": Same("\n".join(f"{i - 1 if i else ''},{line}" for i, line in enumerate(CLEAN.split("\n")[:-1]))),
    "pandas' row number": Same(
        "\n".join(f"{i - 1 if i else 'Unnamed: 0'},{line}" for i, line in enumerate(CLEAN.split("\n")[:-1]))
    ),
    "row names": Same("\n".join(f"{f'row {i}' if i else ''},{line}" for i, line in enumerate(CLEAN.split("\n")[:-1]))),
    "a word behind": Same(table([f"{v} mm" for v in LENGTH], PRICE, KIND)),
    "a nameless column that is empty": Same("\n".join(line + "," for line in CLEAN.split("\n")[:-1])),
    "a column left out": Same(table(LENGTH, PRICE, [f"n{i}" for i in range(ROWS)], KIND, header="length,price,name,kind"), {"ignore": ("name",)}),
}  # fmt: skip

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a stray cell": (CLEAN.replace("\n0.28,", "\nabc,"), r"not numeric(.|\n)*line 6, column 'length'(.|\n)*abc"),
    "an empty cell": (CLEAN.replace("\n0.28,", "\n,"), r"missing(.|\n)*line 6, column 'length'"),
    "both marks": (
        table([*comma(LENGTH[:12]), *LENGTH[12:]], PRICE, KIND, separator=";"),
        r"comma and others a point(.|\n)*'length'",
    ),
    "a mark that is not told": (
        table(PRICE, [f"{p:,}" for p in PRICE], KIND, separator=";"),
        r"two ways(.|\n)*1,000(.|\n)*decimal=,, or thousands=,",
    ),
    "no names": (CLEAN.partition("\n")[2], "first line holds numbers"),
    "one name twice": (CLEAN.replace("price", "length", 1), "two columns have one name"),
    "a nameless column of other numbers": (CLEAN.replace("length", "", 1), "a column has no name"),
    "an empty cell among words": (
        table(LENGTH, ["", *["red", "blue"] * 11, "red"], KIND),
        r"missing(.|\n)*line 2, column 'price'(.|\n)*an empty cell",
    ),
    "names of rows": (
        table(LENGTH, [f"Mr. {i}" for i in range(ROWS)], KIND),
        r"'price' is different in every row(.|\n)*ignore=price",
    ),
    "gb18030 unnamed": (CLEAN.replace("price", "价格").encode("gb18030"), "encoding=gb18030"),
    "cp1252 unnamed": (CLEAN.replace("price", "größe").encode("cp1252"), "encoding=cp1252"),
    "an open quote": (CLEAN.replace("\n0.28,", '\n"0.28,'), r"cannot be read(.|\n)*line"),
    "a day or a month": (
        table(LENGTH, [f"{1 + i % 12}/{1 + i % 9}/2020" for i in range(ROWS)], KIND),
        r"order of day and month(.|\n)*kinds=price:dmy",
    ),
    "a line too long": (CLEAN + "1,2,a,4\n", r"another number of columns(.|\n)*line 26"),
}


def write(folder: Path, content: str | bytes, ending: str = ".csv") -> str:
    file = folder / f"t{ending}"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


def read(place: str, **options: Any) -> RawTable:
    return read_table(request_of(place, target="kind", options=options), "kind", needs_target=True, encode=True)


def splits(place: str, **options: Any) -> tuple[TableSpec, dict[str, TableSplit]]:
    asked = {"task": "classification", "dtype": torch.float64, "standardize": True, "drop_constant": True}
    missing = options.pop("missing", "refuse")
    request = request_of(place, target="kind", options=options)
    return read_table_splits(
        request, target="kind", val_fraction=0.1, test_fraction=0.2, seed=0, encode=True, missing=missing, **asked
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SAME)
def test_a_table_is_the_same_however_it_is_written(name: str, tmp_path: Path) -> None:
    case = SAME[name]
    place = write(tmp_path, case.content, case.ending)
    raw = read(place, **case.options)
    assert raw.columns == ["length", "price"] and raw.categories == {}
    assert np.allclose(raw.splits["train"].x, np.array([LENGTH, PRICE]).T, rtol=0, atol=1e-12)
    labels = raw.splits["train"].labels
    assert labels is not None and labels.tolist() == KIND
    found = check(request_of(place, target="kind", options=case.options), "kind")
    assert found["columns"] == raw.columns and found["found"] == {"train": ROWS} and json.dumps(found)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_told_by_check_and_training_alike(name: str, tmp_path: Path) -> None:
    content, words = REFUSED[name]
    place = write(tmp_path, content)
    with pytest.raises(UserError, match=words) as told:
        read(place)
    assert told.value.exit_status == 2
    if "missing" in words:  # that is counted, with what training wants
        found = check(request_of(place, target="kind"), "kind")
        assert sum(found["missing values"].values()) == 1 and "missing=fill" in found["to train"]
    else:
        with pytest.raises(UserError, match=words):
            check(request_of(place, target="kind"), "kind")


def test_a_later_row_is_read_as_the_training_data_were_whatever_stands_beside_it(tmp_path: Path) -> None:
    grades, noise = ["1", "2", "X"] * 8, [f"{v}" for v in LENGTH]
    spec, _ = splits(write(tmp_path, table(grades, noise, KIND, header="grade,noise,kind")))
    assert spec.categories == {"grade": ["1", "2", "X"]}
    spec = TableSpec.from_json(json.loads(json.dumps(spec.to_json())))
    lines = [f"{grade},{v}" for grade, v in zip(["2", "1", "2"], noise, strict=False)]
    alone = torch.cat([read_rows([line], spec)[1] for line in lines])
    for more in ([], ["X,1"]):
        (tmp_path / "new.csv").write_text("\n".join(["grade,noise", *lines, *more]), "utf-8")
        together = read_rows([str(tmp_path / "new.csv")], spec)[1]
        assert torch.equal(together[:3], alone)
    assert alone[:, 1].tolist() == alone[[0, 1, 0], 1].tolist()
    with pytest.raises(UserError, match=r"not known(.|\n)*the row given, line 1, column 'grade'(.|\n)*7"):
        read_rows(["7,0.1"], spec)
    ignored = read_rows(["7,0.1", "2,0.1"], spec, {"unknown": "ignore"})[1]
    none_set = -torch.tensor(spec.mean[:3]) / torch.tensor(spec.std[:3])
    assert torch.allclose(ignored[0, :3], none_set.double()) and torch.equal(
        ignored[1], read_rows(["2,0.1"], spec)[1][0]
    )


def test_the_marks_of_later_numbers(tmp_path: Path) -> None:
    """Those of the training data; the other decimal mark where it can be nothing else; or as the user says."""
    spec, _ = splits(write(tmp_path, GERMAN))
    expected = read_rows(["1,5;2000"], spec)[1]
    for row in ("1,5;2.000", "1.5;2000", '"1,5","2.000"'):
        assert torch.equal(read_rows([row], spec)[1], expected), row
    assert torch.equal(read_rows(["1.5,2000"], spec, {"decimal": "."})[1], expected)
    plain, _ = splits(write(tmp_path, CLEAN))
    assert torch.equal(read_rows(["1,5;2000"], plain)[1], read_rows(["1.5,2000"], plain)[1])
    with pytest.raises(UserError, match="not numeric"):
        read_rows(["1,500;2000"], plain)
    assert torch.equal(read_rows(["1,500;2000"], plain, {"decimal": ","})[1], read_rows(["1.5,2000"], plain)[1])


@pytest.mark.parametrize(
    "write_date",
    ["{y}-{m:02}-{d:02}", "{d}.{m}.{y}", "{m}/{d}/{y}", "{y}年{m}月{d}日"],
    ids=["ISO", "dmy", "mdy", "Chinese"],
)
def test_dates_are_numbers(write_date: str, tmp_path: Path) -> None:
    days = np.datetime64("2019-11-20") + 9 * np.arange(ROWS)
    parts = [day.item() for day in days]
    written = [write_date.format(y=day.year, m=day.month, d=day.day) for day in parts]
    raw = read(write(tmp_path, table(written, KIND, header="when,kind")))
    assert raw.columns == ["when.year", "when.month", "when.weekday", "when.days"]
    wanted = [[d.year, d.month, d.weekday(), (d - parts[0].replace(1970, 1, 1)).days] for d in parts]
    assert raw.splits["train"].x.tolist() == wanted
    spec, found = splits(write(tmp_path, table(written, KIND, header="when,kind")))
    row = read_rows([written[3]], spec)[1]
    assert row.shape == (1, 4) and TABLE.given is not None
    assert torch.equal(read_rows(TABLE.given({"when": written[3:4]}, spec, "it"), spec)[1], row)
    labelled = read_labelled(write(tmp_path, table(written, KIND, header="when,kind")), "kind", spec, torch.float64)
    assert len(labelled) == ROWS and found["train"].x.shape[1] == 4


def test_faults_and_gaps_are_filled_where_that_is_asked_for(tmp_path: Path) -> None:
    place = write(tmp_path, CLEAN.replace("\n0.28,", "\n-,").replace("\n0.65,", "\n,"))
    spec, _ = splits(place, missing="fill")
    assert spec.schema[0]["missing"] == ["-"]
    assert torch.equal(read_rows(["-,1000"], spec)[1], read_rows([",1000"], spec)[1])
    with pytest.raises(UserError, match="not numeric"):
        read_rows(["x,1000"], spec)
    assert (
        "'-' is missing"
        in check(request_of(place, target="kind", options={"missing": "fill"}), "kind")["schema"]["length"]
    )


def test_what_the_user_says_goes_before(tmp_path: Path) -> None:
    place = write(tmp_path, table(LENGTH, [1 + i % 3 for i in range(ROWS)], KIND))
    assert read(place, kinds=("price:category",)).categories == {"price": ["1", "2", "3"]}
    assert read(place, index="price").columns == read(place, kinds=("price:ignore",)).columns == ["length"]
    (tmp_path / "t.csv").write_text(table(LENGTH, PRICE, KIND, header='"length, in mm",price,kind'), "utf-8")
    assert read(place, ignore=("length", "in mm")).columns == ["price"]
    assert len(read(place, kinds=("length", "in mm:category", "price:ignore")).categories["length, in mm"]) == ROWS
    with pytest.raises(UserError, match="no column 'prize'; did you mean price"):
        read(place, ignore=("prize",))
    with pytest.raises(UserError, match="no kind of column 'numbr'"):
        read(place, kinds=("price:numbr",))


def test_the_schema_is_that_of_the_training_data(tmp_path: Path) -> None:
    colours = ["red", "blue"] * 12
    (tmp_path / "train.csv").write_text(table(LENGTH, colours, KIND), "utf-8")
    (tmp_path / "test.csv").write_text(table(LENGTH, ["green", *colours[1:]], KIND), "utf-8")
    with pytest.raises(UserError, match=r"not known(.|\n)*test.csv, line 2, column 'price'(.|\n)*green"):
        read(str(tmp_path))
    raw = read(str(tmp_path), unknown="ignore")
    assert raw.categories == {"price": ["blue", "red"]} and np.isnan(raw.splits["test"].x[0, 1])


SUSPICIOUS = {
    "counts the rows: left out": table(list(range(ROWS)), LENGTH, KIND, header=",length,kind"),
    "column 'id' counts the rows": table(list(range(7, 7 + ROWS)), LENGTH, KIND, header="id,length,kind"),
    "column 'UserID' is another number in every row": table(PRICE, LENGTH, KIND, header="UserID,length,kind"),
    "column 'zip' has zeros before its numbers": table(
        [f"{i % 5:04}" for i in range(ROWS)], LENGTH, KIND, header="zip,length,kind"
    ),
    "column 'code' has one value a class": table(
        [3 if k == "a" else 5 for k in KIND], LENGTH, KIND, header="code,length,kind"
    ),
    "column 'day' rises with the rows, and the table is sorted by class": table(
        [f"2020-01-{1 + i:02}" for i in range(ROWS)], LENGTH, sorted(KIND), header="day,length,kind"
    ),
}


@pytest.mark.parametrize("words", SUSPICIOUS)
def test_suspicious_columns_are_named(words: str, tmp_path: Path) -> None:
    place = write(tmp_path, SUSPICIOUS[words])
    assert any(words in note for note in read(place).notes)
    assert words in check(request_of(place, target="kind"), "kind")["warning"]


def test_nothing_is_suspicious_about_a_plain_table(tmp_path: Path) -> None:
    notes = read(write(tmp_path, table(LENGTH, [p % 7 for p in PRICE], KIND))).notes
    assert notes == ["columns: 2 numbers; the target is 'kind'"]
