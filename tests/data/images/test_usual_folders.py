"""Folders of images as people have them: names of splits, odd endings, boxes instead of classes, what is passed over."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.core.data.request import DataRequest
from chainrule.core.errors import UserError
from chainrule.data.check import check
from chainrule.data.images.decoding import decode, decoding_error
from chainrule.data.images.loading import load_images
from chainrule.data.layout import layout_of
from chainrule.data.split_names import split_called
from tests.data.image_sets import png, read, refused, write_images


def classes(place: Path, count: int = 5, suffix: str = ".png", names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for name in names:
        write_images(place / name, count, suffix=suffix)
    return place


# -- splits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Train", "Test"), ("train", "test")),
        (("Training", "Testing"), ("train", "test")),
        (("TRAIN_SET", "valid"), ("train", "val")),
        (("train", "Validation", "eval"), ("train", "val", "test")),
        (("training set", "dev"), ("train", "val")),
        (("训练集", "测试集"), ("train", "test")),
        (("seg_train", "seg_test"), ("train", "test")),
    ],
)
def test_splits_go_by_their_usual_names(names: tuple[str, ...], splits: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        classes(tmp_path / name, 4)
    found = check(str(tmp_path), None)
    assert found["classes"] == ["cat", "dog"] and found["found"] == dict.fromkeys(splits, 8)
    for name in names:  # tables likewise
        (tmp_path / "t").mkdir(exist_ok=True)
        (tmp_path / "t" / f"{name}.csv").write_text("a,label\n" + "1,x\n2,y\n" * 20)
    if not names[0].startswith("seg"):
        assert list(layout_of(tmp_path / "t").splits) == list(splits)


def test_a_split_by_two_names_or_by_none_is_told(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        classes(tmp_path / "two" / name, 1)
    refused(tmp_path / "two", "the split val is there twice", "val, valid")
    for name in ("val", "test"):
        classes(tmp_path / "none" / name, 1)
    refused(tmp_path / "none", "there is no training split", "test, val")
    assert [split_called(name) for name in ("trainer", "contest", "cat", "developer")] == [None] * 4


def test_what_is_passed_over_and_left_out_is_noted_for_training(tmp_path: Path) -> None:
    place = classes(tmp_path / "d", 6)
    (place / "cat" / "phone.HEIC").write_bytes(b"x")
    (place / "notes.txt").write_text("x")
    (place / "__MACOSX").mkdir()
    write_images(place / "unlabeled", 3)
    write_images(place, 1)
    request = DataRequest({"": str(place)})
    data = load_images(request, size=8)
    assert data.spec.classes == ["cat", "dog"] and sum(data.spec.counts.values()) == 12
    told = "\n".join(request.notes)
    assert "unlabeled, samples without a class" in told and "3 .png outside the class folders" not in told
    assert "1 .heic" in told and "1 .txt" in told and ".png outside the class folders" in told
    assert request.record["notes"] == request.notes == [*check(str(place), None)["notes"], request.notes[-1]]
    classes(place / "inner")
    shutil.rmtree(place / "cat"), shutil.rmtree(place / "dog"), shutil.rmtree(place / "unlabeled")
    refused(place, "two classes at least", f"--data {place / 'inner'}, which holds cat, dog")


# -- image files ---------------------------------------------------------------------------------------------------


def test_what_an_image_is_its_bytes_say(tmp_path: Path) -> None:
    place = tmp_path / "d"
    for name in ("cat", "dog"):
        write_images(place / name, 2)
        for number, ending in enumerate((".jfif", ".JPE", ".tif", "")):
            form = "PNG" if ending == "" else "TIFF" if ending == ".tif" else "JPEG"
            Image.new("L", (8, 8), 40 * number).save(place / name / f"x{number}{ending}", format=form)
        (place / name / "1.png").rename(place / name / "named.jpg")  # of another form than its name says
        (place / name / "README").write_text("BMW makes cars")
    found = check(str(place), None)
    assert found["train by class"] == {"cat": 6, "dog": 6} and found["passed over"] == {"text without ending": 2}
    assert read(place)[0].counts["train"] > 0


def test_postscript_is_never_run_whatever_it_is_called(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(file) as image:
        assert image.format == "EPS"  # Pillow would hand it to Ghostscript
    assert decoding_error(file) == "no image of a format that is known"
    with pytest.raises(UserError, match="no image of a format that is known"):
        decode(file, 1, (8, 8))


def test_few_bytes_that_unpack_to_many_pixels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(13_000, 13_000, bits=1))
    reason = decoding_error(tmp_path / "bomb.png")
    assert reason is not None and "too large to be meant: 169,000,000 pixels; at most 89,478,485" in reason


def test_broken_files_are_left_out_where_that_is_asked(tmp_path: Path) -> None:
    place = classes(tmp_path / "d", 6)
    (place / "cat" / "3.png").write_bytes(b"")
    refused(place, "an image cannot be read", "3.png")
    with pytest.raises(UserError, match="skip_broken=yes"):
        check(str(place), None)
    request = DataRequest({"": str(place)}, options={"skip_broken": True})
    assert sum(load_images(request, size=8).spec.counts.values()) == 11
    assert request.notes == [f"left out as broken: 1: {place / 'cat' / '3.png'}: an empty file"]
    assert check(request, None)["found"] == {"train": 11}


# -- boxes and masks -----------------------------------------------------------------------------------------------

NOTES = {
    "Pascal VOC": ("Annotations/{}.xml", "JPEGImages/{}.png"),
    "COCO": ("annotations/instances_{}.json", "train2017/{}.png"),
    "YOLO": ("labels/{}.txt", "images/{}.png"),
    "masks": ("masks/{}.png", "images/{}.png"),
    "YOLO, in splits": ("train/labels/{}.txt", "train/images/{}.png"),
    "YOLO, beside": ("{}.txt", "{}.png"),
    "Pascal VOC, beside": ("{}.xml", "{}.png"),
}


@pytest.mark.parametrize("form", NOTES)
def test_boxes_and_masks_are_no_classes(form: str, tmp_path: Path) -> None:
    write_images(tmp_path, 4)
    place = tmp_path / "d"
    for number in range(4):
        for pattern in NOTES[form]:
            file = place / pattern.format(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".png":
                shutil.copy(tmp_path / f"{number}.png", file)
            else:
                file.write_text("0 0.5 0.5 0.1 0.1\n")
    what = form.partition(",")[0]
    refused(place, what, "no classes of images")
    if "beside" in form:  # fit for models that generate
        assert f"boxes, as {what} has them, are passed over" in check(str(place), None)["notes"][0]
        return
    if form == "masks":  # a kind of data of its own
        return
    with pytest.raises(UserError, match=f"(?s){what}.*no classes of images"):
        check(str(place), None)


def test_classes_that_are_called_like_notes_are_classes(tmp_path: Path) -> None:
    place = classes(tmp_path / "d", names=("labels", "masks", "tags"))
    assert check(str(place), None)["classes"] == ["labels", "masks", "tags"]
    assert np.asarray(read(place)[1]["train"].y).max() == 2
