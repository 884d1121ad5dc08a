"""DeconvNet: VGG16 and its mirror image, which unpools where the maxima stood.

Shapes: B batch, C input channels, H x W pixels, S the size inside, K classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.models import build
from chainrule.nn.pooling import MaxPoolWithSwitches2d, Unpool2d
from chainrule.systems.segmentation.networks.vgg_decoder import dense_layers, mirrored_stages


class DeconvNet(nn.Module):
    """Convolutions and poolings down to one place, unpoolings and transposed convolutions back; logits (B, K, H, W).

    An unpooling puts each number where the encoder's maximum stood, its switch, and zeros elsewhere; the transposed
    convolutions behind it fill the maps. Batch normalisation follows each convolution but the last, "critical" by the paper:
    without it the deep net did not learn.

    The layers of VGG16 with batch normalisation bear torchvision's names, so its weights go in, the dense ones reshaped.

    Args:
        num_classes: K.
        in_channels: C.
        width: every layer but the scores has this many times the published maps.
        size: S, a multiple of 32; images of other sizes are resized to it and the scores back.

    Source: Noh, Hong, Han: Learning deconvolution network for semantic segmentation, ICCV 2015, table 1.

    >>> import torch
    >>> with torch.device("meta"):
    ...     DeconvNet(width=1 / 16, size=64)(torch.zeros(2, 3, 50, 70)).shape
    torch.Size([2, 21, 50, 70])
    """

    class_layers = ("score",)
    one_size = True  # what it answers of an image depends on the image's size

    def __init__(self, num_classes: int = 21, in_channels: int = 3, width: float = 1.0, size: int = 224) -> None:
        super().__init__()
        self.size = size
        vgg = build("vgg16-bn", num_classes=num_classes, in_channels=in_channels, width=width)
        self.features = vgg.features
        maps, side = self.features[-4].out_channels, size // 32
        for index, layer in enumerate(self.features):
            if isinstance(layer, nn.MaxPool2d):
                self.features[index] = MaxPoolWithSwitches2d(2)
        self.classifier, dense = dense_layers(vgg, side)
        self.spread = _block(nn.ConvTranspose2d(dense, maps, side))
        self.decoder, last = mirrored_stages(vgg, lambda a, b: _block(nn.ConvTranspose2d(a, b, 3, padding=1)))
        self.unpool = Unpool2d()
        self.score = nn.Conv2d(last, num_classes, 1)
        for layer in (self.spread, self.decoder, self.classifier):
            for conv in layer.modules():
                if isinstance(conv, (nn.Conv2d, nn.ConvTranspose2d)):
                    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                    nn.init.constant_(conv.get_parameter("bias"), 0.0)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W)
        size = x.shape[-2:]
        if size != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        # 1. Down: five poolings, and of each where its maxima stood.
        switches = []
        for layer in self.features:
            if isinstance(layer, MaxPoolWithSwitches2d):
                unpooled = x.shape[-2:]
                x, where = layer(x)
                switches.append((where, (unpooled[0], unpooled[1])))
            else:
                x = layer(x)
        # 2. One place, and back to 7 x 7.
        x = self.spread(self.classifier(x))  # (B, 512, 7, 7)
        # 3. Up: each number to where the maximum stood, then transposed convolutions.
        for stage in self.decoder:
            where, unpooled_size = switches.pop()
            x = stage(self.unpool(x, where, unpooled_size))
        scores = self.score(x)  # (B, K, S, S)
        if size != (self.size, self.size):
            scores = F.interpolate(scores, size, mode="bilinear", align_corners=False)
        return scores


def _block(conv: nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True))


DECONVNET = Card(
    name="deconvnet",
    source="Noh, Hong, Han: Learning deconvolution network for semantic segmentation, ICCV 2015, table 1",
    build=DeconvNet,
    example=images(224),
    parameters=251_805_653,
    answers="pixels",
    deviations=(
        "Learnt in one stage; the paper learns on cut-out objects first, then on proposals, whose answers it joins.",
        "No dense conditional random field behind it.",
        "Weights begin as in He et al. 2015.",
    ),
    tiny={"width": 1 / 16, "num_classes": 3, "size": 32},
    tiny_example=images(32),
)

TOPICS = (
    Topic(
        "Up-sampling by deconvolution",
        "反卷积上采样",
        lectures=(2, 4),
        code=("DeconvNet",),
        command="chainrule train deconvnet",
    ),
    Topic(
        "Unpooling with switches",
        "带开关的反池化",
        lectures=(4,),
        code=("DeconvNet",),
        command="chainrule train upsampling",
    ),
    Topic(
        "Batch normalisation in DeconvNet",
        "反卷积网络中的批规范化",
        lectures=(4,),
        code=("DeconvNet",),
        command="chainrule train upsampling",
    ),
    Topic(
        "Conditional random field behind a segmenter: no longer needed",
        "分割网络之后的条件随机场：现已不用",
        lectures=(4,),
        code=("DeconvNet",),
        command="chainrule show deconvnet",
    ),
)
