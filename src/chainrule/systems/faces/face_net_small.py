"""A small network that embeds faces: for some hundred grey images, which Inception-ResNet-v1 would overfit.

Shapes: B batch, C input channels, S side of an image, E dimensions of an embedding.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.errors import UserError

BLOCKS = 4  # each halves the side


class FaceNetSmall(nn.Module):
    """Four blocks of convolution, batch normalisation, ReLU and max pooling, then one linear layer; length 1.

    Faces are aligned, so where a feature lies tells persons apart: the last maps go into the linear layer as they
    are, and are not averaged.

    Args:
        embedding: E.
        in_channels: C.
        size: S, 16 or more.
        width: channels of the first block; the others have 2, 4 and 4 times as many.
        dropout: of the last maps, as they enter the linear layer.

    Raises:
        UserError: an image smaller than 16, of which four halvings leave nothing.

    >>> sum(p.numel() for p in FaceNetSmall().parameters())
    76848
    """

    def __init__(
        self, embedding: int = 64, in_channels: int = 1, size: int = 32, width: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if size < 2**BLOCKS:
            raise UserError("the images are too small", expected=f"{2**BLOCKS} pixels a side or more", found=size)
        channels = [in_channels, width, 2 * width, 4 * width, 4 * width]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                )
                for before, after in pairwise(channels)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels[-1] * (size // 2**BLOCKS) ** 2, embedding)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, S, S) -> (B, E)
        maps = self.blocks(x)  # (B, 4 * width, S // 16, S // 16)
        return nn.functional.normalize(self.fc(self.dropout(maps.flatten(1))))


FACE_NET_SMALL = Card(
    name="face-net-small",
    source="This project's; the embedding of length 1 is that of Schroff, Kalenichenko, Philbin: FaceNet, 2015, section 3",
    build=FaceNetSmall,
    example=images(32, 1),
    tiny={"size": 16, "width": 4, "embedding": 8},
    tiny_example=images(16, 1),
    skip={
        "overfit": "an answer of length 1 is bounded, so that its cross entropy cannot fall; tests/systems/faces/test_faces.py overfits by the triplet loss"
    },
)
