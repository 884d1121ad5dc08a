"""What DeconvNet and bilinear-net share: VGG16's dense layers as convolutions, and its convolutions mirrored."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from torch import nn

from chainrule.nn.surgery import as_convolution

STAGES = (3, 3, 3, 2, 2)  # convolutions of each stage of the decoder, from the smallest maps on


def dense_layers(vgg: Any, side: int = 7, padding: int = 0) -> tuple[nn.Sequential, int]:
    """fc6 and fc7 of a VGG as convolutions of `side` x `side` and 1 x 1 maps, batch normalisation and ReLU behind each; their maps.

    Where the maps are not 7 x 7, fc6 is another layer and begins anew.
    """
    maps, fc6, fc7 = _convolutions(vgg)[-1].out_channels, vgg.classifier[0], vgg.classifier[3]
    first = as_convolution(fc6, maps, 7, 7) if side == 7 else nn.Conv2d(maps, fc6.out_features, side)
    first.padding = (padding, padding)
    layers: list[nn.Module] = []
    for conv in (first, as_convolution(fc7, fc7.in_features, 1, 1)):
        layers += [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers), first.out_channels


def mirrored_stages(vgg: Any, block: Callable[[int, int], nn.Module]) -> tuple[nn.ModuleList, int]:
    """The stages of a VGG backwards, a `block` for each convolution, from its answer's maps to its input's; the last maps.

    The first convolution, whose input is the image, is mirrored to as many maps as it has.
    """
    channels = [conv.out_channels for conv in reversed(_convolutions(vgg))]
    channels.append(channels[-1])
    blocks = itertools.starmap(block, itertools.pairwise(channels))
    return nn.ModuleList(nn.Sequential(*itertools.islice(blocks, count)) for count in STAGES), channels[-1]


def _convolutions(vgg: Any) -> list[nn.Conv2d]:
    return [layer for layer in vgg.features.modules() if isinstance(layer, nn.Conv2d)]
