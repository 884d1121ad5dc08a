"""Batches by class: of P classes with K samples each, or with every class equally often."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.samplers.sampler import generator_of, shuffle


class PKSampler:
    """Batches of P classes drawn without replacement, with K samples of each.

    Of a class with fewer than K samples all are taken. An epoch has as many batches as it takes to draw as many samples
    as there are; which classes and samples come in it is left to chance.

    Args:
        y: the class of each sample (N,).
        classes: P, 2 or more.
        samples: K, 2 or more.
        seed: decides the draws.
        settings: what the user calls P and K, for errors.

    Raises:
        UserError: fewer than P classes; no class with two samples, or none with K.

    Source: Schroff, Kalenichenko, Philbin: FaceNet, 2015, section 3.2 (about 40 images a person in a batch); Hermans,
    Beyer, Leibe: In defense of the triplet loss, 2017, section 2 (P and K).

    >>> y = torch.arange(12) // 3
    >>> index = next(PKSampler(y, classes=2, samples=3, seed=0).epoch(0))
    >>> len(index), len(y[index].unique())
    (6, 2)
    """

    def __init__(
        self, y: Tensor, *, classes: int, samples: int, seed: int, settings: tuple[str, str] = ("classes", "samples")
    ) -> None:
        p, k = settings
        labels, counts = y.cpu().unique(return_counts=True)
        most = int(counts.max()) if len(counts) else 0
        if classes < 2 or samples < 2:
            raise UserError(
                "a batch has no triplet",
                expected=f"{p}=2 or more, {k}=2 or more",
                found=f"{p}={classes}, {k}={samples}",
            )
        if len(labels) < classes:
            raise UserError(
                f"the training split has fewer {p} than a batch takes",
                expected=f"{classes} or more",
                found=len(labels),
                cure=f"{p}={len(labels)} or less, or data with more of them",
            )
        if most < 2:
            raise UserError(
                f"none of the {p} in the training split comes twice",
                expected="two samples of some of them at least",
                found=f"{len(y)} samples, {len(labels)} {p}",
            )
        if most < samples:
            raise UserError(
                f"none of the {p} in the training split has as many samples as a batch takes of it",
                expected=f"{samples} or more",
                found=most,
                cure=f"{k}={most} or less",
            )
        self.count, self.classes, self.samples, self.seed = len(y), classes, samples, seed
        self.samples_of = [(y.cpu() == label).nonzero()[:, 0] for label in labels]

    def __len__(self) -> int:
        return -(-self.count // (self.classes * self.samples))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        for number in range(start, len(self)):
            # A generator a batch, so that a resumed run draws the rest of an epoch without the beginning of it.
            generator = generator_of(self.seed, epoch, number)
            sampled = torch.randperm(len(self.samples_of), generator=generator)[: self.classes].tolist()
            yield torch.cat([shuffle(self.samples_of[label], generator)[: self.samples] for label in sampled])


class Balanced:
    """Batches in which every class comes equally often, however many samples it has.

    The classes come in rounds, each of them once a round in an order that is drawn; of a class the samples come one after
    the other in an order that is drawn, and from the beginning, in another order, when all were taken. So in an epoch,
    which draws as many samples as there are, the classes differ by one draw at most, and so do the samples of one class.

    Args:
        y: the class of each sample (N,).
        batch_size: B.
        seed: decides the draws.

    Raises:
        UserError: there is no sample.

    >>> y = torch.tensor([0, 0, 0, 0, 0, 1])
    >>> [y[index].sort().values.tolist() for index in Balanced(y, 2, seed=0).epoch(0)]
    [[0, 1], [0, 1], [0, 1]]
    """

    def __init__(self, y: Tensor, batch_size: int, *, seed: int) -> None:
        if not len(y):
            raise UserError("the training split is empty", expected="one sample or more")
        self.count, self.batch_size, self.seed = len(y), batch_size, seed
        self.samples_of = [(y.cpu() == label).nonzero()[:, 0] for label in y.cpu().unique()]

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        generator = generator_of(self.seed, epoch)
        K = len(self.samples_of)
        rounds = -(-self.count // K)
        # Of each class as many samples as there are rounds: all of them in one order after another, (rounds, K).
        drawn = torch.stack([_in_turn(samples, rounds, generator) for samples in self.samples_of], 1)
        # The order of the classes in each round.
        classes = torch.rand(rounds, K, generator=generator).argsort(1)  # (rounds, K)
        order = drawn.gather(1, classes).flatten()[: self.count]  # (N,)
        yield from order.split(self.batch_size)[start:]


def _in_turn(samples: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of the samples (count,), each as often as any other, but for one."""
    return torch.cat([shuffle(samples, generator) for _ in range(-(-count // len(samples)))])[:count]
