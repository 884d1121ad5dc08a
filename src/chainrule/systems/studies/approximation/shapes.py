"""Shapes of the square, given by the corners of polygons, and how many points a net for one of them gets wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chainrule.systems.studies.approximation.bumps import BumpWeights, cell_centres
from chainrule.systems.studies.approximation.polygons import convex_pieces, inside
from chainrule.systems.studies.approximation.regions import convex_region, region

SIDE = 200  # points of a side of the grid on which a region is measured


def _ring(count: int, radii: Sequence[float]) -> Tensor:
    """Corners at equal angles around the middle, at the radii in turn; the first is above."""
    turns = [math.pi / 2 + 2 * math.pi * i / count for i in range(count)]
    radius = [radii[i % len(radii)] for i in range(count)]
    return torch.tensor(
        [[r * math.cos(t), r * math.sin(t)] for r, t in zip(radius, turns, strict=True)], dtype=torch.float64
    )


def _square(left: float, low: float, width: float) -> Tensor:
    right, high = left + width, low + width
    return torch.tensor([[left, low], [right, low], [right, high], [left, high]], dtype=torch.float64)


# Each the polygons whose union it is.
SHAPES: dict[str, tuple[Tensor, ...]] = {
    "triangle": (_ring(3, [0.8]),),
    "hexagon": (_ring(6, [0.8]),),
    "star": (_ring(10, [0.85, 0.35]),),
    "bracket": (
        torch.tensor(
            [[-0.7, -0.8], [0.7, -0.8], [0.7, -0.4], [-0.2, -0.4], [-0.2, 0.4], [0.7, 0.4], [0.7, 0.8], [-0.7, 0.8]],
            dtype=torch.float64,
        ),
    ),
    "two squares": (_square(-0.8, -0.8, 0.7), _square(0.1, 0.1, 0.7)),
}


def region_of(shape: Sequence[Tensor], sharpness: float) -> BumpWeights:
    """The net of a shape: one hidden layer where it is one convex polygon, else two."""
    pieces = [piece for corners in shape for piece in convex_pieces(corners)]
    return convex_region(pieces[0], sharpness) if len(pieces) == 1 else region(pieces, sharpness)


def measure_region(name: str, sharpness: Sequence[float]) -> dict[str, Any]:
    """The share of the points of a grid on which the net and the polygons disagree, with the steepest sigmoids and each."""
    line = cell_centres(SIDE, -1.0, 1.0)  # no side of a shape lies on them
    points = torch.cartesian_prod(line, line)
    truth = torch.stack([inside(points, corners) for corners in SHAPES[name]]).any(0)
    nets = [region_of(SHAPES[name], k) for k in sharpness]
    wrong = [float(((net(points) > 0) != truth).double().mean()) for net in nets]
    return {
        "hidden_layers": len(nets[0].weights) - 1,
        "units": sum(len(bias) for bias in nets[0].biases[:-1]),
        "wrong": wrong[-1],
        "wrong_by_sharpness": wrong,
    }
