"""DeconvNet's encoder, and a decoder that enlarges bilinearly and convolves: nothing is learnt in the up-sampling.

Shapes: B batch, C input channels, H x W pixels, K classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.models import build
from chainrule.systems.segmentation.networks.borders import window
from chainrule.systems.segmentation.networks.vgg_decoder import dense_layers, mirrored_stages


class BilinearNet(nn.Module):
    """VGG16 with batch normalisation down, bilinear enlargement and 3 x 3 convolutions up; logits (B, K, H, W).

    The decoder has the stages and maps of DeconvNet's: where that unpools and convolves transposed, this enlarges twice and
    convolves. Any image does: poolings round up, and what is enlarged is cropped to the size before the pooling.

    Args:
        num_classes: K.
        in_channels: C.
        width: every layer but the scores has this many times the maps of VGG16.

    >>> import torch
    >>> with torch.device("meta"):
    ...     BilinearNet(width=1 / 16)(torch.zeros(2, 3, 50, 71)).shape
    torch.Size([2, 21, 50, 71])
    """

    class_layers = ("score",)
    reach = 384  # an answer depends on no pixel further away, to a multiple of 32

    def __init__(self, num_classes: int = 21, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        vgg = build("vgg16-bn", num_classes=num_classes, in_channels=in_channels, width=width)
        self.features = vgg.features
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        self.classifier, dense = dense_layers(vgg, padding=3)
        self.narrow = _block(dense, self.features[-4].out_channels)
        self.decoder, last = mirrored_stages(vgg, _block)
        self.score = nn.Conv2d(last, num_classes, 1)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d) and conv is not self.score:
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W)
        sizes = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                sizes.append(x.shape[-2:])
            x = layer(x)
        x = self.narrow(self.classifier(x))  # (B, 512, H/32, W/32)
        for stage in self.decoder:
            height, width = sizes.pop()
            x = window(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False), 0, 0, height, width)
            x = stage(x)
        return self.score(x)


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


BILINEAR_NET = Card(
    name="bilinear-net",
    source="The course's last form of the encoder and decoder: bilinear interpolation, which has no parameters, then "
    "convolutions; maps and stages as Noh, Hong, Han 2015",
    build=BilinearNet,
    example=images(224),
    parameters=167_919_573,
    answers="pixels",
    tiny={"width": 1 / 16, "num_classes": 3},
    tiny_example=images(33),
)

TOPICS = (
    Topic(
        "Bilinear up-sampling without parameters",
        "无参数的双线性上采样",
        lectures=(2, 4),
        code=("BilinearNet",),
        command="chainrule train bilinear-net",
    ),
)
