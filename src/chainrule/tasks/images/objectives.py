"""What an image classifier minimises, composed: the mean loss of a batch, of blended pairs, with parts that are frozen.

An objective is called with the network as training calls it and a batch of normalised images, and gives the mean loss,
a scalar. Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from chainrule.data.batches import Batch
from chainrule.data.images.augment import mixup
from chainrule.nn.frozen import Frozen
from chainrule.run.run import Run

Network = Callable[[Tensor], Any]  # normalised images (B, C, H, W) to logits (B, K)
Criterion = Callable[[Any, Tensor], Tensor]  # logits (B, K) and classes (B,) to a loss per sample (B,)


class Objective(Protocol):
    """The mean loss of a batch. `rests` says that some parameters have no gradient for a while, as frozen ones."""

    @property
    def rests(self) -> bool: ...

    def __call__(self, network: Network, batch: Batch) -> Tensor: ...


@dataclass(frozen=True)
class MeanLoss:
    """The mean of the criterion over the batch: 1/B sum_i loss(network(x_i), y_i)."""

    criterion: Criterion
    rests: bool = False

    def __call__(self, network: Network, batch: Batch) -> Tensor:
        return batch.mean(self.criterion(network(batch.x), batch.y))


@dataclass(frozen=True)
class MixupLoss:
    """The same of blended pairs: share loss(z_i, y_i) + (1 - share) loss(z_i, y_j), z_i the answer for x_i and x_j blended.

    `share` is one number a batch from Beta(alpha, alpha); source: Zhang et al. 2018 (`chainrule.data.images.augment.mixup`).
    """

    criterion: Criterion
    alpha: float
    rests: bool = False

    def __call__(self, network: Network, batch: Batch) -> Tensor:
        mixed, partner, share = mixup(batch.x, self.alpha)
        logits = network(mixed)
        own, other = self.criterion(logits, batch.y), self.criterion(logits, batch.y[partner])  # (B,) each
        return batch.mean(torch.lerp(other, own, share))


@dataclass(frozen=True)
class ThawingObjective:
    """An objective under which parts of the network do not learn before `until` epochs are done."""

    objective: Objective
    frozen: Frozen
    run: Run
    until: float
    rests: ClassVar[bool] = True

    def __call__(self, network: Network, batch: Batch) -> Tensor:
        self.frozen.release() if self.run.epoch >= self.until else self.frozen.hold()
        return self.objective(network, batch)
