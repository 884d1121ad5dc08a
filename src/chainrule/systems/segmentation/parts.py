"""What a network learns from: random parts of the images, all of one size, as many an epoch as the images have room for.

Shapes: B parts, C channels, h x w pixels of a part, H x W of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.core.device import World
from chainrule.data.batches import BatchLoader
from chainrule.data.batches.records import batch_mean
from chainrule.data.samplers.shuffled import Shuffled
from chainrule.systems.segmentation.networks.borders import at_least


@dataclass(frozen=True)
class Parts:
    """A batch of parts.

    Attributes:
        images: bytes (B, C, h, w).
        masks: positions of classes, 255 for void: bytes (B, h, w).
        weights: of each pixel's loss (B, h, w), or None where all are 1.
        index: the number of the image that each is a part of (B,).
        count: parts of the whole batch, over all processes.
        processes: how many share it.
    """

    images: Tensor
    masks: Tensor
    weights: Tensor | None
    index: Tensor
    count: int
    processes: int = 1
    mean = batch_mean


def part_size(size: int, shapes: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Height and width of the parts: `size`, or less where no image has more.

    Args:
        size: pixels of a side.
        shapes: height, width and number of the images.

    >>> part_size(256, [[180, 240, 367]]), part_size(128, [[180, 240, 367], [90, 300, 1]])
    ((180, 240), (128, 128))
    """
    return min(size, max(height for height, *_ in shapes)), min(size, max(width for _, width, *_ in shapes))


def parts_of(height: int, width: int, size: tuple[int, int]) -> int:
    """How many parts an image of that shape gives an epoch: as many as cover it.

    >>> parts_of(64, 100, (64, 64)), parts_of(30, 30, (64, 64))
    (2, 1)
    """
    return -(-height // size[0]) * -(-width // size[1])


def smallest_share(parts: int, batch_size: int, processes: int = 1) -> int:
    """How many parts the smallest share of a batch has that is not empty.

    >>> smallest_share(9, 4), smallest_share(8, 4), smallest_share(8, 4, processes=4)
    (1, 4, 1)
    """
    return min(max(1, count // processes) for count in (batch_size, parts % batch_size) if count)


class PartLoader(BatchLoader[Parts]):
    """Shuffled batches of parts; where each lies in its image is drawn from PyTorch's global generator.

    What lacks of an image that is smaller than a part is mirrored.

    Args:
        images, masks: of the training split, (C, H, W) and (H, W) each, on the device that trains.
        weights: of each pixel's loss (H, W), or None.
        size: h and w.
        batch_size: parts of a batch, over all processes.
        seed: decides the order.
        world: which part of each batch is this process's.
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        masks: Sequence[Tensor],
        weights: Sequence[Tensor] | None,
        size: tuple[int, int],
        batch_size: int,
        *,
        seed: int,
        world: World | None = None,
    ) -> None:
        counts = torch.tensor([parts_of(image.shape[-2], image.shape[-1], size) for image in images])
        self.size, self.owner = size, torch.arange(len(images)).repeat_interleave(counts)  # the image of each part
        self.batch_size, self.processes = batch_size, world.size if world else 1
        self.images, self.masks, self.weights = (
            None if maps is None else [at_least(x, size)[0] for x in maps] for maps in (images, masks, weights)
        )
        super().__init__(Shuffled(len(self.owner), batch_size, seed=seed), self._taken, world=world)

    @property
    def smallest(self) -> int:
        """`smallest_share` of its batches."""
        return smallest_share(len(self.owner), self.batch_size, self.processes)

    def _taken(self, index: Tensor, count: int, processes: int) -> Parts:
        owners = self.owner[index.cpu()]
        assert self.images is not None and self.masks is not None
        (h, w), corners = self.size, []
        for number in owners.tolist():
            height, width = self.images[number].shape[-2:]
            top, left = (int(torch.randint(n, ())) for n in (height - h + 1, width - w + 1))
            corners.append((number, slice(top, top + h), slice(left, left + w)))

        def cut(maps: Sequence[Tensor]) -> Tensor:
            return torch.stack([maps[number][..., rows, columns] for number, rows, columns in corners])

        weights = None if self.weights is None else cut(self.weights)
        return Parts(cut(self.images), cut(self.masks), weights, owners, count, processes)
