"""GoogLeNet: inception modules, as published in Caffe's form, and with batch normalisation as torchvision has it.

Shapes: B batch, C input channels, K classes. Two auxiliary heads stand after 4a and 4d; they help to train and are left
out otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from chainrule.core.card import CaffeWeights, Card, ImageNetWeights, Preprocessing, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.interop.caffe.translation import in_order, state_of
from chainrule.nn.image_size import at_least
from chainrule.nn.normalization.local_response_norm import LocalResponseNorm
from chainrule.nn.pooling import CaffeAvgPool2d, CaffeMaxPool2d

# Table 1 of the paper: maps of 1 x 1, 3 x 3 reduce, 3 x 3, 5 x 5 reduce, 5 x 5, pool projection.
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


class ConvReLU(nn.Sequential):
    """A convolution with bias, and ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding), nn.ReLU(inplace=True))


class Inception(nn.Module):
    """Four views of the same maps, side by side: 1 x 1, 3 x 3 and 5 x 5 convolutions of reduced maps, and pooling."""

    def __init__(
        self, in_channels: int, ones: int, threes_in: int, threes: int, fives_in: int, fives: int, pooled: int
    ) -> None:
        super().__init__()
        self.out_channels = ones + threes + fives + pooled
        self.ones = ConvReLU(in_channels, ones, 1)
        self.threes = nn.Sequential(ConvReLU(in_channels, threes_in, 1), ConvReLU(threes_in, threes, 3, padding=1))
        self.fives = nn.Sequential(ConvReLU(in_channels, fives_in, 1), ConvReLU(fives_in, fives, 5, padding=2))
        self.pooled = nn.Sequential(CaffeMaxPool2d(3, stride=1, padding=1), ConvReLU(in_channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, ones + threes + fives + pooled, H, W)
        return torch.cat([self.ones(x), self.threes(x), self.fives(x), self.pooled(x)], 1)


class Head(nn.Module):
    """An auxiliary classifier: 5 x 5 average pooling in steps of 3, 128 maps, 1024 hidden units, dropout of 0.7."""

    def __init__(self, in_channels: int, maps: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.pool = CaffeAvgPool2d(5, stride=3)
        self.conv = ConvReLU(in_channels, maps, 1)
        self.fc = nn.Sequential(nn.Linear(maps * 4 * 4, hidden), nn.ReLU(inplace=True), nn.Dropout(0.7))
        self.classifier = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 14, 14) -> (B, K)
        if x.shape[-2:] != (14, 14):
            raise UserError(
                "the auxiliary heads need maps of 14 x 14",
                expected="images of 224 x 224",
                found=f"maps of {x.shape[-2]} x {x.shape[-1]}",
                cure="heads=False for other sizes",
            )
        return self.classifier(self.fc(self.conv(self.pool(x)).flatten(1)))


class WithHeads(nn.Module):
    """What both forms share: logits of the main classifier, and those of the heads where they are asked for."""

    aux1: nn.Module | None
    aux2: nn.Module | None
    pool3: nn.Module  # after 3b
    pool4: nn.Module  # after 4e

    def begin(self, x: Tensor) -> Tensor:
        """Up to the first inception module: (B, C, 224, 224) -> (B, 192, 28, 28)."""
        raise NotImplementedError

    def classify(self, means: Tensor) -> Tensor:
        """Logits (B, K) from the mean of each of the last maps (B, 1024)."""
        raise NotImplementedError

    def add_inceptions(
        self,
        kind: Callable[..., Inception | InceptionBN],
        head: Callable[..., nn.Module] | None,
        num_classes: int,
        width: float,
    ) -> int:
        """Adds the inception modules, and the heads where there are any; how many maps the last module gives."""
        (channels, maps, hidden), given = _scaled((192, 128, 1024), width), {}
        for name, widths in MODULES.items():
            module = kind(channels, *_scaled(widths, width))
            self.add_module(f"inception{name}", module)
            given[name] = channels = module.out_channels
        # A part that is left out is registered as None, so that weights of networks that have it load without it.
        for number, after in ((1, "4a"), (2, "4d")):
            self.register_module(f"aux{number}", head(given[after], maps, hidden, num_classes) if head else None)
        return channels

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps after 4a and after 4d, and the logits."""
        x = self.begin(x)  # (B, 192, 28, 28)
        x = self.pool3(self.through(x, "3a", "3b"))  # (B, 480, 14, 14)
        after_4a = self.through(x, "4a")  # (B, 512, 14, 14)
        after_4d = self.through(after_4a, "4b", "4c", "4d")  # (B, 528, 14, 14)
        x = self.pool4(self.through(after_4d, "4e"))  # (B, 832, 7, 7)
        x = self.through(x, "5a", "5b")  # (B, 1024, 7, 7)
        return after_4a, after_4d, self.classify(x.mean((2, 3)))

    def through(self, x: Tensor, *names: str) -> Tensor:
        """The inception modules of these names, one after the other."""
        for name in names:
            x = self.get_submodule(f"inception{name}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:  # (B, C, 224, 224) -> (B, K)
        """The logits; in training, where there are heads, those of `with_heads`."""
        return self.with_heads(x) if self.training and self.aux1 is not None else self.stages(x)[2]

    def with_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, K) of the main classifier and of the two heads, for training: the loss of the first, and 0.3 of each head's."""
        if self.aux1 is None or self.aux2 is None:
            raise UserError("this network was built without its auxiliary heads", cure="heads=True")
        after_4a, after_4d, logits = self.stages(x)
        return logits, self.aux1(after_4a), self.aux2(after_4d)


class GoogLeNet(WithHeads):
    """GoogLeNet as published: biases, local response normalisation, Caffe's pooling.

    Args:
        num_classes: K.
        in_channels: C.
        heads: whether the two auxiliary heads are there.
        width: every layer but the last has this many times the published maps.

    Raises:
        UserError: when called, where the images are smaller than 31 x 31; from the heads, where they are not
            224 x 224.

    >>> with torch.device("meta"):
    ...     [sum(p.numel() for p in GoogLeNet(heads=heads).parameters()) for heads in (False, True)]
    [6998552, 13378280]
    """

    class_layers = ("classifier", "aux1.classifier", "aux2.classifier")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, heads: bool = False, width: float = 1.0) -> None:
        super().__init__()
        c1, c2 = _scaled((64, 192), width)
        self.stem = nn.Sequential(
            ConvReLU(in_channels, c1, 7, stride=2, padding=3),
            CaffeMaxPool2d(3, stride=2),
            LocalResponseNorm(5, 1e-4, 0.75),
            ConvReLU(c1, c1, 1),
            ConvReLU(c1, c2, 3, padding=1),
            LocalResponseNorm(5, 1e-4, 0.75),
            CaffeMaxPool2d(3, stride=2),
        )
        channels = self.add_inceptions(Inception, Head if heads else None, num_classes, width)
        self.pool3, self.pool4 = CaffeMaxPool2d(3, stride=2), CaffeMaxPool2d(3, stride=2)
        self.dropout = nn.Dropout(0.4)
        self.classifier = nn.Linear(channels, num_classes)
        # Caffe's xavier: uniform, fan-in alone; biases 0.2, and 0 before a softmax.
        for name, layer in self.named_modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
                bound = (3.0 / layer.weight[0].numel()) ** 0.5
                nn.init.uniform_(layer.weight, -bound, bound)
                nn.init.constant_(layer.bias, 0.0 if name in self.class_layers else 0.2)

    def begin(self, x: Tensor) -> Tensor:
        at_least(x, 31, "GoogLeNet")
        return self.stem(x)

    def classify(self, means: Tensor) -> Tensor:
        return self.classifier(self.dropout(means))

    def caffe_state(self, file: str | Path) -> dict[str, Tensor]:
        """The weights of Caffe's bvlc_googlenet as a state dict, with those of both heads; see `state_of`."""
        views = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
        stem = in_order(self.stem, ("conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3"))
        layers = {f"stem.{path}": name for path, name in stem.items()}
        for key in MODULES:
            inside = in_order(self.get_submodule(f"inception{key}"), views)
            layers |= {f"inception{key}.{path}": f"inception_{key}/{name}" for path, name in inside.items()}
        for number in (1, 2):
            head = {"conv.0": "conv", "fc.0": "fc", "classifier": "classifier"}
            layers |= {f"aux{number}.{path}": f"loss{number}/{name}" for path, name in head.items()}
        return state_of(file, self, layers | {"classifier": "loss3/classifier"})


class BasicConv2d(nn.Module):
    """A convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.bn(self.conv(x)), inplace=True)


class InceptionBN(nn.Module):
    """The four views with batch normalisation; the third is 3 x 3 too, as torchvision has it."""

    def __init__(
        self, in_channels: int, ones: int, threes_in: int, threes: int, fives_in: int, fives: int, pooled: int
    ) -> None:
        super().__init__()
        self.out_channels = ones + threes + fives + pooled
        self.branch1 = BasicConv2d(in_channels, ones, 1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, threes_in, 1), BasicConv2d(threes_in, threes, 3, padding=1)
        )
        self.branch3 = nn.Sequential(BasicConv2d(in_channels, fives_in, 1), BasicConv2d(fives_in, fives, 3, padding=1))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv2d(in_channels, pooled, 1)
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, ones + threes + fives + pooled, H, W)
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class HeadBN(nn.Module):
    """An auxiliary classifier of torchvision's form: the maps averaged to 4 x 4."""

    def __init__(self, in_channels: int, maps: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, maps, 1)
        self.fc1 = nn.Linear(maps * 4 * 4, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K)
        x = self.conv(nn.functional.adaptive_avg_pool2d(x, 4)).flatten(1)
        return self.fc2(self.dropout(nn.functional.relu(self.fc1(x), inplace=True)))


class GoogLeNetBN(WithHeads):
    """GoogLeNet with batch normalisation, layer by layer torchvision's `googlenet`, whose state dict loads.

    Args:
        num_classes: K.
        in_channels: C.
        heads: whether the two auxiliary heads are there.
        width: every layer but the last has this many times the published maps.

    Raises:
        UserError: when called, where the images are smaller than 15 x 15.

    >>> with torch.device("meta"):
    ...     [sum(p.numel() for p in GoogLeNetBN(heads=heads).parameters()) for heads in (False, True)]
    [6624904, 13004888]
    """

    class_layers = ("fc", "aux1.fc2", "aux2.fc2")

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, heads: bool = False, width: float = 1.0) -> None:
        super().__init__()
        c1, c2 = _scaled((64, 192), width)
        self.conv1 = BasicConv2d(in_channels, c1, 7, stride=2, padding=3)
        self.conv2 = BasicConv2d(c1, c1, 1)
        self.conv3 = BasicConv2d(c1, c2, 3, padding=1)
        channels = self.add_inceptions(InceptionBN, HeadBN if heads else None, num_classes, width)
        self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.pool3, self.pool4 = self.maxpool, nn.MaxPool2d(2, stride=2, ceil_mode=True)  # 3 x 3 in the paper
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(channels, num_classes)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(layer.weight, std=0.01, a=-2, b=2)

    def begin(self, x: Tensor) -> Tensor:
        at_least(x, 15, "GoogLeNet")
        x = self.maxpool(self.conv1(x))  # (B, 64, 56, 56)
        return self.maxpool(self.conv3(self.conv2(x)))

    def classify(self, means: Tensor) -> Tensor:
        return self.fc(self.dropout(means))


def _scaled(widths: tuple[int, ...], by: float) -> tuple[int, ...]:
    return tuple(max(1, round(width * by)) for width in widths)


_TINY = {"width": 1 / 16, "num_classes": 10}
GOOGLENET = Card(
    name="googlenet",
    source="Szegedy et al.: Going deeper with convolutions, 2015, table 1; Caffe, models/bvlc_googlenet",
    build=GoogLeNet,
    example=images(224),
    parameters=6_998_552,
    deviations=("Dropout, padding and normalisation as in Caffe's description; the paper leaves them open.",),
    tiny=_TINY,
    tiny_example=images(32),
    caffe=CaffeWeights(
        Preprocessing(mean=(123 / 255, 117 / 255, 104 / 255), std=(1 / 255,) * 3)
    ),  # blue first: 104, 117, 123
    topics=(Topic("AlexNet, VGG, GoogLeNet, cuda-convnet"),),
)
GOOGLENET_BN = Card(
    name="googlenet-bn",
    source="torchvision's googlenet, after Szegedy et al. 2015 and Ioffe, Szegedy: Batch normalization, 2015",
    build=GoogLeNetBN,
    example=images(224),
    parameters=6_624_904,
    deviations=(
        "3 x 3 convolutions where the paper has 5 x 5, and 2 x 2 pooling after 4e, both as in torchvision.",
        "torchvision draws first weights from SciPy's truncated normal distribution of deviation 0.01; so does torch here.",
        "torchvision's published weights want images scaled to -1 to 1; their preprocessing says so.",
    ),
    tiny=_TINY,
    tiny_example=images(32),
    weights={
        "torchvision": ImageNetWeights(
            "googlenet-1378be20.pth", 0.69778, Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        )
    },
)
