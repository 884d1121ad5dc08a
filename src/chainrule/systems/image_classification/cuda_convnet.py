"""The networks of cuda-convnet on CIFAR-10, by the per cent that they err: 18, and 11 with locally connected layers.

Shapes: B batch, C input channels, S height and width, K classes.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.functional.pooling import caffe_pool_output_size
from chainrule.nn.image_size import exactly
from chainrule.nn.normalization.local_response_norm import LocalResponseNorm, LocalResponseNormWithin
from chainrule.nn.pooling import CaffeAvgPool2d, CaffeMaxPool2d
from chainrule.systems.image_classification.locally_connected import LocallyConnected2d


class CudaConvNet18(nn.Module):
    """Three 5 x 5 convolutions, overlapping pooling, normalisation within each map; logits (B, K).

    Args:
        num_classes: K.
        in_channels: C.
        size: S, 32 as published.

    Raises:
        UserError: when called, where the images are not S x S.

    >>> sum(p.numel() for p in CudaConvNet18().parameters())
    89578
    """

    class_layers = ("layers.fc10",)

    def __init__(self, num_classes: int = 10, in_channels: int = 3, size: int = 32) -> None:
        super().__init__()
        self.size = size
        side = _pooled(_pooled(_pooled(size)))
        self.layers = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 32, 5, padding=2),  # (B, 32, 32, 32)
                pool1=CaffeMaxPool2d(3, stride=2),
                relu1=nn.ReLU(inplace=True),  # (B, 32, 16, 16)
                norm1=LocalResponseNormWithin(3, alpha=5e-5, beta=0.75),
                conv2=nn.Conv2d(32, 32, 5, padding=2),
                relu2=nn.ReLU(inplace=True),
                pool2=CaffeAvgPool2d(3, stride=2),
                norm2=LocalResponseNormWithin(3, alpha=5e-5, beta=0.75),  # 8 x 8
                conv3=nn.Conv2d(32, 64, 5, padding=2),
                relu3=nn.ReLU(inplace=True),
                pool3=CaffeAvgPool2d(3, stride=2),
                flatten=nn.Flatten(),  # (B, 64 * 4 * 4)
                fc10=nn.Linear(64 * side**2, num_classes),
            )
        )
        _begin(self.layers, {"conv1": 1e-4})

    def forward(self, x: Tensor) -> Tensor:  # (B, C, S, S) -> (B, K)
        exactly(x, self.size, "cuda-convnet")
        return self.layers(x)


class CudaConvNet11(nn.Module):
    """Two convolutions, then two layers whose filters differ from place to place; logits (B, K).

    Args:
        num_classes: K.
        in_channels: C.
        size: S, as published 24: crops of the 32 x 32 images, and the ten views of a test image are averaged.

    Raises:
        UserError: when called, where the images are not S x S.

    >>> sum(p.numel() for p in CudaConvNet11().parameters())
    1116490
    """

    class_layers = ("layers.fc10",)

    def __init__(self, num_classes: int = 10, in_channels: int = 3, size: int = 24) -> None:
        super().__init__()
        self.size = size
        side = _pooled(_pooled(size))
        self.layers = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 64, 5, padding=2),
                relu1=nn.ReLU(inplace=True),  # (B, 64, 24, 24)
                norm1=LocalResponseNorm(5, alpha=0.001, beta=0.75),
                pool1=CaffeMaxPool2d(3, stride=2),  # 12 x 12
                conv2=nn.Conv2d(64, 64, 5, padding=2),
                relu2=nn.ReLU(inplace=True),
                norm2=LocalResponseNorm(5, alpha=0.001, beta=0.75),
                pool2=CaffeMaxPool2d(3, stride=2),  # 6 x 6
                local3=LocallyConnected2d(64, 32, (side, side), 3, padding=1),
                relu3=nn.ReLU(inplace=True),
                local4=LocallyConnected2d(32, 32, (side, side), 3, padding=1),
                relu4=nn.ReLU(inplace=True),
                flatten=nn.Flatten(),
                fc10=nn.Linear(32 * side**2, num_classes),
            )
        )
        _begin(self.layers, {"conv1": 1e-4, "local3": 0.04, "local4": 0.04})

    def forward(self, x: Tensor) -> Tensor:  # (B, C, S, S) -> (B, K)
        exactly(x, self.size, "cuda-convnet")
        return self.layers(x)


def _pooled(side: int) -> int:
    return caffe_pool_output_size(side, 3, 2)


def _begin(layers: nn.Sequential, deviations: dict[str, float]) -> None:
    """Normal weights, of the deviation told by layer or 0.01; biases 0."""
    for name, layer in layers.named_children():
        if isinstance(layer, (nn.Conv2d, nn.Linear, LocallyConnected2d)):
            nn.init.normal_(layer.weight, std=deviations.get(name, 0.01))
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


CUDA_CONVNET_18 = Card(
    name="cuda-convnet-18",
    source="Krizhevsky: cuda-convnet, layers-18pct.cfg, 2011",
    build=CudaConvNet18,
    example=images(32),
    topics=(Topic("AlexNet, VGG, GoogLeNet, cuda-convnet"),),
)
CUDA_CONVNET_11 = Card(
    name="cuda-convnet-11",
    source="Krizhevsky: cuda-convnet, layers-conv-local-11pct.cfg, 2011",
    build=CudaConvNet11,
    example=images(24),
)
