"""Images with masks as people have them: the forms that are recognised, what numbers mean, and what is wrong with a set."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from chainrule.cli import cli
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.images.masks.check import near_duplicates
from chainrule.data.images.masks.class_list import read_class_list
from chainrule.data.images.masks.loading import read_other_masks, split_masks
from chainrule.data.images.masks.raw import read_masked_images
from chainrule.data.images.masks.values import read_mask
from chainrule.data.layout import layout_of
from chainrule.data.measured import part_measured

HEIGHT, WIDTH = 36, 44


def image(folder: Path, name: str, number: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH), channels: int = 3) -> Path:
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 255, (6, 7, channels)).astype(np.uint8)
    pixels = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[: size[0], : size[1]]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(folder / name)
    return folder / name


def mask(folder: Path, name: str, values: tuple[int, ...] = (0, 1), kind: type = np.uint8, **form: object) -> Path:
    """Stripes of the values, from left to right."""
    stripes = np.array(values)[np.arange(WIDTH) * len(values) // WIDTH].astype(kind)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.broadcast_to(stripes, (HEIGHT, WIDTH)).copy()).save(folder / name, **form)
    return folder / name


def a_set(
    folder: Path,
    images: str = "images",
    masks: str = "masks",
    count: int = 4,
    values: tuple[int, ...] = (0, 1),
    ending: str = "png",
) -> Path:
    for number in range(count):
        image(folder / images, f"{number}.{ending}", number)
        mask(folder / masks, f"{number}.png", values)
    return folder


# -- forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", ["masks", "mask", "labels", "label", "annots", "annot", "annotations", "gt", "Masks"])
@pytest.mark.parametrize("images", ["images", "image"])
def test_folders_side_by_side(images: str, masks: str, tmp_path: Path) -> None:
    found = check(str(a_set(tmp_path, images, masks, ending="jpg")), None)
    assert (found["kind"], found["classes"], found["counts"]) == ("masks", ["0", "1"], {"train": 4})


@pytest.mark.parametrize("inside", [True, False], ids=["train/images", "images/train"])
def test_splits(inside: bool, tmp_path: Path) -> None:
    for split, count in (("train", 3), ("Validation", 1), ("test", 2)):
        if inside:
            a_set(tmp_path / split, "image", "label", count)
        else:
            a_set(tmp_path, f"images/{split}", f"masks/{split}", count)
    assert check(str(tmp_path), None)["counts"] == {"train": 3, "val": 1, "test": 2}


@pytest.mark.parametrize("place", ["{}/images {}/masks", "images/{} masks/{}", "{} {}annot"])
@pytest.mark.parametrize("split", ["test", "val"])
def test_the_part_that_is_measured_is_named(place: str, split: str, tmp_path: Path) -> None:
    for name in ("train", split):
        a_set(tmp_path, *place.format(name, name).split(), count=2)
    assert part_measured(layout_of(str(tmp_path))) == ("test" if split == "test" else "all")


def test_pascal_voc(tmp_path: Path) -> None:
    for number in range(5):
        image(tmp_path / "JPEGImages", f"2007_{number}.jpg", number)
        mask(tmp_path / "SegmentationClass", f"2007_{number}.png", (0, 1, 15, 255))
    image(tmp_path / "JPEGImages", "2007_9.jpg")  # most images of VOC have no mask
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, numbers in (("train", "012"), ("val", "34"), ("trainval", "01234")):
        (lists / f"{split}.txt").write_text("".join(f"2007_{n}\n" for n in numbers))
    found = check(str(tmp_path), None)
    assert (found["counts"], found["values"], found["void"]) == ({"train": 3, "val": 2}, [0, 1, 15], [255])
    (lists / "val.txt").write_text("2007_3\n2007_8\n")
    with pytest.raises(UserError, match=r"val\.txt, line 2"):
        check(str(tmp_path), None)


def test_segnets_lists(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1), ("test", 1)):
        a_set(tmp_path, split, f"{split}annot", count, (0, 1, 2, 11))
        lines = [f"/SegNet/CamVid/{split}/{n}.png /SegNet/CamVid/{split}annot/{n}.png" for n in range(count)]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    (tmp_path / "classes.txt").write_text(
        "0 Sky 128,128,128\n1 Building 128,0,0\n2 Column pole 192,192,128\n11 Unlabelled 0,0,0\n"
    )
    found = check(str(tmp_path), None)
    assert found["classes"] == ["Sky", "Building", "Column pole"] and found["void"] == [11]
    assert found["void_share"] == 0.25 and found["counts"] == {"train": 3, "val": 1, "test": 1}


def test_names_with_spaces_and_chinese_characters(tmp_path: Path) -> None:
    for number in range(2):
        image(tmp_path / "图 像" / "images", f"街道 {number}.jpg", number)
        mask(tmp_path / "图 像" / "masks", f"街道 {number}_mask.png")
    found = check(str(tmp_path / "图 像"), None)
    assert found["counts"] == {"train": 2}
    assert shlex.split(found["to train"])[:3] + shlex.split(found["to train"])[-1:] == [
        "chainrule",
        "train",
        "unet",
        str(tmp_path / "图 像"),
    ]


# -- numbers --------------------------------------------------------------------------------------------------------


def numbers(folder: Path) -> list[int]:
    return check(str(folder), None)["values"]


def test_0_and_255_alone_are_background_and_object(tmp_path: Path) -> None:
    found = check(str(a_set(tmp_path, values=(0, 255))), None)
    assert (found["classes"], found["void"], found["void_share"]) == (["background", "object"], [], 0)


def test_else_255_is_void_and_numbers_need_not_follow_each_other(tmp_path: Path) -> None:
    found = check(str(a_set(tmp_path, values=(3, 77, 255, 255))), None)
    assert (found["values"], found["classes"], found["void_share"]) == ([3, 77], ["3", "77"], 0.5)


def test_void_is_what_the_user_says(tmp_path: Path) -> None:
    a_set(tmp_path, values=(0, 1, 2, 255))
    for void, values in (("void=2", [0, 1, 255]), ("void=-1", [0, 1, 2, 255])):
        result = CliRunner().invoke(cli, ["data", "check", str(tmp_path), void, "--json"], catch_exceptions=False)
        assert json.loads(result.stdout)["values"] == values
        assert f"train unet {void} --data" in json.loads(result.stdout)["to train"]


@pytest.mark.parametrize("form", ["palette", "1 bit", "16 bits", "grey with alpha", "grey as RGB"])
def test_every_form_of_mask(form: str, tmp_path: Path) -> None:
    stripes = (np.arange(WIDTH) >= WIDTH // 4).astype(np.uint8) * np.ones((HEIGHT, 1), np.uint8)
    forms: dict[str, Callable[[], Image.Image]] = {
        "palette": lambda: Image.fromarray(stripes, mode=None).convert("L"),
        "1 bit": lambda: Image.fromarray(stripes * 255).convert("1"),
        "16 bits": lambda: Image.fromarray(stripes.astype(np.uint16) * 700),
        "grey with alpha": lambda: Image.merge("LA", [Image.fromarray(stripes * 9), Image.fromarray(stripes * 255)]),
        "grey as RGB": lambda: Image.merge("RGB", [Image.fromarray(stripes * 9)] * 3),
    }
    drawn = forms[form]()
    if form == "palette":
        drawn.putpalette([10, 20, 30, 200, 0, 100])
    for number in range(3):
        image(tmp_path / "images", f"{number}.png", number)
        drawn.save(tmp_path / "masks" / f"{number}.png") if number else (
            (tmp_path / "masks").mkdir(),
            drawn.save(tmp_path / "masks" / "0.png"),
        )
    raw = read_masked_images(layout_of(str(tmp_path)))
    expected = {"palette": [0, 1], "1 bit": [0, 255], "16 bits": [0, 700]}.get(form, [0, 9])
    assert raw.meaning.values == expected
    assert (raw.splits["train"].masks[0] == stripes).all() and raw.splits["train"].masks[0].dtype == np.uint8
    if form == "palette":
        assert raw.meaning.colours == [(10, 20, 30), (200, 0, 100)]


def test_palettes_that_differ_are_told(tmp_path: Path) -> None:
    """The numbers that two masks share have one colour in the first three, and another one in the last."""
    (tmp_path / "masks").mkdir()
    for number, colours in enumerate(
        [[0, 0, 0, 9, 9, 9], [0, 0, 0, 9, 9, 9, 1, 2, 3], [0, 0, 0, 9, 9, 9], [0, 0, 0, 7, 8, 9]]
    ):
        image(tmp_path / "images", f"{number}.png", number)
        drawn = Image.fromarray(
            np.repeat(np.arange(HEIGHT)[:, None] * (len(colours) // 3) // HEIGHT, WIDTH, 1).astype(np.uint8)
        )
        drawn.putpalette(colours)
        drawn.save(tmp_path / "masks" / f"{number}.png")
    raw = read_masked_images(layout_of(str(tmp_path)))
    assert raw.meaning.colours == [(0, 0, 0), (9, 9, 9), (1, 2, 3)]
    assert len(raw.notes) == 1 and "1 is 9,9,9 in 0.png and 7,8,9 in 3.png" in raw.notes[0]


def test_colours_by_the_list(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("4 road 128,64,128\n9 car 0,0,142\n")
    left, right = (128, 64, 128), (0, 0, 142)
    pixels = np.where((np.arange(WIDTH) < 11)[None, :, None], left, right).astype(np.uint8) * np.ones(
        (HEIGHT, 1, 1), np.uint8
    )
    for number in range(2):
        image(tmp_path / "images", f"{number}.png", number)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{number}.png")
    found = check(str(tmp_path), None)
    assert (found["classes"], found["values"], found["share of pixels"]["road"]) == (["road", "car"], [4, 9], 0.25)
    read = read_mask(tmp_path / "masks" / "0.png", read_class_list(tmp_path / "classes.txt"))
    assert read.values.dtype == np.uint8
    pixels[0, 0] = (1, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "masks" / "1.png")
    with pytest.raises(UserError, match=r"1,2,3 \(1 pixels\)"):
        check(str(tmp_path), None)


def test_near_duplicates_and_classes_of_the_test_split_alone_are_told(tmp_path: Path) -> None:
    a_set(tmp_path / "train", count=3)
    a_set(tmp_path / "test", count=1, values=(0, 1, 2))
    warnings = " ".join(check(str(tmp_path), None)["warnings"])
    assert "only test has the class 2" in warnings and "near-duplicates in train and test, 1 pairs" in warnings


def test_warnings_are_of_the_splits_that_training_makes(tmp_path: Path) -> None:
    """Of twelve images of which each is there three times, some copies fall into other splits."""
    for number in range(12):
        image(tmp_path / "images", f"film{number % 4}_{number}.png", number % 4)
        mask(tmp_path / "masks", f"film{number % 4}_{number}.png")
    for options, told in (((), True), ((r"group=film(\d)",), False)):
        result = CliRunner().invoke(cli, ["data", "check", str(tmp_path), *options, "--json"], catch_exceptions=False)
        assert ("near-duplicates in train and test" in " ".join(json.loads(result.stdout)["warnings"])) is told


def test_bits_that_differ_are_counted() -> None:
    a, b = torch.rand(5, 64) < 0.5, torch.rand(4, 64) < 0.5
    b[2], b[3] = a[1], a[1]
    b[3, :4] = ~b[3, :4]
    b[2, :5] = ~b[2, :5]
    found = near_duplicates({"train": a, "test": b}, {"train": list("abcde"), "test": list("wxyz")})
    assert len(found) == 1 and "1 pairs: b and z;" in found[0]


def test_a_test_folder_without_masks_is_passed_over(tmp_path: Path) -> None:
    """As in the usual copy of ISBI's membranes: train/image, train/label, and test/ with images alone."""
    a_set(tmp_path / "train", "image", "label", 5)
    image(tmp_path / "test", "0.png")
    found = check(str(tmp_path), None)
    assert found["counts"] == {"train": 5} and "test/ has no folder" in " ".join(found["warnings"])


def test_images_are_made_smaller_as_they_are_read(tmp_path: Path) -> None:
    a_set(tmp_path, count=5)
    layout = layout_of(str(tmp_path))
    whole, small = read_masked_images(layout), read_masked_images(layout, shorter=18)
    assert {x.shape for x in small.splits["train"].images} == {(18, 22, 3)}
    assert {x.shape for x in small.splits["train"].masks} == {(HEIGHT, WIDTH)}
    for large, made in zip(whole.splits["train"].images, small.splits["train"].images, strict=True):
        half = np.asarray(Image.fromarray(large).resize((22, 18), Image.Resampling.BILINEAR))
        assert np.abs(half.astype(int) - made).max() <= 1


def test_a_scale_between_is_no_scale(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["train", "unet", "--data", str(a_set(tmp_path)), "scale=0.5", "--out", "r"])
    assert isinstance(result.exception, UserError) and "neither 0 nor 1" in str(result.exception)


@pytest.mark.parametrize("number", [-1, 70000])
def test_a_number_beyond_16_bits(number: int, tmp_path: Path) -> None:
    a_set(tmp_path, count=2)
    (tmp_path / "masks" / "1.png").unlink()
    mask(tmp_path / "masks", "1.tif", (0, number), np.int32)
    with pytest.raises(UserError, match=rf"(?s)no class can have.*1\.tif.*{number}"):
        check(str(tmp_path), None)


def test_groups_stay_in_one_split(tmp_path: Path) -> None:
    for number in range(12):
        image(tmp_path / "images", f"film{number % 4}_{number}.png", number)
        mask(tmp_path / "masks", f"film{number % 4}_{number}.png")
    raw = read_masked_images(layout_of(str(tmp_path)))
    for seed in range(3):
        _, splits = split_masks(raw, shorter=0, seed=seed, val_fraction=0.25, test_fraction=0.25, group=r"film(\d)")
        films = [{file.name[:5] for file, _ in splits[name].files} for name in ("train", "val", "test")]
        assert not (films[0] & films[1] or films[0] & films[2] or films[1] & films[2]) and all(films)
    with pytest.raises(UserError, match="finds nothing"):
        split_masks(raw, shorter=0, seed=0, val_fraction=0.2, test_fraction=0.2, group="video")


def test_other_masks_are_read_by_the_classes_of_the_run(tmp_path: Path) -> None:
    raw = read_masked_images(layout_of(str(a_set(tmp_path / "a", count=8, values=(5, 9, 30)))))
    spec, _ = split_masks(raw, shorter=0, seed=0, val_fraction=0.2, test_fraction=0.2, group=None)
    other = read_other_masks(str(a_set(tmp_path / "b", count=2, values=(9, 30))), spec)
    assert sorted(other.masks[0].unique().tolist()) == [1, 2]
    with_void = read_other_masks(str(a_set(tmp_path / "v", count=2, values=(9, 255))), spec)
    assert sorted(with_void.masks[0].unique().tolist()) == [1, 255]
    for split, count in (("train", 2), ("val", 1)):
        a_set(tmp_path / "s" / split, count=count, values=(9, 30))
    assert len(read_other_masks(str(tmp_path / "s"), spec)) == 3  # no test split: all
    a_set(tmp_path / "s" / "test", count=2, values=(9, 30))
    assert len(read_other_masks(str(tmp_path / "s"), spec)) == 2
    with pytest.raises(UserError, match="no class"):
        read_other_masks(str(a_set(tmp_path / "c", count=2, values=(9, 31))), spec)


# -- what is wrong --------------------------------------------------------------------------------------------------


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
