"""Lists of image files as people have them: names of columns, separators, files beside, a column of splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.images.decoding import SUFFIXES
from chainrule.data.images.files import read_images
from chainrule.data.inputs import asked_files
from tests.data.image_sets import read, refused, write_images


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Ten images in pics/."""
    write_images(tmp_path / "pics", 10)
    return tmp_path


def listed(file: Path, header: str, row: str, count: int = 10, mark: str = ",") -> Path:
    lines = [header, *(row.format(i, "ab"[i % 2]) for i in range(count))]
    file.write_text("\n".join(lines).replace(",", mark) + "\n", "utf-8")
    return file


@pytest.mark.parametrize(
    ("header", "row", "mark"),
    [
        ("path,label", "pics/{}.png,{}", ";"),
        ("Path,Label", "pics/{}.png,{}", ","),
        ("filename,class", "{}.png,{}", ","),  # in the folder beside the list
        ("image_path,category", "pics\\{}.png,{}", "\t"),  # as Windows writes it
        ("id,breed", "{},{}", ","),  # without the ending
        ("label,whatever", "{1},pics/{0}.png", ","),  # known by its cells
        ("图片,标签", "pics/{}.png, {} ", ","),  # blanks around a label
    ],
)
def test_usual_columns(header: str, row: str, mark: str, place: Path) -> None:
    file = listed(place / "list.csv", header, row, mark=mark)
    plain = read_images(listed(place / "plain.csv", "path,label", "pics/{}.png,{}"), None)
    found = read_images(file, None)
    assert found.classes == ["a", "b"] and (found.splits["train"].labels == plain.splits["train"].labels).all()
    assert found.splits["train"].files == plain.splits["train"].files
    told = check(str(file), None)
    assert told["kind"] == "images" and set(told["columns"]) == {"path", "label"}
    assert ("notes" in told) is (header != "path,label")


def test_a_column_of_splits_is_used_and_said(place: Path) -> None:
    rows = [f"pics/{i}.png,{'ab'[i % 2]},{'Train' if i < 6 else 'Valid' if i < 8 else 'test'}" for i in range(10)]
    file = place / "list.csv"
    file.write_text("\n".join(["path,label,split", *rows]))
    request = DataRequest({"": str(file)})
    spec, splits = read(file)
    assert spec.counts == {"train": 6, "val": 2, "test": 2} and splits["test"].y.tolist() == [0, 1]
    assert read_images(request, None).remarks() == [f"columns of {file}: split as split"]
    file.write_text(file.read_text().replace("Valid", "later"))
    refused(file, "of no split that is known", "line 8", "later")
    file.write_text(file.read_text().replace("later", "test").replace("Train", "dev"))
    refused(file, "no row is of the training split")


def test_tables_of_splits_find_their_own_files(place: Path) -> None:
    for split in ("train", "test"):
        write_images(place / split, 10)
        listed(place / f"{split}.csv", "image,label", "{}.png,{}")
    (place / "pics").rename(place / ".pics")
    raw = read_images(place, None)
    assert [part.files[0] for part in raw.splits.values()] == [place / "train" / "0.png", place / "test" / "0.png"]
    refused(listed(place / "all.csv", "image,label", "{}.png,{}"), "two images have the name in a list")


def test_lists_that_will_not_do_say_why(place: Path) -> None:
    refused(listed(place / "b.csv", "path,xmin,ymin,label", "pics/{}.png,1,2,{}"), "lists boxes within images")
    refused(listed(place / "m.csv", "image,mask", "pics/{0}.png,pics/{0}.png"), "a mask?", "image and mask")
    twice = listed(place / "t.csv", "path,label", "pics/{}.png,{}")
    twice.write_text(twice.read_text() + "pics/0.png,b\n")
    refused(twice, "listed twice, with two labels", "line 2 and 12", "a and b")
    refused(
        listed(place / "g.csv", "file,label", "gone/{}.png,{}"), "an image is not there", "line 2", "skip_broken=yes"
    )
    refused(listed(place / "n.csv", "number,label", "{},{}"), "no square image", "rename the column of files to path")
    assert check(str(place / "n.csv"), None)["kind"] == "table"
    with pytest.raises(UserError, match="there is only one class"):
        read(listed(place / "o.csv", "path,label", "pics/{0}.png,a"))


def test_what_is_asked_about_is_found_likewise(place: Path) -> None:
    (place / "pics" / "0.png").rename(place / "pics" / "0")  # without an ending
    (place / "pics" / "notes").write_text("no image")
    assert [asked.value.name for asked in asked_files([str(place / "pics")], SUFFIXES, "image")] == [
        "0",
        *(f"{i}.png" for i in range(1, 10)),
    ]
    file = listed(place / "list.csv", "Filename,label", "pics/{}.png,{}")
    file.write_text(file.read_text().replace("pics/0.png", "pics/0"))
    assert [asked.value.name for asked in asked_files([str(file)], SUFFIXES, "image")][:2] == ["0", "1.png"]
