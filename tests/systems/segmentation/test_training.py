"""Parts, their changes and their loss: every image is covered, one draw moves both, sums and means, borders, tiles."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from torch import nn

import chainrule
from chainrule.core.errors import UserError
from chainrule.data.images.masks.loading import MaskSplit
from chainrule.systems.segmentation.answers import index_image
from chainrule.systems.segmentation.augment import Augmentation, moved
from chainrule.systems.segmentation.losses import PixelLoss, border_weights, class_weights
from chainrule.systems.segmentation.parts import PartLoader, Parts
from chainrule.systems.segmentation.task import Segmenter, by_shape
from chainrule.systems.segmentation.tiles import largest_at, tiled

SHAPES = [(40, 50), (20, 90), (33, 17)]


def some_parts(count: int = 3, height: int = 24, width: int = 30) -> Parts:
    """Images that show their masks: every channel is 40 times the class."""
    masks = torch.from_numpy(np.kron(np.random.default_rng(1).integers(0, 4, (count, 4, 5)), np.ones((1, 6, 6), int)))
    masks = masks[:, :height, :width].to(torch.uint8)
    return Parts((masks[:, None] * 40).expand(-1, 3, -1, -1), masks, None, torch.arange(count), count)


def test_an_epoch_has_as_many_parts_as_the_images_have_room_for() -> None:
    images = [torch.full((3, *shape), number, dtype=torch.uint8) for number, shape in enumerate(SHAPES)]
    masks = [torch.full(shape, number, dtype=torch.uint8) for number, shape in enumerate(SHAPES)]
    loader = PartLoader(images, masks, None, (32, 32), 4, seed=0)
    batches = list(loader.epoch(0))
    assert sum(len(batch.index) for batch in batches) == 2 * 2 + 1 * 3 + 2 * 1
    for batch in batches:
        assert batch.images.shape[1:] == (3, 32, 32) and batch.masks.shape[1:] == (32, 32)
        assert (batch.images == batch.index[:, None, None, None]).all() and (
            batch.masks == batch.index[:, None, None]
        ).all()


def test_one_draw_moves_image_and_mask() -> None:
    """Where the image lies within one class, its colour is that class's; at edges it lies between."""
    torch.manual_seed(3)
    parts = some_parts()
    found = Augmentation("both", jitter=0.5, elastic=2.0)(parts)
    assert found.masks.dtype == torch.uint8 and not torch.equal(found.masks, parts.masks)
    flat = found.images[:, 0] / 40
    inner = F.max_pool2d(flat[:, None], 3, 1, 1) == -F.max_pool2d(-flat[:, None], 3, 1, 1)  # no edge near
    assert inner.float().mean() > 0.2
    assert (flat == found.masks)[inner[:, 0]].all()


def test_nothing_is_moved_by_a_flow_that_stays() -> None:
    parts = some_parts()
    stay = Augmentation(jitter=0.0, elastic=0.0).flow(3, parts.images)
    found = moved(parts, stay)
    torch.testing.assert_close(found.images, parts.images.float(), rtol=0, atol=1e-3)
    assert torch.equal(found.masks, parts.masks)


def test_elastic_displacement_is_scipys() -> None:
    """SciPy samples the image at the same displaced places."""
    torch.manual_seed(0)
    parts = some_parts(1, 24, 30)
    flow = Augmentation(elastic=3.0).flow(1, parts.images)
    found = moved(parts, flow).images[0, 0]
    x = ((flow[0, ..., 0] + 1) * 30 - 1) / 2
    y = ((flow[0, ..., 1] + 1) * 24 - 1) / 2
    image = parts.images[0, 0].double().numpy()
    expected = ndimage.map_coordinates(image, [y.numpy(), x.numpy()], order=1, mode="reflect")
    inside = (x > 0) & (x < 29) & (y > 0) & (y < 23)
    np.testing.assert_allclose(found[inside], expected[inside.numpy()], atol=1e-2)


def test_the_loss_is_cross_entropys_as_mean_and_as_sum() -> None:
    logits, masks = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randint(3, (2, 4, 5), dtype=torch.uint8)
    masks[0, :2] = 255
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    for reduce in ("mean", "sum"):
        expected = [
            F.cross_entropy(z[None], m[None].long(), weights, ignore_index=255, reduction=reduce)
            for z, m in zip(logits, masks, strict=True)
        ]
        found = PixelLoss(reduce, weights)(logits, masks)  # type: ignore[arg-type]
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=0)


def test_dice_of_a_right_answer_adds_nothing_and_of_a_wrong_one_all() -> None:
    masks = torch.tensor([[[0, 1], [1, 255]]], dtype=torch.uint8)
    right = F.one_hot(masks.long().clamp(max=1), 2).permute(0, 3, 1, 2).double() * 100
    plain, with_dice = PixelLoss(), PixelLoss(dice=3.0)
    torch.testing.assert_close(with_dice(right, masks), plain(right, masks), rtol=0, atol=1e-9)
    wrong = right.flip(1)
    torch.testing.assert_close(with_dice(wrong, masks) - plain(wrong, masks), torch.full((1,), 3.0).double())


def test_an_image_that_is_all_void_costs_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = PixelLoss(dice=1.0)(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8))
    loss.sum().backward()
    assert logits.grad is not None and loss.tolist() == [0.0] and not logits.grad.any()


def test_weights_of_classes() -> None:
    pixels, room = torch.tensor([80, 15, 5, 0]), torch.tensor([100, 100, 50, 0])
    u = class_weights("frequency", pixels, room)
    assert u is not None and float((u[:3] * pixels[:3]).std()) < 1e-4 and u[3] == 0
    u = class_weights("median", pixels, room)
    assert u is not None and u.tolist() == pytest.approx([0.15 / 0.8, 1.0, 1.5, 0.0])
    assert class_weights("none", pixels, room) is None


def test_borders_weigh_by_the_two_nearest_objects() -> None:
    mask = np.zeros((9, 12), np.uint8)
    mask[2:7, 1:4], mask[2:7, 6:10] = 1, 1
    w = border_weights(mask, 10.0, 5.0)
    i, j = 4, 5  # background: one pixel from the right object, two from the left
    assert w[i, j] == pytest.approx(1 + 10 * np.exp(-(3.0**2) / 50))
    assert (w[mask == 1] == 1).all() and (border_weights(mask[:, :5], 10.0) == 1).all()
    mask[0, 11] = mask[8, 0] = 1  # four objects: the two nearest of each pixel, by enumeration
    objects, count = ndimage.label(mask)
    distances = np.sort([ndimage.distance_transform_edt(objects != n + 1) for n in range(count)], 0)
    expected = 1 + 10 * np.exp(-((distances[0] + distances[1]) ** 2) / 50) * (mask == 0)
    np.testing.assert_allclose(border_weights(mask, 10.0, 5.0), expected, rtol=1e-6)


def test_tiles_answer_as_the_whole_image_where_the_network_sees_no_further() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 5, padding=2)).double().eval()
    x = torch.randn(1, 3, 70, 93, dtype=torch.float64)
    with torch.no_grad():
        whole, by_tiles = network(x), tiled(network, x, (32, 40), overlap=4)
    torch.testing.assert_close(by_tiles[..., 4:-4, 4:-4], whole[..., 4:-4, 4:-4], rtol=1e-12, atol=1e-12)
    assert by_tiles.shape == whole.shape
    with torch.no_grad():  # one row of tiles: what lies at the upper and lower border is the network's own
        by_tiles = tiled(network, x, (70, 40), overlap=4)
    torch.testing.assert_close(by_tiles[..., 4:-4], whole[..., 4:-4], rtol=1e-12, atol=1e-12)


def test_a_network_of_one_size_is_shown_tiles_as_large_as_its_parts(tmp_path: Path, no_report: None) -> None:
    run = chainrule.train(
        "deconvnet", data=write_set(tmp_path / "d", 8), epochs=1, batch_size=4, width=1 / 32, inside=32, size=24,
        out=tmp_path / "r", device="cpu",
    )  # fmt: skip
    assert isinstance(run.task, Segmenter)
    seen = set()
    run.task.model.register_forward_pre_hook(lambda module, inputs: seen.add(tuple(inputs[0].shape[-2:])))
    for size in ((32, 48), (9, 100), (24, 24)):
        assert run.task.logits(torch.zeros(1, 3, *size, dtype=torch.uint8)).shape[-2:] == size
    assert seen == {(24, 24)}


@pytest.mark.parametrize("size", [(9, 13), (40, 31), (3, 5)])
def test_the_largest_logit_is_that_of_the_enlarged_maps(size: tuple[int, int]) -> None:
    logits = torch.randn(2, 5, 9, 13)
    enlarged = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    found = largest_at(logits, *size)
    assert found.dtype == torch.uint8 and torch.equal(found.long(), enlarged.argmax(1))


def test_batches_hold_no_more_pixels_than_fit_of_image_and_mask() -> None:
    images = [torch.zeros(3, 64, 64, dtype=torch.uint8)] * 3 + [torch.zeros(3, 40, 64, dtype=torch.uint8)]
    masks = [torch.zeros(1024, 1024, dtype=torch.uint8)] * 2 + [torch.zeros(64, 64, dtype=torch.uint8)] * 2
    split = MaskSplit(images, masks, [(Path(), Path())] * 4)
    assert list(by_shape(split)) == [[0], [1], [2], [3]]
    assert list(by_shape(MaskSplit(images[:3], [masks[2]] * 3, split.files[:3]))) == [[0, 1, 2]]


def test_an_index_image_has_the_numbers_and_the_colours() -> None:
    image = index_image(np.array([[0, 1]], np.uint8), [3, 250], [[1, 2, 3], [4, 5, 6]])
    assert np.asarray(image).tolist() == [[3, 250]] and image.mode == "P"
    assert np.asarray(image.convert("RGB")).tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert np.asarray(index_image(np.array([[0, 1]], np.uint8), [3, 1000], [[0, 0, 0]] * 2)).tolist() == [[3, 1000]]


def write_set(folder: Path, count: int = 6) -> Path:
    """Images of 48 x 32: a light square on a dark ground, whose masks are 1 where it is."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((32, 48), np.uint8)
        top, left = rng.integers(0, 16, 2)
        mask[top : top + 14, left : left + 16] = 1
        image = rng.integers(0, 30, (32, 48, 3)) + np.where(mask[..., None] > 0, 150, 20)
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def test_one_image_is_memorised(tmp_path: Path, no_report: None) -> None:
    """The same image in all three splits: mIoU 1.000."""
    for split in ("train", "val", "test"):
        write_set(tmp_path / "d" / split, 1)
    run = chainrule.train(
        "unet", data=tmp_path / "d", epochs=120, batch_size=1, width=1 / 16, lr=0.01, flips="no", jitter=0, colour=0,
        out=tmp_path / "r", device="cpu",
    )  # fmt: skip
    assert run.result()["metrics"]["miou"] == 1.0
    answers = chainrule.predict(run, tmp_path / "d" / "test" / "images" / "0.png", out=tmp_path / "out")
    answered = np.asarray(Image.open(answers[0]["mask"]))
    assert (answered == np.asarray(Image.open(tmp_path / "d" / "test" / "masks" / "0.png"))).all()
    assert answers[0]["parts"]["1"] == 1


def test_the_stages_of_fcn_pass_their_weights_on(tmp_path: Path, no_report: None) -> None:
    data = write_set(tmp_path / "d", 8)
    common = {"data": data, "epochs": 1, "batch_size": 4, "width": 1 / 32, "device": "cpu"}
    first = chainrule.train("fcn32s", out=tmp_path / "a", **common)
    second = chainrule.train("fcn16s", out=tmp_path / "b", weights=first.folder, **common)
    third = chainrule.train("fcn8s", out=tmp_path / "c", weights=second.folder, **common)
    assert third.result()["metrics"]["miou"] > 0


@pytest.mark.parametrize(
    ("name", "count", "batch_size", "cure"), [("bilinear-net", 7, 13, "batch_size=14"), ("unet", 7, 13, "")]
)
def test_a_last_batch_of_one_part_is_told_before_the_first_step(
    name: str, count: int, batch_size: int, cure: str, tmp_path: Path, no_report: None
) -> None:
    """Of 32 x 32 pixels the smallest maps of the bilinear net have a single place, those of U-Net four."""
    for split, images in (("train", count), ("val", 2), ("test", 2)):
        write_set(tmp_path / "d" / split, images)
    settings = {"batch_size": batch_size, "epochs": 1, "width": 1 / 32, "size": 32, "out": tmp_path / "r"}
    train = partial(chainrule.train, name, data=tmp_path / "d", device="cpu", **settings)
    if cure:
        with pytest.raises(UserError, match=cure):
            train()
    else:
        train()


def test_explain_is_given_images_and_masks_of_one_draw(tmp_path: Path, no_report: None) -> None:
    """The light square of each changed image lies where its changed mask has it."""
    run = chainrule.train(
        "unet", data=write_set(tmp_path / "d", 8), epochs=1, batch_size=4, width=1 / 32, jitter=0.5, colour=0,
        border_weight=5, flips="both", out=tmp_path / "r", device="cpu",
    )  # fmt: skip
    assert isinstance(run.task, Segmenter)
    batch = run.task.training_batch()
    light = batch.inputs[0].mean(1)
    light = light > (light.amax((1, 2), keepdim=True) + light.amin((1, 2), keepdim=True)) / 2
    assert ((light == batch.target.bool()).float().mean((1, 2)) > 0.95).all()
    assert batch.loss(batch.module(*batch.inputs), batch.target).shape == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"), [("unet", {"form": "paper"}), ("fcn8s", {"border": "pad100"}), ("deconvnet", {"inside": 64})]
)
def test_export_of_networks_that_pad_by_the_image_or_keep_switches(
    name: str, settings: dict[str, Any], tmp_path: Path, no_report: None
) -> None:
    common = {"epochs": 1, "batch_size": 4, "width": 1 / 32, "out": tmp_path / "r", "device": "cpu"}
    run = chainrule.train(name, data=write_set(tmp_path / "d", 13), **common, **settings)
    made = chainrule.export(run, to="onnx")
    assert made["largest_difference"] <= made["tolerance"] == (0.05 if name == "deconvnet" else 1e-4)
