"""What a place is taken for; what it lacks to be another kind; whether a recipe can learn from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chainrule import api
from chainrule.core.data.words import request_of
from chainrule.core.discovery import all_kinds, get_recipe
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.kinds.recognition import expect_kind, look, recognise
from chainrule.data.layout import layout_of
from tests.data.image_sets import write_images

pytestmark = pytest.mark.usefixtures("no_report")


def kind_of(place: object, target: str | None = None) -> str:
    return recognise(look(str(place)), target).name


def refusal(recipe: str, place: object, **words: object) -> str:
    with pytest.raises(UserError) as told:
        expect_kind(request_of(str(place), **words), get_recipe(recipe))  # type: ignore[arg-type]
    return str(told.value)


def table(file: Path, header: str = "a,b,label", rows: int = 12) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = header.count(",")
    file.write_text(
        header + "\n" + "".join(f"{','.join(f'{i}.5' for _ in range(columns))},{i % 2}\n" for i in range(rows))
    )
    return file


def test_a_recipe_says_what_it_learns_from_and_who_learns_from_this(tmp_path: Path) -> None:
    words = refusal("lenet5", table(tmp_path / "t.csv"))
    assert "t.csv is a table, not a set of images" in words and "a folder with a subfolder a class" in words
    assert "a table with the columns a, b, label" in words and "recipes that take a table:" in words
    assert "k-means" in words and "lenet5" not in words.partition("recipes that")[2]
    assert "is a text, not a table" in refusal("ridge", write(tmp_path / "t.txt"))
    assert "pydoc-topics is a text, not a set of images" in refusal("lenet5", "pydoc-topics")
    assert "iris is a table, not a series" in refusal("mlp-series", "iris")
    assert "is a set of images, not one image" in refusal("dream", class_folders(tmp_path / "d"))


def class_folders(folder: Path, count: int = 6) -> Path:
    for name in ("a", "b"):
        write_images(folder / name, count)
    return folder


def write(file: Path, text: str = "some words\n") -> Path:
    file.write_text(text, "utf-8")
    return file


def test_it_is_said_before_anything_is_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.data.images.files.read_images", lambda *_: pytest.fail("it was read"))
    with pytest.raises(UserError, match="is a table, not a set of images"):
        api.train("lenet5", data=str(table(tmp_path / "t.csv")), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_a_reader_may_make_sense_of_passes(tmp_path: Path) -> None:
    for recipe, place in (
        ("softmax-regression", "digits"),  # images, each a row
        ("mlp-series", table(tmp_path / "t.csv")),  # a column of a table
        ("char-lstm", write(tmp_path / "program.py")),
        ("dream", "china"),
        ("dqn", "Own:Room-v0"),
    ):
        expect_kind(request_of(str(place)), get_recipe(recipe))


def test_a_series_is_one_column_or_a_date_beside_it(tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", "sold\n" + "".join(f"{i}\n" for i in range(9)))
    dated = write(tmp_path / "dated.csv", "month,sold\n" + "".join(f"1949-{i:02},{i}\n" for i in range(1, 10)))
    two = write(tmp_path / "two.csv", "x,sold\n" + "".join(f"{i},{i}\n" for i in range(9)))
    assert [kind_of(file) for file in (one, dated, two)] == ["series", "series", "table"]
    assert check(str(dated), None)["found"] == {"values": 9}


def test_near_misses_say_what_was_missing_the_nearest_first(tmp_path: Path) -> None:
    table(tmp_path / "d" / "mine.csv")
    table(tmp_path / "d" / "other.csv")
    with pytest.raises(UserError, match=r"(?s)no data of a kind.*table: 2 tables, but none is called train\.csv"):
        check(str(tmp_path / "d"), None)
    write(tmp_path / "t.rst")
    with pytest.raises(UserError, match=r"(?s)no kind that is known.*found: *a file ending in \.rst"):
        check(str(tmp_path / "t.rst"), None)
    flat = write_images(tmp_path / "flat", 14)
    answer = all_kinds()["images"].recognise(layout_of(flat), None)
    assert "14 images, but no class folders" in answer.lacks  # type: ignore[union-attr]


def test_recognising_reads_the_first_rows_alone(tmp_path: Path) -> None:
    file = table(tmp_path / "t.csv", rows=60)
    with file.open("a") as stream:
        stream.write("cut off here\n")  # too few columns: whoever reads all of it stumbles
    assert kind_of(file) == "table" and len(layout_of(file).head.rows) == 50  # type: ignore[union-attr]
    with pytest.raises(UserError, match="another number of columns"):
        check(str(file), None)


def test_a_cell_over_lines_is_not_cut(tmp_path: Path) -> None:
    rows = "".join(f'"line {i}\nof a verse\nof three",{i % 2}\n' for i in range(40))
    assert kind_of(write(tmp_path / "t.csv", "text,label\n" + rows)) == "sentences"


def test_large_folders_are_counted_by_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(300):
            (tmp_path / "d" / name / f"{number}.JPG").touch()
    (tmp_path / "d" / "a" / "._1.jpg").touch()
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("a file was opened"))
    assert kind_of(tmp_path / "d") == "images" and layout_of(tmp_path / "d").endings == {".jpg": 600}


def test_the_check_is_json(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "i.npz",
        x=np.zeros((12, 6, 6), np.uint8) + np.arange(12, dtype=np.uint8)[:, None, None],
        y=np.arange(12) % 2,
    )
    assert json.dumps(check(str(tmp_path / "i.npz"), None))


def test_an_archive_is_recognised_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape, kind in (((12, 6, 6), "images"), ((12, 6), "table")):
        np.savez_compressed(tmp_path / "a.npz", x=np.zeros(shape), y=np.arange(12) % 2)
        with monkeypatch.context() as patched:
            patched.setattr(np, "load", lambda *_, **__: pytest.fail("an array was read"))
            assert kind_of(tmp_path / "a.npz") == kind
