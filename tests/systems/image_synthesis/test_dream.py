"""Deep Dream: its arithmetic against the notebook's, restated in NumPy and SciPy, and what the recipe does for a user."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from chainrule import api
from chainrule.core.errors import UserError
from chainrule.run.run import Run
from chainrule.systems.image_synthesis.deep_dream import (
    DeepDreamConfig,
    activation_objective,
    gradient_ascent_step,
    guide_objective,
    octave_sizes,
)
from chainrule.systems.image_synthesis.images import SynthesisImages, resize
from tests.data.image_sets import write_images

pytestmark = pytest.mark.usefixtures("no_report")

SMALL = {"network": "resnet20", "size": 40, "octaves": 2, "steps": 3, "jitter": 4}


def one_image(file: Path, width: int = 36, height: int = 30, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(file)
    return file


def pixels_of(file: Path | str) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image)


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3)).double()


# -- the arithmetic ------------------------------------------------------------------------------------------------------


class Notebook:
    """make_step and deepdream of dream.ipynb, with a network of PyTorch in the place of Caffe's."""

    def __init__(self, net: nn.Module, draws: list[tuple[int, int]], step_size: float) -> None:
        self.net, self.draws, self.step_size = net, draws, step_size

    def gradient(self, src: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(src[None].copy()).requires_grad_()
        end = self.net(x)
        return torch.autograd.grad(end, x, grad_outputs=end.detach())[0][0].numpy()  # dst.diff[:] = dst.data

    def make_step(self, src: np.ndarray) -> np.ndarray:
        ox, oy = self.draws.pop(0)
        src = np.roll(np.roll(src, ox, -1), oy, -2)
        g = self.gradient(src)
        src = src + self.step_size / np.abs(g).mean() * g
        src = np.roll(np.roll(src, -ox, -1), -oy, -2)
        return np.clip(src, 0, 255)

    def deepdream(self, base: np.ndarray, iter_n: int, octave_n: int, octave_scale: float) -> np.ndarray:
        octaves = [base]
        for _ in range(octave_n - 1):
            octaves.append(ndimage.zoom(octaves[-1], (1, 1.0 / octave_scale, 1.0 / octave_scale), order=1))
        src, detail = base, np.zeros_like(octaves[-1])
        for octave, octave_base in enumerate(octaves[::-1]):
            h, w = octave_base.shape[-2:]
            if octave > 0:
                h1, w1 = detail.shape[-2:]
                detail = ndimage.zoom(detail, (1, 1.0 * h / h1, 1.0 * w / w1), order=1)
            src = octave_base + detail
            for _ in range(iter_n):
                src = self.make_step(src)
            detail = src - octave_base
        return src


def test_octaves_jitter_and_steps_are_those_of_the_notebook() -> None:
    net, seed = small_net(), 5
    config = DeepDreamConfig(
        channel=None, octaves=3, octave_scale=1.4, steps_per_octave=4, step_size=1.5, jitter=7, tile=0, guided=False
    )
    images = SynthesisImages((30, 41), None, config.octave_sizes(30, 41)).double()
    content = torch.randint(0, 256, (3, 30, 41), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    images.fill(content, None)
    dream = config.begin(images, lambda x: {"2": net(x)}, seed)
    draws = [dream.jitter(number) for number in range(config.steps)]
    assert len(set(draws)) > 6 and all(-7 <= part <= 7 for draw in draws for part in draw)
    assert {abs(part) for n in range(400) for part in dream.jitter(n)} == set(range(8))
    for number in range(config.steps):
        dream.step(number)
    expected = Notebook(net, draws, 1.5).deepdream(content.double().numpy(), 4, 3, 1.4)
    assert [tuple(made.shape[2:]) for made in images.octaves] == [(15, 21), (21, 29), (30, 41)]
    np.testing.assert_allclose(images.octaves[-1][0].detach().numpy(), expected, rtol=0, atol=1e-10)
    assert np.abs(expected - content.numpy()).mean() > 3


@pytest.mark.parametrize("size", [(5, 9), (17, 4), (1, 1), (12, 12)])
def test_resampling_is_scipys(size: tuple[int, int]) -> None:
    x = torch.rand(1, 2, 12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = ndimage.zoom(x[0].numpy(), (1, size[0] / 12, size[1] / 9), order=1)
    np.testing.assert_allclose(resize(x, size)[0].numpy(), expected, atol=1e-12)


def test_octave_sizes() -> None:
    assert octave_sizes(100, 50, 1, 1.4) == [(100, 50)]
    assert octave_sizes(100, 50, 3, 2.0) == [(25, 12), (50, 25), (100, 50)]
    for wrong in ((100, 50, 0, 1.4), (100, 50, 2, 1.0), (10, 10, 9, 2.0)):
        with pytest.raises(UserError, match="octave"):
            octave_sizes(*wrong)


def test_each_tile_has_its_own_gradient() -> None:
    net = small_net()
    x = torch.rand(1, 3, 21, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 255

    def objective(z: Tensor) -> Tensor:
        return net(z).square().sum() / 2

    turned = x.roll((5, -3), dims=(3, 2))
    gradient = torch.zeros_like(x)
    for rows in (slice(0, 11), slice(11, 21)):
        for columns in (slice(0, 11), slice(11, 22), slice(22, 33)):
            part = turned[:, :, rows, columns].clone().requires_grad_()
            gradient[:, :, rows, columns] = torch.autograd.grad(objective(part), part)[0]
    expected = (turned + 2 * gradient / gradient.abs().mean()).roll((-5, 3), dims=(3, 2)).clamp(0, 255)
    found, _ = gradient_ascent_step(objective, x, 2.0, (5, -3), tile=12)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    whole, _ = gradient_ascent_step(objective, x, 2.0, (5, -3))
    assert torch.equal(gradient_ascent_step(objective, x, 2.0, (5, -3), tile=33)[0], whole) and not torch.equal(
        whole, found
    )


def test_a_step_changes_a_pixel_by_its_size_in_the_mean() -> None:
    x = torch.full((1, 3, 8, 8), 100.0, dtype=torch.float64)
    weight = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, value = gradient_ascent_step(lambda z: (z * weight).sum(), x, 1.5)
    assert float((found - x).abs().mean()) == pytest.approx(1.5) and float(value) == pytest.approx(
        float((x * weight).sum())
    )
    assert torch.equal(gradient_ascent_step(lambda z: (z * 0).sum(), x, 1.5)[0], x)
    assert gradient_ascent_step(lambda z: z.sum(), x, 500.0)[0].unique().tolist() == [255.0]
    with pytest.raises(UserError, match="no gradient"):
        gradient_ascent_step(lambda z: z.detach().sum(), x, 1.0)


def test_the_guide_s_objective_is_that_of_the_notebook() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64, generator=generator).requires_grad_()
    y = torch.randn(1, 4, 3, 2, dtype=torch.float64, generator=generator)
    flat, guide = x.detach()[0].reshape(4, -1).numpy(), y[0].reshape(4, -1).numpy()
    A = flat.T.dot(guide)
    best = A.argmax(1)
    value = guide_objective(x, y)
    assert float(value.detach()) == pytest.approx(A.max(1).mean(), rel=1e-12)
    gradient = torch.autograd.grad(value, x)[0][0].reshape(4, -1).numpy()
    np.testing.assert_allclose(gradient, guide[:, best] / 30, atol=1e-12)  # dst.diff[0] = y[:, A.argmax(1)]
    with pytest.raises(UserError, match="a guide needs maps"):
        guide_objective(x, y[:, :3])


def test_the_gradient_of_the_objective_is_along_the_features() -> None:
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(activation_objective(x), x)[0] * x.numel(), x.detach())
    gradient = torch.autograd.grad(activation_objective(x, 2), x)[0]
    assert torch.equal(gradient.sum((0, 2, 3)) != 0, torch.tensor([False, False, True, False]))
    for channel in (4, -1):
        with pytest.raises(UserError, match="no such channel"):
            activation_objective(x, channel)


# -- the recipe ----------------------------------------------------------------------------------------------------------


def test_a_dream_raises_the_objective(tmp_path: Path) -> None:
    content = one_image(tmp_path / "三 只 猫.png")
    run = api.train("dream", data=str(content), picture_every=2, out=tmp_path / "run", **SMALL)
    metrics = run.result()["metrics"]  # type: ignore[index]
    assert metrics["objective"] > 1.1 * metrics["objective_before"] and 0.005 < metrics["change"] < 0.2
    figures = {file.name for file in (tmp_path / "run" / "figures").iterdir()}
    assert figures == {"made.png", *(f"progress-step-{n:06d}.png" for n in (2, 4, 6))}
    made = pixels_of(tmp_path / "run" / "figures" / "made.png")
    assert made.shape == (30, 36, 3)
    again = api.predict(tmp_path / "run", [str(content)], out=tmp_path / "out")
    assert np.array_equal(pixels_of(again[0]["file"]), made) and Path(again[0]["file"]).name == "三 只 猫-dream.png"
    assert again[0]["objective"] == pytest.approx(metrics["objective"], rel=1e-5)


def test_a_run_answers_without_its_images(tmp_path: Path) -> None:
    content, guide = one_image(tmp_path / "a.png"), one_image(tmp_path / "b.png", seed=1)
    run = api.train("dream", data=str(content), guide=str(guide), out=tmp_path / "run", **SMALL)
    content.unlink()
    guide.unlink()
    assert api.evaluate(tmp_path / "run") == run.result()["metrics"]  # type: ignore[index]
    assert len(Run.load(tmp_path / "run").open_task().figures()) == 1
    assert api.predict(tmp_path / "run", ["flower"], out=tmp_path)[0]["objective"] > 0


def test_a_channel_alone(tmp_path: Path) -> None:
    content = str(one_image(tmp_path / "a.png"))
    made = []
    for channel in (0, 5):
        run = api.train(
            "dream", data=content, layers=("stage2",), channel=channel, out=tmp_path / str(channel), **SMALL
        )
        metrics = run.result()["metrics"]  # type: ignore[index]
        assert metrics["objective"] > metrics["objective_before"]
        made.append((tmp_path / str(channel) / "figures" / "made.png").read_bytes())
    assert made[0] != made[1]


def test_a_network_of_grey_images_leaves_the_colours(tmp_path: Path) -> None:
    """What it changes is along the luma's weights alone, and its own run's layers and normalisation are used."""
    for name in ("a", "b"):
        write_images(tmp_path / "greys" / name, 12)
    small = {"network": "resnet20", "size": 8, "epochs": 1, "batch_size": 8, "val_fraction": 0.25}
    api.train("image-classifier", data=str(tmp_path / "greys"), out=tmp_path / "grey", **small)
    content = tmp_path / "a.png"
    pixels = pixels_of(one_image(content)) // 2 + 64
    Image.fromarray(pixels).save(content)
    settings = {**SMALL, "octaves": 1, "step_size": 0.2}
    del settings["network"]
    run = api.train("dream", data=str(content), of=str(tmp_path / "grey"), out=tmp_path / "run", **settings)
    images = run.task.images  # type: ignore[attr-defined]
    change = images.octaves[0][0].detach() - images.content.float()
    assert images.octaves[0].min() > 0 and images.octaves[0].max() < 255  # nothing was clipped
    torch.testing.assert_close(change[0] / 0.299, change[1] / 0.587, atol=1e-3, rtol=0)
    torch.testing.assert_close(change[2] / 0.114, change[1] / 0.587, atol=1e-3, rtol=0)
    assert change.abs().mean() > 0.1
    trained = Run.load(tmp_path / "grey").open_task().modules()["model"].state_dict()
    own = run.task.modules()["network"].network.state_dict()  # type: ignore[attr-defined]
    assert own and all(torch.equal(value, trained[name]) for name, value in own.items()) and "fc.weight" not in own


def test_what_cannot_be_dreamt(tmp_path: Path) -> None:
    content = str(one_image(tmp_path / "a.png"))
    api.train("lda", out=tmp_path / "rows")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    run = json.loads((tmp_path / "rows" / "run.json").read_text())
    assert run["status"] == "done"
    cases = [
        ({"data": str(tmp_path / "nothing.png")}, "there is no such image"),
        ({"data": str(tmp_path)}, "not one image"),
        ({"data": str(tmp_path / "text.png")}, "an image cannot be read"),
        ({"data": str(tmp_path / "empty.jpg")}, "an empty file"),
        ({"guide": str(tmp_path / "nothing.png")}, "there is no such image"),
        ({"layers": ("stage9",)}, "there is no layer 'stage9'; did you mean stage"),
        ({"layers": ("fc",), "size": 20}, "there is no such channel|the layer has no such channel"),
        ({"channel": 900}, "the layer has no such channel"),
        ({"channel": 1, "guide": "china"}, "a guide and a channel"),
        ({"of": str(tmp_path / "rows")}, "no image classifier"),
        ({"of": str(tmp_path / "nothing")}, "no run|there is no"),
        ({"network": "char-lstm"}, "no network for images"),
        ({"network": "resnet21"}, "there is no model 'resnet21'"),
        ({"network": "vgg11", "octaves": 1}, "too small for VGG"),
        (
            {"network": "vgg11", "data": "china"},
            "cannot take this image .*\n.*\n.*19 x 29 pixels: .*too small for VGG\n.*fewer octaves",
        ),
        ({"network": "cuda-convnet-18"}, "another size than this cuda-convnet"),
        ({"octaves": 30}, "too small for so many octaves"),
        ({"octave_scale": 1.0}, "octaves"),
        ({"network": "googlenet-bn", "octaves": 1, "size": 9}, "too small"),
    ]
    for number, (settings, message) in enumerate(cases):
        given = {"data": content, **SMALL, **settings}
        if "fc" in given.get("layers", ()):
            given["channel"] = 10
        with pytest.raises(UserError, match=message):
            api.train("dream", out=tmp_path / f"run{number}", **given)
        assert not (tmp_path / f"run{number}").exists()
    run = api.train("dream", data=content, out=tmp_path / "run", **SMALL)
    with pytest.raises(UserError, match="not measured on other data"):
        api.evaluate(tmp_path / "run", data="flower")
