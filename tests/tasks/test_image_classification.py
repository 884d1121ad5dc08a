"""The recipe for one's own images: caches, cuts, frozen parts, mixing, mirrored answers, what it tells of answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from chainrule import api, models
from chainrule.cli import cli
from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.data.batches import Batches
from chainrule.data.images import cache
from chainrule.data.images.decoding import decode
from chainrule.nn.frozen import Frozen
from chainrule.run.run import Run
from chainrule.systems.image_classification.test_time_augmentation import FlipAverage
from chainrule.tasks.images import figures as class_figures
from tests.data.image_sets import write_images

pytestmark = pytest.mark.usefixtures("no_report")

SMALL: dict[str, Any] = {
    "network": "lenet-caffe",
    "size": 28,
    "epochs": 2,
    "crop": "shift",
    "flip": False,
    "batch_size": 64,
    "log_every": 3,
    "autocast": "no",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "classifier"
    api.train("image-classifier", **SMALL, test_flip=True, freeze=("conv1",), thaw=0.5, balance="loss", out=folder)
    return folder


def test_it_tells_what_answers_are_worth(run_folder: Path) -> None:
    run = Run.load(run_folder)
    result = run.result()
    assert result is not None
    metrics = result["metrics"]
    task = run.open_task()
    logits, y = task.logits(task.data.test.x), task.data.test.y
    recalls = [float((logits.argmax(1) == y)[y == k].float().mean()) for k in range(10)]
    assert metrics["balanced_accuracy"] == pytest.approx(sum(recalls) / 10, abs=1e-6)
    order = logits.argsort(dim=1, descending=True)[:, :5]
    assert metrics["top5_error"] == pytest.approx(1 - float((order == y[:, None]).any(1).float().mean()), abs=1e-6)
    assert 0 <= metrics["calibration_error"] <= 1
    titles = [figure.title for figure in task.figures()]
    assert titles[:3] == ["Confusion matrix", "By class", "Calibration"]


def test_answers_are_means_over_the_mirror(run_folder: Path) -> None:
    task = Run.load(run_folder).open_task()
    x = task.data.test.x[:50]
    images = task.normalize(x)
    with torch.inference_mode():
        expected = (task.model.eval()(images) + task.model(images.flip(3))) / 2
    assert torch.allclose(task.logits(x), expected, atol=1e-6)
    exported = task.deployable()
    with torch.inference_mode():
        assert torch.allclose(exported.module(x.float()), expected.softmax(1), atol=1e-6)


def test_rows_by_class_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support

    generator = torch.Generator().manual_seed(0)
    y, answer = torch.randint(0, 4, (2, 200), generator=generator)
    answer = torch.where(torch.rand(200, generator=generator) < 0.6, y, answer)
    head, *rows = class_figures.by_class(y, answer, list("abcd")).table
    expected = precision_recall_fscore_support(y.numpy(), answer.numpy())
    assert head == ["class", "precision", "recall", "F1", "samples"]
    assert [float(row[3]) for row in rows] == sorted(float(row[3]) for row in rows)
    for name, *numbers in rows:
        k = "abcd".index(name)
        assert [float(n) for n in numbers] == pytest.approx([float(part[k]) for part in expected], abs=5e-4)
    never = class_figures.by_class(torch.tensor([0, 0]), torch.tensor([0, 0]), ["a", "b"]).table
    assert never[1][:4] == ["b", "-", "-", "-"]


# -- frozen parts --------------------------------------------------------------------------------------------------------


def test_frozen_parts_stand_until_they_thaw(tmp_path: Path) -> None:
    held = api.train("image-classifier", **SMALL, freeze=("conv1", "conv2"), seed=1, out=tmp_path / "held")
    free = api.train(
        "image-classifier", **{**SMALL, "epochs": 1}, freeze=("conv1",), thaw=0.0, seed=1, out=tmp_path / "free"
    )
    fresh = Run.load(tmp_path / "held").task.modules()["model"].state_dict()  # weights as the seed makes them
    learnt = held.open_task().modules()["model"].state_dict()
    assert torch.equal(fresh["conv1.weight"], learnt["conv1.weight"])
    assert torch.equal(fresh["conv2.bias"], learnt["conv2.bias"])
    assert not torch.equal(fresh["ip1.weight"], learnt["ip1.weight"])
    assert not torch.equal(fresh["conv1.weight"], free.open_task().modules()["model"].state_dict()["conv1.weight"])


def test_frozen_normalisation_keeps_its_running_means() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    frozen, before = Frozen(net, ["1"]), net[1].running_mean.clone()  # type: ignore[union-attr, operator]
    net.train()
    frozen.hold()
    net(torch.randn(5, 1, 1, 1) + 9)
    assert torch.equal(net[1].running_mean, before) and not net[1].weight.requires_grad  # type: ignore[union-attr, arg-type]
    frozen.release()
    net(torch.randn(5, 1, 1, 1) + 9)
    assert not torch.equal(net[1].running_mean, before) and net[1].weight.requires_grad  # type: ignore[union-attr, arg-type]


def test_what_cannot_be_frozen_is_said() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    with pytest.raises(UserError, match="no part of the network has this name"):
        Frozen(net, ["layer9"])
    with pytest.raises(UserError, match="nothing is left to learn"):
        Frozen(net, ["0", "1"])


# -- published weights ---------------------------------------------------------------------------------------------------


def test_published_weights_bring_their_preprocessing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (published,) = models.get_card("resnet18").weights.values()
    file = tmp_path / published.file  # its name says whose weights these are
    torch.manual_seed(0)
    torch.save(models.build("resnet18").state_dict(), file)
    folders = tmp_path / "pictures"
    for name in ("plain", "繁 体"):
        write_images(folders / name, 12, "RGB", (60, 40))
    run = api.train(
        "image-classifier",
        network="resnet18",
        size=32,
        epochs=1,
        batch_size=4,
        freeze=("conv1", "bn1", "layer1"),
        val_fraction=0.25,
        data=str(folders),
        weights=str(file),
        out=tmp_path / "run",
    )
    assert "begins anew, for 2 classes instead of 1000" in capfd.readouterr().err
    task = run.open_task()
    held = torch.load(file, weights_only=True)
    assert torch.equal(task.model.state_dict()["layer1.0.conv1.weight"], held["layer1.0.conv1.weight"])
    assert torch.equal(task.model.state_dict()["bn1.running_mean"], held["bn1.running_mean"])
    assert not torch.equal(task.model.state_dict()["layer2.0.conv1.weight"], held["layer2.0.conv1.weight"])
    assert torch.allclose(task.normalize.scale[:, 0, 0], 1 / (255 * torch.tensor(published.preprocessing.std)))
    assert run.record["data"]["spec"]["margin"] == 256 / 224
    with pytest.raises(UserError, match="look like those of resnet18"):
        api.train("image-classifier", network="resnet34", size=32, epochs=1, weights=str(file), out=tmp_path / "other")


# -- auxiliary classifiers -----------------------------------------------------------------------------------------------


def test_heads_learn_beside_the_main_classifier(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / "pictures" / name, 8, "RGB", (32, 32))
    run = api.train(
        "image-classifier",
        network="googlenet-bn",
        size=32,
        epochs=1,
        batch_size=4,
        heads=0.3,
        val_fraction=0.25,
        data=str(tmp_path / "pictures"),
        out=tmp_path / "run",
    )
    learnt = run.open_task().modules()["model"]
    fresh = Run.load(tmp_path / "run").task.modules()["model"]
    moved = {name for name, p in learnt.named_parameters() if not torch.equal(p, fresh.get_parameter(name))}
    assert {"fc.weight", "aux1.fc2.weight", "aux2.conv.conv.weight"} <= moved
    task, y = run.task, torch.tensor([0, 1])
    logits = tuple(torch.randn(3, 2, 2))
    losses = [task.criterion(each, y) for each in logits]
    assert torch.allclose(task.criterion(logits, y), losses[0] + 0.3 * (losses[1] + losses[2]))
    assert losses[0].shape == (2,) and isinstance(learnt.train()(torch.randn(2, 3, 32, 32)), tuple)
    assert learnt.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 2)


# -- settings that do not fit --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network": "resnet19"}, "resnet18"),
        ({"network": "char-lstm"}, "no network for images"),
        ({"network": "mlp"}, "does not give classes of images"),
        ({"network": "lenet-caffe", "size": 28, "grow": (14, 20)}, "the last of the sizes"),
        ({"network": "lenet-caffe", "size": 28, "freeze": ("layer1",)}, "no part of the network"),
        ({"network": "lenet-caffe", "size": 28, "crop": "twist"}, "wrong type or range"),
        ({"network": "vgg11", "size": 32, "heads": 0.3}, "no auxiliary classifiers"),
        ({"network": "mlp-backprop", "size": 28}, "learns by hand"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        api.train("image-classifier", **settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_some_of_the_classes_are_enough_to_measure(tmp_path: Path) -> None:
    for name in "abc":
        write_images(tmp_path / "all" / name, 6)
    run = api.train("image-classifier", **SMALL | {"batch_size": 4}, data=str(tmp_path / "all"), out=tmp_path / "run")
    for name in "bc":
        write_images(tmp_path / "some" / name, 3)
    task = run.open_task()
    files = sorted((tmp_path / "some").rglob("*.png"))
    answers = [row["class"] for row in task.predict([str(file) for file in files], None)]
    found = api.evaluate(run.folder, data=str(tmp_path / "some"))
    assert found["accuracy"] == pytest.approx(
        np.mean([answer == file.parent.name for answer, file in zip(answers, files, strict=True)])
    )
    write_images(tmp_path / "some" / "d", 3)
    with pytest.raises(UserError, match=r"other classes[\s\S]*a, b, c[\s\S]*b, c, d"):
        api.evaluate(run.folder, data=str(tmp_path / "some"))


# -- images in files ---------------------------------------------------------------------------------------------------


def test_images_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "CACHED_FROM", 5)
    files = sorted(write_images(tmp_path / "set", 6, "RGB", (10, 7)).iterdir())
    first = np.array(cache.decoded(files, 8, 3))
    assert all(np.array_equal(row, decode(file, 3, (8, 8))) for row, file in zip(first, files, strict=True))
    opened: list[Path] = []
    monkeypatch.setattr(cache, "decode", lambda file, **_: opened.append(file) or np.zeros((8, 8, 3), np.uint8))
    assert np.array_equal(cache.decoded(files, 8, 3), first) and not opened
    cache.decoded(files, 8, 3, margin=1.0)  # another cut is another set
    os.utime(files[0], (1, 1))  # and so is a file that was changed
    cache.decoded(files, 8, 3)
    assert len(opened) == 12
    (kept,) = [p for p in (tmp_path / "cache" / "pictures").iterdir() if np.array_equal(np.load(p), first)]
    kept.write_bytes(b"broken")
    os.utime(files[0])
    assert len(cache.decoded(files, 8, 3)) == 6  # made anew, whatever lies there


def test_the_cache_stays_within_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "CACHED_FROM", 1)
    monkeypatch.setattr(cache, "MOST_BYTES", 1000)
    for number in range(4):
        cache.decoded(sorted(write_images(tmp_path / f"set{number}", 2).iterdir()), 14, 1)  # 392 bytes and a header
    assert len(list((tmp_path / "cache" / "pictures").iterdir())) == 2


def test_a_broken_image_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "CACHED_FROM", 5)
    files = sorted(write_images(tmp_path / "set", 6).iterdir())
    files[3].write_bytes(files[3].read_bytes()[:40])
    with pytest.raises(UserError, match=files[3].name):
        cache.decoded(files, 8, 1)
    assert not list((tmp_path / "cache" / "pictures").iterdir())


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(cache, "CACHED_FROM", 1)
    assert cache.decoded(sorted(write_images(tmp_path / "set", 2).iterdir()), 8, 1).shape == (2, 8, 8, 1)


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (23, 23)])
def test_margin_keeps_proportions(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    Image.fromarray(np.tile(np.linspace(0, 250, width).astype(np.uint8), (height, 1))).save(tmp_path / "ramp.png")
    found = decode(tmp_path / "ramp.png", 1, (16, 16), margin=1.25)[:, :, 0]
    slope = np.diff(found.astype(float)).mean(1)  # a pixel's step: the whole ramp over the width that it is brought to
    assert slope == pytest.approx(250 / (width * 20 / min(size)), rel=0.12)
    assert abs(float(found.mean()) - 125) < 4  # the middle


def test_predict_takes_names_from_stdin(run_folder: Path, tmp_path: Path) -> None:
    files = sorted(write_images(tmp_path / "新 folder", 3, size=(28, 28)).iterdir())
    runner = CliRunner()
    named = runner.invoke(cli, ["predict", str(run_folder), "-", "--json"], input="\n".join(map(str, files)) + "\n")
    direct = runner.invoke(cli, ["predict", str(run_folder), *map(str, files), "--json"])
    assert named.exit_code == 0 and named.stdout.splitlines()[-1] == direct.stdout.splitlines()[-1]
    nothing = runner.invoke(cli, ["predict", str(run_folder), "-"], input="\n")
    assert isinstance(nothing.exception, UserError) and "no image is named" in str(nothing.exception)


def test_both_ways() -> None:
    net = nn.Flatten()
    x = torch.arange(4.0).view(1, 1, 2, 2)
    assert FlipAverage(net)(x).tolist() == [[0.5, 0.5, 2.5, 2.5]]


# -- a batch of one -----------------------------------------------------------------------------------------------------


def test_a_batch_of_one_that_cannot_be_normalised_is_told_before_the_first_step(tmp_path: Path) -> None:
    """Nine images in batches of four leave one; of 4 x 4 pixels ResNet-20 leaves one number a channel."""
    x, y = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8), np.arange(9) % 2
    np.savez(tmp_path / "nine.npz", x=x, y=y, x_val=x, y_val=y, x_test=x, y_test=y)
    words: dict[str, Any] = {
        "data": str(tmp_path / "nine.npz"),
        "out": tmp_path / "run",
        "network": "resnet20",
        "size": 4,
        "batch_size": 4,
        "epochs": 1,
        "crop": "none",
    }
    for changes in ({}, {"size": 8, "grow": (4, 8)}):
        with pytest.raises(UserError, match=r"batch of one image(.|\n)*9 images in batches of 4"):
            api.train("image-classifier", **{**words, **changes})
        assert not (tmp_path / "run").exists()
    for place, changes in enumerate(({"batch_size": 5}, {"size": 8}, {"network": "lenet-caffe", "size": 28})):
        api.train("image-classifier", **{**words, **changes, "out": tmp_path / f"run-{place}"})


@pytest.mark.parametrize(
    ("count", "size", "processes", "smallest"),
    [(8, 4, 1, 4), (9, 4, 1, 1), (9, 1, 1, 1), (8, 4, 4, 1), (11, 4, 2, 1), (10, 4, 2, 1), (12, 4, 2, 2), (9, 4, 2, 1)],
)
def test_the_smallest_part_of_a_batch(count: int, size: int, processes: int, smallest: int) -> None:
    worlds = [World(rank, processes) for rank in range(processes)]
    batches = [Batches(torch.zeros(count), torch.zeros(count), size, seed=0, world=world) for world in worlds]
    assert smallest == min(len(batch.y) for each in batches for batch in each.epoch(0) if len(batch.y))
    assert all(each.smallest == smallest for each in batches)
