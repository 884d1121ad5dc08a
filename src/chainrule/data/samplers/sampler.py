"""What a sampler is, and where its random numbers come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from chainrule.core.seeds import in_64_bits


class Sampler(Protocol):
    """Says which samples make up each batch: a function of seed, epoch and position, so that nothing needs saving."""

    def __len__(self) -> int:
        """How many batches an epoch has."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        """The samples' numbers (B,) of each batch of `epoch`, from number `start` on."""
        ...


def generator_of(seed: int, epoch: int, *further: int) -> torch.Generator:
    """A generator on the CPU that depends on these numbers alone; for draws of a batch its number is the third."""
    number = in_64_bits((seed + 1) * 1_000_003 + epoch)
    for more in further:
        number = (number * 1_000_003 + more) % 2**63
    return torch.Generator().manual_seed(number)


def shuffle(values: Tensor, generator: torch.Generator) -> Tensor:
    """The values (N, ...) in an order that is drawn."""
    return values[torch.randperm(len(values), generator=generator)]
