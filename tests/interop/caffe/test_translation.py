"""Weights in a .caffemodel into the package's own networks; Caffe's description of the same network is the oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chainrule import api, cli, models
from chainrule.core.errors import UserError
from chainrule.data.images.decoding import decode
from chainrule.data.images.loading import decode_files
from chainrule.data.images.spec import ImageSpec
from chainrule.interop.caffe.description.graph import CaffeGraph, CaffeScores
from chainrule.interop.caffe.description.schema import message
from chainrule.interop.caffe.net import parse_net
from chainrule.interop.caffe.weights import blob_tensors, load_caffemodel, save_caffemodel
from chainrule.run.run import Run
from chainrule.run.weights.files import is_caffemodel
from chainrule.run.weights.loading import load_file
from chainrule.systems.image_classification.caffe.classifier import CaffeClassifier
from tests.data.image_sets import write_images
from tests.interop.caffe import descriptions

pytestmark = pytest.mark.usefixtures("no_report")

LENET = (resources.files("chainrule.systems.image_classification.caffe") / "assets" / "lenet.prototxt").read_text(
    "utf-8"
)


def trained(text: str, phase: str = "TEST", shapes: dict[str, tuple[int, ...]] | None = None) -> CaffeGraph:
    """The network of a description with random weights, in which no layer is as it began, in any blob."""
    net = parse_net(text, phase, shapes=shapes)
    torch.manual_seed(1)
    with torch.no_grad():
        for step in net.steps:
            for index, blob in enumerate(blob_tensors(net, step.key)):
                if step.kind == "BatchNorm":  # sums of means, of variances, and their factor
                    blob.copy_(7.0 * torch.rand_like(blob) + index) if blob.numel() > 1 else blob.fill_(7.0)
                elif step.kind == "Scale" and index == 0:
                    blob.uniform_(0.5, 1.5)
                elif blob.dim() > 1:
                    blob.normal_(0.0, (2.0 / blob[0].numel()) ** 0.5)
                else:
                    blob.normal_(0.0, 0.1)
    return net


PAIRS: dict[str, tuple[Callable[[], str], dict[str, Any], int]] = {
    "alexnet-caffe": (
        lambda: descriptions.alexnet("caffe", size=67, width=1 / 16, classes=7),
        {"width": 1 / 16, "size": 67},
        67,
    ),
    "caffenet": (
        lambda: descriptions.alexnet("caffenet", size=67, width=1 / 16, classes=7),
        {"width": 1 / 16, "size": 67},
        67,
    ),
    "vgg16": (lambda: descriptions.vgg16(width=1 / 32, classes=7), {"width": 1 / 32}, 224),
    "googlenet": (lambda: descriptions.googlenet(width=1 / 16, classes=7), {"width": 1 / 16}, 224),
    "resnet50-caffe": (lambda: descriptions.resnet50(width=16, classes=7, pool=""), {"width": 16}, 224),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_image_gets_the_same_scores(name: str, tmp_path: Path) -> None:
    describe, config, size = PAIRS[name]
    net = trained(describe())
    save_caffemodel(net, tmp_path / "w.caffemodel")
    model = models.build(name, num_classes=7, **config)
    notes = load_file(tmp_path / "w.caffemodel", {"model": model}, name)
    assert all("built without it" in note for note in notes) and len(notes) == (2 if name == "googlenet" else 0)
    x = torch.randn(2, 3, size, size)  # red first, for both
    with torch.inference_mode():
        expected, found = CaffeClassifier(net).eval()(x), model.eval()(x)
    assert float(expected.std()) > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_the_heads_of_googlenet_are_taken_where_they_are(tmp_path: Path) -> None:
    net = trained(descriptions.googlenet(width=1 / 16, classes=7), "TRAIN")
    save_caffemodel(net, file := tmp_path / "w.caffemodel")
    model = models.build("googlenet", num_classes=7, width=1 / 16, heads=True)
    assert load_file(file, {"model": model}, "googlenet") == []
    for head, name in ((model.aux1, "loss1"), (model.aux2, "loss2")):
        for layer, part in ((head.conv[0], "conv"), (head.fc[0], "fc"), (head.classifier, "classifier")):
            own = dict(net.layer(f"{name}/{part}").named_parameters())
            assert torch.equal(layer.weight, own["weight"]) and torch.equal(layer.bias, own["bias"])
    without = models.build("googlenet", num_classes=5, width=1 / 16)
    notes = load_file(file, {"model": without}, "googlenet")
    assert [note.split(": ")[1].split(" (")[0] for note in notes] == [
        "aux1 is not used",
        "aux2 is not used",
        "the layer classifier begins anew, for 5 classes instead of 7",
    ]


def older(file: Path) -> None:
    """Rewrites a file as Caffe wrote it before 2014: V1 layers, and four axes for every blob."""
    stored = message("Net")()
    stored.ParseFromString(file.read_bytes())
    old = message("Net")(name=stored.name)
    for layer in stored.layer:
        made = old.layers.add(name=layer.name)
        for blob in layer.blobs:
            shape = [1, 1, 1, *blob.shape.dim][-4:]
            made.blobs.add(num=shape[0], channels=shape[1], height=shape[2], width=shape[3], data=blob.data)
    file.write_bytes(old.SerializeToString())


def test_files_of_2014_are_read(tmp_path: Path) -> None:
    describe, config, size = PAIRS["caffenet"]
    net = trained(describe())
    save_caffemodel(net, file := tmp_path / "w.caffemodel")
    older(file)
    model = models.build("caffenet", num_classes=7, **config)
    assert load_file(file, {"model": model}, "caffenet") == []
    x = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(x), CaffeClassifier(net).eval()(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_blocks_of_the_authors_residual_networks_bear_their_names(depth: int) -> None:
    """Their descriptions: res3a to res3d and res4a to res4f at 50 layers; res4a, res4b1 to res4b22 at 101."""
    with torch.device("meta"):
        model = models.build(f"resnet{depth}-caffe")
    assert [model._letters(stage)[-1] for stage in (1, 2, 3, 4)] == {
        50: ["c", "d", "f", "c"],
        101: ["c", "b3", "b22", "c"],
        152: ["c", "b7", "b35", "c"],
    }[depth]
    assert (model.conv1.bias is not None) is (depth == 50)


def test_rounded_up_pooling_is_that_of_the_description() -> None:
    """The beginning of ResNet-50 in the authors' description: convolution, pooling, first block; in float64."""
    net = trained(descriptions.resnet50(width=16, classes=7, pool="")).double()
    model = models.build("resnet50-caffe", width=16, num_classes=7).double().eval()
    other = models.build("resnet50", width=16, num_classes=7, stride_on="1x1", conv1_bias=True).double().eval()
    x = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    with torch.no_grad():
        stem = net.blobs(x)["conv1"]
        expected = net.blobs(x)["pool1"]
        assert torch.equal(model.maxpool(stem), expected)
        assert other.maxpool(stem).shape == expected.shape and not torch.equal(other.maxpool(stem), expected)
    with pytest.raises(UserError, match="cannot be pooled"):
        models.build("resnet50", pool="rounded")


# -- what is wrong ------------------------------------------------------------------------------------------------------


def lenet_file(file: Path, **shapes: Any) -> Path:
    save_caffemodel(trained(LENET, shapes={"data": (1, 1, 28, 28)}), file)
    return file


@pytest.mark.parametrize(
    ("name", "config", "words"),
    [
        ("alexnet", {"width": 1 / 16, "size": 67}, "Caffe's forms of AlexNet(.|\n)*alexnet-caffe"),
        ("resnet50", {"width": 16}, "the authors' Caffe form of ResNet(.|\n)*resnet50-caffe"),
        ("vgg11-bn", {"width": 1 / 16}, "no weights of VGG with batch normalisation(.|\n)*vgg11"),
        ("resnet20", {}, "takes no weights of Caffe's(.|\n)*caffe-net"),
        (
            "caffenet",
            {"width": 1 / 16, "size": 67},
            r"not those of caffenet(.|\n)*missing: features.conv3.weight(.|\n)*unexpected: ip1 \(0\)",
        ),
        ("googlenet", {"width": 1 / 16}, r"not those of googlenet(.|\n)*missing: stem.0.0.weight"),
    ],
)
def test_a_network_that_does_not_fit(name: str, config: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = lenet_file(tmp_path / "lenet.caffemodel")
    with pytest.raises(UserError, match=words) as caught:
        load_file(file, {"model": models.build(name, **config)}, name)
    assert "lenet.caffemodel" in str(caught.value)


def test_grey_weights_for_colour_images_are_told(tmp_path: Path) -> None:
    file = lenet_file(tmp_path / "lenet.caffemodel")
    with pytest.raises(
        UserError, match=r"conv1.weight \(20, 1, 5, 5\) instead of \(20, 3, 5, 5\)(.|\n)*cure: +channels=1, as"
    ):
        load_file(file, {"model": models.build("lenet-caffe", in_channels=3)}, "lenet-caffe")


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    file = lenet_file(tmp_path / "lenet.caffemodel")
    whole = file.read_bytes()
    named = file.rename(tmp_path / "lenet.bin")  # told by its beginning too
    model = models.build("lenet-caffe")
    assert is_caffemodel(named) and load_file(named, {"model": model}, "lenet-caffe") == []
    torch.save({"a": torch.ones(10)}, tmp_path / "a.pth")
    assert not is_caffemodel(tmp_path / "a.pth") and not is_caffemodel(tmp_path / "none.bin")
    for content, words in (
        (whole[:-100], "cut off"),
        (b"", "is empty"),
        (b"layer { name: 'text' }", "a text stands in the place"),
        (message("Net")(name="none").SerializeToString(), "text|no weights"),
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match=words):
            load_file(file, {"model": model}, "lenet-caffe")
    with pytest.raises(UserError, match="no such file"):
        load_file(tmp_path / "gone.caffemodel", {"model": model}, "lenet-caffe")


def test_another_number_of_blobs_is_told(tmp_path: Path) -> None:
    net = trained(descriptions.resnet50(width=16, classes=7, pool=""))
    save_caffemodel(net, file := tmp_path / "w.caffemodel")
    stored = message("Net")()
    for name, words in (("bn_conv1", "means, variances and their factor"), ("res2a_branch1", "weight and bias")):
        stored.ParseFromString(file.read_bytes())
        (layer,) = (layer for layer in stored.layer if layer.name == name)
        layer.blobs.add(num=1, channels=1, height=1, width=1, data=[0.0])
        layer.blobs.add(num=1, channels=1, height=1, width=1, data=[0.0])
        (tmp_path / "bad.caffemodel").write_bytes(stored.SerializeToString())
        with pytest.raises(UserError, match=f"another number of blobs(.|\n)*{name}(.|\n)*{words}"):
            load_file(
                tmp_path / "bad.caffemodel", {"model": models.build("resnet50-caffe", width=16)}, "resnet50-caffe"
            )


# -- the command --------------------------------------------------------------------------------------------------------


def test_a_training_that_starts_from_caffes_lenet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pixels over 256, no mean: the same file of an image has the same probabilities here and by the description."""
    for name in "0123456789":
        write_images(tmp_path / "set" / name, 4, size=(28, 28))
    net = trained(LENET, shapes={"data": (1, 1, 28, 28)})
    save_caffemodel(net, file := tmp_path / "lenet.caffemodel")
    words = [
        "network=lenet-caffe",
        "size=28",
        "channels=1",
        "epochs=1",
        "lr=1e-12",
        "crop=none",
        "flip=no",
        "colour=0",
        "batch_size=8",
    ]
    cli.main(
        [
            "train",
            "image-classifier",
            *words,
            "--data",
            str(tmp_path / "set"),
            "--weights",
            str(file),
            "--out",
            str(tmp_path / "run"),
        ]
    )
    files = sorted((tmp_path / "set").rglob("*.png"))[:5]
    capsys.readouterr()
    cli.main(["predict", str(tmp_path / "run"), *map(str, files), "--json"])
    found = json.loads(capsys.readouterr().out)
    spec = ImageSpec.from_json(Run.load(tmp_path / "run").record["data"]["spec"])
    pixels = torch.cat([decode_files([file], spec) for file in files]).float()
    with torch.inference_mode():
        expected = CaffeClassifier(net).eval()(pixels / 256).softmax(1)
    assert [answer["probability"] for answer in found] == pytest.approx(expected.max(1).values.tolist(), abs=2e-5)
    assert [answer["class"] for answer in found] == [str(int(k)) for k in expected.argmax(1)]


def test_colours_and_means_go_as_caffe_had_them(tmp_path: Path) -> None:
    """From files of images, through a run, against Caffe's own way: blue first, 104, 117, 123 taken away, nothing scaled."""
    for name in ("a", "b"):
        write_images(tmp_path / "set" / name, 4, "RGB", size=(70, 60))
    net = trained(descriptions.googlenet(classes=2))
    save_caffemodel(net, file := tmp_path / "googlenet.caffemodel")
    run = api.train(
        "image-classifier",
        network="googlenet",
        size=0,
        epochs=1,
        lr=1e-12,
        crop="none",
        flip=False,
        colour=0.0,
        batch_size=2,
        val_fraction=0.3,
        data=str(tmp_path / "set"),
        weights=str(file),
        out=tmp_path / "run",
    )
    files = sorted((tmp_path / "set").rglob("*.png"))[:3]
    pixels = np.stack([decode(file, 3, (224, 224), margin=256 / 224) for file in files]).astype(np.float32)
    x = torch.from_numpy(pixels[..., ::-1] - np.float32([104, 117, 123])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = CaffeScores(net.eval())(x)
        found = run.open_task().logits(torch.from_numpy(pixels).permute(0, 3, 1, 2))  # type: ignore[attr-defined]
    assert float(expected.std()) > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_preprocessing_travels_with_the_weights() -> None:
    """(x - mean) of 0 to 255, blue first: 104, 117, 123; nothing is scaled."""
    for name in ("alexnet-caffe", "caffenet", "googlenet", "resnet50-caffe"):
        given = models.weights_named(name, "somewhere/weights.caffemodel")
        assert given is not None and given.preprocessing.std == (1 / 255,) * 3
        assert [round(255 * mean, 6) for mean in given.preprocessing.mean] == [123, 117, 104]
        assert given.preprocessing.resize == 256 and given.preprocessing.size == (
            224 if "net5" in name or name == "googlenet" else 227
        )
    assert models.weights_named("resnet20", "w.caffemodel") is None
    with pytest.raises(UserError, match="takes no weights of Caffe's"):
        api.train(
            "image-classifier", network="resnet20", size=8, epochs=1, weights="w.caffemodel", data="digits", out="run"
        )
    assert not Path("run").exists()


def test_both_readers_take_the_same_file(tmp_path: Path) -> None:
    """`load_caffemodel`, into the network of a description, and `caffe_state`, into ours."""
    file = lenet_file(tmp_path / "lenet.caffemodel")
    net, model = parse_net(LENET, "TEST", shapes={"data": (1, 1, 28, 28)}), models.build("lenet-caffe")
    load_caffemodel(net, file)
    load_file(file, {"model": model}, "lenet-caffe")
    x = torch.randn(3, 1, 28, 28)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(x), CaffeClassifier(net).eval()(x))
