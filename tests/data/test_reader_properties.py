"""What holds for every file that a reader takes: what was written is what is read, and damage is told with its place."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from chainrule.core.errors import UserError
from chainrule.data.images.files import read_images
from chainrule.data.images.published import read_idx
from chainrule.data.splits import stratified
from chainrule.data.tables.files import read_table
from chainrule.data.tables.formats.csv_files import read_csv
from chainrule.data.tables.schema.column import MISSING
from chainrule.data.tables.schema.number_format import is_number_text
from chainrule.data.text.characters import Streams, decode, encode, read_text_splits

few = settings(max_examples=30, deadline=None, derandomize=True)

# Names of columns and texts in any script; no control characters, no delimiter but the comma.
letters = st.characters(exclude_categories=("Cs", "Cc", "Cf"), exclude_characters=";")
words = st.text(letters, min_size=1, max_size=6).map(str.strip).filter(bool)
headers = st.lists(words, min_size=1, max_size=4, unique=True).map(lambda names: ["first, of all", *names])
numbers = st.floats(allow_nan=False, allow_infinity=False)
decimal_forms = st.one_of(
    numbers.map(repr),
    numbers.map(lambda v: f" {v:.17g}\t"),
    st.integers(-(10**6), 10**6).map(lambda v: f"{v:+d}"),
    st.integers(0, 999).map(lambda v: f".{v}"),
    st.integers(0, 999).map(lambda v: f"{v}."),
    st.tuples(st.integers(-99, 99), st.integers(-20, 20)).map(lambda p: f"{p[0]}E{p[1]:+03d}"),
)
missing_forms = st.sampled_from(sorted(MISSING)).flatmap(lambda m: st.sampled_from([m, m.upper(), f" {m.title()} "]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples: each overwrites its file."""
    return tmp_path_factory.mktemp("readers")


def write_csv(file: Path, header: list[str], rows: list[list[str]], **form: object) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, **form).writerows([header, *rows])  # type: ignore[arg-type]
    return file


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str]) -> tuple[list[str], list[list[str]]]:
    """A header and at least one row of as many cells."""
    header = draw(headers)
    assume("label" not in header and "first, of all" not in header[1:])
    width = len(header)
    return header, draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=5))


@few
@given(
    table=tables(decimal_forms),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_numbers_of_a_csv(folder: Path, table: tuple[list[str], list[list[str]]], quoting: int, ending: str) -> None:
    header, rows = table
    file = write_csv(folder / "n.csv", header, rows, quoting=quoting, lineterminator=ending)
    raw = read_table(file, None, needs_target=False)
    assert raw.columns == header and raw.target is None
    assert raw.splits["train"].x.tolist() == [[float(cell) for cell in row] for row in rows]


@few
@given(table=tables(st.text(st.one_of(letters, st.sampled_from('"\n,')), max_size=8)))
def test_cells_and_lines_of_a_csv(folder: Path, table: tuple[list[str], list[list[str]]]) -> None:
    """Quotes, commas and line ends in a cell are its own; the line told is that on which the row ends."""
    header, rows = table
    assume(any(map(any, rows)))
    file = write_csv(
        folder / "c.csv", header, rows, quoting=csv.QUOTE_ALL, lineterminator="\n\n"
    )  # empty lines between
    cells = read_csv(file)
    kept = [any(row) for row in rows]  # a row without any text is none
    assert (cells.header, cells.rows) == (header, [row for row in rows if any(row)])
    ends = 1 + np.cumsum([2 + "".join(row).count("\n") for row in rows])
    assert cells.lines == ends[kept].tolist()


@few
@given(table=tables(st.one_of(decimal_forms, missing_forms)))
def test_missing_values_of_a_csv(folder: Path, table: tuple[list[str], list[list[str]]]) -> None:
    header, rows = table
    assume(all(any(cell.strip() for cell in row) for row in rows))
    file = write_csv(folder / "m.csv", header, rows)
    wanted = [[math.nan if cell.strip().lower() in MISSING else float(cell) for cell in row] for row in rows]
    found = read_table(file, None, needs_target=False, missing="count").splits["train"].x
    assert np.array_equal(found, np.array(wanted), equal_nan=True)
    gaps = np.argwhere(np.isnan(wanted)).tolist()
    if gaps:  # unless they are to be filled, the first of them is told
        with pytest.raises(UserError, match="missing or infinite") as error:
            read_table(file, None, needs_target=False)
        row, column = min(gaps, key=lambda gap: (gap[1], gap[0]))
        assert f"line {row + 2}, column {header[column]!r}" in str(error.value)


@few
@given(table=tables(words.filter(lambda word: word.lower() not in MISSING)))
def test_categories_of_a_csv(folder: Path, table: tuple[list[str], list[list[str]]]) -> None:
    header, rows = table
    assume(not any(2 * sum(is_number_text(row[i]) for row in rows) >= len(rows) for i in range(len(header))))
    raw = read_table(write_csv(folder / "k.csv", header, rows), None, needs_target=False, encode=True)
    named = [
        [raw.categories[column][int(value)] for column, value in zip(raw.columns, row, strict=True)]
        for row in raw.splits["train"].x
    ]
    assert named == rows and all(values == sorted(set(values)) for values in raw.categories.values())


@few
@given(
    x=st_np.arrays(
        st.sampled_from([np.float64, np.float32, np.int32, np.uint8, np.bool_]),
        st_np.array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_a_table_in_an_npz(folder: Path, x: np.ndarray) -> None:
    np.savez(folder / "t.npz", x=x, y=np.arange(len(x)))
    raw = read_table(folder / "t.npz", None, needs_target=True)
    rows = raw.splits["train"]
    assert np.array_equal(rows.x, x.astype(np.float64)) and rows.labels is not None
    assert rows.labels.tolist() == list(range(len(x)))


@few
@given(
    x=st_np.arrays(
        np.uint8, st.tuples(st.integers(2, 4), st.integers(4, 6), st.integers(4, 6), st.sampled_from([1, 3]))
    ),
    form=st.sampled_from(["NHWC", "NCHW", "NHW"]),
)
def test_images_in_an_npz(folder: Path, x: np.ndarray, form: str) -> None:
    """However their axes are laid out, and as bytes or as shares of 255, they are the same bytes."""
    x = x[..., :1] if form == "NHW" else x
    x.flat[0] = 255
    given_as = {"NHWC": x, "NCHW": x.transpose(0, 3, 1, 2), "NHW": x[..., 0]}[form]
    for values in (given_as, given_as / 255):
        np.savez(folder / "i.npz", x=values, y=np.arange(len(x)))
        part = read_images(folder / "i.npz", None).splits["train"]
        assert part.arrays is not None and np.array_equal(part.arrays, x)
        assert part.labels.tolist() == list(range(len(x)))


@few
@given(
    x=st_np.arrays(np.uint8, st_np.array_shapes(min_dims=1, max_dims=3, max_side=4)),
    zipped=st.booleans(),
    change=st.integers(-3, 3),
)
def test_idx(folder: Path, x: np.ndarray, zipped: bool, change: int) -> None:
    """An idx file is its array; one with bytes too few or too many is refused."""
    whole = bytes([0, 0, 8, x.ndim]) + b"".join(n.to_bytes(4, "big") for n in x.shape) + x.tobytes()
    content = whole[:change] if change < 0 else whole + bytes(change)
    file = folder / f"x{'.gz' if zipped else ''}"
    file.write_bytes(gzip.compress(content) if zipped else content)
    if change:
        with pytest.raises(UserError, match="idx file"):
            read_idx(file)
    else:
        assert np.array_equal(read_idx(file), x)


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=40, max_size=80).filter(lambda t: len(set(t)) > 1)


@few
@given(text=texts, val=st.sampled_from([0.0, 0.05, 0.3]), test=st.sampled_from([0.1, 0.4]))
def test_the_splits_of_a_text_are_the_text(folder: Path, text: str, val: float, test: float) -> None:
    assume(not text.startswith("\ufeff"))
    (folder / "t.txt").write_bytes(text.encode())
    spec, splits = read_text_splits(str(folder / "t.txt"), val, test, 0)
    names = ("train", "test") if spec.val_is_test else ("train", "val", "test")
    assert "".join(decode(splits[name].codes, spec.vocabulary) for name in names) == text
    assert spec.vocabulary == sorted(set(text)) and spec.val_is_test == (val == 0)


@few
@given(text=texts, streams=st.integers(1, 4), length=st.integers(1, 9))
def test_streams_predict_every_character_once(text: str, streams: int, length: int) -> None:
    """Each character but the first is a target of the epoch, and at most `streams` - 1 of them are twice."""
    codes = encode(text, sorted(set(text)), "here")
    batches = list(Streams(codes, streams, length).epoch(0))
    x, y = (torch.cat([getattr(batch, name) for batch in batches], 1) for name in ("x", "y"))
    assert torch.equal(x[:, 1:], y[:, :-1]) and max(batch.x.shape[1] for batch in batches) <= length
    starts = torch.arange(streams) * (len(codes) - 1) // streams
    targets = starts[:, None] + 1 + torch.arange(y.shape[1])
    assert torch.equal(y, codes[targets].long()) and targets.unique().tolist() == list(range(1, len(codes)))
    assert targets.numel() - (len(codes) - 1) < streams


@few
@given(y=st.lists(st.integers(0, 3), min_size=1, max_size=40), fraction=st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_a_stratified_split_parts_the_samples(y: list[int], fraction: float) -> None:
    classes = torch.tensor(y)
    kept, held = stratified(classes, fraction, seed=0)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(y)))
    assert set(classes[kept].tolist()) == set(y), "every class keeps one"
    for label in set(y):
        count = int((classes == label).sum())
        assert abs(int((classes[held] == label).sum()) - count * fraction) <= 1
