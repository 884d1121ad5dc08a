"""The network of the speed records on CIFAR-10: whitened patches, six convolutions that begin as identities, no shortcut.

Shapes: B batch, C input channels, S height and width, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.nn.image_size import at_least

SMALLEST = 9  # the images that leave a pixel after the patches and three halvings


class Stage(nn.Module):
    """Convolution, pooling by two, normalisation, GELU; convolution, normalisation, GELU: (B, C, S, S) to (B, C', S/2, S/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels)
        self.norm1 = _normalisation(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.norm2 = _normalisation(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class CifarNet(nn.Module):
    """Logits (B, K) of small normalised images: whitening of 2 x 2 patches, three stages, the largest value of each map.

    Args:
        num_classes: K.
        in_channels: C.
        widths: maps of the three stages.

    `whiten` sets the first layer, which does not learn but for its bias. The convolutions begin as identities of as
    many maps as there are, an implicit shortcut. Batch normalisation learns no scale.

    Raises:
        UserError: not three widths; when called, S below 9.

    >>> sum(p.numel() for p in CifarNet().parameters())
    1972792
    """

    class_layers = ("head",)

    def __init__(
        self, num_classes: int = 10, in_channels: int = 3, widths: tuple[int, int, int] = (64, 256, 256)
    ) -> None:
        super().__init__()
        if len(widths) != 3:
            raise UserError(
                "the network has three stages",
                expected="widths=64,256,256",
                found=f"widths={','.join(map(str, widths))}",
            )
        patch = 4 * in_channels
        self.patches = nn.Conv2d(in_channels, 2 * patch, 2)
        self.patches.weight.requires_grad_(False)
        nn.init.zeros_(self.patches.bias)  # type: ignore[arg-type]
        first, second, third = widths
        self.stage1, self.stage2, self.stage3 = Stage(2 * patch, first), Stage(first, second), Stage(second, third)
        self.head = nn.Linear(third, num_classes, bias=False)
        with torch.no_grad():
            self.head.weight /= self.head.weight.std()

    @torch.no_grad()
    def whiten(self, x: Tensor, eps: float = 5e-4) -> None:
        """Sets the first layer so that its outputs are uncorrelated on `x`, and of equal power.

        The filters are the eigenvectors of the second moments of all 2 x 2 patches, each over the root of its
        eigenvalue plus `eps`; and their negatives, for an activation that cuts one side off.

        Args:
            x: normalised training images (B, C, S, S).
            eps: keeps directions in which nothing happens from being blown up.
        """
        flat = F.unfold(x, 2).transpose(1, 2).flatten(0, 1)  # (patches, 4C), a channel's four pixels together
        values, vectors = torch.linalg.eigh((flat.T @ flat / len(flat)).double())
        filters = (vectors / (values + eps).sqrt()).T.to(x.dtype)
        self.patches.weight.copy_(torch.cat([filters, -filters]).view_as(self.patches.weight))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, 32, 32)
        at_least(x, SMALLEST, "the network of the speed records")
        x = F.gelu(self.patches(x))  # (B, 8C, 31, 31)
        x = self.stage3(self.stage2(self.stage1(x)))  # (B, 64, 15, 15), (B, 256, 7, 7), (B, 256, 3, 3)
        x = x.amax((2, 3))  # (B, 256)
        return self.head(x) / x.shape[1]


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3 x 3, without bias; as many maps as can be begin as copies of the maps before, the others at random."""
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(layer.weight[:in_channels])
    return layer


def _normalisation(channels: int) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)  # running figures of few steps: training is short
    layer.weight.requires_grad_(False)
    return layer


CIFAR_NET = Card(
    name="cifar-net",
    source="Jordan: 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024, section 3 (arXiv 2404.00498); its later form for Muon",
    build=CifarNet,
    example=images(32),
    tiny={"widths": (16, 24, 24)},
    tiny_example=images(16),
    parameters=1_971_352,  # that learn
    topics=(
        Topic(
            "Training in seconds: whitened patches, Muon, mirror images in turn",
            "几秒钟的训练：白化图块、Muon、轮流镜像",
            code=("CifarNet.whiten",),
            command="chainrule train cifar-speed",
        ),
    ),
)
