"""What is wrong with a set of images and masks is told with the file's name; and lists of classes, right and wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from chainrule.cli import cli
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.images.masks.class_list import read_class_list
from tests.data.images.masks.drawn import HEIGHT, WIDTH, a_set, image, mask


def another_size(folder: Path) -> None:
    image(folder / "images", "1.png", size=(HEIGHT, WIDTH - 2))


def turned_by_exif(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / "images" / "1.png").save(folder / "images" / "1.png", exif=exif)


def missing(folder: Path) -> None:
    (folder / "masks" / "1.png").unlink()


def broken(folder: Path) -> None:
    file = folder / "masks" / "1.png"
    file.write_bytes(file.read_bytes()[:60])


def jpeg(folder: Path) -> None:
    (folder / "masks" / "1.png").unlink()
    mask(folder / "masks", "1.jpg", (0, 1, 2, 0, 3))


def photograph(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (HEIGHT, WIDTH)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "masks" / "1.png")


def outside_the_list(folder: Path) -> None:
    (folder / "classes.txt").write_text("0 ground\n1 road\n")
    mask(folder / "masks", "1.png", (0, 1, 7))


def all_void(folder: Path) -> None:
    mask(folder / "masks", "0.png", (0, 1, 2))
    mask(folder / "masks", "1.png", (255, 255))


def colours_without_a_list(folder: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), (1, 2, 3), np.uint8)).save(folder / "masks" / "1.png")


def too_small(folder: Path) -> None:
    image(folder / "images", "1.png", size=(20, WIDTH))


WRONG = {
    another_size: ("another size than its image", "masks/1.png"),
    turned_by_exif: ("EXIF", "masks/1.png"),
    missing: ("has no mask", "images/1.png"),
    broken: ("cannot be read", "masks/1.png"),
    jpeg: ("compression smears", "masks/1.jpg"),
    photograph: ("no areas of classes", "masks/1.png"),
    outside_the_list: ("not in the list of classes", "masks/1.png"),
    all_void: ("all void", "masks/1.png"),
    colours_without_a_list: ("1,2,3", "masks/1.png"),
    too_small: ("too small", "images/1.png"),
}


@pytest.mark.parametrize("damage", WRONG, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("verb", ["check", "train"])
def test_what_is_wrong_is_named_with_its_file(damage: Callable[[Path], None], verb: str, tmp_path: Path) -> None:
    a_set(tmp_path / "d", count=3)
    damage(tmp_path / "d")
    words = {"check": ["data", "check"], "train": ["train", "unet", "--out", "r", "--data"]}[verb]
    result = CliRunner().invoke(cli, [*words, str(tmp_path / "d")])
    said, where = WRONG[damage]
    assert isinstance(result.exception, UserError)
    assert said in str(result.exception) and where in str(result.exception)
    assert not Path("r").exists()


def test_one_image_or_one_class_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one image only"):
        check(str(a_set(tmp_path / "a", count=1)), None)
    for values in ((0,), (255,), (3, 255)):
        with pytest.raises(UserError, match="no two classes"):
            check(str(a_set(tmp_path / str(values), count=3, values=values)), None)


@pytest.mark.parametrize(
    "line", ["7 street lamp 1,2,3", "7\tstreet lamp\t1\t2\t3", "7, street lamp, 1, 2, 3", "7 street lamp 1 2 3"]
)
def test_forms_of_a_line_of_the_list(line: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text(f"{line}\n8 car 2\n")
    found = read_class_list(tmp_path / "classes.txt")
    assert (found.names, found.colours) == ({7: "street lamp", 8: "car 2"}, {7: (1, 2, 3)})


def test_a_list_in_another_encoding(tmp_path: Path) -> None:
    (a_set(tmp_path) / "classes.txt").write_bytes("0 道路\n1 天空\n".encode("gb18030"))
    words = ["data", "check", str(tmp_path), "encoding=gb18030", "--json"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert json.loads(result.stdout)["classes"] == ["道路", "天空"]


@pytest.mark.parametrize(
    "lines",
    [
        "road",
        "0 road 1,2,300",
        "0 road\n0 car",
        "0 car\n1 car",
        "0 a 1,2,3\n1 b 1,2,3",
        "70000 road",
        "# nothing\n",
        "1 道路\n2 天空".encode("gb18030"),
    ],
)
def test_a_list_that_is_wrong(lines: str | bytes, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(lines.encode() if isinstance(lines, str) else lines)
    with pytest.raises(UserError, match=r"classes\.txt"):
        read_class_list(tmp_path / "classes.txt")


def test_a_classifier_is_told_that_these_are_masks(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["train", "lenet5", "--data", str(a_set(tmp_path / "d")), "--out", "r"])
    assert isinstance(result.exception, UserError) and "unet" in str(result.exception)
