"""PK sampling: batches of P persons with K images each, out of which triplets are mined."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.batches import Batch


class PKSampler:
    """Batches of P persons drawn without replacement, with K images of each; a function of seed and epoch alone.

    Of a person with fewer than K images all are taken. An epoch has as many batches as it takes to draw as many images
    as there are; which persons and images come in it is left to chance.

    Args:
        x, y: all images (N, ...) and the person of each (N,), on the device that trains.
        persons: P, 2 or more.
        images: K, 2 or more.
        seed: decides the draws.

    Raises:
        UserError: fewer than P persons; nobody with two images, or nobody with K.

    Source: Schroff, Kalenichenko, Philbin: FaceNet, 2015, section 3.2 (about 40 images a person in a batch); Hermans,
    Beyer, Leibe: In defense of the triplet loss, 2017, section 2 (P and K).

    >>> x, y = torch.arange(12.0)[:, None], torch.arange(12) // 3
    >>> batch = next(PKSampler(x, y, persons=2, images=3, seed=0).epoch(0))
    >>> len(batch.y), len(batch.y.unique())
    (6, 2)
    """

    def __init__(self, x: Tensor, y: Tensor, *, persons: int, images: int, seed: int) -> None:
        labels, counts = y.cpu().unique(return_counts=True)
        most = int(counts.max()) if len(counts) else 0
        if persons < 2 or images < 2:
            raise UserError(
                "a batch has no triplet",
                expected="persons=2 or more, pictures=2 or more",
                found=f"persons={persons}, pictures={images}",
            )
        if len(labels) < persons:
            raise UserError(
                "the training split has fewer persons than a batch takes",
                expected=f"{persons} or more",
                found=len(labels),
                cure=f"persons={len(labels)} or less, or more people",
            )
        if most < 2:
            raise UserError(
                "nobody in the training split has two images",
                expected="two images of some persons at least",
                found=f"{len(y)} images of {len(labels)} persons",
            )
        if most < images:
            raise UserError(
                "nobody in the training split has as many images as a batch takes of a person",
                expected=f"{images} or more",
                found=most,
                cure=f"pictures={most} or less",
            )
        self.x, self.y, self.persons, self.images, self.seed = x, y, persons, images, seed
        self.images_of = [(y.cpu() == label).nonzero()[:, 0] for label in labels]

    def __len__(self) -> int:
        return -(-len(self.y) // (self.persons * self.images))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from number `start` on."""
        for number in range(start, len(self)):
            # A generator a batch, so that a resumed run draws the rest of an epoch without the beginning of it.
            seed = ((self.seed + 1) * 1_000_003 + epoch) * 1_000_003 + number
            generator = torch.Generator().manual_seed(seed % 2**63)
            sampled = torch.randperm(len(self.images_of), generator=generator)[: self.persons].tolist()
            index = torch.cat([self._sample(self.images_of[person], generator) for person in sampled]).to(self.x.device)
            yield Batch(self.x[index], self.y[index], index, len(index))

    def _sample(self, members: Tensor, generator: torch.Generator) -> Tensor:
        return members[torch.randperm(len(members), generator=generator)[: self.images]]
