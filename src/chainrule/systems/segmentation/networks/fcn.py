"""Fully convolutional networks: a classifier slid over the image, its coarse scores enlarged, finer scores added.

Shapes: B batch, C input channels, H x W pixels, K classes.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.core.errors import unknown
from chainrule.models import build
from chainrule.nn.pooling import CaffeMaxPool2d
from chainrule.nn.surgery import as_convolution
from chainrule.systems.segmentation.networks.borders import window
from chainrule.systems.segmentation.networks.upsampling import BilinearUpsample

POOL3, POOL4 = 17, 24  # how many layers of VGG's `features` lead to its third and fourth pooling, that one included
# Where crops begin, the first convolution padded by 100: of the finer scores, and of the answer at each stride.
OFFSETS: dict[int | str, int] = {"pool4": 5, "pool3": 9, 32: 19, 16: 27, 8: 31}


class FCN(nn.Module):
    """VGG16 as a fully convolutional network, its scores at stride 32, 16 or 8; logits (B, K, H, W).

        32s:  s5 = score(fc7)                         (B, K, H/32, W/32), enlarged 32 times
        16s:  s4 = up2(s5) + score(pool4)             (B, K, H/16, W/16), enlarged 16 times
         8s:  s3 = up2(s4) + score(pool3)             (B, K, H/8, W/8), enlarged 8 times

    All enlargement is bilinear and fixed. The layers of VGG16 bear its names, so its published weights go in, the two large
    dense ones reshaped (`chainrule.nn.surgery.as_convolution`). Score layers begin at zero.

    Args:
        stride: 32, 16 or 8.
        num_classes: K.
        in_channels: C.
        width: every layer but the scores has this many times the published maps.
        border: `pad100` pads the first convolution by 100 pixels as the authors do, and crops; `same` pads every layer by
            half its kernel, which costs a quarter of the arithmetic on an image of 240 x 180.
        skip_scales: factors of pool4 and pool3 before their score layers; 0.01 and 0.0001 where all is learnt at once.

    Raises:
        UserError: there is no such stride or border.

    Source: Long, Shelhamer, Darrell: Fully convolutional networks for semantic segmentation, CVPR 2015, and the authors'
    released nets, whose offsets these are.

    >>> import torch
    >>> with torch.device("meta"):
    ...     FCN(8, num_classes=21, width=1 / 16)(torch.zeros(1, 3, 50, 70)).shape
    torch.Size([1, 21, 50, 70])
    """

    class_layers = ("classifier.6", "score_pool4", "score_pool3")
    reach = 256  # an answer depends on no pixel further away, to a multiple of 32

    def __init__(
        self,
        stride: int = 32,
        num_classes: int = 21,
        in_channels: int = 3,
        width: float = 1.0,
        border: Literal["pad100", "same"] = "pad100",
        skip_scales: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        if stride not in (32, 16, 8):
            raise unknown("an FCN has no such stride", str(stride), ("32", "16", "8"))
        if border not in ("pad100", "same"):
            raise unknown("there is no such border", border, ("pad100", "same"))
        self.stride, self.skip_scales = stride, skip_scales
        self.offsets = OFFSETS if border == "pad100" else None
        vgg = build("vgg16", num_classes=num_classes, in_channels=in_channels, width=width)
        self.features, self.classifier = vgg.features, vgg.classifier
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.MaxPool2d):
                self.features[index] = CaffeMaxPool2d(2, stride=2)  # rounds up
        # 1. Dense layers become convolutions: fc6 of 7 x 7 maps, fc7 and the scores of single places.
        maps = [layer.out_channels for layer in self.features if isinstance(layer, nn.Conv2d)]
        self.classifier[0] = as_convolution(self.classifier[0], maps[-1], 7, 7)
        for index in (3, 6):
            self.classifier[index] = as_convolution(self.classifier[index], self.classifier[index].in_features, 1, 1)
        zero(self.classifier[6])
        # 2. Scores of the finer maps.
        self.score_pool4 = zero(nn.Conv2d(maps[9], num_classes, 1)) if stride <= 16 else None
        self.score_pool3 = zero(nn.Conv2d(maps[6], num_classes, 1)) if stride == 8 else None
        # 3. The border, and the fixed filters that enlarge.
        if border == "pad100":
            self.features[0].padding = (100, 100)
            self.up2: nn.Module = BilinearUpsample(2, 4)
            self.up: nn.Module = BilinearUpsample(stride, 2 * stride)
        else:
            self.classifier[0].padding = (3, 3)
            self.up2, self.up = (
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Upsample(scale_factor=stride, mode="bilinear"),
            )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W)
        offset = self.offsets[self.stride] if self.offsets else 0
        *_, scores = self.score_maps(x).values()
        return window(self.up(scores), offset, offset, *x.shape[-2:])

    def score_maps(self, x: Tensor) -> dict[str, Tensor]:
        """The scores by name, in the order in which they are computed; the last are those that are enlarged.

        `stride 32` (B, K, H/32, W/32); of the finer nets then `pool4`, and `stride 16`, their sum; `pool3`, and `stride 8`.
        """
        pool3 = self.features[:POOL3](x)  # (B, 256, H/8, W/8)
        pool4 = self.features[POOL3:POOL4](pool3)  # (B, 512, H/16, W/16)
        maps = {"stride 32": self.classifier(self.features[POOL4:](pool4))}
        if self.score_pool4 is not None:
            self._fuse(maps, "stride 32", "pool4", self.score_pool4(pool4 * self.skip_scales[0]), "stride 16")
        if self.score_pool3 is not None:
            self._fuse(maps, "stride 16", "pool3", self.score_pool3(pool3 * self.skip_scales[1]), "stride 8")
        return maps

    def _fuse(self, maps: dict[str, Tensor], before: str, pool: str, fine: Tensor, after: str) -> None:
        """The coarse scores enlarged twice, and the finer ones added; what is larger is cropped."""
        coarse = self.up2(maps[before])
        if self.offsets:
            fine = window(fine, self.offsets[pool], self.offsets[pool], *coarse.shape[-2:])
        else:
            coarse = window(coarse, 0, 0, *fine.shape[-2:])
        maps[pool], maps[after] = fine, coarse + fine


def zero(conv: nn.Conv2d) -> nn.Conv2d:
    """A layer of scores as it begins: every class is as likely everywhere, and nothing is passed back at the first step."""
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


_ZERO = "score layers begin at zero, so that the first gradient reaches them alone (tests/systems/segmentation/test_networks.py)"


def _card(name: str, stride: int, parameters: int, skip_scales: tuple[float, float] = (1.0, 1.0)) -> Card:
    return Card(
        name=name,
        source="Long, Shelhamer, Darrell: Fully convolutional networks for semantic segmentation, CVPR 2015",
        build=partial(FCN, stride, skip_scales=skip_scales),
        example=images(500),
        parameters=parameters,
        answers="pixels",
        deviations=(
            "Enlarging is done by interpolation, which gives the numbers of the fixed transposed convolution.",
        ),
        tiny={"width": 1 / 16, "num_classes": 3, "border": "same"},
        tiny_example=images(40),
        tested_as=None if name == "fcn8s" else "fcn8s",
        skip={"gradient": _ZERO},
    )


FCN32S = _card("fcn32s", 32, 134_346_581)
FCN16S = _card("fcn16s", 16, 134_357_354)
FCN8S = _card("fcn8s", 8, 134_362_751)
FCN8S_AT_ONCE = _card("fcn8s-at-once", 8, 134_362_751, (0.01, 0.0001))


TOPICS = (
    Topic(
        "Fully convolutional networks: FCN-32s, 16s, 8s",
        "全卷积网络：FCN-32s、16s、8s",
        lectures=(2, 4),
        code=("FCN",),
        command="chainrule train fcn32s",
    ),
)
