"""Sizes of the published networks: shapes layer by layer, counts by hand, and images that are too small, in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from chainrule.core.errors import UserError
from chainrule.introspection.layers import layers
from chainrule.models import build, get_card

# What the descriptions say of the canonical input: some layers, and their outputs' shapes.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "alexnet": {
        "features.conv1": (96, 55, 55), "features.pool1": (96, 27, 27), "features.conv2": (256, 27, 27),
        "features.pool2": (256, 13, 13), "features.conv3": (384, 13, 13), "features.conv5": (256, 13, 13),
        "features.pool5": (256, 6, 6), "classifier.fc6": (4096,), "classifier.fc8": (1000,),
    },
    "caffenet": {"features.pool1": (96, 27, 27), "features.norm1": (96, 27, 27), "features.pool5": (256, 6, 6)},
    "alexnet-one-tower": {"features.0": (64, 55, 55), "features.3": (192, 27, 27), "features.12": (256, 6, 6)},
    "vgg16": {"features.0": (64, 224, 224), "features.14": (256, 56, 56), "features.30": (512, 7, 7), "classifier.0": (4096,)},
    "vgg19-bn": {"features.0": (64, 224, 224), "features.52": (512, 7, 7)},
    "googlenet": {
        "stem.0.0": (64, 112, 112), "stem.1": (64, 56, 56), "stem.4.0": (192, 56, 56), "stem.6": (192, 28, 28),
        "inception3a.ones.0": (64, 28, 28), "inception4a.threes.1.0": (208, 14, 14), "inception5b.fives.1.0": (128, 7, 7),
    },
    "googlenet-bn": {"conv1.conv": (64, 112, 112), "conv3.conv": (192, 56, 56), "inception4e.branch3.1.conv": (128, 14, 14)},
    "resnet50": {
        "conv1": (64, 112, 112), "maxpool": (64, 56, 56), "layer1.0.conv3": (256, 56, 56), "layer2.0.conv1": (128, 56, 56),
        "layer2.0.conv2": (128, 28, 28), "layer3.5.conv3": (1024, 14, 14), "layer4.2.conv3": (2048, 7, 7), "fc": (1000,),
    },
    "resnet152": {"layer2.7.conv3": (512, 28, 28), "layer3.35.conv3": (1024, 14, 14)},
    "resnet34": {"layer1.2.conv2": (64, 56, 56), "layer3.5.conv2": (256, 14, 14), "layer4.2.conv2": (512, 7, 7)},
    "inception-resnet-v1": {"stem.6.0": (256, 17, 17), "reduce_a.branches.2": (256, 8, 8), "reduce_b.branches.3": (896, 3, 3)},
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_layers_have_the_published_shapes(name: str) -> None:
    card = get_card(name)
    with torch.device("meta"):
        found = {layer.name: layer.shape for layer in layers(card.build(), card.example(1))}
    assert {layer: found[layer] for layer in SHAPES[name]} == SHAPES[name]


def test_the_authors_form_halves_in_the_first_convolution() -> None:
    with torch.device("meta"):
        net = build("resnet50", stride_on="1x1", conv1_bias=True)
        found = {layer.name: layer.shape for layer in layers(net, get_card("resnet50").example(1))}
    assert found["layer2.0.conv1"] == (128, 28, 28) == found["layer2.0.conv2"]
    assert sum(p.numel() for p in net.parameters()) == 25_557_032 + 64


def sums(*terms: int) -> int:
    return sum(terms)


def test_counts_by_arithmetic() -> None:
    """What the layers' sizes give, added by hand: the grouped convolutions of AlexNet hold half."""
    convolutions = sums(
        96 * 363 + 96, 256 * 25 * 48 + 256, 384 * 9 * 256 + 384, 384 * 9 * 192 + 384, 256 * 9 * 192 + 256
    )
    linear = sums(4096 * 9216 + 4096, 4096 * 4096 + 4096, 1000 * 4096 + 1000)
    assert convolutions + linear == 60_965_224 == get_card("alexnet").parameters
    for depth in (20, 32, 44, 56, 110):
        projections = 16 * 32 + 32 * 64 + 2 * 32 + 2 * 64
        plain, with_b = get_card(f"plain{depth}").parameters, get_card(f"resnet{depth}-b").parameters
        assert plain == get_card(f"resnet{depth}").parameters and with_b == plain + projections


SMALLEST = [
    ("vgg11", 32),
    ("vgg11-bn", 32),
    ("alexnet-one-tower", 63),
    ("googlenet", 31),
    ("googlenet-bn", 15),
    ("inception-resnet-v1", 75),
    ("resnet18", 1),
    ("resnet50", 1),
]


@pytest.mark.parametrize(("name", "size"), SMALLEST)
def test_the_smallest_image_is_taken_and_a_smaller_one_is_told(name: str, size: int) -> None:
    net = build(name, **get_card(name).tiny).eval()
    with torch.no_grad():
        assert torch.isfinite(net(torch.randn(2, 3, size, size + 5))).all()
        if size > 1:
            with pytest.raises(UserError, match=f"too small for .*\n.*{size} x {size} pixels"):
                net(torch.randn(2, 3, size + 5, size - 1))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("alexnet", 227),
        ("caffenet", 227),
        ("cuda-convnet-18", 32),
        ("cuda-convnet-11", 24),
        ("lenet5", 32),
        ("lenet-caffe", 28),
    ],
)
def test_another_size_is_told(name: str, size: int) -> None:
    with torch.device("meta"):
        net = build(name)
        x = get_card(name).example(1)[0]
        assert x.shape[-1] == size and net(x).shape[0] == 1
        with pytest.raises(
            UserError, match=f"another size .*\n.*{size} x {size}(.|\n)*size={size} where(.|\n)*built for {size - 3}"
        ):
            net(x[:, :, 3:, 3:])


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("vgg16", {"depth": 12}, "11, 13, 16, 19"),
    ("resnet50", {"depth": 20}, "18, 34, 50, 101, 152"),
    ("resnet50", {"stride_on": "2x2"}, "3x3, 1x1"),
    ("resnet50", {"width": 8}, "16 or more"),
    ("resnet20", {"shortcut": "C"}, "A, B, none"),
    ("alexnet", {"form": "cafe"}, "did you mean caffe"),
    ("alexnet", {"size": 38}, "size=39"),
]


@pytest.mark.parametrize(("name", "settings", "text"), WRONG)
def test_wrong_settings_are_told(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        build(name, **settings)


def test_the_smallest_alexnet_runs() -> None:
    net = build("alexnet", size=39, width=1 / 16, num_classes=3)
    assert net(torch.randn(2, 3, 39, 39)).shape == (2, 3)


@pytest.mark.parametrize("name", ["googlenet", "googlenet-bn"])
def test_heads_that_are_not_there(name: str) -> None:
    net = build(name, **get_card(name).tiny)
    with pytest.raises(UserError, match="heads=True"):
        net.with_heads(torch.randn(2, 3, 32, 32))
    if name == "googlenet":
        with pytest.raises(UserError, match="224 x 224"):
            build(name, heads=True, width=1 / 16).with_heads(torch.randn(2, 3, 64, 64))


def test_the_heads_learn() -> None:
    """The weighted sum of the three losses reaches every parameter, the heads' too."""
    torch.manual_seed(0)
    net = build("googlenet", heads=True, width=1 / 4, num_classes=4).train()
    y = torch.tensor([0, 1])
    main, first, second = (F.cross_entropy(logits, y) for logits in net.with_heads(torch.randn(2, 3, 224, 224)))
    (main + 0.3 * (first + second)).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())
