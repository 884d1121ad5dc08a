"""ResNet for ImageNet: 18, 34, 50, 101 or 152 layers with weights.

Shapes: B batch, C input channels, K classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from chainrule.core.card import CaffeWeights, Card, ImageNetWeights, Preprocessing, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.interop.caffe.translation import Names, state_of
from chainrule.nn.pooling import CaffeMaxPool2d


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, and their input added before the last ReLU."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, stride_on: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', H/stride, W/stride)
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1 x 1 to fewer channels, 3 x 3, 1 x 1 to four times as many, and their input added before the last ReLU."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, stride_on: str) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', H/stride, W/stride)
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Option B: a 1 x 1 convolution where the shape changes, nothing elsewhere."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


# Table 1 of the paper: which block, and how many of it each of the four stages has.
STAGES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)), 101: (Bottleneck, (3, 4, 23, 3)), 152: (Bottleneck, (3, 8, 36, 3)),
}  # fmt: skip


# With fewer maps, PyTorch's backward pass of a strided 1 x 1 convolution on a CPU writes beyond its memory (oneDNN, issue 6035).
LEAST_WIDTH = 16


class ResNet(nn.Module):
    """Residual network with projections where shapes change; logits (B, K) of normalised images.

    Layers bear torchvision's names, so its state dicts load. Any size of image does: the last maps are averaged.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_classes: K.
        in_channels: C.
        stride_on: which convolution of a bottleneck halves the image: `3x3` as torchvision and most have it since, or
            the first, `1x1`, as the authors' published Caffe models. The names of the weights are the same; published
            ones are right in the form alone that they were trained in.
        pool: what makes 56 x 56 maps of the first 112 x 112: `padded`, a border of one pixel, as torchvision and most have
            it; or `rounded up`, without a border, as the authors' Caffe models.
        conv1_bias: a bias in the first convolution; the authors' Caffe model of 50 layers has one.
        width: channels of the first stage, 16 or more; the others have two, four and eight times as many.

    Raises:
        UserError: where there is no such depth or form, or the width is too small.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in ResNet(18).parameters())
    11689512
    """

    class_layers = ("fc",)

    def __init__(
        self,
        depth: int = 50,
        num_classes: int = 1000,
        in_channels: int = 3,
        stride_on: Literal["3x3", "1x1"] = "3x3",
        conv1_bias: bool = False,
        width: int = 64,
        pool: Literal["padded", "rounded up"] = "padded",
    ) -> None:
        super().__init__()
        self.depth, self.is_authors_form = depth, stride_on == "1x1" and pool == "rounded up"
        if depth not in STAGES:
            raise UserError(
                "ResNet has no such depth",
                expected=", ".join(map(str, STAGES)),
                found=depth,
                cure="the networks for small images have 20, 32, 44, 56 or 110",
            )
        if stride_on not in ("3x3", "1x1"):
            raise unknown("a bottleneck cannot halve images in", stride_on, ("3x3", "1x1"))
        if pool not in ("padded", "rounded up"):
            raise unknown("the first maps cannot be pooled", pool, ("padded", "rounded up"))
        if width < LEAST_WIDTH:
            raise UserError("the width is out of range", expected=f"{LEAST_WIDTH} or more", found=width)
        block, counts = STAGES[depth]
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=conv1_bias)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if pool == "padded" else CaffeMaxPool2d(3, stride=2)
        out = block.expansion * width
        self.layer1 = _stage(block, counts[0], width, width, 1, stride_on)
        self.layer2 = _stage(block, counts[1], out, 2 * width, 2, stride_on)
        self.layer3 = _stage(block, counts[2], 2 * out, 4 * width, 2, stride_on)
        self.layer4 = _stage(block, counts[3], 4 * out, 8 * width, 2, stride_on)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * out, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 224, 224) -> (B, K)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (B, 64, 56, 56)
        x = self.layer1(x)  # (B, 64 e, 56, 56), e = 1 or 4
        x = self.layer2(x)  # (B, 128 e, 28, 28)
        x = self.layer3(x)  # (B, 256 e, 14, 14)
        x = self.layer4(x)  # (B, 512 e, 7, 7)
        return self.fc(self.avgpool(x).flatten(1))

    def caffe_state(self, file: str | Path) -> dict[str, Tensor]:
        """The weights of the authors' ResNet-50-model.caffemodel and its like as a state dict; see `state_of`.

        Raises:
            UserError: the form is not theirs, in which alone those weights are right; or as `state_of`.
        """
        if not self.is_authors_form:
            theirs = ", ".join(f"resnet{depth}-caffe" for depth in AUTHORS)
            raise UserError(
                "these weights belong to the authors' Caffe form of ResNet",
                where=file,
                expected=f"network={theirs}",
                found="a network that halves or pools images elsewhere",
            )
        layers: dict[str, Names] = {"conv1": "conv1", "bn1": ("bn_conv1", "scale_conv1")}
        for stage in (1, 2, 3, 4):
            blocks = self.get_submodule(f"layer{stage}")
            for letter, (number, block) in zip(self._letters(stage), blocks.named_children(), strict=True):
                pairs = [("conv1", "bn1", "2a"), ("conv2", "bn2", "2b"), ("conv3", "bn3", "2c")]
                pairs += [("downsample.0", "downsample.1", "1")] if block.downsample is not None else []
                for conv, norm, branch in pairs:
                    name, path = f"{stage + 1}{letter}_branch{branch}", f"layer{stage}.{number}"
                    layers |= {f"{path}.{conv}": f"res{name}", f"{path}.{norm}": (f"bn{name}", f"scale{name}")}
        return state_of(file, self, layers | {"fc": "fc1000"})

    def _letters(self, stage: int) -> list[str]:
        """What Caffe's model calls the blocks of a stage: a, b, c, ...; of the deeper networks' long stages a, b1, b2, ..."""
        count = STAGES[self.depth][1][stage - 1]
        if self.depth == 50 or stage in (1, 4):
            return list("abcdef"[:count])
        return ["a", *(f"b{i}" for i in range(1, count))]


def _stage(
    block: type[BasicBlock] | type[Bottleneck], count: int, in_channels: int, width: int, stride: int, stride_on: str
) -> nn.Sequential:
    """`count` blocks, the first of which halves the image where `stride` is 2."""
    first = block(in_channels, width, stride, stride_on)
    rest = (block(block.expansion * width, width, 1, stride_on) for _ in range(count - 1))
    return nn.Sequential(first, *rest)


def _card(name: str, depth: int, parameters: int, file: str, accuracy: float) -> Card:
    block, _ = STAGES[depth]
    halves = "The 3 x 3 convolution of a bottleneck halves the image, not the first 1 x 1: stride_on=1x1 for the authors' form."
    smallest = {BasicBlock: "resnet18", Bottleneck: "resnet50"}[block]
    return Card(
        name=name,
        source="He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2016, table 1",
        build=partial(ResNet, depth=depth),
        example=images(224),
        parameters=parameters,
        deviations=(halves,) if block is Bottleneck else (),
        tiny={"width": LEAST_WIDTH, "num_classes": 10},
        tiny_example=images(32),
        tested_as=None if smallest == f"resnet{depth}" else smallest,
        weights={"torchvision": ImageNetWeights(file, accuracy=accuracy)},
    )


# ResNet_mean.binaryproto is an image, whose mean over pixels is near this, blue first.
_CAFFE = CaffeWeights(Preprocessing(mean=(123 / 255, 117 / 255, 104 / 255), std=(1 / 255,) * 3))
# The authors' Caffe models by depth: whether the first convolution has a bias, and how many parameters that makes.
AUTHORS = {50: (True, 25_557_096), 101: (False, 44_549_160), 152: (False, 60_192_808)}


def _authors_card(depth: int) -> Card:
    bias, parameters = AUTHORS[depth]
    return Card(
        name=f"resnet{depth}-caffe",
        source="He, Zhang, Ren, Sun: the Caffe models beside Deep residual learning for image recognition, 2016",
        build=partial(ResNet, depth=depth, stride_on="1x1", conv1_bias=bias, pool="rounded up"),
        example=images(224),
        parameters=parameters,
        tiny={"width": LEAST_WIDTH, "num_classes": 10},
        tiny_example=images(32),
        tested_as=None if depth == 50 else "resnet50-caffe",
        caffe=_CAFFE,
    )


RESNET18 = _card("resnet18", 18, 11_689_512, "resnet18-f37072fd.pth", 0.69758)
RESNET34 = _card("resnet34", 34, 21_797_672, "resnet34-b627a593.pth", 0.73314)
RESNET50 = _card("resnet50", 50, 25_557_032, "resnet50-0676ba61.pth", 0.76130)
RESNET101 = _card("resnet101", 101, 44_549_160, "resnet101-63fe2227.pth", 0.77374)
RESNET152 = _card("resnet152", 152, 60_192_808, "resnet152-394f9c45.pth", 0.78312)
RESNET50_CAFFE = _authors_card(50)
RESNET101_CAFFE = _authors_card(101)
RESNET152_CAFFE = _authors_card(152)


TOPICS = (Topic("Residual networks, and their twins without shortcuts", code=("ResNet", "Bottleneck")),)
