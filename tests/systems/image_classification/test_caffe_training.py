"""The recipe caffe-net: a description and a solver of the user's, on images with classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import chainrule
from chainrule.cli import cli
from chainrule.core.errors import UserError
from chainrule.data.images.augment import crop, flip
from chainrule.interop.caffe.description.schema import message
from chainrule.interop.caffe.net import parse_net
from chainrule.interop.caffe.weights import save_caffemodel
from chainrule.run.run import Run
from chainrule.systems.image_classification.caffe.classifier import CaffeClassifier, data_of, parse_classifier
from chainrule.systems.image_classification.caffe.experiment import channel_means, read_texts, side
from chainrule.systems.image_classification.caffe.transform import mean_and_std

pytestmark = pytest.mark.usefixtures("no_report")

NET = """name: "tiny"
layer { name: "images" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { mirror: true crop_size: 12 mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.02 } data_param { batch_size: 6 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.05 lr_policy: "step" gamma: 0.5 stepsize: 3 momentum: 0.9 weight_decay: 0.001 max_iter: 11'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net, a solver, and 16 x 16 images of three colours."""
    place = tmp_path_factory.mktemp("caffe")
    (place / "net.prototxt").write_text(NET, "utf-8")
    (place / "solver.prototxt").write_text(SOLVER, "utf-8")
    generator = np.random.default_rng(0)
    for index, name in enumerate(("red", "green", "blue")):
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 100, (16, 16, 3))
            pixels[..., index] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(place / "pictures" / name / f"{number}.png")
    return place


def train(place: Path, out: Path, **settings: Any) -> Run:
    settings = {"solver": str(place / "solver.prototxt"), "size": 16, **settings}
    return chainrule.train("caffe-net", data=str(place / "pictures"), out=out, device="cpu", seed=1, **settings)


@pytest.fixture(scope="module")
def trained(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(place, tmp_path_factory.mktemp("run") / "run").folder


def test_it_learns_by_the_files(place: Path, trained: Path) -> None:
    run = Run.load(trained)
    lines = [line for line in run.log_lines() if "lr" in line]
    counts = run.record["data"]["spec"]["counts"]
    steps = -(-counts["train"] // 6)
    assert run.result()["steps"] == steps * -(-11 // steps)  # whole epochs, as many as max_iter asks for
    assert lines and run.result()["metrics"]["accuracy"] > 0.7
    task = run.open_task()
    groups = {(g["lr_mult"], g["weight_decay"], len(g["params"])) for g in task.optimizer.param_groups}
    assert groups == {(1.0, 0.001, 3), (2.0, 0.0, 1)} and task.batch_size == 6


def test_images_are_prepared_as_caffe_does(place: Path, trained: Path) -> None:
    """Of blue, green and red 10, 20 and 30 are taken, the rest times 0.02; blue goes first; the middle is cut out."""
    task: Any = Run.load(trained).open_task()
    x = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    red, green, blue = (
        (x[:, :, 2:14, 2:14].float() - torch.tensor([30.0, 20.0, 10.0]).view(3, 1, 1)).mul(0.02).unbind(1)
    )
    expected = task.model.net(torch.stack([blue, green, red], 1), label=torch.zeros(2))
    scores = task.model.eval()(task.normalize(x))
    net = task.model.net
    torch.testing.assert_close(
        scores, net.blobs(torch.stack([blue, green, red], 1), torch.zeros(2))["fc"], rtol=1e-5, atol=1e-5
    )
    loss = task.model.criterion(scores, torch.zeros(2, dtype=torch.long)).mean()
    torch.testing.assert_close(loss, expected["loss"], rtol=1e-5, atol=1e-6)


def test_a_run_answers_without_the_files(place: Path, trained: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    for name in ("net.prototxt", "solver.prototxt"):
        (place / name).rename(tmp_path / name)
    try:
        answer = CliRunner().invoke(cli, ["predict", str(moved), str(place / "pictures" / "red" / "0.png"), "--json"])
        assert answer.exit_code == 0, answer.output
        again = CliRunner().invoke(cli, ["evaluate", str(moved), "--json"])
        result = json.loads((trained / "result.json").read_text("utf-8"))
        assert json.loads(again.stdout.splitlines()[-1])["metrics"] == pytest.approx(result["metrics"])
    finally:
        for name in ("net.prototxt", "solver.prototxt"):
            (tmp_path / name).rename(place / name)


def test_weights_to_start_from(place: Path, tmp_path: Path) -> None:
    """A file of Caffe's gives the first layers; the head begins anew; a run that goes on does not load it again."""
    torch.manual_seed(5)
    other = parse_net(NET.replace("num_output: 3", "num_output: 9"), "TRAIN", shapes={"data": (6, 3, 12, 12)})
    file = tmp_path / "w.caffemodel"
    save_caffemodel(other, file)
    still = place / "still.prototxt"
    still.write_text(SOLVER.replace("base_lr: 0.05", "base_lr: 0"), "utf-8")
    run = train(
        place, tmp_path / "run", solver=str(still), caffemodel=str(file), fresh=("fc",), net=str(place / "net.prototxt")
    )
    net = run.open_task().modules()["model"].net
    assert torch.equal(net.layer("conv").weight, other.layer("conv").weight) and net.layer("fc").weight.shape == (
        3,
        100,
    )
    file.unlink()
    assert Run.load(run.folder).open_task() is not None
    with pytest.raises(UserError, match=r"layer 'fc', blob 0[\s\S]*fresh"):
        save_caffemodel(other, file)
        train(place, tmp_path / "no", caffemodel=str(file))


def test_a_solver_that_holds_its_network(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The network inside is trained, its stages are the solver's and the command's, its weights those of the file beside."""
    torch.manual_seed(5)
    other = parse_net(NET.replace('name: "fc"', 'name: "old"'), "TRAIN", shapes={"data": (6, 3, 12, 12)})
    save_caffemodel(other, tmp_path / "w.caffemodel")
    staged = NET.replace("include { phase: TRAIN }", 'include { phase: TRAIN stage: "a" stage: "b" }')
    text = SOLVER.replace('net: "net.prototxt"', f"net_param {{ {staged} }}").replace("base_lr: 0.05", "base_lr: 0")
    file = tmp_path / "all.prototxt"
    file.write_text(text + ' train_state { stage: "a" } weights: "w.caffemodel" display: 20', "utf-8")
    run = train(place, tmp_path / "run", solver=str(file), stage=("b",), epochs=1)
    net = run.open_task().modules()["model"].net
    assert torch.equal(net.layer("conv").weight, other.layer("conv").weight) and net.name == "tiny"
    told = capsys.readouterr().err
    assert "w.caffemodel: 1 layers loaded; not loaded: fc; in the file only: old" in told
    assert "display: not read; results do not depend on it" in told
    file.unlink()
    assert Run.load(run.folder).open_task() is not None
    file.write_text(text, "utf-8")
    with pytest.raises(
        UserError, match=r"no data in the phase TRAIN, stage b[\s\S]*stage a and stage b[\s\S]*stage=b,a"
    ):
        train(place, tmp_path / "no", solver=str(file), stage=("b",))


def failure(place: Path, tmp_path: Path, *, net: str = NET, solver: str = SOLVER, size: int = 16) -> str:
    """What is said where training cannot begin; no run is left behind."""
    (tmp_path / "net.prototxt").write_text(net, "utf-8")
    (tmp_path / "solver.prototxt").write_text(solver, "utf-8")
    with pytest.raises(UserError) as error:
        train(place, tmp_path / "run", solver=str(tmp_path / "solver.prototxt"), size=size)
    assert not (tmp_path / "run").exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("num_output: 3", "num_output: 5"), ("expected: 3 outputs", "num_output: 3", "'fc'")),
        (("crop_size: 12", "crop_size: 40"), ("images are smaller than the part", "size=40")),
        (
            ("mean_value: 10 mean_value: 20 mean_value: 30", 'mean_file: "m.binaryproto"'),
            ("no such file", "m.binaryproto", "a mean image", "mean_value: 104 mean_value: 117"),
        ),
        (("mean_value: 30", ""), ("means for other channels",)),
        (("scale: 0.02", "scale: 0"), ("a scale that leaves nothing",)),
        (('"SoftmaxWithLoss"', '"EuclideanLoss"'), ("layer 'loss' (EuclideanLoss)",)),
        (
            ('type: "SoftmaxWithLoss"', 'type: "SoftmaxWithLoss" loss_param { normalization: NONE }'),
            ("a sum over the batch",),
        ),
        (
            (
                'type: "SoftmaxWithLoss" bottom: "fc" bottom: "label"',
                'type: "MultinomialLogisticLoss" bottom: "fc" bottom: "label"',
            ),
            ("none of classes",),
        ),
        (("include { phase: TRAIN }", "include { phase: TEST }"), ("no data in the phase TRAIN",)),
        (("stride: 2", "strid: 2"), ("line 5", 'no field named "strid"')),
    ],
)
def test_what_a_description_may_not_ask(
    place: Path, tmp_path: Path, change: tuple[str, str], words: tuple[str, ...]
) -> None:
    assert change[0] in NET
    output = failure(place, tmp_path, net=NET.replace(*change, 1))
    assert all(word in output for word in words), output


def test_sizes_that_nobody_says(place: Path, tmp_path: Path) -> None:
    assert "size=224" in failure(place, tmp_path, net=NET.replace("crop_size: 12", ""), size=0)


def test_gradients_of_several_batches(place: Path, tmp_path: Path) -> None:
    normalised = NET.replace(
        'layer { name: "relu"',
        'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }\nlayer { name: "relu"',
    )
    output = failure(place, tmp_path, net=normalised, solver=SOLVER + " iter_size: 2")
    assert "iter_size: 2" in output and "normalised" in output
    (tmp_path / "solver.prototxt").write_text(SOLVER + " iter_size: 2", "utf-8")
    run = train(
        place, tmp_path / "two", solver=str(tmp_path / "solver.prototxt"), net=str(place / "net.prototxt"), epochs=1
    )
    assert run.task.batch_size == 12


def test_the_files_that_are_taken(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = read_texts("", str(place / "solver.prototxt"))  # the solver names a file beside itself
    assert texts == {"net": NET, "solver": SOLVER, "name": str(place / "net.prototxt")}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text("# another", "utf-8")  # as in Caffe, the working folder goes first
    assert read_texts("", str(place / "solver.prototxt"))["net"] == "# another"
    assert 'name: "LeNet"' in read_texts("", "lenet")["net"] and 'lr_policy: "inv"' in read_texts("", "lenet")["solver"]
    with pytest.raises(UserError, match="no such file"):
        read_texts("lenett", "lenet")


def test_sides() -> None:
    source = data_of(NET)
    assert side(source, 0) == 12 and side(source, 20) == 20
    assert data_of('input: "x" input_dim: [5, 1, 9, 9] layer { name: "r" type: "ReLU" bottom: "x" top: "y" }').size == 9


def test_crop_and_mirror() -> None:
    """Every image is a window of its own image, mirrored or not; all places and both ways come."""
    torch.manual_seed(0)
    x = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4).expand(400, 2, 4, 4)
    found = flip(crop(x, 3, 3))
    windows = {tuple(x[0, 0, i : i + 3, j : j + 3].flatten().tolist()) for i in range(2) for j in range(2)}
    mirrored = {tuple(x[0, 0, i : i + 3, j : j + 3].flip(1).flatten().tolist()) for i in range(2) for j in range(2)}
    assert {tuple(image[0].flatten().tolist()) for image in found} == windows | mirrored
    assert torch.equal(found[:, 0], found[:, 1])
    plain = {tuple(image[0].flatten().tolist()) for image in crop(x, 3, 3)}
    assert plain == windows


def test_one_mean_for_all_channels() -> None:
    source = data_of(NET.replace("mean_value: 10 mean_value: 20 mean_value: 30", "mean_value: 51"))
    assert mean_and_std(source, 3)[0] == pytest.approx([0.2] * 3) and mean_and_std(source, 1)[0] == pytest.approx([0.2])


def mean_image(file: Path, shape: tuple[int, ...], numbers: list[float]) -> Path:
    """A file as Caffe's compute_image_mean writes it, which knows the older four fields alone."""
    num, channels, height, width = shape
    blob = message("Blob")(num=num, channels=channels, height=height, width=width, data=numbers)
    file.write_bytes(blob.SerializeToString())
    return file


def test_mean_images_give_their_means(place: Path, tmp_path: Path) -> None:
    """The same network comes out as with those means written down, and the run answers without the file."""
    written = train(place, tmp_path / "written", epochs=1)
    here = tmp_path / "here"
    here.mkdir()
    file = mean_image(here / "m.binaryproto", (1, 3, 1, 2), [9.0, 11.0, 15.0, 25.0, 30.0, 30.0])
    net = NET.replace("mean_value: 10 mean_value: 20 mean_value: 30", 'mean_file: "m.binaryproto"')
    (here / "net.prototxt").write_text(net, "utf-8")
    read = train(place, tmp_path / "read", epochs=1, net=str(here / "net.prototxt"))
    file.unlink()
    assert read.record["data"]["spec"]["mean"] == pytest.approx([30 / 255, 20 / 255, 10 / 255])
    assert Run.load(read.folder).open_task().evaluate() == pytest.approx(written.open_task().evaluate())


@pytest.mark.parametrize(
    ("shape", "numbers", "words"),
    [
        ((2, 1, 1, 1), [1.0, 2.0], "no mean image"),
        ((1, 3, 1, 1), [1.0, 2.0], "another count of numbers"),
        ((1, 1, 1, 2), [1.0, float("nan")], "no mean image"),
        ((0, 0, 0, 0), [], "no mean image"),
    ],
)
def test_files_without_a_mean_image(tmp_path: Path, shape: tuple[int, ...], numbers: list[float], words: str) -> None:
    file = mean_image(tmp_path / "m.binaryproto", shape, numbers)
    with pytest.raises(UserError, match=words) as error:
        channel_means(str(file), "")
    assert str(file) in str(error.value)


def test_means_of_other_channels(place: Path, tmp_path: Path) -> None:
    file = mean_image(tmp_path / "m.binaryproto", (1, 2, 1, 1), [1.0, 2.0])
    net = NET.replace("mean_value: 10 mean_value: 20 mean_value: 30", f'mean_file: "{file}"')
    assert "means for other channels" in failure(place, tmp_path, net=net)
    file.write_text("a text in its place", "utf-8")
    assert "a text stands in the place" in failure(place, tmp_path, net=net)


def test_hinge_and_deployed_descriptions_are_classifiers_too() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(4, 3, 12, 12), torch.tensor([0, 1, 2, 0])
    hinge = parse_classifier(NET.replace("SoftmaxWithLoss", "HingeLoss"), 3, 12)
    expected = hinge.net(x.flip(1), label=y)["loss"]
    torch.testing.assert_close(hinge.criterion(hinge(x), y).mean(), expected)
    deployed = NET.replace("SoftmaxWithLoss", "Softmax").replace(
        'bottom: "fc" bottom: "label" top: "loss"', 'bottom: "fc" top: "loss"'
    )
    model = parse_classifier(deployed, 3, 12)
    torch.testing.assert_close(model(x).softmax(1), model.net(x.flip(1))["loss"])
    torch.testing.assert_close(
        model.criterion(model(x), y), torch.nn.functional.cross_entropy(model(x), y, reduction="none")
    )


def test_classifiers_of_something_else() -> None:
    with pytest.raises(UserError, match="is no image"):
        CaffeClassifier(
            parse_net(
                'layer { type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } } layer { type: "ReLU" bottom: "x" top: "y" }'
            )
        )
    two = NET + 'layer { name: "g" type: "InnerProduct" bottom: "conv" top: "g" inner_product_param { num_output: 4 } }'
    two += 'layer { name: "l2" type: "SoftmaxWithLoss" bottom: "g" bottom: "label" top: "l2" }'
    with pytest.raises(UserError, match="other numbers of classes"):
        parse_classifier(two, 3, 12)
