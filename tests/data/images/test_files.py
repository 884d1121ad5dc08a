"""The readers of images: what each form gives, and every way in which a user's own files can be wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chainrule.core.errors import UserError
from chainrule.data.images import loading as images
from chainrule.data.images.decoding import colour_channels, decode
from chainrule.data.images.loading import decode_files, pixel_statistics
from chainrule.data.images.published import read_idx
from chainrule.data.splits import fingerprint
from tests.data.image_sets import cifar_folder, idx_bytes, idx_folder, image_spec, read, refused, stripes, write_images

pytestmark = pytest.mark.usefixtures("no_report")

# -- MNIST's idx ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
def test_idx(tmp_path: Path, packed: bool) -> None:
    spec, splits = read(idx_folder(tmp_path / "m", packed=packed))
    x, y = stripes(10)
    assert torch.equal(splits["test"].x, torch.from_numpy(x)[:, None]) and splits["test"].y.tolist() == y.tolist()
    assert spec.counts == {"train": 27 - 1, "val": 4, "test": 10}  # a tenth of each class of 15, rounded
    assert spec.splits["test"] == "as published" and spec.classes == ["0", "1"] and spec.channels == 1


def test_idx_of_any_rank(tmp_path: Path) -> None:
    for array in (np.arange(7), np.arange(24).reshape(2, 3, 4)):
        (tmp_path / "a").write_bytes(idx_bytes(array))
        assert np.array_equal(read_idx(tmp_path / "a"), array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no idx file"),
        (b"\x00\x00\x08", "no idx file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", "no idx file"),  # floats
        (b"\x00\x00\x08\x03\x00\x00\x00\x02", "no idx file"),  # three axes, one size
        (b"GIF89a..", "no idx file"),
        (idx_bytes(np.zeros((2, 3)))[:-1], "cut short"),
        (idx_bytes(np.zeros((2, 3))) + b"\x00", "cut short"),
    ],
)
def test_a_damaged_idx_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b.gz").write_bytes(gzip.compress(content))
    for name in ("a", "b.gz"):
        with pytest.raises(UserError, match=words) as caught:
            read_idx(tmp_path / name)
        assert name in str(caught.value)


def test_a_damaged_gz_is_told(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, 500)))
    for content in (whole[:-20], b"no gzip", whole[:40] + b"\xff\xff" + whole[42:], whole[:-8] + b"\x00" * 8):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            read_idx(tmp_path / "a.gz")


def test_idx_files_that_do_not_fit(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path / "m", packed=False)
    labels, images = folder / "train-labels-idx1-ubyte", folder / "train-images-idx3-ubyte"
    kept = labels.read_bytes()
    labels.write_bytes(idx_bytes(np.zeros(29)))
    refused(folder, "do not fit", "(30,)", "(29,)")
    labels.write_bytes(idx_bytes(np.zeros((30, 1))))
    refused(folder, "do not fit", "(30, 1)")
    labels.write_bytes(kept)
    images.write_bytes(idx_bytes(np.zeros((0, 8, 8))))
    labels.write_bytes(idx_bytes(np.zeros(0)))
    refused(folder, "only one class")
    labels.unlink()
    refused(folder, "missing", "train-images-idx3-ubyte")


# -- CIFAR's binary batches -------------------------------------------------------------------------------------


def test_cifar(tmp_path: Path) -> None:
    spec, splits = read(cifar_folder(tmp_path / "c"), size=32)
    raw = (tmp_path / "c" / "cifar-10-batches-bin" / "test_batch.bin").read_bytes()
    planes = np.frombuffer(raw, np.uint8).reshape(4, 3073)
    for channel, (row, column) in ((0, (0, 0)), (1, (3, 7)), (2, (31, 31))):
        assert splits["test"].x[2, channel, row, column] == planes[2, 1 + channel * 1024 + row * 32 + column]
    assert spec.classes == ["airplane", "automobile"] and spec.channels == 3 and spec.counts["test"] == 4
    assert sum(spec.counts.values()) == 24


def test_cifar_files_that_are_wrong(tmp_path: Path) -> None:
    folder = cifar_folder(tmp_path / "c") / "cifar-10-batches-bin"
    batch, names = folder / "data_batch_3.bin", folder / "batches.meta.txt"
    kept = batch.read_bytes()
    for content in (kept[:-1], b"", kept + b"\x00"):
        batch.write_bytes(content)
        refused(tmp_path / "c", "cut short", "data_batch_3.bin")
    batch.write_bytes(b"\x07" + kept[1:])
    refused(tmp_path / "c", "out of range", "0 to 1", "7")
    batch.write_bytes(kept)
    names.unlink()
    refused(tmp_path / "c", "names of the classes", "batches.meta.txt")


# -- folders of images ----------------------------------------------------------------------------------------


def test_class_folders(tmp_path: Path) -> None:
    """Names with spaces and Chinese characters, subfolders, other files beside, hidden folders."""
    root = tmp_path / "my images 图"
    write_images(root / "小 猫", 6)
    write_images(root / "dog 狗" / "deeper down", 7, suffix=".bmp")
    write_images(root / ".thumbnails", 3)
    (root / "readme.txt").write_text("no image")
    (root / "小 猫" / "notes.txt").write_text("no image")
    spec, splits = read(root)
    assert spec.classes == ["dog 狗", "小 猫"] and sum(spec.counts.values()) == 13
    y = torch.cat([splits[name].y for name in ("train", "val", "test")])
    assert y.bincount().tolist() == [7, 6]


def test_splits_in_folders(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for label in ("a", "b"):
            write_images(tmp_path / "d" / split / label, count)
    spec, splits = read(tmp_path / "d")
    assert spec.counts == {"train": 10, "val": 4, "test": 6} and set(spec.splits.values()) == {"as published"}
    first = np.asarray(Image.open(tmp_path / "d" / "val" / "b" / "0.png"))
    assert np.array_equal(splits["val"].x[2, 0].numpy(), first) and splits["val"].y.tolist() == [0, 0, 1, 1]
    write_images(tmp_path / "d" / "test" / "c", 1)
    refused(tmp_path / "d", "'c' is in test and not in train")


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGBA", ".png"),
        ("P", ".png"),
        ("L", ".png"),
        ("1", ".png"),
        ("LA", ".png"),
        ("RGB", ".jpg"),
        ("CMYK", ".jpg"),
        ("CMYK", ".tif"),
        ("RGB", ".gif"),
        ("RGB", ".webp"),
        ("L", ".pgm"),
        ("I;16", ".png"),
        ("F", ".tif"),
    ],
)
def test_every_kind_of_image_trains(tmp_path: Path, mode: str, suffix: str) -> None:
    for label in ("a", "b"):
        if mode == "I;16":
            (tmp_path / "d" / label).mkdir(parents=True)
            for index in range(5):
                deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024 + index
                Image.fromarray(deep).save(tmp_path / "d" / label / f"{index}.png")
        else:
            write_images(tmp_path / "d" / label, 5, mode=mode, suffix=suffix)
    spec, splits = read(tmp_path / "d")
    assert spec.channels == (1 if mode in ("L", "1", "LA", "I;16", "F") else 3)
    assert splits["train"].x.dtype == torch.uint8 and splits["train"].x.shape[1:] == (spec.channels, 8, 8)
    for channels in (1, 3):
        assert read(tmp_path / "d", channels=channels)[1]["train"].x.shape[1] == channels


def test_what_conversions_give(tmp_path: Path) -> None:
    deep = np.array([[0, 65535], [256, 32768]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert decode(tmp_path / "deep.png", 1, (2, 2))[..., 0].tolist() == [[0, 255], [1, 128]]
    clear = np.zeros((1, 2, 4), np.uint8)
    clear[0, 1] = (10, 20, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert decode(tmp_path / "clear.png", 3, (1, 2)).tolist() == [[[255, 255, 255], [10, 20, 30]]]  # laid on white
    frames = [Image.new("L", (2, 1), level) for level in (7, 200)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "film.gif", 1, (1, 2)).tolist() == [[[7], [7]]]  # the first
    turned = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    turned.save(tmp_path / "turned.png", exif=exif)
    assert decode(tmp_path / "turned.png", 1, (2, 1)).tolist() == [[[0]], [[255]]]
    assert colour_channels(tmp_path / "turned.png") == 1 and colour_channels(tmp_path / "clear.png") == 3


def broken_images(folder: Path) -> dict[str, Path]:
    """Files that end like images and are none, by what is wrong with them."""
    whole = write_images(folder / "whole", 1, mode="RGB", size=(40, 40)) / "0.png"
    made = {
        "cut short": whole.read_bytes()[:-900],
        "empty": b"",
        "text": b"this is no image\n",
        "header": whole.read_bytes()[:20],
        "spoiled": whole.read_bytes()[:60] + bytes(40) + whole.read_bytes()[100:],
    }
    for name, content in made.items():
        (folder / f"{name}.png").write_bytes(content)
    return {name: folder / f"{name}.png" for name in made}


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    for name, file in broken_images(tmp_path / "broken").items():
        root = tmp_path / f"set {name}"
        for label in ("a", "b"):
            write_images(root / label, 5, mode="RGB")
        (root / "b" / "3.png").write_bytes(file.read_bytes())
        message = refused(root, "cannot be read", str(root / "b" / "3.png"))
        assert ("an empty file" in message) is (name == "empty")
        with pytest.raises(UserError, match="cannot be read"):
            decode_files([file], image_spec(size=8, channels=1))
    with pytest.raises(UserError, match="no such file"):
        decode_files([tmp_path / "nothing.png"], image_spec(size=8, channels=1))


def test_a_image_of_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    file = write_images(tmp_path, 1) / "0.png"
    with pytest.raises(UserError, match="cannot be read"):
        decode(file, 1, (8, 8))


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    write_images(tmp_path / "one" / "a", 5)
    refused(tmp_path / "one", "two classes at least", "1 subfolder")
    (tmp_path / "none").mkdir()
    refused(tmp_path / "none", "0 subfolders")
    write_images(tmp_path / "gap" / "a", 5)
    (tmp_path / "gap" / "b").mkdir()
    refused(tmp_path / "gap", "a class has no image", str(tmp_path / "gap" / "b"))
    write_images(tmp_path / "mixed" / "a", 5)
    write_images(tmp_path / "mixed" / "b", 4, mode="RGB")
    refused(tmp_path / "mixed", "mixed kinds", "grey, as most are", "0.png", "channels=1")
    assert read(tmp_path / "mixed", channels=3)[0].channels == 3
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path / "notes.txt", "no set of images")
    refused(tmp_path / "nowhere", "there is no data set and no path", "without 'nowhere' in it")


def test_a_path_that_is_nearly_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all" / "my images").mkdir(parents=True)
    refused(tmp_path / "all" / "myimages", "did you mean", str(tmp_path / "all" / "my images"))
    refused(tmp_path / "al" / "my images" / "train", f"did you mean {tmp_path / 'all'}?", f"{tmp_path}, without 'al'")
    monkeypatch.chdir(tmp_path / "all")
    refused(Path("myimages"), "did you mean my images?", "digits")
    refused(Path("my images/train"), "without 'train' in it")


# -- figures of all images ---------------------------------------------------------------------------------------


def test_statistics_are_numpys_in_one_part_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randint(0, 200, (50, 3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x[:, 2] = 17
    whole = pixel_statistics(x)
    expected = x.double().transpose(0, 1).flatten(1).numpy() / 255
    np.testing.assert_allclose(whole, [expected.mean(1), expected.std(1)], rtol=1e-12, atol=1e-12)
    for counted in (1, 700):
        monkeypatch.setattr(images, "COUNTED", counted)
        assert pixel_statistics(x) == whole


def test_a_fingerprint_is_of_values_shape_and_type() -> None:
    x = torch.arange(24).view(2, 3, 4)
    assert fingerprint(x) == fingerprint(x.permute(2, 0, 1).contiguous().permute(1, 2, 0)) == fingerprint(x.clone())
    others = [x + 1, x.view(4, 6), x.int(), x[:0], x.flip(0), x.bool(), torch.tensor(1.0)]
    assert len({fingerprint(each) for each in (x, *others)}) == 1 + len(others)
