"""What the image classifier does where nothing is said: it follows from the images, is told, and is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chainrule import api
from chainrule.data.images.raw import RawImages, RawImageSet
from chainrule.data.images.spec import ImageSpec
from chainrule.run.run import Run
from chainrule.systems.image_classification.defaults import count_operations, middle_side, mirrored
from tests.data.image_sets import stripes, write_images

pytestmark = pytest.mark.usefixtures("no_report")


def spec(classes: list[str], channels: int = 3, size: int = 32) -> ImageSpec:
    counts = {"train": 100, "val": 10, "test": 20}
    return ImageSpec(
        where="", classes=classes, channels=channels, size=size, mean=[0.5], std=[0.5], counts=counts,
        splits=dict.fromkeys(counts, ""), fingerprint="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("classes", "channels", "size", "flips"),
    [
        (["cat", "dog"], 3, 32, True),
        (["cat", "dog"], 1, 32, False),  # small and grey: characters, most often
        (["cat", "dog"], 1, 64, True),
        (["0", "1"], 3, 128, False),
        (["猫", "狗"], 3, 128, False),
        (["turn left", "stop"], 3, 128, False),
        (["One", "Two"], 3, 64, False),
        (["b", "apple"], 3, 64, False),
    ],
)
def test_what_is_no_character_may_be_mirrored(classes: list[str], channels: int, size: int, flips: bool) -> None:
    assert mirrored(spec(classes, channels, size)) is flips


def test_operations_are_those_of_the_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5, bias=False)
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert count_operations(model, 3, 8) == 2 * (4 * 3 * 9 * 36 + 144 * 5) and model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_size_is_that_of_most_images(tmp_path: Path) -> None:
    write_images(tmp_path / "a", 5, size=(24, 20))
    write_images(tmp_path / "b", 2, size=(300, 200))
    files = [*(tmp_path / "a").iterdir(), *(tmp_path / "b").iterdir()]
    assert middle_side(RawImageSet({"train": RawImages(np.zeros(7), files=files)}, [], "")) == 20
    assert middle_side(RawImageSet({"train": RawImages(np.zeros(9), stripes(9, 12, 3)[0])}, [], "")) == 12


def train(place: Path, capsys: pytest.CaptureFixture[str], **settings: Any) -> tuple[Run, str]:
    x, y = stripes(24, side=12)
    run = api.train("image-classifier", data=(x, y), out=place, device="cpu", **settings)
    return run, capsys.readouterr().err


def test_small_images_get_a_small_network_and_the_run_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, told = train(tmp_path / "run", capsys, epochs=1, batch_size=8)
    chosen = {
        "network": "cifar-net",
        "size": 16,
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.005,
        "crop": "none",
        "flip": False,
    }
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {name: record["settings"][name] for name in chosen} == chosen
    assert "chosen for 18 grey training images of about 12 pixels: network=cifar-net size=16 lr=0.005" in told
    assert "epochs=" not in told.partition(" training images")[2].partition("\n")[0] and "; about " in told
    again = Run.load(tmp_path / "run", "cpu", data=run.record["data"]["source"])
    assert again.open_task().data.spec.size == 16 and api.summary(again)["parameters"] == api.summary(run)["parameters"]


def test_what_is_given_wins_and_a_network_has_its_own_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, told = train(tmp_path / "run", capsys, network="lenet-caffe", epochs=1, crop="none", flip=True, lr=0.01)
    settings = run.record["settings"]
    assert settings["size"] == 28 and settings["crop"] == "none" and settings["flip"] is True
    assert told.count("chosen for") == 1 and ": size=28 batch_size=18;" in told
    held, _ = train(tmp_path / "next", capsys, weights=str(tmp_path / "run"), epochs=1)
    assert (held.record["settings"]["network"], held.record["settings"]["size"]) == ("lenet-caffe", 28)
