"""AlexNet, the network of 2012 on 1000 classes of ImageNet, and its two common descendants.

Shapes: B batch, C input channels, S height and width, K classes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from chainrule.core.card import CaffeWeights, Card, ImageNetWeights, Preprocessing, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.functional.pooling import caffe_pool_output_size
from chainrule.interop.caffe.translation import state_of
from chainrule.nn.image_size import at_least, exactly
from chainrule.nn.normalization.local_response_norm import LocalResponseNorm
from chainrule.nn.pooling import CaffeMaxPool2d


@dataclass(frozen=True)
class Form:
    """In what the published descriptions differ: the order behind a ReLU, the normalisation, how weights begin."""

    order: tuple[str, str]
    alpha: float
    k: float
    linear_std: float  # of the weights of fc6 and fc7
    bias: float  # of conv2, conv4, conv5, fc6 and fc7, so that their ReLUs begin with something


FORMS = {
    "paper": Form(("norm", "pool"), 5e-4, 2.0, 0.01, 1.0),  # the paper's 1e-4, which is not divided by the 5 channels
    "caffe": Form(("norm", "pool"), 1e-4, 1.0, 0.005, 0.1),
    "caffenet": Form(("pool", "norm"), 1e-4, 1.0, 0.005, 1.0),
}


class AlexNet(nn.Module):
    """Five convolutions, two groups where two GPUs shared a layer, three linear layers; logits (B, K).

    Layers bear the names that Caffe gave them.

    Args:
        num_classes: K.
        in_channels: C.
        size: S; 227 gives the paper's 55 x 55 maps.
        width: every layer but the last has this many times the published units, rounded to an even number.
        form: `paper`: normalises what ReLU gives, then pools. `caffe`: the same with k = 1 and smaller first weights, as
            in Caffe's bvlc_alexnet. `caffenet`: Caffe's reference network, which pools first, at less cost.

    Raises:
        UserError: where there is no such form, or S is too small for the three poolings; when called, where the
            images are not S x S.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in AlexNet().parameters())
    60965224
    """

    class_layers = ("classifier.fc8",)

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        size: int = 227,
        width: float = 1.0,
        form: Literal["paper", "caffe", "caffenet"] = "paper",
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise unknown("there is no form of AlexNet", form, FORMS)
        self.size, self.form = size, form
        c1, c2, c3, fc = (2 * max(1, round(n * width / 2)) for n in (96, 256, 384, 4096))
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, c1, 11, stride=4),
                relu1=nn.ReLU(inplace=True),  # (B, 96, 55, 55)
                **self._between("1"),  # (B, 96, 27, 27)
                conv2=nn.Conv2d(c1, c2, 5, padding=2, groups=2),
                relu2=nn.ReLU(inplace=True),  # (B, 256, 27, 27)
                **self._between("2"),  # (B, 256, 13, 13)
                conv3=nn.Conv2d(c2, c3, 3, padding=1),
                relu3=nn.ReLU(inplace=True),  # (B, 384, 13, 13)
                conv4=nn.Conv2d(c3, c3, 3, padding=1, groups=2),
                relu4=nn.ReLU(inplace=True),
                conv5=nn.Conv2d(c3, c2, 3, padding=1, groups=2),
                relu5=nn.ReLU(inplace=True),
                pool5=CaffeMaxPool2d(3, stride=2),  # (B, 256, 6, 6)
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                fc6=nn.Linear(c2 * _last_maps(size) ** 2, fc),
                relu6=nn.ReLU(inplace=True),
                drop6=nn.Dropout(0.5),
                fc7=nn.Linear(fc, fc),
                relu7=nn.ReLU(inplace=True),
                drop7=nn.Dropout(0.5),
                fc8=nn.Linear(fc, num_classes),
            )
        )
        self._begin()

    def forward(self, x: Tensor) -> Tensor:  # (B, C, S, S) -> (B, K)
        exactly(x, self.size, "AlexNet")
        return self.classifier(self.features(x).flatten(1))

    def caffe_state(self, file: str | Path) -> dict[str, Tensor]:
        """The weights of Caffe's bvlc_alexnet or bvlc_reference_caffenet as a state dict; see `state_of`.

        Raises:
            UserError: this is the paper's form, whose normalisation those weights have never seen; or as `state_of`.
        """
        if self.form == "paper":
            raise UserError(
                "these weights belong to Caffe's forms of AlexNet, not to the paper's",
                where=file,
                expected="network=alexnet-caffe for bvlc_alexnet, network=caffenet for bvlc_reference_caffenet",
                found="network=alexnet: its normalisation has k = 2 and another alpha",
            )
        paths = [name for name, layer in self.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
        return state_of(file, self, {path: path.rpartition(".")[2] for path in paths})

    def _between(self, number: str) -> dict[str, nn.Module]:
        """The two layers behind ReLU `number`, by name, in the order of the form."""
        form = FORMS[self.form]
        layers = {"norm": LocalResponseNorm(5, form.alpha, 0.75, form.k), "pool": CaffeMaxPool2d(3, stride=2)}
        return {f"{name}{number}": layers[name] for name in form.order}

    def _begin(self) -> None:
        """First weights: section 5 of the paper, or Caffe's fillers."""
        form = FORMS[self.form]
        for name, layer in (*self.features.named_children(), *self.classifier.named_children()):
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(layer.weight, std=form.linear_std if name in ("fc6", "fc7") else 0.01)
                assert layer.bias is not None
                nn.init.constant_(layer.bias, form.bias if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0)


def _last_maps(size: int) -> int:
    """Height and width behind the three poolings."""
    if size < 39:
        raise UserError("the images are too small for AlexNet", expected="size=39 at least", found=f"size={size}")
    side = (size - 11) // 4 + 1
    for _ in range(3):
        side = caffe_pool_output_size(side, 3, 2)
    return side


class AlexNetOneTower(nn.Module):
    """AlexNet for one device: no groups, fewer filters, no normalisation; torchvision's `alexnet`; logits (B, K).

    Layers bear torchvision's names, so its state dict loads. Any image from 63 x 63 on does: the last maps are
    averaged to 6 x 6.

    Args:
        num_classes: K.
        in_channels: C.
        dropout: of the two hidden linear layers.
        width: every layer but the last has this many times the published units.

    Raises:
        UserError: when called, where the images are smaller than 63 x 63.

    >>> import torch
    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in AlexNetOneTower().parameters())
    61100840
    """

    class_layers = ("classifier.6",)

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, width: float = 1.0) -> None:
        super().__init__()
        c1, c2, c3, c4, fc = (max(1, round(n * width)) for n in (64, 192, 384, 256, 4096))
        self.features = nn.Sequential(  # sides of the maps are those of 224 x 224 images
            nn.Conv2d(in_channels, c1, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),  # (B, 64, 55, 55)
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(c1, c2, 5, padding=2),
            nn.ReLU(inplace=True),  # (B, 192, 27, 27)
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(c2, c3, 3, padding=1),
            nn.ReLU(inplace=True),  # (B, 384, 13, 13)
            nn.Conv2d(c3, c4, 3, padding=1),
            nn.ReLU(inplace=True),  # (B, 256, 13, 13)
            nn.Conv2d(c4, c4, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),  # (B, 256, 6, 6)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(c4 * 6 * 6, fc),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(fc, fc),
            nn.ReLU(inplace=True),
            nn.Linear(fc, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 224, 224) -> (B, K)
        at_least(x, 63, "this AlexNet")
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


_TINY = {"width": 1 / 16, "size": 67, "num_classes": 10}
# Caffe took a mean image away, whose mean over pixels is near 104, 117, 123, blue first.
_CAFFE = CaffeWeights(Preprocessing(227, 256, mean=(123 / 255, 117 / 255, 104 / 255), std=(1 / 255,) * 3))
ALEXNET = Card(
    name="alexnet",
    source="Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks, 2012",
    build=AlexNet,
    example=images(227),
    parameters=60_965_224,
    deviations=(
        "Images are 227 x 227: the 224 of the paper's text do not give its 55 x 55 maps.",
        "The paper's alpha of 1e-4 is not divided by the 5 channels; here alpha is, so it is 5e-4.",
    ),
    tiny=_TINY,
    tiny_example=images(67),
    topics=(
        Topic(
            "AlexNet, VGG, GoogLeNet, cuda-convnet",
            "AlexNet、VGG、GoogLeNet、cuda-convnet",
            lectures=(1, 2, 3, 4, 5),
            command="chainrule train image-classifier network=vgg11",
        ),
    ),
)
ALEXNET_CAFFE = replace(
    ALEXNET,
    name="alexnet-caffe",
    source="Caffe, models/bvlc_alexnet (Jia et al. 2014)",
    build=partial(AlexNet, form="caffe"),
    deviations=(),
    tested_as="caffenet",
    caffe=_CAFFE,
)
CAFFENET = Card(
    name="caffenet",
    source="Caffe, models/bvlc_reference_caffenet (Jia et al. 2014)",
    build=partial(AlexNet, form="caffenet"),
    example=images(227),
    parameters=60_965_224,
    caffe=_CAFFE,
    tiny=_TINY,
    tiny_example=images(67),
)
ALEXNET_ONE_TOWER = Card(
    name="alexnet-one-tower",
    source="Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014; torchvision's alexnet",
    build=AlexNetOneTower,
    example=images(224),
    parameters=61_100_840,
    deviations=("The fourth convolution has 256 filters, as torchvision has it; the paper has 384.",),
    tiny={"width": 1 / 8, "dropout": 0.1, "num_classes": 10},
    tiny_example=images(63),
    weights={"torchvision": ImageNetWeights("alexnet-owt-7be5be79.pth", accuracy=0.56522)},
)
