"""ResNet-20 against an independent re-statement, its augmentation against a loop, its recipe as a user has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule import api, models
from chainrule.core.errors import UserError
from chainrule.data.images.augment import flip, shift
from chainrule.systems.image_classification.resnet_cifar import Block, ResNetCifar

pytestmark = pytest.mark.usefixtures("no_report")


def batch_norm(x: Tensor, w: dict[str, Tensor], name: str, training: bool) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, with the batch's own biased moments in training."""
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    scale = w[f"{name}.weight"] / torch.sqrt(var + 1e-5)
    return x * scale[:, None, None] + (w[f"{name}.bias"] - mean * scale)[:, None, None]


def conv3x3(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Nine shifted products, summed."""
    _, _, height, width = x.shape
    padded = x.new_zeros(*x.shape[:2], height + 2, width + 2)
    padded[:, :, 1:-1, 1:-1] = x
    total = 0
    for i in range(3):
        for j in range(3):
            shifted = padded[:, :, i : i + height : stride, j : j + width : stride]
            total = total + torch.einsum("bchw,oc->bohw", shifted, weight[:, :, i, j])
    return total


def restated(w: dict[str, Tensor], x: Tensor, blocks: int, training: bool, option: str = "A") -> Tensor:
    """Section 4.2 of the paper, in plain arithmetic; the options of section 3.3."""
    x = batch_norm(conv3x3(x, w["conv.weight"], 1), w, "bn", training).clamp(min=0)
    for stage, channels in ((1, 16), (2, 32), (3, 64)):
        for i in range(blocks):
            name, stride = f"stage{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            h = batch_norm(conv3x3(x, w[f"{name}.conv1.weight"], stride), w, f"{name}.bn1", training).clamp(min=0)
            h = batch_norm(conv3x3(h, w[f"{name}.conv2.weight"], 1), w, f"{name}.bn2", training)
            if stride == 2:
                small = x[:, :, ::2, ::2]
                if option == "B":
                    mixed = torch.einsum("bchw,oc->bohw", small, w[f"{name}.projection.0.weight"][:, :, 0, 0])
                    x = batch_norm(mixed, w, f"{name}.projection.1", training)
                else:
                    x = torch.cat([small, small.new_zeros(len(x), channels - x.shape[1], *small.shape[2:])], 1)
            x = (h if option == "none" else h + x).clamp(min=0)
    return x.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("size", "option"), [(8, "A"), (7, "A"), (7, "B"), (8, "none")])
def test_outputs_and_gradients_are_those_of_the_restatement(training: bool, size: int, option: Any) -> None:
    torch.manual_seed(1)
    model = ResNetCifar(14, num_classes=5, shortcut=option).double().train(training)
    for name, buffer in model.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    w = {
        name: value.detach().clone().requires_grad_(value.is_floating_point())
        for name, value in model.state_dict().items()
    }
    x = torch.randn(3, 3, size, size, dtype=torch.float64)
    ours, theirs = model(x), restated(w, x, 2, training, option)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, w[name].grad, rtol=1e-7, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_parameters_are_those_of_the_paper(depth: int) -> None:
    card = models.get_card(f"resnet{depth}")
    n = (depth - 2) // 6
    by_hand = 3 * 16 * 9 + 2 * 16  # the first layer, then 2n layers a stage, then 64 x 10 + 10
    for wide, before in ((16, 16), (32, 16), (64, 32)):
        by_hand += before * wide * 9 + (2 * n - 1) * wide * wide * 9 + 2 * n * 2 * wide
    by_hand += 650
    with torch.device("meta"):
        built = sum(p.numel() for p in card.build().parameters())
    assert built == by_hand == card.parameters
    if depth == 20:
        assert built == 269_722


def test_a_shortcut_has_no_parameters_and_keeps_every_second_pixel() -> None:
    block = Block(2, 4, 2)
    x = torch.arange(2 * 16.0).view(1, 2, 4, 4)
    short = block.shortcut(x)
    assert short[0, 0].tolist() == [[0, 2], [8, 10]] and short[0, 1].tolist() == [[16, 18], [24, 26]]
    assert short[0, 2:].abs().sum() == 0
    same = Block(2, 2, 1)
    assert same.shortcut(x) is x


@pytest.mark.parametrize("depth", [1, 2, 7, 21])
def test_a_depth_that_is_not_6n_plus_2_is_told(depth: int) -> None:
    with pytest.raises(UserError, match=r"6n\+2"):
        models.build("resnet20", depth=depth)


def test_crops_are_those_of_a_padded_image() -> None:
    """Every result is one of the 81 crops of the padded image or its mirror, and every crop comes up."""
    torch.manual_seed(0)
    image = torch.randint(1, 256, (1, 3, 8, 6), dtype=torch.uint8)
    padded = F.pad(image[0], (4, 4, 4, 4))
    crops = {}
    for top in range(9):
        for left in range(9):
            crop = padded[:, top : top + 8, left : left + 6]
            crops[crop.numpy().tobytes()] = (top, left, False)
            crops[crop.flip(2).contiguous().numpy().tobytes()] = (top, left, True)
    count = 4000
    got = flip(shift(image.expand(count, -1, -1, -1)))
    assert got.dtype == torch.uint8 and got.shape == (count, 3, 8, 6)
    found = [crops[each.contiguous().numpy().tobytes()] for each in got]
    assert len(set(found)) == 162
    assert abs(sum(mirrored for _, _, mirrored in found) / count - 0.5) < 0.03
    assert abs(sum(top for top, _, _ in found) / count - 4) < 0.15


def test_crops_follow_the_global_generator_and_each_image_has_its_own() -> None:
    x = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8)
    torch.manual_seed(5)
    first, state = flip(shift(x)), torch.get_rng_state()
    second = flip(shift(x))
    torch.set_rng_state(state)
    assert torch.equal(flip(shift(x)), second) and not torch.equal(first, second)
    same = flip(shift(x[:1].expand(16, -1, -1, -1)))
    assert len({each.contiguous().numpy().tobytes() for each in same}) > 8
    layout = flip(shift(torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)))
    assert layout.is_contiguous(memory_format=torch.channels_last)


def small_images(folder: Path, count: int = 200) -> str:
    """Noise on two levels of grey, as an npz file; the user's own form of data."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 2
    x = rng.integers(0, 128, (count, 8, 8)) + 120 * y[:, None, None]
    np.savez(folder / "images.npz", x=x.astype(np.uint8), y=y)
    return str(folder / "images.npz")


def test_the_recipe_learns_and_drops_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "report", lambda folder: None)
    settings = {"depth": 8, "epochs": 2, "batch_size": 24, "log_every": 1}
    run = api.train("resnet20", data=small_images(tmp_path), out=tmp_path / "run", **settings)
    # of 200 images 160 are not in the test split and 144 of them train: six steps an epoch
    rates = [round(line["lr"], 6) for line in run.log_lines() if "lr" in line]
    assert rates == [0.1] * 5 + [0.01] * 3 + [0.001] * 4  # noted after the step has moved the schedule
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["parameters"] < 80_000 and result["metrics"]["accuracy"] > 0.8
    assert run.record["compile"]["chosen"] is False and "compile=yes asks for it" in run.record["compile"]["reason"]


def test_a_wrong_depth_is_told_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such depth"):
        api.train("resnet20", data="digits", depth=19, epochs=1, out=tmp_path / "run")


def test_without_the_data_the_error_names_file_and_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", nothing)
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"cifar-10-binary.tar.gz"):
        api.train("resnet20", out=tmp_path / "run")
