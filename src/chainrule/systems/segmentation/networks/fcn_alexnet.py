"""FCN-AlexNet: Caffe's reference network slid over the image, its scores enlarged 32 times.

Shapes: B batch, C input channels, H x W pixels, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.models import build
from chainrule.nn.surgery import as_convolution
from chainrule.systems.segmentation.networks.borders import window
from chainrule.systems.segmentation.networks.fcn import zero
from chainrule.systems.segmentation.networks.upsampling import BilinearUpsample

OFFSET = 18  # where the answer begins in the enlarged scores, the first convolution padded by 100


class FCNAlexNet(nn.Module):
    """CaffeNet with its dense layers as convolutions (4096 of 256 x 6 x 6, then 1 x 1), enlarged once; logits (B, K, H, W).

    Layers bear the names of Caffe's network, so `alexnet`'s and `caffenet`'s weights go in.

    Args:
        num_classes: K.
        in_channels: C.
        width: every layer but the scores has this many times the published maps.

    >>> import torch
    >>> with torch.device("meta"):
    ...     FCNAlexNet(width=1 / 8)(torch.zeros(1, 3, 50, 70)).shape
    torch.Size([1, 21, 50, 70])
    """

    class_layers = ("classifier.fc8",)
    reach = 256  # an answer depends on no pixel further away, to a multiple of 32

    def __init__(self, num_classes: int = 21, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        net = build("caffenet", num_classes=num_classes, in_channels=in_channels, width=width)
        self.features, self.classifier = net.features, net.classifier
        self.features.conv1.padding = (100, 100)
        self.classifier.fc6 = as_convolution(net.classifier.fc6, self.features.conv5.out_channels, 6, 6)
        self.classifier.fc7 = as_convolution(net.classifier.fc7, net.classifier.fc7.in_features, 1, 1)
        self.classifier.fc8 = zero(as_convolution(net.classifier.fc8, net.classifier.fc8.in_features, 1, 1))
        self.up = BilinearUpsample(32, 63)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W)
        scores = self.up(self.classifier(self.features(x)))
        return window(scores, OFFSET, OFFSET, *x.shape[-2:])


FCN_ALEXNET = Card(
    name="fcn-alexnet",
    source="Long, Shelhamer, Darrell 2015, section 4.1, and the authors' released net",
    build=FCNAlexNet,
    example=images(500),
    parameters=56_954_261,
    answers="pixels",
    tiny={"width": 1 / 32, "num_classes": 3},
    tiny_example=images(40),
    skip={
        "gradient": "score layers begin at zero, so that the first gradient reaches them alone",
        "overfit": "scores at stride 32 are coarser than what is to be learnt",
    },
)

TOPICS = (Topic("Fully convolutional networks: FCN-32s, 16s, 8s", code=("FCNAlexNet",)),)
