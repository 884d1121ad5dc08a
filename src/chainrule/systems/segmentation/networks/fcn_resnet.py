"""FCN on a ResNet whose last two stages keep their size: torchvision's fcn_resnet50.

Shapes: B batch, C input channels, H x W pixels, K classes.
"""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.models import build
from chainrule.nn.surgery import dilate


class FCNHead(nn.Sequential):
    """3 x 3 convolution to a quarter of the maps, batch normalisation, ReLU, dropout, scores."""

    def __init__(self, channels: int, num_classes: int) -> None:
        inner = channels // 4
        super().__init__(
            nn.Conv2d(channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(inner, num_classes, 1),
        )


class FCNResNet50(nn.Module):
    """ResNet-50 at stride 8, a head of two convolutions, bilinear enlargement; logits (B, K, H, W).

    Layers bear torchvision's names, so its state dicts load. The auxiliary head, on the third stage, is there to be trained
    beside: `with_auxiliary` gives both answers.

    Args:
        num_classes: K.
        in_channels: C.
        width: every layer but the scores has this many times the published maps.

    >>> import torch
    >>> with torch.device("meta"):
    ...     net = FCNResNet50()
    >>> sum(p.numel() for p in net.parameters())
    35322218
    """

    class_layers = ("classifier.4", "aux_classifier.4")

    def __init__(self, num_classes: int = 21, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        net = build("resnet50", num_classes=1, in_channels=in_channels, width=round(64 * width))
        dilate(net.layer3, 1, 2)
        dilate(net.layer4, 2, 4)
        parts = [name for name, _ in net.named_children() if name not in ("avgpool", "fc")]
        self.backbone = nn.Sequential(OrderedDict((name, getattr(net, name)) for name in parts))
        self.classifier = FCNHead(32 * round(64 * width), num_classes)
        self.aux_classifier = FCNHead(16 * round(64 * width), num_classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, K, H, W)
        return self.with_auxiliary(x)[0]

    def with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the last stage, and of the third: (B, K, H, W) each."""
        third = self.backbone[:-1](x)  # (B, 1024, H/8, W/8)
        last = self.backbone[-1](third)  # (B, 2048, H/8, W/8)
        answer, auxiliary = (
            F.interpolate(head(maps), x.shape[-2:], mode="bilinear", align_corners=False)
            for head, maps in ((self.classifier, last), (self.aux_classifier, third))
        )
        return answer, auxiliary


FCN_RESNET50 = Card(
    name="fcn-resnet50",
    source="torchvision's fcn_resnet50: Long et al. 2015 on a dilated ResNet (Chen et al. 2017)",
    build=FCNResNet50,
    example=images(520),
    parameters=35_322_218,
    answers="pixels",
    tiny={"width": 1 / 4, "num_classes": 3},
    tiny_example=images(24),
    skip=dict.fromkeys(("gradient", "channels_last"), "the auxiliary head is not part of the answer"),
)
