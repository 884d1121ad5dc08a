"""Faces: splits by person, the small network, training by triplets, and what a run answers about the user's own images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

import chainrule
from chainrule.cli import cli
from chainrule.core.errors import UserError
from chainrule.functional.losses import triplet
from chainrule.run.run import Run
from chainrule.systems.faces.data import FaceSplit, read_face_splits, read_gallery
from chainrule.systems.faces.face_net_small import FaceNetSmall
from chainrule.systems.faces.jitter import face_jitter
from chainrule.systems.faces.task import FlipAveragedEmbedding
from chainrule.systems.faces.triplets import batch_all_triplets
from tests.conftest import mirror

pytestmark = pytest.mark.usefixtures("no_report")

SMALL: dict[str, Any] = {
    "size": 16,
    "width": 8,
    "embedding": 16,
    "persons": 3,
    "pictures": 3,
    "epochs": 6,
    "lr": 0.003,
    "log_every": 5,
    "val_fraction": 0.2,
    "test_fraction": 0.4,
}
NAMES = ("安娜 玛丽", "Bob", "Carla Ü", "d", "Eve", "f f", "Grete", "h", "Ivo", "王小明")


def image(file: Path, person: int, number: int, *, mode: str = "L", size: tuple[int, int] = (20, 24)) -> Path:
    """A person is a coarse pattern of his own; each image of him adds noise."""
    pattern = np.random.default_rng(person).integers(40, 216, (4, 4)).astype(np.uint8)
    grown = np.asarray(Image.fromarray(pattern).resize(size, Image.Resampling.BICUBIC)).astype(int)
    noise = np.random.default_rng(1000 * person + number).integers(-15, 16, grown.shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((grown + noise).clip(0, 255).astype(np.uint8)).convert(mode).save(file)
    return file


def people(folder: Path, counts: Sequence[int], first: int = 0) -> Path:
    """A folder of persons' folders with so many images each."""
    for person, count in enumerate(counts, first):
        for number in range(count):
            image(folder / NAMES[person] / f"bild {number}.png", person, number)
    return folder


def read(source: Path | str, **changes: Any) -> tuple[dict[str, Any], dict[str, FaceSplit]]:
    settings = {
        "target": None,
        "size": 16,
        "channels": 0,
        "seed": 0,
        "val_fraction": 0.2,
        "test_fraction": 0.4,
        **changes,
    }
    return read_face_splits(str(source), **settings)


def refused(source: Path | str, *words: str, **changes: Any) -> None:
    with pytest.raises(UserError) as caught:
        read(source, **changes)
    for word in words:
        assert word in str(caught.value), caught.value


# -- splits by person -----------------------------------------------------------------------------------------------


def test_nobody_is_in_two_splits(tmp_path: Path) -> None:
    folder = people(tmp_path / "leute 人", [4] * 10)
    spec, splits = read(folder)
    assert spec.counts == {"train": 16, "val": 8, "test": 16} and spec.size == 16 and spec.channels == 1
    together = [name for split in splits.values() for name in split.names]
    assert sorted(together) == sorted(NAMES) and spec.persons == {n: s.names for n, s in splits.items()}
    for split in splits.values():
        assert split.y.bincount().tolist() == [4] * len(split.names) and len(split.x) == len(split.y) == len(split)
    assert "2 of 10 persons, seed 0" in spec.splits["val"]
    again, other = read(folder)[0], read(folder, seed=1)[0]
    assert again == spec and other.persons != spec.persons and other.fingerprint != spec.fingerprint


def test_every_image_goes_with_its_person(tmp_path: Path) -> None:
    """Read a second time, file by file, with Pillow alone."""
    folder = people(tmp_path / "p", [3, 2, 4, 3, 2, 5, 3, 4])
    for split in read(folder)[1].values():
        for person, name in enumerate(split.names):
            files = sorted((folder / name).iterdir())
            expected = [np.asarray(Image.open(f).resize((16, 16), Image.Resampling.BILINEAR)) for f in files]
            assert np.array_equal(split.x[split.y == person][:, 0].numpy(), np.stack(expected))


def test_who_has_one_image_is_a_negative(tmp_path: Path) -> None:
    spec, splits = read(people(tmp_path / "p", [1, 4, 4, 1, 4, 4, 4, 4, 1]))
    assert {NAMES[0], NAMES[3], NAMES[8]} <= set(splits["train"].names)
    assert spec.counts == {"train": 2 * 4 + 3, "val": 8, "test": 8}


def test_given_splits_stay_as_they_are(tmp_path: Path) -> None:
    for name, first in (("train", 0), ("val", 3), ("test", 6)):
        people(tmp_path / name, [3] * 3, first)
    spec, splits = read(tmp_path)
    assert {name: s.names for name, s in splits.items()} == {
        "train": sorted(NAMES[:3]),
        "val": sorted(NAMES[3:6]),
        "test": sorted(NAMES[6:9]),
    }
    assert set(spec.splits.values()) == {"as given"}
    image(tmp_path / "test" / NAMES[1] / "again.png", 1, 99)
    refused(tmp_path, "a person is in train and in test", NAMES[1])


def test_a_given_test_split_alone(tmp_path: Path) -> None:
    people(tmp_path / "train", [3] * 5)
    people(tmp_path / "test", [3] * 3, 5)
    spec, splits = read(tmp_path)
    assert (
        splits["test"].names == sorted(NAMES[5:8]) and len(splits["val"].names) == 2 and len(splits["train"].names) == 3
    )
    assert spec.splits["test"] == "as given" and spec.splits["train"] == "the other persons"


def test_sets_split_by_image_are_put_together() -> None:
    spec, splits = read("digits")
    assert sum(spec.counts.values()) == 1797 and {len(s.names) for s in splits.values()} == {2, 4}


def test_the_orl_faces() -> None:
    mirror("orl_faces")
    spec, splits = read("orl", size=64)
    assert spec.counts == {"train": 250, "val": 50, "test": 100}
    assert splits["test"].names == [f"s{i}" for i in range(31, 41)] and splits["val"].names[0] == "s26"
    assert splits["train"].names == [f"s{i}" for i in range(1, 26)]
    file = mirror("orl_faces") / "att_faces" / "s31" / "1.pgm"
    expected = np.asarray(Image.open(file).resize((64, 64), Image.Resampling.BILINEAR))
    assert (
        np.array_equal(splits["test"].x[0, 0].numpy(), expected) and splits["test"].y.bincount().tolist() == [10] * 10
    )


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([5], ("only one person", "several persons")),
        ([4] * 5, ("too few persons to be split", "6 or more")),
        ([1] * 9, ("too few persons to be split", "0 of 9 persons")),
        ([1] * 5 + [2] * 4, ("too few persons to be split", "4 of 9 persons")),
    ],
    ids=["one person", "five persons", "one image each", "few with two"],
)
def test_folders_that_make_no_pairs(tmp_path: Path, counts: list[int], words: tuple[str, ...]) -> None:
    refused(people(tmp_path / "p", counts), *words)


def test_a_split_without_a_pair(tmp_path: Path) -> None:
    people(tmp_path / "train", [3] * 6)
    people(tmp_path / "test", [1] * 3, 6)
    refused(tmp_path, "the test split makes no pairs", "3 images of 3 persons")


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    folder = people(tmp_path / "p", [3] * 7)
    file = folder / NAMES[4] / "bild 1.png"
    file.write_bytes(file.read_bytes()[:60])
    refused(folder, "an image cannot be read", str(file))
    file.write_bytes(b"")
    refused(folder, "an empty file", str(file))


def test_colour_and_sizes_mixed(tmp_path: Path) -> None:
    folder = people(tmp_path / "p", [3] * 7)
    image(folder / NAMES[0] / "large.jpg", 0, 50, size=(70, 90))
    assert read(folder)[0].counts["train"] + read(folder)[0].counts["val"] + read(folder)[0].counts["test"] == 22
    odd = image(folder / NAMES[2] / "colour.png", 2, 51, mode="RGB")
    refused(folder, "mixed kinds", str(odd), "channels=1 or channels=3")
    for channels in (1, 3):
        assert read(folder, channels=channels)[1]["train"].x.shape[1:] == (channels, 16, 16)


def test_grey_and_colour_splits(tmp_path: Path) -> None:
    people(tmp_path / "train", [3] * 5)
    for person in (6, 7):
        for number in range(3):
            image(tmp_path / "test" / NAMES[person] / f"{number}.png", person, number, mode="RGB")
    refused(tmp_path, "the splits are of mixed kinds", "channels=1")


def test_images_of_one_colour(tmp_path: Path) -> None:
    for person in range(7):
        for number in range(2):
            (tmp_path / str(person)).mkdir(exist_ok=True)
            Image.new("L", (16, 16), 90).save(tmp_path / str(person) / f"{number}.png")
    refused(tmp_path, "one constant colour")


# -- augmentation ---------------------------------------------------------------------------------------------------


def test_jitter_mirrors_half_and_stays_within_its_bounds() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    mirrored = face_jitter(x, degrees=0, shift=0, zoom=0, light=0)
    flips = [torch.equal(a, b.flip(2)) for a, b in zip(mirrored, x, strict=True)]
    assert (
        all(flip or torch.equal(a, b) for flip, a, b in zip(flips, mirrored, x, strict=True)) and 10 < sum(flips) < 30
    )
    flat = torch.full((200, 1, 4, 4), 100, dtype=torch.uint8)  # contrast leaves it, brightness moves it by at most 20
    light = face_jitter(flat, light=20 / 255)[:, 0, 0, 0].int() - 100
    assert light.abs().max() <= 20 and light.min() < -15 and light.max() > 15
    assert (face_jitter(flat, light=0) == 100).all(), "the edge repeats: nothing dark comes in"


def test_jitter_moves_and_turns_as_an_affine_map() -> None:
    """A bright spot: after a turn about the middle it is as far from it; moves are bounded."""
    torch.manual_seed(1)
    x = torch.zeros(100, 1, 33, 33, dtype=torch.uint8)
    x[:, :, 15:18, 25:28] = 255  # its middle 10 to the right of the image's
    places = torch.stack(torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij"))

    def middle(images: torch.Tensor) -> torch.Tensor:
        weight = images[:, 0].double()
        return (weight[:, None] * places).sum((2, 3)) / weight.sum((1, 2))[:, None]

    turned = middle(face_jitter(x, degrees=20, shift=0, zoom=0, light=0, mirror=False))
    assert turned.norm(dim=1).sub(10).abs().max() < 0.3
    angle = torch.rad2deg(torch.atan2(turned[:, 0], turned[:, 1]))
    assert angle.abs().max() < 21 and angle.min() < -15 and angle.max() > 15
    moved = middle(face_jitter(x, degrees=0, shift=3 / 33, zoom=0, light=0, mirror=False)) - torch.tensor([0.0, 10.0])
    assert moved.abs().max() < 3.1 and moved.abs().amax(0).min() > 2.5
    zoomed = middle(face_jitter(x, degrees=0, shift=0, zoom=0.2, light=0, mirror=False))
    assert zoomed[:, 0].abs().max() < 0.1 and zoomed[:, 1].min() < 8.7 and zoomed[:, 1].max() < 12.6


def test_jitter_of_one_and_of_none() -> None:
    assert face_jitter(torch.zeros(1, 1, 1, 1, dtype=torch.uint8)).shape == (1, 1, 1, 1)
    assert face_jitter(torch.zeros(0, 1, 8, 8, dtype=torch.uint8)).shape == (0, 1, 8, 8)


# -- the small network ----------------------------------------------------------------------------------------------


def test_embeddings_have_length_one() -> None:
    net = FaceNetSmall(embedding=5, in_channels=3, size=20, width=4)
    z = net(torch.randn(6, 3, 20, 20) * 100)
    assert z.shape == (6, 5) and torch.allclose(z.norm(dim=1), torch.ones(6))


def test_a_face_and_its_mirror_image_are_one() -> None:
    torch.manual_seed(0)
    net, x = FaceNetSmall(8, 1, 16, width=4).eval(), torch.randn(5, 1, 16, 16)
    found = FlipAveragedEmbedding(net)(x)
    assert torch.allclose(found, FlipAveragedEmbedding(net)(x.flip(3)), atol=1e-6) and not torch.allclose(
        net(x), net(x.flip(3))
    )
    by_hand = net(x) + net(torch.from_numpy(x.numpy()[..., ::-1].copy()))
    assert torch.allclose(found, by_hand / by_hand.norm(dim=1, keepdim=True), atol=1e-6)


def test_an_image_too_small() -> None:
    with pytest.raises(UserError, match="too small"):
        FaceNetSmall(size=15)


def test_one_batch_is_overfit() -> None:
    """Noise images of three persons: after it no triplet violates the margin."""
    torch.manual_seed(0)
    net, x, y = FaceNetSmall(8, 1, 16, width=4), torch.randn(9, 1, 16, 16), torch.arange(9) // 3
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(80):
        z = net(x)
        a, p, n = batch_all_triplets(z, y)
        if not len(a):
            return
        optimizer.zero_grad()
        triplet(z[a], z[p], z[n]).backward()
        optimizer.step()
    pytest.fail(f"{len(a)} triplets still violate the margin")


# -- a run ----------------------------------------------------------------------------------------------------------

_RUN: list[Path] = []


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained once on ten persons of patterns, of whom four are the test. Look, do not write into it."""
    if not _RUN:
        place = tmp_path_factory.mktemp("faces")
        data = people(place / "data", [6] * 10)
        _RUN.append(chainrule.train("facenet", data=str(data), out=place / "run", device="cpu", **SMALL).folder)
    return _RUN[0]


def test_it_verifies_persons_who_were_not_in_training(folder: Path) -> None:
    found = Run.load(folder).result()
    assert found is not None and found["chosen"]["metric"] == "val_auc"
    metrics = found["metrics"]
    assert metrics["auc"] > 0.97 and metrics["rank1"] > 0.9 and metrics["verification_accuracy"] > 0.85
    assert {
        f"{m}{s}" for m in ("auc", "eer", "rank1", "verification_accuracy") for s in ("", "_eigenfaces", "_raw_pixels")
    } < set(metrics)
    assert "tar_at_far_1e2" in metrics and "tar_at_far_1e3" not in metrics, (
        "216 impostors know nothing of one in a thousand"
    )
    assert metrics["dir_at_far_1e1"] > 0.5 and "dir_at_far_1e2" not in metrics, (
        "24 probes know nothing of one in a hundred"
    )


def test_the_metrics_are_scikit_learns(folder: Path) -> None:
    """AUC of all pairs, nearest first image, and the eigenfaces of scikit-learn's own decomposition."""
    task: Any = Run.load(folder, "cpu").open_task()
    metrics, test, train = task.evaluate(), task.data.test, task.data.train
    chosen = task.eigenfaces.estimator.get_params()
    pca = PCA(chosen["n_components"], whiten=chosen["whiten"], svd_solver="full").fit(train.x.flatten(1).double() / 255)
    pixels = (test.x.flatten(1).double() / 255).numpy()
    rows = {"": task.embed(test.x).double().numpy(), "_eigenfaces": pca.transform(pixels), "_raw_pixels": pixels}
    y = test.y.numpy()
    above = np.triu_indices(len(y), 1)
    first = np.array([np.flatnonzero(y == person)[0] for person in np.unique(y)])
    rest = np.setdiff1d(np.arange(len(y)), first)
    for end, x in rows.items():
        distances = ((x[:, None] - x) ** 2).sum(2)
        auc = roc_auc_score((y[:, None] == y)[above], -distances[above])
        assert metrics[f"auc{end}"] == pytest.approx(auc, abs=2e-4)  # float32 distances may swap near ones
        nearest = KNeighborsClassifier(1).fit(x[first], y[first])
        assert metrics[f"rank1{end}"] == pytest.approx(nearest.score(x[rest], y[rest]), abs=1e-12)


def test_the_threshold_is_the_validations(folder: Path) -> None:
    task: Any = Run.load(folder, "cpu").open_task()
    kept = float(task.threshold.value)
    assert 0 < kept < 4 and isinstance(task.embedder, FlipAveragedEmbedding)
    x = task.normalize(task.data.val.x)
    assert torch.allclose(task.embed(task.data.val.x), task.embedder(x), atol=1e-6)
    best = task.validate()
    assert float(task.threshold.value) == kept, "the threshold belongs to other weights than those that were chosen"
    logged = [line for line in Run.load(folder).log_lines() if "val_auc" in line]
    assert best["auc"] == pytest.approx(max(line["val_auc"] for line in logged)) and len(logged) == SMALL["epochs"]


def test_a_batch_without_triplets_is_a_step_of_nothing_and_nan_is_seen(folder: Path) -> None:
    task: Any = Run.load(folder, "cpu").open_task()
    z = torch.eye(16)[[0, 0, 1, 1]].requires_grad_()  # all right already
    loss = task.loss(z, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert float(loss.detach()) == 0 and z.grad is not None and not z.grad.any()
    assert task.loss(torch.full((4, 16), torch.nan), torch.tensor([0, 0, 1, 1])).isnan()


def test_under_autocast_distances_keep_their_digits(folder: Path) -> None:
    """bfloat16 holds three digits; sums and differences of it are to be those of the same numbers in float32."""
    task: Any = Run.load(folder, "cpu").task
    z, labels = (
        torch.nn.functional.normalize(torch.randn(12, 16, generator=torch.Generator().manual_seed(0))),
        torch.arange(12) // 4,
    )
    rough = z.bfloat16()
    assert torch.equal(task.loss(rough, labels), task.loss(rough.float(), labels))


@pytest.mark.parametrize("mining", ["hard", "all"])
def test_other_mining_learns_too(tmp_path: Path, mining: str) -> None:
    data = people(tmp_path / "data", [4] * 8)
    settings = {**SMALL, "mining": mining, "epochs": 5, "margin": 0.3, "augment": False, "mirror": False}
    run = chainrule.train("facenet", data=str(data), out=tmp_path / "run", device="cpu", **settings)
    task: Any = run.task
    assert task.embedder is task.model, "mirror=no answers for the image alone"
    losses = [line["loss"] for line in run.log_lines() if "loss" in line]
    result = run.result()
    assert losses[-1] < losses[0] and result is not None and result["metrics"]["auc"] > 0.9


# -- the user's own images ----------------------------------------------------------------------------------------


def test_two_images(folder: Path, tmp_path: Path) -> None:
    one, again, other = (
        image(tmp_path / "外 部" / f"{person}-{number}.png", person, number)
        for person, number in ((50, 1), (50, 2), (51, 1))
    )
    same, same_back = chainrule.predict(folder, [str(one), str(again)], device="cpu")
    assert (
        same["answer"] == "one person" and same["with"] == str(again) and same["squared_distance"] <= same["threshold"]
    )
    assert same_back["input"] == str(again) and same_back["squared_distance"] == same["squared_distance"]
    different = chainrule.predict(folder, [str(one), str(other)], device="cpu")[0]
    assert different["answer"] == "two persons" and different["squared_distance"] > different["threshold"]
    task: Any = Run.load(folder, "cpu").open_task()
    z = torch.tensor([chainrule.predict(folder, [str(f)], device="cpu")[0]["embedding"] for f in (one, other)])
    assert float((z[0] - z[1]).square().sum()) == pytest.approx(different["squared_distance"], abs=1e-4)
    assert different["threshold"] == pytest.approx(float(task.threshold.value), abs=1e-6)


def test_several_images(folder: Path, tmp_path: Path) -> None:
    files = [str(image(tmp_path / f"{p}-{n}.png", p, n)) for p, n in ((50, 1), (51, 1), (50, 2))]
    answers = chainrule.predict(folder, files, device="cpu")
    assert [answer["input"] for answer in answers] == files
    assert list(answers[0]["squared_distances"]) == files[1:]
    assert [answer["same_person_as"] for answer in answers] == [files[2], "none of the others", files[0]]
    twice = chainrule.predict(folder, [files[0], files[0], files[1]], device="cpu")
    assert (
        twice[0] == twice[1] and twice[0]["same_person_as"] == files[0] and twice[0]["squared_distances"][files[0]] == 0
    )


def test_a_gallery(folder: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery 图库"
    for person in (60, 61, 62):
        for number in range(2):
            image(gallery / f"Herr {person}" / f"{number}.png", person, number)
    image(gallery / "王.png", 63, 0)
    asked = [str(image(tmp_path / f"{person}.png", person, 7)) for person in (61, 63, 70)]
    answers = chainrule.predict(folder, [*asked, str(gallery)], device="cpu")
    assert [answer["person"] for answer in answers] == ["Herr 61", "王", "nobody in the gallery"]
    assert answers[0]["nearest"].startswith(str(gallery / "Herr 61")) and len(answers[0]["top"]) == 5
    (tmp_path / "list.csv").write_text("name,path\na,61.png\nb,70.png\n", "utf-8")
    listed = chainrule.predict(folder, [str(tmp_path / "list.csv"), str(gallery)], top=2, threshold=1e9, device="cpu")
    assert [answer["name"] for answer in listed] == ["a", "b"] and [len(answer["top"]) for answer in listed] == [2, 2]
    assert listed[0]["person"] == "Herr 61" and listed[1]["person"] != "nobody in the gallery"
    spread = list(answers[2]["top"].values())
    assert spread == sorted(spread) and answers[2]["squared_distance"] == spread[0] > answers[2]["threshold"]


def test_an_image_of_the_gallery_itself(folder: Path, tmp_path: Path) -> None:
    own = image(tmp_path / "g" / "a" / "0.png", 60, 0)
    other = image(tmp_path / "g" / "a" / "1.png", 60, 1)
    (answer,) = chainrule.predict(folder, [str(own), str(tmp_path / "g")], device="cpu")
    assert answer["nearest"] == str(other) and len(answer["top"]) == 1
    other.unlink()
    with pytest.raises(UserError, match="nothing but the image itself"):
        chainrule.predict(folder, [str(own), str(tmp_path / "g")], device="cpu")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["g"], "nobody to look for"),
        (["a.png", "g", "g2"], "one gallery at a time"),
        (["a.png", "empty"], "holds no image"),
        (["a.png", "missing.png"], "no such file"),
        (["a.png", "broken.png"], "cannot be read"),
    ],
)
def test_questions_that_are_none(folder: Path, tmp_path: Path, given: list[str], words: str) -> None:
    image(tmp_path / "a.png", 1, 1)
    for name in ("g", "g2"):
        image(tmp_path / name / "x" / "0.png", 2, 2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    done = CliRunner().invoke(cli, ["predict", str(folder), *(str(tmp_path / name) for name in given)])
    assert done.exit_code != 0 and isinstance(done.exception, UserError) and words in str(done.exception)


def test_names_in_a_gallery(tmp_path: Path) -> None:
    for name in ("b/1.png", "a/deep/2.png", "loose one.png"):
        image(tmp_path / name, 1, 1)
    files, persons = read_gallery(tmp_path)
    assert dict(zip((str(f.relative_to(tmp_path)) for f in files), persons, strict=True)) == {
        "b/1.png": "b",
        "a/deep/2.png": "a",
        "loose one.png": "loose one",
    }


def test_other_people_are_measured(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "others"
    for person in range(80, 85):
        for number in range(4):
            image(data / str(person) / f"{number}.png", person, number, mode="RGB", size=(40, 30))
    found = chainrule.evaluate(folder, data=str(data), device="cpu")
    assert found["auc"] > 0.9 and "verification_accuracy" in found and "tar_at_far_1e2" in found
    three = tmp_path / "three"
    for person in range(3):
        for number in range(3):
            image(three / str(person) / f"{number}.png", person, number)
    few = chainrule.evaluate(folder, data=str(three), device="cpu")
    assert "verification_accuracy" not in few and 0 <= few["accuracy"] <= 1


def test_settings_that_the_data_do_not_allow(tmp_path: Path) -> None:
    data = people(tmp_path / "data", [4] * 8)
    for wrong, words in (
        ({"persons": 20}, "fewer persons than a batch takes"),
        ({"pictures": 9}, "pictures=4 or less"),
        ({"size": 8}, "too small"),
    ):
        with pytest.raises(UserError, match=words):
            chainrule.train("facenet", data=str(data), out=tmp_path / "run", device="cpu", **{**SMALL, **wrong})
        assert not (tmp_path / "run").exists(), "a run that never began leaves a folder"


def test_the_command(folder: Path, tmp_path: Path) -> None:
    files = [str(image(tmp_path / f"{number}.png", 50, number)) for number in range(2)]
    done = CliRunner().invoke(cli, ["predict", str(folder), *files, "--json"])
    assert done.exit_code == 0 and json.loads(done.output)[0]["answer"] == "one person"


def test_the_report_shows_what_learning_adds(folder: Path) -> None:
    task: Any = Run.load(folder, "cpu").open_task()
    shown = {figure.title: figure for figure in task.figures()}
    assert len(shown) == 6
    table = shown["What learning adds"].table
    metrics = Run.load(folder).result()["metrics"]  # type: ignore[index]
    assert [row[0] for row in table[1:]] == ["network", "eigenfaces", "raw pixels"]
    assert table[1][table[0].index("auc")] == f"{metrics['auc']:.4f}"
    assert all(figure.svg or figure.table for figure in shown.values())
