"""Shards of webdataset: read in memory and streamed with equal numbers, and each way in which they are broken."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import chainrule
from chainrule.core.errors import Interrupted, UserError
from chainrule.data.check import check
from chainrule.data.images.loading import read_image_splits
from chainrule.data.layout import layout_of
from chainrule.data.measured import part_measured
from chainrule.data.streams.memory import SETTING
from chainrule.data.streams.shards import read_shards, shards_by_split
from chainrule.data.streams.stored import StoredImages
from chainrule.run.run import Run

webdataset = pytest.importorskip("webdataset")
COMMON: dict[str, Any] = {"target": None, "size": 8, "channels": 0, "seed": 0, "val_fraction": 0.2}


def png(number: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def sample(number: int) -> dict[str, bytes]:
    return {"png": png(number), "cls": str(number % 2).encode()}


def write(file: Path, samples: Mapping[str, Mapping[str, bytes]]) -> Path:
    with tarfile.open(file, "w") as tar:
        for key, members in samples.items():
            for ending, content in members.items():
                info = tarfile.TarInfo(f"{key}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file


def shards(folder: Path, count: int = 3, each: int = 10, prefix: str = "set", first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for shard in range(count):
        numbers = range(first + shard * each, first + (shard + 1) * each)
        write(folder / f"{prefix}-{shard:06d}.tar", {f"{n:04d}": sample(n) for n in numbers})
    return folder


def test_what_the_library_writes_is_read_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "d" / "set-%06d.tar"), maxcount=10, verbose=0) as writer:
        for number in range(24):
            writer.write({"__key__": f"{number:04d}", "png": png(number), "cls": number % 2})
    found = check(str(tmp_path / "d"), None)
    assert found["kind"] == "images" and found["train by class"] == {"0": 12, "1": 12} and found["sizes"] == "7x9"
    assert "passed over" not in found
    spec, splits = read_image_splits(str(tmp_path / "d"), **{**COMMON, "val_fraction": 0.0})
    whole = torch.cat([splits["train"].x, splits["test"].x])
    expected = np.stack([np.asarray(Image.open(io.BytesIO(png(n))).resize((8, 8), 2)) for n in range(24)])
    assert {x.numpy().tobytes() for x in whole.permute(0, 2, 3, 1).contiguous()} == {x.tobytes() for x in expected}
    assert spec.counts["train"] + spec.counts["test"] == 24


def test_streamed_they_are_what_they_are_in_memory(tmp_path: Path) -> None:
    source = str(shards(tmp_path / "d"))
    (spec, here), (other, there) = (
        read_image_splits(source, **COMMON, fits=fits) for fits in (None, lambda wanted: False)
    )
    assert spec.mean == other.mean and spec.std == other.std and spec.counts == other.counts
    assert spec.splits == other.splits
    for name in here:
        assert isinstance(there[name].x, StoredImages)
        assert torch.equal(torch.cat([*there[name].x.split(4)]), here[name].x)


def test_splits_by_name_and_labels_by_json_and_text(tmp_path: Path) -> None:
    folder = shards(tmp_path / "d", 2, prefix="train")
    write(folder / "test-000.tar", {"a": {"jpg": png(0), "json": b'{"label": 1, "by": "me"}'}})
    write(folder / "val-000.tar", {"of/b": {"PNG": png(1), "txt": b" 0\n", "json": b"[]"} | {"cls": b"0"}})
    found = check(str(folder), None)
    assert found["found"] == {"train": 20, "val": 1, "test": 1} and found["test by class"] == {"0": 0, "1": 1}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("Train-0 Train-1 validation-0 testing-0", {"train": 2, "val": 1, "test": 1}),
        ("imagenet-train-0 imagenet-train-1 imagenet-valid-0 imagenet-valid-1", {"train": 2, "val": 2}),
        ("train_set0 dev_0 EVAL.0", {"train": 1, "val": 1, "test": 1}),
        ("set-0 set-1 dev-0", {"train": 2, "val": 1}),  # what is named for no split is for training
        ("mytest-0 mytest-1", {"train": 2}),
        ("test-0 test-1", {"train": 2}),  # one split, named as a whole
        ("training/0 training/1 Valid/0 test/0", {"train": 2, "val": 1, "test": 1}),
    ],
)
def test_splits_by_their_usual_names(names: str, expected: dict[str, int], tmp_path: Path) -> None:
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.tar").touch()
    layout = layout_of(tmp_path)
    assert layout.form == "shards"
    assert {split: len(found) for split, found in shards_by_split(tmp_path).items()} == expected
    assert part_measured(layout) == ("test" if "test" in expected else "all")


@pytest.mark.parametrize(
    ("names", "words"), [("val-0 test-0", "no training split"), ("train/0 val/a.txt", "no shards")]
)
def test_a_split_without_shards_is_told(names: str, words: str, tmp_path: Path) -> None:
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / (name if "." in name else f"{name}.tar")).touch()
    with pytest.raises(UserError, match=words):
        shards_by_split(tmp_path)


def test_shards_of_no_split_are_said(tmp_path: Path) -> None:
    shards(shards(tmp_path / "d", 1, prefix="train"), 1, prefix="extra", first=50)
    assert read_shards(tmp_path / "d").remarks() == ["passed over: extra-000000.tar, of no split"]


def missing(folder: Path) -> None:
    (shards(folder, 4) / "set-000002.tar").unlink()


def first_missing(folder: Path) -> None:
    (shards(folder, 4) / "set-000000.tar").unlink()
    (folder / "set-000001.tar").unlink()


def cut(at: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        file = shards(folder) / "set-000001.tar"
        file.write_bytes(file.read_bytes()[:at])

    return make


def lone(**members: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write(shards(folder) / "set-000003.tar", {"0099": members})

    return make


def strange_class(folder: Path) -> None:
    write(shards(folder, prefix="train") / "test-0.tar", {"k": {"png": png(0), "cls": b"7"}})


def no_image(folder: Path) -> None:
    write(shards(folder) / "set-000003.tar", {"0099": {"png": b"", "cls": b"1"}})


def twice(folder: Path) -> None:
    file = shards(folder) / "set-000003.tar"
    with tarfile.open(file, "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("0099.png"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (missing, ["1 shard is missing", "set-000000.tar to set-000003.tar", "no set-000002.tar"]),
        (first_missing, ["shard", "missing", "set-000001.tar"]),
        (cut(10 * 1024), ["cannot be read", "set-000001.tar", "cut short"]),
        (cut(5 * 512 + 100), ["cannot be read", "set-000001.tar", "cut short"]),
        (cut(4 * 1024), ["cannot be read", "set-000001.tar", "cut short"]),
        (cut(0), ["cannot be read", "set-000001.tar"]),
        (lone(png=png(0)), ["no label", "set-000003.tar: 0099", "found:    .png"]),
        (lone(cls=b"1"), ["no image", "set-000003.tar: 0099", "found:    .cls"]),
        (lone(png=png(0), cls=b"\xff"), ["label cannot be read", "0099.cls"]),
        (lone(png=png(0), json=b'{"size": 3}'), ["label cannot be read", "0099.json", '{"label": ...}']),
        (lone(png=png(0), txt=b"  "), ["empty", "0099.txt"]),
        (lone(png=png(0), json=b"[" * 100_000), ["label cannot be read", "0099.json"]),
        (strange_class, ["out of range", "test-0.tar: k.png", "7"]),
        (no_image, ["cannot be read", "set-000003.tar: 0099.png", "an empty file"]),
        (twice, ["cannot be read", "set-000003.tar", "duplicate"]),
    ],
)
def test_broken_shards_are_told(make: Callable[[Path], None], words: list[str], tmp_path: Path) -> None:
    make(tmp_path / "d")
    with pytest.raises(UserError) as error:
        check(str(tmp_path / "d"), None)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path / "d")
    monkeypatch.setitem(sys.modules, "webdataset.tariterators", None)
    with pytest.raises(UserError, match=r"(?s)webdataset.*chainrule\[shards\]"):
        check(str(tmp_path / "d"), None)


def test_a_streamed_run_is_stopped_resumed_and_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the run in memory, and to the streamed one that was not stopped; resumed, it decodes no image that it has passed."""
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    source = shards(tmp_path / "d", 4)
    settings: dict[str, Any] = {"data": source, "epochs": 2, "batch_size": 6, "log_every": 1}

    def numbers(run: Run) -> Any:
        lines = [{k: v for k, v in line.items() if k != "seconds"} for line in run.log_lines()]
        return lines, run.result()["metrics"], [p.tolist() for p in run.task.model.parameters()]  # type: ignore[index]

    monkeypatch.setenv(SETTING, "yes")
    whole = chainrule.train("lenet-caffe", out=tmp_path / "memory", **settings)
    monkeypatch.setenv(SETTING, "no")
    between_steps = Run._between_steps

    def stop(run: Run, boundary: bool) -> None:
        if run.step == 7 and not boundary:
            run._signals.caught = 15
        between_steps(run, boundary)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Run, "_between_steps", stop)
        chainrule.train("lenet-caffe", out=tmp_path / "cut", **settings)
    monkeypatch.delenv(SETTING)
    from chainrule.data.streams import images as stored_images

    read: list[int] = []
    plain = stored_images._Decoder.__call__
    monkeypatch.setattr(stored_images._Decoder, "__call__", lambda self, n: read.extend(n.tolist()) or plain(self, n))
    cut = chainrule.resume(tmp_path / "cut")
    assert isinstance(cut.task.data.train.x, StoredImages)
    assert numbers(cut) == numbers(whole)
    counts = json.loads((tmp_path / "cut" / "run.json").read_text())["data"]["spec"]["counts"]
    steps_left = 2 * -(-counts["train"] // 6) - 7
    assert len(read) <= steps_left * 6 + 2 * counts["val"] + counts["test"] + 1
