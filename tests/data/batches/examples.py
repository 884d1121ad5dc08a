"""Batches of several forms: pairs, lists of all sizes, padded sequences, records in records, NamedTuples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chainrule.data.batches import batch_mean


@dataclass(frozen=True)
class Target:
    """What is in an image."""

    boxes: list[Tensor]  # (n, 4) each
    labels: list[Tensor]  # (n,) each
    crowd: Tensor  # (b,)


@dataclass(frozen=True)
class Scenes:
    """Images of all sizes, with boxes."""

    images: list[Tensor]  # (3, H, W) each
    target: Target
    names: list[str]
    index: Tensor
    count: int
    processes: int = 1
    mean = batch_mean


class Sentences(NamedTuple):
    """Padded sequences."""

    x: Tensor  # (b, T)
    lengths: Tensor  # (b,)
    state: tuple[Tensor, Tensor]  # (b, H) each
    scale: Tensor  # ()
    index: Tensor  # type: ignore[assignment]
    count: int  # type: ignore[assignment]
    processes: int = 1

    def mean(self, losses: Tensor) -> Tensor:
        return batch_mean(self, losses)


@dataclass
class Graphs:
    """Graphs in one tensor, node after node: `lengths` says how many nodes each has."""

    nodes: Tensor  # (sum of lengths, F)
    edges: Tensor  # (2, E)
    lengths: Tensor  # (b,)
    extra: dict[str, Any]
    index: Tensor
    count: int
    processes: int = 1
    mean = batch_mean


def scenes(count: int = 4) -> Scenes:
    g = torch.Generator().manual_seed(count)
    boxes = [torch.rand(i % 3, 4, generator=g) for i in range(count)]
    return Scenes(
        [torch.rand(3, 4 + i, 9 - i % 4, generator=g) for i in range(count)],
        Target(boxes, [torch.arange(len(part)) for part in boxes], torch.zeros(count)),
        [f"scene {i}" for i in range(count)],
        torch.arange(count) + 100,
        count,
    )


def sentences(count: int = 5) -> Sentences:
    g = torch.Generator().manual_seed(count)
    lengths = torch.randint(0, 6, (count,), generator=g)
    state = (torch.rand(count, 2, generator=g), torch.rand(count, 2, generator=g))
    return Sentences(
        torch.rand(count, 6, generator=g), lengths, state, torch.tensor(2.0), torch.arange(count) * 3, count
    )


def graphs() -> Graphs:
    lengths = torch.tensor([2, 0, 3])
    return Graphs(
        torch.rand(5, 2), torch.zeros(2, 4, dtype=torch.int64), lengths, {"y": torch.rand(3)}, torch.arange(3) + 7, 3
    )
