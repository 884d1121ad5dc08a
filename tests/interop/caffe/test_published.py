"""The published networks, read from descriptions, against the same networks built by `chainrule.models`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule import models
from chainrule.interop.caffe.description.graph import CaffeGraph, CaffeScores
from chainrule.interop.caffe.net import parse_net
from chainrule.systems.image_classification.caffe.classifier import CaffeClassifier
from tests.interop.caffe import descriptions


def randomise(module: nn.Module) -> None:
    """Weights and statistics that let every layer count."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                spread = (2.0 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.3
                tensor.normal_(0.0, spread)
                if name.endswith(("running_var",)) or (tensor.dim() == 1 and "bn" in name and name.endswith("weight")):
                    tensor.abs_().add_(0.5)


def take(net: CaffeGraph, name: str, layer: nn.Module) -> None:
    """Copies weight and bias of torch's layer into the layer of that name."""
    own = dict(net.layer(name).named_parameters())
    with torch.no_grad():
        for key, value in layer.named_parameters():
            own.pop(key).copy_(value)
    assert not own, f"{name} has {list(own)} besides"


def take_norm(net: CaffeGraph, suffix: str, norm: nn.BatchNorm2d, factor: float) -> None:
    """Torch's batch normalisation as Caffe's two layers: sums that a factor divides, and a scale."""
    sums = list(net.layer(f"bn{suffix}").buffers())
    with torch.no_grad():
        sums[0].copy_(norm.running_mean * factor)
        sums[1].copy_(norm.running_var * factor)
        sums[2].fill_(factor)
    take(net, f"scale{suffix}", norm)


def compare(net: CaffeGraph, model: nn.Module, size: int) -> None:
    """Scores and gradients of both at images, in float64."""
    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = CaffeScores(net.double().eval())(ours), model.double().eval()(theirs)
    assert float(expected.detach().std()) > 1e-4, "the network gives nothing to compare"
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * float(expected.detach().abs().max()))
    weights = torch.randn_like(expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6 * float(theirs.grad.abs().max()))


@pytest.mark.parametrize("form", ["paper", "caffe", "caffenet"])
def test_alexnet(form: str) -> None:
    name = "caffenet" if form == "caffenet" else "alexnet"
    config: dict[str, Any] = {"width": 1 / 16, "size": 67, "num_classes": 7} | (
        {"form": "caffe"} if form == "caffe" else {}
    )
    model = models.build(name, **config)
    randomise(model)
    net = parse_net(descriptions.alexnet(form, size=67, width=1 / 16, classes=7))
    for part in (model.features, model.classifier):
        for key, layer in part.named_children():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                take(net, key, layer)
    compare(net, model, 67)


def test_vgg16() -> None:
    model = models.build("vgg16", width=1 / 32, num_classes=7)
    randomise(model)
    net = parse_net(descriptions.vgg16(width=1 / 32, classes=7))
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    names = [step.name for step in net.steps if step.kind in ("Convolution", "InnerProduct")]
    assert len(layers) == 16
    for name, layer in zip(names, layers, strict=True):
        take(net, name, layer)
    compare(net, model, 224)


def googlenet_pair(width: float, classes: int) -> tuple[CaffeGraph, Any]:
    model = models.build("googlenet", heads=True, width=width, num_classes=classes)
    randomise(model)
    net = parse_net(descriptions.googlenet(width=width, classes=classes), "TRAIN")
    stem = [m for m in model.stem.modules() if isinstance(m, nn.Conv2d)]
    for name, layer in zip(("conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3"), stem, strict=True):
        take(net, name, layer)
    parts = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
    for key in descriptions.INCEPTION:
        convolutions = [m for m in getattr(model, f"inception{key}").modules() if isinstance(m, nn.Conv2d)]
        for part, layer in zip(parts, convolutions, strict=True):
            take(net, f"inception_{key}/{part}", layer)
    for number, head in ((1, model.aux1), (2, model.aux2)):
        layers = [m for m in head.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        for part, layer in zip(("conv", "fc", "classifier"), layers, strict=True):
            take(net, f"loss{number}/{part}", layer)
    take(net, "loss3/classifier", model.classifier)
    return net, model


def test_googlenet_and_its_heads() -> None:
    net, model = googlenet_pair(1 / 16, 7)
    compare(net, model, 224)
    x, y = torch.randn(2, 3, 224, 224, dtype=torch.float64), torch.tensor([0, 6])
    main, first, second = model.with_heads(x)
    expected = F.cross_entropy(main, y) + 0.3 * F.cross_entropy(first, y) + 0.3 * F.cross_entropy(second, y)
    torch.testing.assert_close(net.objective(x, y), expected, rtol=1e-6, atol=0)
    classifier = CaffeClassifier(net)
    bgr = x.flip(1)  # the classifier turns colours round
    torch.testing.assert_close(classifier.eval()(bgr), main)
    for module in classifier.train().modules():
        module.training = not isinstance(module, nn.Dropout)
    scores = classifier(bgr)
    for found, wanted in zip(scores, (first, second, main), strict=True):
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(classifier.criterion(scores, y).mean(), expected, rtol=1e-6, atol=0)


def test_resnet50() -> None:
    model = models.build("resnet50", stride_on="1x1", conv1_bias=True, width=16, num_classes=7)
    randomise(model)
    net = parse_net(descriptions.resnet50(width=16, classes=7))
    take(net, "conv1", model.conv1)
    take_norm(net, "_conv1", model.bn1, 3.0)
    for stage in (1, 2, 3, 4):
        for letter, block in zip("abcdef", getattr(model, f"layer{stage}"), strict=False):
            pairs = [("2a", block.conv1, block.bn1), ("2b", block.conv2, block.bn2), ("2c", block.conv3, block.bn3)]
            if block.downsample is not None:
                pairs.append(("1", *block.downsample))
            for branch, convolution, norm in pairs:
                suffix = f"{stage + 1}{letter}_branch{branch}"
                take(net, f"res{suffix}", convolution)
                take_norm(net, suffix, norm, 0.5)
    take(net, "fc1000", model.fc)
    compare(net, model, 224)


def count(net: CaffeGraph) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("write", "parameters"),
    [
        (lambda: descriptions.alexnet("caffe"), 60_965_224),
        (lambda: descriptions.vgg16(), 138_357_544),
        (lambda: descriptions.googlenet(), 13_378_280),
        (lambda: descriptions.resnet50(), 25_557_032 + 64),  # and the bias of conv1
    ],
    ids=["alexnet", "vgg16", "googlenet", "resnet50"],
)
def test_published_sizes(write: Callable[[], str], parameters: int) -> None:
    with torch.device("meta"):
        assert count(parse_net(write())) == parameters


def test_the_authors_pooling_gives_the_same_sizes() -> None:
    """Without padding and rounded up: 112 to 56, as with padding and rounded down."""
    with torch.device("meta"):
        net = parse_net(descriptions.resnet50(pool=""))
    assert net.shapes[("pool1", 0)] == (1, 64, 56, 56) and net.shapes[("pool5", 0)] == (1, 2048, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_full_size(name: str) -> None:
    torch.manual_seed(0)
    if name == "googlenet":
        compare(*googlenet_pair(1.0, 1000), 224)
        return
    model: Any = models.build("caffenet")
    net = parse_net(descriptions.alexnet("caffenet"))
    for part in (model.features, model.classifier):
        for key, layer in part.named_children():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                take(net, key, layer)
    probs: Tensor = net.eval()(x := torch.randn(2, 3, 227, 227))["prob"]
    torch.testing.assert_close(probs, model.eval()(x).softmax(1), rtol=1e-4, atol=1e-7)
