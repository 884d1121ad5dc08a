"""DCGAN: shapes and counts by hand, measures, answers, resume, the user's own images, errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import chainrule
from chainrule import api
from chainrule.core.errors import UserError
from chainrule.run.checkpoint.tree import load_tree
from chainrule.run.run import Run
from chainrule.systems.generative import task as image_gan
from chainrule.systems.generative.dcgan import Discriminator, Generator
from chainrule.systems.generative.fid import frechet_distance
from chainrule.systems.generative.images import from_bytes, grid, nearest, to_bytes
from tests.data.image_sets import image_spec

pytestmark = pytest.mark.usefixtures("no_report")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are slower on two threads than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TINY = {"steps": 8, "width": 4, "batch_size": 32, "sample_every": 4, "log_every": 3}


# -- the networks -------------------------------------------------------------------------------------------------


def test_the_published_form_has_the_layers_of_figure_1() -> None:
    generator, discriminator = Generator(), Discriminator()
    # 5 x 5 kernels, no biases; 2 numbers a map of batch norm.
    convolutions = 100 * 1024 * 16 + 25 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert sum(p.numel() for p in generator.parameters()) == convolutions + 2 * (1024 + 512 + 256 + 128) == 18_855_040
    convolutions = 25 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 1024 * 16
    assert sum(p.numel() for p in discriminator.parameters()) == convolutions + 2 * (256 + 512 + 1024) == 17_232_768
    shapes: list[tuple[int, ...]] = []
    for layer in [*generator.layers, *discriminator.layers]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    x = generator(torch.zeros(2, 100))
    assert discriminator(x).shape == (2,)
    up = [(1024, 4, 4), (512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 64, 64)]
    assert shapes == [*up, (128, 32, 32), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]
    assert float(x.detach().abs().max()) <= 1
    kinds = [type(layer).__name__ for layer in generator.layers]
    assert kinds[-2:] == ["ConvTranspose2d", "Tanh"]  # no batch norm at the generator's output
    kinds = [type(layer).__name__ for layer in discriminator.layers]
    assert kinds[:2] == ["Conv2d", "LeakyReLU"]  # nor at the discriminator's input
    assert kinds.count("BatchNorm2d") == 3


@pytest.mark.parametrize("kernel_size", [4, 5])
@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_fits_both_ways(size: int, channels: int, kernel_size: int) -> None:
    x = Generator(size, channels, 2, 7, kernel_size)(torch.randn(3, 7))  # type: ignore[arg-type]
    assert x.shape == (3, channels, size, size)
    assert Discriminator(size, channels, 2, kernel_size)(x).shape == (3,)  # type: ignore[arg-type]


def test_weights_begin_as_section_4_says() -> None:
    torch.manual_seed(0)
    for module in (Generator(), Discriminator()):
        for layer in module.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                weight, count = layer.weight.detach(), layer.weight.numel()
                assert float(weight.mean()) == pytest.approx(0, abs=5 * 0.02 / count**0.5)
                assert float(weight.std()) == pytest.approx(0.02, rel=4 / count**0.5)
            if isinstance(layer, nn.BatchNorm2d):
                assert float(layer.weight.detach().mean()) == pytest.approx(1, abs=0.01)
                assert float(layer.bias.detach().abs().max()) == 0
            if isinstance(layer, nn.LeakyReLU):
                assert layer.negative_slope == 0.2


# -- the task -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return chainrule.train("dcgan", out=tmp_path_factory.mktemp("gan") / "run", ema=0.9, **TINY)


def test_a_run_measures_and_says_how(done: Run) -> None:
    result = done.result()
    assert result is not None
    assert {"fid", "fid_of_train", "classifier_score", "d_loss", "g_loss", "d_real", "d_fake"} <= result[
        "metrics"
    ].keys()
    assert api.evaluate(done.folder) == result["metrics"]
    assert result["metrics"]["fid_of_train"] < result["metrics"]["fid"]
    assert "no choice was made" in result["protocol"]
    assert "moving average" in result["protocol"]
    lines = [line for line in done.log_lines() if "d_loss" in line]
    assert [line["step"] for line in lines] == [3, 6, 8]
    assert {"d_loss", "g_loss", "d_real", "d_fake"} <= lines[0].keys()
    assert sorted(f.name for f in (done.folder / "figures").iterdir()) == ["samples-000004.png", "samples-000008.png"]


def test_fid_is_that_of_the_images(done: Run) -> None:
    task = Run.load(done.folder).open_task()
    real = task.data.test.x
    features = [task._scored(x)[0].double().numpy() for x in (task.draw(task.fixed_noise(len(real), stream=1)), real)]
    moments = [(torch.from_numpy(f.mean(0)), torch.from_numpy(np.cov(f, rowvar=False))) for f in features]
    assert task.evaluate()["fid"] == pytest.approx(float(frechet_distance(*moments[0], *moments[1])), rel=1e-6)


def test_an_image_depends_on_its_own_noise_alone(done: Run) -> None:
    task = Run.load(done.folder).open_task()
    z = task.fixed_noise(5)
    torch.testing.assert_close(task.draw(z)[2:3], task.draw(z[2:3]))
    assert torch.equal(z, Run.load(done.folder).task.fixed_noise(5))
    assert float(z.abs().max()) <= 1
    assert not torch.equal(z, task.fixed_noise(5, stream=1))


def test_generate_writes_images_that_the_seed_decides(done: Run, tmp_path: Path) -> None:
    answers = api.generate(done.folder, count=3, seed=5, out=tmp_path / "a")
    api.generate(done.folder, count=3, seed=5, out=tmp_path / "b")
    api.generate(done.folder, count=3, seed=6, out=tmp_path / "c")
    assert [Path(a["file"]).name for a in answers] == ["sample-0001.png", "sample-0002.png", "sample-0003.png"]
    assert side_of(tmp_path / "a" / "grid.png") == (2 * 30 + 2, 2 * 30 + 2)
    content = [(tmp_path / d / "sample-0001.png").read_bytes() for d in "abc"]
    assert content[0] == content[1] != content[2]
    assert side_of(tmp_path / "a" / "sample-0001.png") == (28, 28)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="written into a folder"):
        api.generate(done.folder, out=tmp_path / "taken")


def side_of(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


def test_a_figure_shows_the_nearest_training_images(done: Run) -> None:
    x = done.task.data.train.x
    noisy = (x[7].int() + 3).clamp(0, 255).to(torch.uint8)
    assert int(nearest(noisy, x, 2)[0]) == 7
    expected = (x.flatten(1).double() - noisy.flatten().double()).norm(dim=1).argsort()[:2]
    assert nearest(noisy, x, 2).tolist() == expected.tolist()
    titles = [figure.title for figure in done.task.figures()]
    assert titles == ["Samples and the training images nearest to them", "Classes of the samples"]


def test_deployable_gives_the_pixels_of_generate(done: Run) -> None:
    task = Run.load(done.folder, "cpu").open_task()
    deployable = task.deployable()
    (z,) = deployable.inputs(4)
    pixels = deployable.module(z)
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 255
    assert torch.equal(pixels.round().to(torch.uint8), task.draw(z))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_resume_is_exact_and_so_are_the_images(ema: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**TINY, "ema": ema, "steps": 7, "discriminator_steps": 2, "checkpoint_s": 0}
    whole = chainrule.train("dcgan", out=tmp_path / "whole", **settings)

    class KilledError(Exception):
        pass

    def die(some_images: Tensor) -> Image.Image:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(image_gan, "grid", die)  # in the middle of step 4
        chainrule.train("dcgan", out=tmp_path / "cut", **settings)
    assert Run.load(tmp_path / "cut").record["status"] == "failed"
    cut = api.resume(tmp_path / "cut")
    for part in ("weights", "state"):
        trees = [load_tree(next(run.folder.glob(f"checkpoint/step-*/{part}.safetensors"))) for run in (whole, cut)]
        assert_same({k: v for k, v in trees[0].items() if k not in ("seconds", "metrics")}, trees[1])
    for name in ("samples-000004.png", "samples-000007.png"):
        assert (whole.folder / "figures" / name).read_bytes() == (cut.folder / "figures" / name).read_bytes()
    lines = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.log_lines()] for run in (whole, cut)]
    assert lines[0] == lines[1]
    assert (whole.result() or {})["metrics"] == (cut.result() or {})["metrics"]


def assert_same(a: object, b: object) -> None:
    """Nested equality, bit for bit, over the names of `a`."""
    if isinstance(a, Tensor):
        assert isinstance(b, Tensor)
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert isinstance(b, dict)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):  # type: ignore[call-overload]
            assert_same(x, y)
    else:
        assert a == b


def test_bytes_come_back_and_a_grid_keeps_its_images() -> None:
    x = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(to_bytes(from_bytes(x)), x)
    assert float(from_bytes(x).min()) == -1
    assert float(from_bytes(x).max()) == 1
    five = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 4, 4)
    pixels = np.asarray(grid(five))
    assert pixels.shape == (2 * 6 + 2, 3 * 6 + 2, 3)
    assert (pixels[2:6, 2:6] == 0).all()
    assert (pixels[8:12, 8:12] == 4).all()


# -- the user's own images --------------------------------------------------------------------------------------


def some_images(folder: Path, count: int, mode: str = "RGB", seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (20, 24, 3) if mode == "RGB" else (20, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return folder


def test_a_flat_folder_of_colour_images_trains_and_reports_losses(tmp_path: Path) -> None:
    folder = some_images(tmp_path / "mine", 40)
    run = chainrule.train("dcgan", data=str(folder), out=tmp_path / "run", steps=2, width=2, batch_size=16, size=32)
    result = run.result()
    assert result is not None
    assert set(result["metrics"]) == {"d_loss", "g_loss", "d_real", "d_fake"}
    assert "losses alone" in result["protocol"]
    assert run.record["data"]["spec"]["counts"] == {"train": 32, "val": 0, "test": 8}
    assert run.record["data"]["spec"]["channels"] == 3
    assert len(run.task.figures()) == 1
    assert set(api.evaluate(run.folder, data=str(some_images(tmp_path / "other", 12, seed=1)))) == set(
        result["metrics"]
    )


def test_split_folders_and_one_class_folder_are_images_too(tmp_path: Path) -> None:
    from chainrule.data.images.unlabelled import read_unlabelled_splits

    words = {"target": None, "size": 28, "channels": 0, "seed": 0, "val_fraction": 0.0}
    some_images(tmp_path / "split" / "train", 6, "L")
    some_images(tmp_path / "split" / "test", 3, "L")
    spec, splits = read_unlabelled_splits(str(tmp_path / "split"), **words)  # type: ignore[arg-type]
    assert spec.splits["test"] == "as published"
    assert splits["train"].x.shape == (6, 1, 28, 28)
    some_images(tmp_path / "one" / "cats", 10, "L")
    assert len(read_unlabelled_splits(str(tmp_path / "one"), **words)[1]["train"]) == 8  # type: ignore[arg-type]
    some_images(tmp_path / "two" / "cats", 10, "L")
    some_images(tmp_path / "two" / "dogs", 10, "L")
    assert read_unlabelled_splits(str(tmp_path / "two"), **words)[0].classes == ["cats", "dogs"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: some_images(folder, 1), "too few images"),
        (lambda folder: some_images(folder, 10), "smaller than one batch"),
        (lambda folder: some_images(folder, 2), "test split is too small"),
        (lambda folder: [some_images(folder, 30), some_images(folder / "x", 3, "L")], "mixed kinds"),
        (lambda folder: [some_images(folder, 8), (folder / "bad.png").write_bytes(b"no")], "cannot be read"),
        (
            lambda folder: (
                [some_images(folder, 8)]
                + [Image.new("RGB", (9, 9), "red").save(f) for f in sorted(folder.glob("*.png"))]
            ),
            "one constant colour",
        ),
    ],
)
def test_images_that_will_not_do_are_refused_before_the_first_step(make, message: str, tmp_path: Path) -> None:
    make(tmp_path / "mine")
    with pytest.raises(UserError, match=message):
        chainrule.train("dcgan", data=str(tmp_path / "mine"), out=tmp_path / "run", steps=2, width=2, batch_size=16)
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_a_size_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="28 or 32 or 64"):
        chainrule.train("dcgan", size=30)
    with pytest.raises(UserError, match="did you mean 'width'"):
        chainrule.train("dcgan", widht=30)


def test_other_images_are_measured_whole_unless_they_have_a_test_split(tmp_path):
    from chainrule.data.images.unlabelled import read_other_unlabelled

    spec = image_spec(size=28, channels=3)
    some_images(tmp_path / "flat", 7)
    assert len(read_other_unlabelled(str(tmp_path / "flat"), None, spec)) == 7
    for name in ("cats", "dogs"):
        some_images(tmp_path / "classes" / name, 4)
        some_images(tmp_path / "split" / "train" / name, 4)
        some_images(tmp_path / "split" / "test" / name, 3)
    assert len(read_other_unlabelled(str(tmp_path / "classes"), None, spec)) == 8
    assert read_other_unlabelled(str(tmp_path / "split"), None, spec).x.shape == (6, 3, 28, 28)
