"""`data check`: each kind recognised and counted, each mistake named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.check import check


def some_images(folder: Path, count: int, mode: str = "L", size: tuple[int, int] = (9, 7)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new(mode, size, index).save(folder / f"{index}.png")
    return folder


def test_known_names() -> None:
    found = check("digits", None)
    assert found["kind"] == "images" and found["found"] == {"train": 1797} and found["sizes"] == "8x8"
    assert sum(found["after"].values()) == 1797 and sum(found["train by class"].values()) == 1797
    assert check("iris", None)["train by class"] == {"setosa": 50, "versicolor": 50, "virginica": 50}
    assert check("pydoc-topics", None)["kind"] == "text"


def test_what_would_be_made_is_what_training_makes() -> None:
    from chainrule.data.images.loading import read_image_splits

    spec, _ = read_image_splits("digits", target=None, size=8, channels=0, seed=0, val_fraction=1 / 12)
    assert check("digits", None)["after"] == spec.counts


def test_class_folders(tmp_path: Path) -> None:
    some_images(tmp_path / "d" / "train" / "猫", 6)
    some_images(tmp_path / "d" / "train" / "狗", 5, size=(20, 30))
    some_images(tmp_path / "d" / "test" / "猫", 2)
    found = check(str(tmp_path / "d"), None)
    assert found["classes"] == ["狗", "猫"] and found["train by class"] == {"狗": 5, "猫": 6}
    assert found["test by class"] == {"狗": 0, "猫": 2} and found["channels"] == 1
    assert found["sizes"] == "9x7 to 20x30, 2 different" and list(found["made"]) == ["val"]


def test_a_folder_that_lies_one_too_high(tmp_path: Path) -> None:
    for name in ("set 1/cat", "set 1/dog", "set 2/cat", "set 2/dog", "set 2/eel"):
        some_images(tmp_path / "d" / name, 4)
    found = check(str(tmp_path / "d"), None)
    assert (
        found["classes"] == ["set 1", "set 2"]
        and "set 1/cat" in found["look again"]
        and "and 1 more" in found["look again"]
    )
    some_images(tmp_path / "d" / "set 1", 1)
    assert "look again" not in check(str(tmp_path / "d"), None)
    assert "look again" not in check(str(tmp_path / "d" / "set 2"), None)


def test_every_broken_image_is_named(tmp_path: Path) -> None:
    some_images(tmp_path / "d" / "a", 30)
    some_images(tmp_path / "d" / "b", 5)
    whole = (tmp_path / "d" / "b" / "4.png").read_bytes()
    (tmp_path / "d" / "b" / "4.png").write_bytes(whole[:-25])  # the header is whole
    (tmp_path / "d" / "b" / "3.png").write_bytes(b"")
    with pytest.raises(UserError) as caught:
        check(str(tmp_path / "d"), None)
    words = str(caught.value)
    assert "2 of 35" in words and "3.png: an empty file" in words and "4.png" in words
    for index in range(25):
        (tmp_path / "d" / "a" / f"{index}.png").write_bytes(b"x")
    with pytest.raises(UserError, match="and 7 more"):
        check(str(tmp_path / "d"), None)


def test_images_without_classes(tmp_path: Path) -> None:
    found = check(str(some_images(tmp_path / "flat", 4, mode="RGB")), None)
    assert found["found"] == {"train": 4} and found["channels"] == 3 and "generate" in found["classes"]


def test_mixed_kinds_and_few_samples(tmp_path: Path) -> None:
    some_images(tmp_path / "m" / "a", 6)
    some_images(tmp_path / "m" / "b", 5, mode="RGB")
    with pytest.raises(UserError, match="mixed kinds"):
        check(str(tmp_path / "m"), None)
    some_images(tmp_path / "s" / "a", 5)
    some_images(tmp_path / "s" / "b", 5)
    assert check(str(tmp_path / "s"), None)["after"] == {"train": 7, "val": 1, "test": 2}
    for split, count in (("train", 1), ("test", 2)):
        some_images(tmp_path / "one" / split / "a", count)
        some_images(tmp_path / "one" / split / "b", count)
    assert "val would be empty" in check(str(tmp_path / "one"), None)["warning"]
    assert "warning" not in check("digits", None)
    some_images(tmp_path / "f" / "a", 6)
    some_images(tmp_path / "f" / "b", 2)
    with pytest.raises(UserError, match="too few samples"):
        check(str(tmp_path / "f"), None)


def test_tables(tmp_path: Path) -> None:
    rows = "\n".join(f"{i}.5,7,{i * i},{'yes' if i % 3 else 'no'}" for i in range(30))
    (tmp_path / "t.csv").write_text(f"a,b,c,label\n{rows}\n", "utf-8")
    found = check("t.csv", None)
    assert (found["kind"], found["columns"], found["target"]) == ("table", ["a", "b", "c"], "label")
    assert found["train by class"] == {"no": 10, "yes": 20} and found["constant columns"] == ["b"]
    assert sum(found["after"].values()) == 30
    (tmp_path / "n.csv").write_text("a,b\n" + "\n".join(f"{i},{i}" for i in range(9)), "utf-8")
    assert check("n.csv", None)["target"] == "none"
    with pytest.raises(UserError, match="no column 'z'"):
        check("t.csv", "z")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\nx,3\n", "utf-8")
    with pytest.raises(UserError, match=r"line 3, column 'a'"):
        check("bad.csv", None)
    np.savez(tmp_path / "t.npz", x=np.zeros((5, 3)))
    assert check("t.npz", None)["kind"] == "table"


def test_tables_with_words_and_gaps(tmp_path: Path) -> None:
    """What training can encode and fill is counted; text among numbers is still a mistake, told with its place."""
    rows = [f"{i},{'red' if i % 3 else 'white'},{'a' if i % 2 else 'b'}" for i in range(30)]
    rows[4] = ",,a"
    (tmp_path / "t.csv").write_text("height,colour,label\n" + "\n".join(rows), "utf-8")
    found = check("t.csv", None)
    assert found["categories"] == {"colour": 2} and found["missing values"] == {"height": 1, "colour": 1}
    rows[7] = "tall,red,b"
    (tmp_path / "t.csv").write_text("height,colour,label\n" + "\n".join(rows), "utf-8")
    with pytest.raises(UserError, match=r"(?s)line 9, column 'height'.*found: *tall"):
        check("t.csv", None)


def test_csv_of_images(tmp_path: Path) -> None:
    header = ",".join(["label", *(f"p{i}" for i in range(36))])
    rows = "\n".join(",".join([str(i % 2), *["7"] * 35, str(i)]) for i in range(12))
    (tmp_path / "p.csv").write_text(f"{header}\n{rows}\n", "utf-8")
    found = check("p.csv", None)
    assert found["kind"] == "images" and found["sizes"] == "6x6" and found["train by class"] == {"0": 6, "1": 6}
    some_images(tmp_path / "pics", 10)
    lines = "\n".join(f"pics/{i}.png,{'ab'[i % 2]}" for i in range(10))
    (tmp_path / "f.csv").write_text(f"path,label\n{lines}\n", "utf-8")
    assert check("f.csv", None)["classes"] == ["a", "b"]
    (tmp_path / "f.csv").write_text(f"path,label\n{lines}\npics/99.png,a\n", "utf-8")
    with pytest.raises(UserError, match="an image is not there"):
        check("f.csv", None)


def test_npz_of_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "i.npz", x=np.zeros((8, 5, 6, 3), np.uint8), y=np.arange(8) % 2)
    found = check("i.npz", None)
    assert (found["kind"], found["channels"], found["sizes"]) == ("images", 3, "6x5")
    (tmp_path / "no.npz").write_bytes(b"no")
    with pytest.raises(UserError, match="npz file cannot be read"):
        check("no.npz", None)


def test_texts(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("春眠不觉晓\n处处闻啼鸟\n", "utf-8")
    found = check("t.txt", None)
    assert found["kind"] == "text" and found["found"] == {"train": 12} and found["first line"] == "春眠不觉晓"
    assert found["characters"] == 10  # 处 is there twice, and the line end
    (tmp_path / "t.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="not UTF-8"):
        check("t.txt", None)
    (tmp_path / "t.txt").write_text("aaa", "utf-8")
    with pytest.raises(UserError, match="only one distinct character"):
        check("t.txt", None)


def test_nothing_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no data of a kind"):
        check("empty", None)
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="no kind that is known"):
        check("x.zip", None)
    some_images(tmp_path / "one", 1)
    with pytest.raises(UserError, match="one image is no data set"):
        check("one/0.png", None)
    with pytest.raises(UserError, match="did you mean digits"):
        check("digit", None)


def test_damage_is_told_and_digits_of_other_kinds_are_no_pixels(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", x=np.zeros((8, 5, 6), np.uint8), y=np.arange(8) % 2)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-40])
    with pytest.raises(UserError, match="npz file cannot be read"):
        check("cut.npz", None)
    header, row = ",".join(["label", *(f"p{i}" for i in range(25))]), ",".join(["0", *["²"] * 25])
    (tmp_path / "odd.csv").write_text(f"{header}\n{row}\n{row}\n", "utf-8")
    assert check("odd.csv", None)["kind"] == "table"  # "²".isdigit() holds, and int("²") fails


def test_a_known_name_is_no_path(tmp_path: Path) -> None:
    some_images(tmp_path / "digits" / "a", 5)
    some_images(tmp_path / "digits" / "b", 5)
    with pytest.raises(UserError, match=r"(?s)digits is a known data set, and there is a path.*--data \./digits"):
        check("digits", None)
    assert check("./digits", None)["classes"] == ["a", "b"]


def test_a_table_in_a_file_ending_in_data(tmp_path: Path) -> None:
    (tmp_path / "cal_housing.data").write_text("\n".join(",".join([str(i)] * 9) for i in range(9)), "utf-8")
    found = check("cal_housing.data", None)
    assert found["kind"] == "table" and found["columns"][-1] == "median_house_value"


def test_a_first_row_that_stands_where_names_belong_is_doubted(tmp_path: Path) -> None:
    file = tmp_path / "flowers.csv"
    file.write_text("5.1,3.5,rose,red\n" + "4.9,3.0,rose,red\n4.7,3.2,lily,red\n" * 10)
    with pytest.raises(UserError, match="first line holds numbers where column names belong"):
        check(str(file), None)  # rose and red stand below too
    file.write_text(file.read_text().replace("rose,red", "flower,colour", 1))
    assert "(5.1, 3.5): the line of names may be missing" in check(str(file), None)["warning"]
    file.write_text("2019,2020,rose\n" + "4.9,3.0,rose\n4.7,3.2,lily\n" * 10)
    assert "warning" not in check(str(file), None)
