"""Style transfer: its losses against loops and the paper's derivatives, images of every kind, and what a user gets."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from chainrule import api
from chainrule.core.errors import UserError
from chainrule.models import build
from chainrule.systems.image_synthesis.data import read_image
from chainrule.systems.image_synthesis.feature_extractor import FeatureExtractor, average_pooling
from chainrule.systems.image_synthesis.images import SynthesisImages
from chainrule.systems.image_synthesis.style_transfer import (
    StyleTransfer,
    StyleTransferConfig,
    content_loss,
    gram_matrix,
    style_loss,
)
from tests.contracts.endurance import assert_same, numbers
from tests.systems.image_synthesis.test_dream import one_image, pixels_of, small_net

pytestmark = pytest.mark.usefixtures("no_report")

SMALL = {"network": "resnet20", "size": 40, "steps": 6}


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- the losses ----------------------------------------------------------------------------------------------------------


def test_gram_matrix_is_the_sum_of_the_paper_over_the_positions() -> None:
    F = maps(2, 3, 4, 5)
    rows = F.reshape(2, 3, 20)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                total = sum(float(rows[b, i, k] * rows[b, j, k]) for k in range(20))  # equation 3
                assert float(gram_matrix(F)[b, i, j]) == pytest.approx(total / 20, rel=1e-12)


def test_losses_are_the_paper_s_sums() -> None:
    F, P = maps(2, 3, 4, 5), maps(2, 3, 4, 5, seed=1)
    N, M = 3, 20
    rows, wanted = F.reshape(2, N, M), P.reshape(2, N, M)
    for b in range(2):
        content = sum(float(rows[b, i, k] - wanted[b, i, k]) ** 2 for i in range(N) for k in range(M)) / 2
        assert float(content_loss(F, P)[b]) == pytest.approx(content, rel=1e-12)
        G, A = rows[b] @ rows[b].T, wanted[b] @ wanted[b].T  # sums, as the paper has them
        style = sum(float(G[i, j] - A[i, j]) ** 2 for i in range(N) for j in range(N)) / (4 * N**2 * M**2)
        assert float(style_loss(F, gram_matrix(P))[b]) == pytest.approx(style, rel=1e-12)
    assert content_loss(F, F).tolist() == [0, 0] and style_loss(F, gram_matrix(F)).tolist() == [0, 0]
    moved = F.flatten(2)[:, :, torch.randperm(M, generator=torch.Generator().manual_seed(0))].reshape(F.shape)
    assert style_loss(moved, gram_matrix(F)).max() < 1e-24 < content_loss(moved, F).min()  # style knows no place


def test_derivatives_are_those_of_the_paper() -> None:
    """Equations 2 and 6 are by the activations before the rectifier: 0 where it gives 0."""
    z, P = maps(1, 3, 4, 5).requires_grad_(), maps(1, 3, 4, 5, seed=1).relu()
    F, M, N = z.relu(), 20, 3
    found = torch.autograd.grad(content_loss(F, P).sum(), z, retain_graph=True)[0]
    expected = torch.where(F > 0, F - P, 0.0)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-12)
    rows, wanted = F.detach().reshape(N, M), P.reshape(N, M)
    G, A = rows @ rows.T, wanted @ wanted.T
    expected = ((rows.T @ (G - A)).T / (N**2 * M**2)).reshape(1, N, 4, 5)
    found = torch.autograd.grad(style_loss(F, gram_matrix(P)).sum(), z)[0]
    torch.testing.assert_close(found, torch.where(F > 0, expected, 0.0).detach(), rtol=0, atol=1e-12)


def test_gradients_are_right_and_wrong_shapes_are_told() -> None:
    F = maps(1, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(gram_matrix, F)
    assert torch.autograd.gradcheck(lambda x: content_loss(x, maps(1, 3, 2, 2, seed=2)), F)
    assert torch.autograd.gradcheck(lambda x: style_loss(x, gram_matrix(maps(1, 3, 5, 1, seed=2))), F)
    assert gram_matrix(torch.ones(1, 1, 1, 1)).item() == 1.0
    for wrong in (torch.ones(3, 2, 2), torch.ones(1, 3, 0, 2)):
        with pytest.raises(UserError, match="must be maps"):
            gram_matrix(wrong)
    with pytest.raises(UserError, match="other shapes"):
        content_loss(torch.ones(1, 3, 2, 2), torch.ones(1, 1, 2, 2))
    with pytest.raises(UserError, match="another shape"):
        style_loss(torch.ones(1, 3, 2, 2), torch.ones(1, 2, 2))


def test_the_total_loss_is_the_sum_of_its_parts() -> None:
    net = small_net()
    config = StyleTransferConfig(
        content_layers=("1",),
        style_layers=("0", "1"),
        content_weight=2.0,
        style_weight=7.0,
        variation=5.0,
        optimizer="adam",
        lr=1.0,
        start="content",
        steps=1,
    )

    def features(pixels: Tensor) -> dict[str, Tensor]:
        first = net[1](net[0](pixels))
        return {"0": first, "1": net[2](first)}

    content, style = ((maps(1, 3, h, 11, seed=h).clamp(-2, 2) + 2) * 63 for h in (9, 13))
    images = SynthesisImages((9, 11), (13, 11), [(9, 11)]).double()
    images.fill(content[0].to(torch.uint8), style[0].to(torch.uint8))
    p, a = features(images.content[None].double()), features(images.other[None].double())
    x = maps(1, 3, 9, 11, seed=4) * 90 + 127
    f, size = features(x), {k: (p[k].abs().mean() + a[k].abs().mean()) / 2 for k in p}
    content_part = ((f["1"] - p["1"]) / size["1"]).square().mean() / 2
    grams = {}
    for k in ("0", "1"):
        rows = [(each[k] / size[k])[0].flatten(1) for each in (f, a)]
        G, A = (row @ row.T / row.shape[1] for row in rows)
        grams[k] = (G - A).square().mean() / 4
    style_part = (grams["0"] + grams["1"]) / 2
    across, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    smooth = (across.square().sum() + down.square().sum()) / 255**2 / 99
    outside = (torch.where(x < 0, -x, torch.where(x > 255, x - 255, 0.0)) / 255).square().mean()
    assert outside > 1e-4
    with torch.no_grad():
        found = config.begin(images, features, 0).losses(x)
    expected = 2 * content_part + 7 * style_part + 5 * smooth + 27 * outside
    torch.testing.assert_close(found["content_loss"], content_part.detach())
    torch.testing.assert_close(found["style_loss"], style_part.detach())
    torch.testing.assert_close(found["variation"], smooth)
    torch.testing.assert_close(found["loss"], expected.detach())


# -- the feature extractor -----------------------------------------------------------------------------------------------


def test_layers_answer_as_in_the_whole_network() -> None:
    torch.manual_seed(0)
    net = build("googlenet", num_classes=3, width=1 / 4).eval()
    x = torch.randn(1, 3, 64, 64)
    seen: dict[str, Tensor] = {}
    for name in ("inception3a", "inception4c"):
        net.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: seen.update({name: o.clone()}))
    net(x)
    extractor = FeatureExtractor(net, ["inception4c", "inception3a"])
    found = extractor(x)
    assert list(found) == ["inception4c", "inception3a"] and all(torch.equal(found[n], seen[n]) for n in seen)
    many = sum(p.numel() for p in extractor.parameters())
    extractor.drop_unused_layers(x)
    assert sum(p.numel() for p in extractor.parameters()) < many / 2
    assert all(torch.equal(value, seen[name]) for name, value in extractor(x).items())
    with pytest.raises(UserError, match="there is no layer 'inception9'"):
        FeatureExtractor(net, ["inception9"])
    with pytest.raises(UserError, match="no layer is named"):
        FeatureExtractor(net, [])


def test_what_works_in_place_does_not_write_over_a_layer() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3))
    x = torch.randn(1, 1, 8, 8)
    found = FeatureExtractor(net, ["0", "2"])(x)
    assert torch.equal(found["0"], net[0](x)) and found["0"].min() < 0
    never = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Identity())
    never.append(nn.ModuleList([nn.ReLU()]))
    del never[2]
    never.spare = nn.ReLU()  # type: ignore[assignment]
    never.forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(UserError, match="gives no tensor"):
        FeatureExtractor(never, ["spare"])(x)


def test_pooling_by_the_mean() -> None:
    net = build("vgg11", num_classes=2, width=1 / 8)
    x = torch.randn(1, 3, 32, 32)
    before = FeatureExtractor(net, ["features.2"])(x)["features.2"]
    assert average_pooling(net) == 5 and average_pooling(net) == 0
    relu = FeatureExtractor(net, ["features.1"])(x)["features.1"]
    after = FeatureExtractor(net, ["features.2"])(x)["features.2"]
    torch.testing.assert_close(after, relu.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)))
    assert bool((after <= before).all()) and bool((after < before).any())
    padded = nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True))
    average_pooling(padded)
    assert bool((padded(torch.ones(1, 1, 6, 6)) == 1).all())  # the border is no part of a mean


@pytest.mark.parametrize("pooling", ["average", "maximum"])
def test_the_recipe_pools_as_it_is_told(pooling: str, tmp_path: Path) -> None:
    run, _, _ = trained(
        tmp_path / "run",
        network="googlenet",
        size=48,
        pooling=pooling,
        steps=1,
        content_layers=("inception3a",),
        style_layers=("stem.0", "inception3a"),
    )
    kinds = {type(layer).__name__ for layer in run.task.modules()["network"].modules()}
    assert ("CaffeAvgPool2d" in kinds, "CaffeMaxPool2d" in kinds) == (pooling == "average", pooling == "maximum")


# -- images of every kind ----------------------------------------------------------------------------------------------


def test_any_image_is_read(tmp_path: Path) -> None:
    base = np.random.default_rng(0).integers(0, 256, (12, 18, 3)).astype(np.uint8)
    image = Image.fromarray(base)
    image.save(tmp_path / "colour.png")
    assert np.array_equal(read_image(str(tmp_path / "colour.png"), 64).permute(1, 2, 0).numpy(), base)
    for mode in ("L", "P", "CMYK", "RGBA", "LA", "1"):
        name = tmp_path / f"{mode} 图.{'jpg' if mode == 'CMYK' else 'png'}"
        image.convert(mode).save(name)
        found = read_image(str(name), 64)
        assert found.shape == (3, 12, 18) and found.dtype == torch.uint8
        if mode in ("L", "LA", "1"):
            assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    Image.fromarray(base[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(str(tmp_path / "deep.png"), 64)[1].numpy(), base[..., 0])
    clear = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    clear.save(tmp_path / "clear.png")
    assert read_image(str(tmp_path / "clear.png"), 64).unique().tolist() == [255]
    exif = image.getexif()
    exif[0x0112] = 6  # held on its side
    image.save(tmp_path / "turned.png", exif=exif)
    turned = read_image(str(tmp_path / "turned.png"), 64)
    assert np.array_equal(turned.permute(1, 2, 0).numpy(), np.rot90(base, -1))
    Image.new("RGB", (9000, 3), "red").save(tmp_path / "strip.png")
    assert read_image(str(tmp_path / "strip.png"), 100).shape == (3, 1, 100)
    Image.new("L", (3000, 2000)).save(tmp_path / "large.jpg")
    assert read_image(str(tmp_path / "large.jpg"), 60).shape == (3, 40, 60)
    assert read_image("flower", 50).shape == (3, 33, 50)


# -- the recipe ----------------------------------------------------------------------------------------------------------


def trained(place: Path, **settings: Any) -> tuple[Any, dict[str, float], np.ndarray]:
    run = api.train("style", out=place, **{**SMALL, **settings})
    return run, run.result()["metrics"], pixels_of(place / "figures" / "made.png")


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_style_comes_nearer_and_the_content_stays(optimizer: str, tmp_path: Path) -> None:
    content, style = str(one_image(tmp_path / "a.png")), str(one_image(tmp_path / "b.png", 20, 33, seed=1))
    run, metrics, made = trained(
        tmp_path / "run", data=content, style=style, optimizer=optimizer, steps=25, style_weight=100.0, variation=3.0
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 25 and lines[0]["content_loss"] == 0 and {"loss", "style_loss"} <= set(lines[0])
    assert metrics["style_loss"] < 0.4 * lines[0]["style_loss"] and metrics["loss"] < 0.5 * lines[0]["loss"]
    parts = metrics["content_loss"] + 100 * metrics["style_loss"] + 3 * metrics["variation"]
    assert metrics["loss"] == pytest.approx(parts, rel=1e-5)
    if optimizer == "lbfgs":  # the line search never goes up
        assert all(later["loss"] <= line["loss"] for line, later in itertools.pairwise(lines))
    again = api.predict(tmp_path / "run", [content], out=tmp_path / "out")
    assert np.array_equal(pixels_of(again[0]["file"]), made)
    assert "style" in api.report(tmp_path / "run").read_text("utf-8")
    Path(style).unlink()
    Path(content).unlink()
    assert api.evaluate(tmp_path / "run") == metrics
    assert len(run.task.figures()) == 1


def test_only_the_ratio_of_the_weights_counts(tmp_path: Path) -> None:
    """Also where the loss is so small that PyTorch's own first step and its bounds would end in rounding."""
    content, style = str(one_image(tmp_path / "a.png")), str(one_image(tmp_path / "b.png", 20, 33, seed=1))
    found = []
    for scale in (2.0**-30, 1.0):
        _, metrics, made = trained(
            tmp_path / str(scale), data=content, style=style, steps=8, content_weight=scale, style_weight=32 * scale
        )
        found.append((metrics["style_loss"], made))
    assert found[0][0] == found[1][0] < 0.05 and np.array_equal(found[0][1], found[1][1])


def test_content_alone_gives_the_content_back_from_noise(tmp_path: Path) -> None:
    """One layer that keeps everything, and L-BFGS: the known optimum is the image itself."""
    content = one_image(tmp_path / "a.png")
    _, metrics, made = trained(
        tmp_path / "run",
        data=str(content),
        start="noise",
        style_weight=0.0,
        variation=0.0,
        content_layers=("conv",),
        steps=40,
    )
    away = np.abs(made.astype(float) - pixels_of(content)).mean()
    assert metrics["content_loss"] < 1e-3 and away < 4


def test_style_alone_gives_a_texture(tmp_path: Path) -> None:
    _, metrics, _ = trained(
        tmp_path / "run", data="flower", start="style", content_weight=0.0, variation=10.0, style="flower", steps=2
    )
    assert (
        metrics["style_loss"] < 1e-3 and metrics["variation"] > 0
    )  # the same image: its style is there from the start


def test_weights_of_a_file_are_those_that_are_used(tmp_path: Path) -> None:
    torch.manual_seed(9)
    net = build("resnet20")
    safetensors.torch.save_file(net.state_dict(), tmp_path / "w.safetensors")
    content = str(one_image(tmp_path / "a.png"))
    run, metrics, made = trained(tmp_path / "run", data=content, weights=str(tmp_path / "w.safetensors"))
    own = run.task.modules()["network"].network.state_dict()
    assert (
        own and all(torch.equal(value, net.state_dict()[name]) for name, value in own.items()) and "fc.bias" not in own
    )
    (tmp_path / "w.safetensors").unlink()
    assert api.evaluate(tmp_path / "run") == metrics  # the run has them
    assert not np.array_equal(trained(tmp_path / "other", data=content)[2], made)
    with pytest.raises(UserError, match="of=RUN or --weights"):
        trained(tmp_path / "both", data=content, weights="torchvision", of="x")


def test_the_papers_names_of_layers(tmp_path: Path) -> None:
    """conv2_1 is what stands behind its rectifier, with batch normalisation or without."""
    from chainrule.systems.image_synthesis.recipes import vgg_layer_names

    names = vgg_layer_names(build("vgg19", num_classes=2, width=1 / 32))
    assert len(names) == 16
    assert [names[f"conv{k}_1"] for k in range(1, 6)] == [f"features.{n}" for n in (1, 6, 11, 20, 29)]
    assert names["conv4_2"] == "features.22"
    assert vgg_layer_names(build("vgg11-bn", num_classes=2, width=1 / 32))["conv3_2"] == "features.13"
    assert vgg_layer_names(build("resnet20")) == {}


def test_two_images_of_one_name_are_both_written(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    one, other = one_image(tmp_path / "猫.png"), one_image(tmp_path / "x" / "猫.png", 20, 28, seed=4)
    trained(tmp_path / "run", data="china", steps=1)
    answers = api.predict(tmp_path / "run", [str(one), str(other), str(one)], out=tmp_path / "out")
    assert [Path(a["file"]).name for a in answers] == ["猫-style.png", "猫-style-2.png", "猫-style.png"]
    assert [pixels_of(a["file"]).shape[:2] for a in answers[:2]] == [(30, 36), (28, 20)]
    assert answers[0] == answers[2]
    api.predict(tmp_path / "run", [str(one)])
    assert (Path.cwd() / "猫-style.png").is_file()
    (tmp_path / "empty").mkdir()
    for wrong in ("nothing.png", str(tmp_path / "empty")):
        with pytest.raises(UserError):
            api.predict(tmp_path / "run", [wrong], out=tmp_path / "out")
    Image.new("RGB", (3, 3)).save(tmp_path / "small.png")
    assert api.predict(tmp_path / "run", [str(tmp_path / "small.png")], out=tmp_path / "out")


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_run_that_broke_off_resumes_bit_for_bit(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = str(one_image(tmp_path / "a.png"))
    settings = {**SMALL, "data": content, "steps": 14, "start": "noise", "optimizer": optimizer, "checkpoint_s": 0}
    api.train("style", out=tmp_path / "whole", **settings)
    step = StyleTransfer.step

    def breaks(self: StyleTransfer, number: int) -> Any:
        if number in (3, 12) and number not in broken:
            broken.append(number)
            raise OSError("pulled out")
        return step(self, number)

    broken: list[int] = []
    monkeypatch.setattr(StyleTransfer, "step", breaks)
    with pytest.raises(OSError, match="pulled"):
        api.train("style", out=tmp_path / "broken", **settings)
    os.remove(content)  # noqa: PTH107  # a run that has begun has its images
    with pytest.raises(OSError, match="pulled"):
        api.resume(tmp_path / "broken")
    api.resume(tmp_path / "broken")
    assert broken == [3, 12]
    whole, resumed = (numbers(tmp_path / name) | {"report": True} for name in ("whole", "broken"))  # none is drawn here
    assert_same(whole, resumed)


def test_what_has_no_style(tmp_path: Path) -> None:
    content = str(one_image(tmp_path / "a.png"))
    cases = [
        ({"style": "nothing.jpg"}, "there is no such image"),
        ({"style": str(tmp_path)}, "a folder is no image"),
        ({"style_layers": ("conv1_1",)}, "there is no layer 'conv1_1'"),
        ({"content_layers": ("stage2", "fcc")}, "there is no layer 'fcc'"),
        ({"style_layers": ("fc",)}, "must be maps|no maps"),
        ({"content_weight": 0, "style_weight": 0}, "nothing is asked"),
        ({"network": "vgg11", "size": 24}, "too small for VGG"),
        ({"network": "lenet-caffe"}, "another size than this LeNet"),
        ({"weights": str(tmp_path / "none.pth")}, "there is no such file"),
        ({"weights": "torchvision"}, "publishes no weights of resnet20"),
    ]
    for number, (settings, message) in enumerate(cases):
        with pytest.raises(UserError, match=message):
            api.train("style", out=tmp_path / f"run{number}", **{"data": content, **SMALL, **settings})
        assert not (tmp_path / f"run{number}").exists(), settings
