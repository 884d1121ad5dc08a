"""VGG: small filters, many layers. 11, 13, 16 or 19 layers with weights.

Shapes: B batch, C input channels, K classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from chainrule.core.card import CaffeWeights, Card, ImageNetWeights, Preprocessing, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.interop.caffe.translation import in_order, state_of
from chainrule.nn.image_size import at_least

# Columns A, B, D and E of the paper's table 1: how many 3 x 3 convolutions each of the five stages has.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of 3 x 3 convolutions, each halved by pooling, then three linear layers; logits (B, K).

    Layers bear torchvision's names, so its state dicts load. Any image from 32 x 32 on does: the last maps are averaged
    to 7 x 7, which leaves those of a 224 x 224 image as they are.

    Args:
        depth: 11, 13, 16 or 19.
        num_classes: K.
        in_channels: C.
        batch_norm: a batch normalisation after each convolution.
        dropout: of the two hidden linear layers.
        width: every layer but the last has this many times the published units.

    Raises:
        UserError: where there is no such depth; when called, where the images are smaller than 32 x 32.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in VGG(11).parameters())
    132863336
    """

    class_layers = ("classifier.6",)

    def __init__(
        self,
        depth: int = 16,
        num_classes: int = 1000,
        in_channels: int = 3,
        batch_norm: bool = False,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if depth not in STAGES:
            raise UserError("VGG has no such depth", expected=", ".join(map(str, STAGES)), found=depth)
        self.depth, self.batch_norm = depth, batch_norm
        *channels, fc = (max(1, round(n * width)) for n in (*CHANNELS, 4096))
        self.features = nn.Sequential(*_convolutions(STAGES[depth], channels, in_channels, batch_norm))
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(channels[-1] * 7 * 7, fc),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(fc, fc),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(fc, num_classes),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):  # from such a start the deep ones learn without the shallow ones' help
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)
            if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 224, 224) -> (B, K)
        at_least(x, 32, "VGG")
        x = self.features(x)  # (B, 512, 7, 7)
        return self.classifier(self.avgpool(x).flatten(1))

    def caffe_state(self, file: str | Path) -> dict[str, Tensor]:
        """The weights of the authors' VGG_ILSVRC_16_layers and their like as a state dict; see `state_of`.

        Raises:
            UserError: this form has batch normalisation, or as `state_of`.
        """
        if self.batch_norm:
            raise UserError(
                "the authors published no weights of VGG with batch normalisation",
                where=file,
                cure=f"network=vgg{self.depth}, or --weights torchvision",
            )
        names = [f"conv{i}_{j}" for i, count in enumerate(STAGES[self.depth], 1) for j in range(1, count + 1)]
        return state_of(file, self, in_order(self, [*names, "fc6", "fc7", "fc8"]))


def _convolutions(stages: tuple[int, ...], channels: list[int], in_channels: int, batch_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for count, out_channels in zip(stages, channels, strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(in_channels, out_channels, 3, padding=1))
            layers += [nn.BatchNorm2d(out_channels)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            in_channels = out_channels
        layers.append(nn.MaxPool2d(2))
    return layers


_CAFFE = CaffeWeights(Preprocessing(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3))


def _card(name: str, depth: int, parameters: int, file: str, accuracy: float, *, batch_norm: bool = False) -> Card:
    suffix = "-bn" if batch_norm else ""
    return Card(
        name=name,
        source="Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition, 2015, table 1",
        build=partial(VGG, depth=depth, batch_norm=batch_norm),
        example=images(224),
        parameters=parameters,
        deviations=(
            "Weights begin as in He et al. 2015; the paper trained 11 layers first and began the deeper ones with them.",
            *(("The paper has no batch normalisation; torchvision's form of it.",) if batch_norm else ()),
        ),
        tiny={"width": 1 / 16 if batch_norm else 1 / 8, "dropout": 0.1, "num_classes": 10},
        tiny_example=images(32),
        tested_as=None if depth == 11 else f"vgg11{suffix}",
        weights={"torchvision": ImageNetWeights(file, accuracy=accuracy)},
        caffe=None if batch_norm else _CAFFE,
    )


VGG11 = _card("vgg11", 11, 132_863_336, "vgg11-8a719046.pth", 0.69020)
VGG13 = _card("vgg13", 13, 133_047_848, "vgg13-19584684.pth", 0.69928)
VGG16 = _card("vgg16", 16, 138_357_544, "vgg16-397923af.pth", 0.71592)
VGG19 = _card("vgg19", 19, 143_667_240, "vgg19-dcbb9e9d.pth", 0.72376)
VGG11_BN = _card("vgg11-bn", 11, 132_868_840, "vgg11_bn-6002323d.pth", 0.70370, batch_norm=True)
VGG13_BN = _card("vgg13-bn", 13, 133_053_736, "vgg13_bn-abd245e5.pth", 0.71586, batch_norm=True)
VGG16_BN = _card("vgg16-bn", 16, 138_365_992, "vgg16_bn-6c64b313.pth", 0.73360, batch_norm=True)
VGG19_BN = _card("vgg19-bn", 19, 143_678_248, "vgg19_bn-c79401a0.pth", 0.74218, batch_norm=True)


TOPICS = (Topic("AlexNet, VGG, GoogLeNet, cuda-convnet", code=("VGG",)),)
