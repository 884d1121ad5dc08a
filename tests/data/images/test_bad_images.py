"""Images as users have them: broken, huge, misnamed. The right answer, or an error in words, from each command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chainrule import cli
from chainrule.data.check import check
from chainrule.data.images.decoding import decode, ignore_warnings
from chainrule.data.images.loading import decode_files, read_other_images
from chainrule.data.images.unlabelled import read_other_unlabelled
from chainrule.models import build
from chainrule.systems.faces.data import read_other_faces
from tests.data.image_sets import png, read, write_images

pytestmark = pytest.mark.usefixtures("no_report")

# -- the three commands ------------------------------------------------------------------------------------------------

SMALL = ["network=lenet-caffe", "size=28", "epochs=1", "batch_size=8", "crop=none", "flip=no", "val_fraction=0.2"]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the command: its exit status, and what it printed."""

    def run(*words: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        status = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return status, told.err if status else told.out

    return run


def two_classes(root: Path, count: int = 10, **options: Any) -> Path:
    for name in ("a", "b"):
        write_images(root / name, count, **options)
    return root


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learnt from grey images of 28 pixels."""
    place = tmp_path_factory.mktemp("grey")
    two_classes(place / "set", size=(28, 28))
    cli.main(["train", "image-classifier", *SMALL, "--data", str(place / "set"), "--out", str(place / "run")])
    return place / "run"


WHOLE = png(60, 40, kind=2, bits=8, row=bytes(range(180)))
BROKEN: dict[str, tuple[bytes, str, str]] = {
    "nothing in it": (b"", "an empty file", "repair or remove this file"),
    "a text": (
        "这不是图片 this is no image\n".encode(),
        "no image of a format that is known",
        "repair or remove this file",
    ),
    "a page of the web": (
        b"<!DOCTYPE html><title>404 Not Found</title>",
        "no image of a format that is known",
        "repair or remove",
    ),
    "cut off in the header": (WHOLE[:20], "", "repair or remove this file"),
    "cut off in the pixels": (WHOLE[:-40], "", "repair or remove this file"),
    "a wrong sum": (WHOLE.replace(b"IDAT", b"IDAT\0", 1), "", "repair or remove this file"),
    "20,000 x 20,000 pixels": (
        png(20_000, 20_000),
        "too large to be meant: 400,000,000 pixels; at most 89,478,485 are read",
        "make",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_image_that_cannot_be_read(what: str, command: Any, run_folder: Path, tmp_path: Path) -> None:
    content, found, cure = BROKEN[what]
    file = two_classes(tmp_path / "set") / "b" / "坏 3.png"
    file.write_bytes(content)
    for words in (
        ["data", "check", tmp_path / "set"],
        ["train", "image-classifier", *SMALL, "channels=1", "--data", tmp_path / "set", "--out", tmp_path / "run"],
        ["predict", run_folder, tmp_path / "set" / "a" / "0.png", file],
    ):
        status, told = command(*words)
        assert status == 2 and "an image cannot be read" in told and str(file) in told, told
        assert found in told and cure in told
    assert not (tmp_path / "run").exists()


def test_all_that_is_broken_is_named_at_once(command: Any, tmp_path: Path) -> None:
    two_classes(tmp_path / "set")
    for number, (content, _, _) in enumerate(BROKEN.values()):
        (tmp_path / "set" / "a" / f"bad{number}.png").write_bytes(content)
    status, told = command("data", "check", tmp_path / "set")
    assert status == 2 and f"{len(BROKEN)} of {20 + len(BROKEN)} images cannot be read" in told
    assert all(f"bad{number}.png: " in told for number in range(len(BROKEN)))


def test_a_jpeg_that_lost_its_end(command: Any, tmp_path: Path) -> None:
    """Not the first byte, nor the header: the commonest way of being broken is a copy that stopped."""
    two_classes(tmp_path / "set", mode="RGB", size=(64, 48), suffix=".jpg")
    file = tmp_path / "set" / "a" / "4.jpg"
    whole = file.read_bytes()
    for kept in (len(whole) // 4, len(whole) // 2, len(whole) - 30):
        file.write_bytes(whole[:kept])
        status, told = command("data", "check", tmp_path / "set")
        assert status == 2 and str(file) in told and "runcated" in told, (kept, told)


def test_large_and_narrow_images_are_images(command: Any, run_folder: Path, tmp_path: Path) -> None:
    """Up to the number of pixels that Pillow warns of on stderr, quietly."""
    folder = tmp_path / "large"
    folder.mkdir()
    sizes = {
        "wide": (20_000, 100),
        "high": (100, 20_000),
        "strip": (20_000, 1),
        "one": (1, 1),
        "nearly warned of": (11_000, 8_100),
    }
    for name, size in sizes.items():
        (folder / f"{name}.png").write_bytes(png(*size))
    status, told = command("predict", run_folder, folder, "--json")
    assert status == 0 and len(json.loads(told)) == len(sizes)
    margins = [decode(folder / f"{name}.png", 3, (64, 64), margin=256 / 224) for name in ("wide", "high", "strip")]
    assert all(one_image.shape == (64, 64, 3) and not one_image.any() for one_image in margins)


def test_a_strip_is_not_enlarged_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 pixels by one, the one brought to 256: that would be 5 million pixels by 256."""
    asked: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def remembering(image: Image.Image, size: tuple[int, int], *args: Any) -> Image.Image:
        asked.append(size)
        assert size[0] * size[1] < 10**6, size
        return resize(image, size, *args)

    monkeypatch.setattr(Image.Image, "resize", remembering)
    for name, size in (("wide", (20_000, 1)), ("high", (1, 20_000))):
        (tmp_path / f"{name}.png").write_bytes(png(*size))
        decode(tmp_path / f"{name}.png", 3, (224, 224), margin=256 / 224)
    assert asked == [(2048, 256), (256, 2048)]


def test_a_strip_keeps_its_middle(tmp_path: Path) -> None:
    """Its ends are cut before it is enlarged; what is left of it is what was left without that."""
    ramp = np.tile(np.linspace(0, 255, 4000), (20, 1)).astype(np.uint8)
    for name, pixels in (("wide", ramp), ("high", ramp.T)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        plain = Image.fromarray(pixels)
        scale = 40 / 20
        plain = plain.resize((round(plain.width * scale), round(plain.height * scale)), Image.Resampling.BILINEAR)
        left, top = (plain.width - 32) // 2, (plain.height - 32) // 2
        found = decode(tmp_path / f"{name}.png", 1, (32, 32), margin=1.25)[:, :, 0]
        assert np.abs(found - np.asarray(plain.crop((left, top, left + 32, top + 32)), dtype=float)).max() <= 1


def test_odd_names_and_sizes_train_and_answer(command: Any, tmp_path: Path) -> None:
    """Spaces, Chinese, emoji; capital endings; smaller than the network; leavings of a Mac; other files beside."""
    root = tmp_path / "我的 images 📷"
    two_classes(root / "train", 4, mode="RGB", size=(40, 30))
    (root / "train" / "a").rename(root / "train" / "小 猫 🐱")
    cats = root / "train" / "小 猫 🐱"
    write_images(cats / "deeper down", 4, mode="RGB", size=(5, 3))
    (cats / "0.png").rename(cats / "我 的 %20 #1 🐈.PNG")
    (cats / "2.png").rename(cats / "'quoted\" & [b].png")
    Image.new("CMYK", (30, 30)).save(cats / "print.JPG")
    (cats / "wide.png").write_bytes(png(20_000, 100, kind=2, bits=8))
    (cats / "._0.png").write_bytes(b"Mac OS X")
    (cats / ".hidden").mkdir()
    (cats / ".hidden" / "no.png").write_bytes(b"")
    (cats / "phone.HEIC").write_bytes(b"not looked at")
    write_images(root, 1, mode="RGB")
    for split in ("val", "test"):
        for name in ("小 猫 🐱", "b"):
            write_images(root / split / name, 2, mode="RGB")
    status, told = command("data", "check", root, "--json")
    found = json.loads(told)
    assert status == 0 and found["train by class"] == {"b": 4, "小 猫 🐱": 10} and found["sizes"].endswith("different")
    assert found["passed over"] == {".heic": 1, "a .png outside the class folders": 1}
    out = tmp_path / "运行 run"
    status, told = command("train", "image-classifier", *SMALL, "--data", root, "--out", out, "--json")
    assert status == 0 and 0 <= json.loads(told.splitlines()[-1])["metrics"]["accuracy"] <= 1
    named = [cats / "我 的 %20 #1 🐈.PNG", cats / "print.JPG", cats / "wide.png", cats / "deeper down" / "0.png"]
    status, told = command("predict", out, *named, "--json")
    answers = json.loads(told)
    assert status == 0 and [Path(answer["input"]) for answer in answers] == named
    assert {answer["class"] for answer in answers} <= {"b", "小 猫 🐱"}


# -- folders and tables ------------------------------------------------------------------------------------------------


def class_without_images(root: Path) -> None:
    two_classes(root)
    (root / "leer 空").mkdir()
    (root / "leer 空" / "scan.tga").write_bytes(b"x")


def class_with_nothing(root: Path) -> None:
    two_classes(root)
    (root / "c").mkdir()


def one_class(root: Path) -> None:
    write_images(root / "only", 8)


def one_class_in_a_table(root: Path) -> None:
    write_images(root / "files", 8)
    (root / "train.csv").write_text("path,label\n" + "".join(f"files/{i}.png,a\n" for i in range(8)), "utf-8")


def missing_file_in_a_table(root: Path) -> None:
    two_classes(root / "文 件")
    rows = [f"文 件/{'ab'[i % 2]}/{i // 2}.png,{'ab'[i % 2]}\n" for i in range(20)]
    rows[6] = "文 件/a/gone 走.png,a\n"
    (root / "train.csv").write_text("path,label\n" + "".join(rows), "utf-8")


def a_folder_in_a_table(root: Path) -> None:
    missing_file_in_a_table(root)
    text = (root / "train.csv").read_text("utf-8").replace("文 件/a/gone 走.png", "文 件/a")
    (root / "train.csv").write_text(text, "utf-8")


def grey_and_colour(root: Path) -> None:
    two_classes(root)
    write_images(root / "b", 3, mode="RGB")


def only_broken_links(root: Path) -> None:
    two_classes(root)
    (root / "a" / "link.png").symlink_to(root / "a" / "nowhere.png")


SETS: dict[
    str, tuple[Callable[[Path], None], list[str], bool]
] = {  # made by, words of the error, told by data check too
    "a class without images": (
        class_without_images,
        ["a class has no image", "leer 空", ".png", ".tga", "remove the folder"],
        True,
    ),
    "a class with nothing": (class_with_nothing, ["a class has no image", "an empty folder"], True),
    "one class only": (
        one_class,
        ["a classifier needs two classes at least", "1 subfolder", "one subfolder a class", "--data labels=FILE"],
        False,
    ),
    "one class in a table": (one_class_in_a_table, ["there is only one class", "my set", "two at least"], True),
    "a file of a table is missing": (
        missing_file_in_a_table,
        ["an image is not there", "train.csv, line 8", "gone 走.png"],
        True,
    ),
    "a folder in a table": (a_folder_in_a_table, ["an image is not there", "train.csv, line 8"], True),
    "grey and colour": (grey_and_colour, ["mixed kinds", "grey, as most are", "channels=1 or channels=3"], True),
    "a link to nowhere": (only_broken_links, ["an image cannot be read", "link.png", "no such file"], True),
}


@pytest.mark.parametrize("what", SETS)
def test_a_set_that_will_not_do(what: str, command: Any, tmp_path: Path) -> None:
    make, texts, checked = SETS[what]
    root = tmp_path / "my set 集"
    root.mkdir()
    make(root)
    for words in (
        ["data", "check", root],
        ["train", "image-classifier", *SMALL, "--data", root, "--out", tmp_path / "run"],
    ):
        status, told = command(*words)
        if words[0] == "data" and not checked:  # fit for models that generate, and it says that no classifier can
            assert status == 0 and "a classifier needs one subfolder a class, two at least" in told
        else:
            assert status == 2 and all(text in told for text in texts), told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("network", "size", "texts"),
    [
        ("lenet-caffe", 12, ["another size than this LeNet", "28 x 28", "12 x 12", "size=28"]),
        ("lenet5", 20, ["another size than this LeNet-5", "32 x 32", "20 x 20"]),
        ("score-net", 8, ["another size than this score-net", "28 x 28"]),
        ("googlenet", 16, ["too small for GoogLeNet", "16 x 16"]),
    ],
)
def test_images_that_the_network_cannot_take(
    network: str, size: int, texts: list[str], command: Any, tmp_path: Path
) -> None:
    two_classes(tmp_path / "set", size=(30, 30))
    settings = [*SMALL[2:], f"network={network}", f"size={size}"]
    words = ["train", "image-classifier", *settings, "--data", tmp_path / "set", "--out", tmp_path / "run"]
    status, told = command(*words)
    assert status == 2 and all(text in told for text in texts), told
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network(command: Any, tmp_path: Path) -> None:
    two_classes(tmp_path / "set")
    torch.save(build("resnet20").state_dict(), tmp_path / "别 other.pth")
    (tmp_path / "image.pth").write_bytes(WHOLE)
    for file, texts in (
        ("别 other.pth", ["these weights are not those of", "missing: ", "unexpected: ", "resnet20"]),
        ("image.pth", ["cannot be read as safetensors"]),
        ("gone.pth", ["there is no such file"]),
    ):
        words = [
            "train",
            "image-classifier",
            *SMALL,
            "--data",
            tmp_path / "set",
            "--weights",
            tmp_path / file,
            "--out",
            tmp_path / "run",
        ]
        status, told = command(*words)
        assert status == 2 and file in told and all(text in told for text in texts), told
        assert not (tmp_path / "run").exists()


# -- what is answered is brought to size as what was learnt ------------------------------------------------------------


def test_files_are_brought_to_size_as_in_training(tmp_path: Path) -> None:
    """Two pixels lack: arrays get a border, as MNIST's 28 for LeNet-5's 32; files are stretched, whoever reads them."""
    two_classes(tmp_path / "set", size=(26, 26))
    spec, splits = read(tmp_path / "set", size=28)
    learnt = {one_image.numpy().tobytes() for part in splits.values() for one_image in part.x}
    files = sorted((tmp_path / "set").rglob("*.png"))
    assert {decode_files([file], spec).numpy().tobytes() for file in files} == learnt
    arrays = np.stack([np.asarray(Image.open(file)) for file in files])
    np.savez(tmp_path / "set.npz", x=arrays, y=np.arange(20) // 10)
    spec, splits = read(tmp_path / "set.npz", size=28)
    learnt = {one_image.numpy().tobytes() for part in splits.values() for one_image in part.x}
    assert {decode_files([file], spec).numpy().tobytes() for file in files} == learnt
    assert not decode_files([files[0]], spec)[0, 0, 0].any()  # the border


def test_other_data_are_brought_to_size_as_in_training(tmp_path: Path) -> None:
    """What the run learnt from decides, not what form the others have, whoever measures."""
    files = sorted(two_classes(tmp_path / "set", size=(26, 26)).rglob("*.png"))
    arrays = np.stack([np.asarray(Image.open(file)) for file in files])
    np.savez(tmp_path / "set.npz", x=arrays, y=np.arange(20) // 10)
    classes = {"set": ["a", "b"], "set.npz": ["0", "1"]}
    for learnt in classes:
        spec = read(tmp_path / learnt, size=28)[0]
        expected = decode_files(files, spec)
        assert bool(expected[:, :, 0].any()) == (learnt == "set")  # the border is black
        for other, names in classes.items():
            source = str(tmp_path / other)
            for found in (
                read_other_images(source, None, replace(spec, classes=names)),
                read_other_unlabelled(source, None, spec),
                read_other_faces(source, None, spec),
            ):
                assert (found.x.int() - expected.int()).abs().max() <= (
                    0 if learnt == "set.npz" or other == "set" else 1
                )


def test_large_images_are_checked_without_a_warning(tmp_path: Path) -> None:
    two_classes(tmp_path / "set")
    (tmp_path / "set" / "a" / "large.png").write_bytes(png(11_000, 8_100, kind=0, bits=1))
    assert check(str(tmp_path / "set"), None)["sizes"] == "8x8 to 11000x8100, 2 different"
    with ignore_warnings():
        assert not decode(tmp_path / "set" / "a" / "large.png", 1, (4, 4)).any()
