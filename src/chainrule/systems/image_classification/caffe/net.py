"""Any network that a description in Caffe's form (.prototxt) draws, LeNet unless another is named.

Shapes: B batch, C input channels, K classes.
"""

from __future__ import annotations

from importlib import resources

from chainrule.core.card import Card, images
from chainrule.interop.caffe.description.files import read_text
from chainrule.systems.image_classification.caffe.classifier import CaffeClassifier, parse_classifier


def caffe_net(net: str = "lenet", in_channels: int = 1, size: int = 28) -> CaffeClassifier:
    """The classifier of a description, in its phase TRAIN; scores (B, K) of images (B, C, size, size).

    Args:
        net: a file, or `lenet`, which comes with the package.
        in_channels: C.
        size: the side of the network's input.

    Raises:
        UserError: see `chainrule.interop.caffe.net.read_net`.

    >>> sum(p.numel() for p in caffe_net().parameters())
    431080
    """
    if net == "lenet":
        text = (
            resources.files("chainrule.systems.image_classification.caffe") / "assets" / "lenet.prototxt"
        ).read_text("utf-8")
    else:
        text = read_text(net, "Net")[1]
    return parse_classifier(text, in_channels, size, net)


CAFFE_NET = Card(
    name="caffe-net",
    source="Jia et al.: Caffe: Convolutional architecture for fast feature embedding, 2014; its LeNet, examples/mnist",
    build=caffe_net,
    example=images(28, 1),
    parameters=431_080,
)
