"""Networks of rectified units on a line are piecewise linear: their pieces counted, and what a number of pieces can do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Layer = tuple[Tensor, Tensor]


def _hidden(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """The inputs of the last of `layers`' units at points x (N,): sums (N, units) before they are rectified."""
    sums = x[:, None]
    for number, (weight, bias) in enumerate(layers):
        sums = torch.nn.functional.linear(sums.relu() if number else sums, weight.double(), bias.double())
    return sums


def breakpoints(layers: Sequence[Layer], low: float, high: float, tolerance: float = 1e-9) -> Tensor:
    """Where a network's slope changes inside [low, high]: all of them, none found by sampling.

    Layer by layer: between the breaks so far every unit's sum is a straight line, so where it crosses zero follows from
    its two ends. At last breaks without a change of the answer's slope are dropped.

    Args:
        layers: (weight (out, in), bias (out,)) each; the first takes one input, the last gives one output, and max(0, x)
            is between them.
        low, high: the ends of the interval.
        tolerance: slopes that differ by less, relative to the steepest, are one.

    Returns:
        the places, ascending, float64.

    Raises:
        UserError: no layers, or others than of one input and one output; an interval without length.

    >>> absolute = [(torch.tensor([[1.0], [-1.0]]), torch.zeros(2)), (torch.ones(1, 2), torch.zeros(1))]
    >>> breakpoints(absolute, -1.0, 2.0).tolist()
    [0.0]
    """
    if not layers or layers[0][0].shape[1] != 1 or layers[-1][0].shape[0] != 1:
        raise UserError(
            "pieces are counted on a line",
            expected="layers from one input to one output",
            found=[tuple(w.shape) for w, _ in layers],
        )
    if not low < high:
        raise UserError("the interval has no length", expected="low < high", found=f"{low:g}, {high:g}")
    x = torch.tensor([low, high], dtype=torch.float64)  # the breaks so far, and both ends
    for depth in range(1, len(layers)):
        sums = _hidden(layers[:depth], x)  # (breaks, units)
        before, after = sums[:-1], sums[1:]
        # A unit whose sum changes sign between two breaks adds a break where the straight line crosses zero.
        piece, unit = torch.nonzero(before * after < 0, as_tuple=True)
        share = before[piece, unit] / (before[piece, unit] - after[piece, unit])
        # A crossing that rounding puts on an end is that end: a piece without length has no slope.
        x = torch.cat([x, x[piece] + share * (x[piece + 1] - x[piece])]).unique()
        x = x[torch.cat([torch.tensor([True]), x.diff() > 1e-13 * (high - low)])]
    # Keep the breaks at which the slope of the answer really changes.
    answer = _hidden(layers, x)[:, 0]
    slopes = answer.diff() / x.diff()
    changes = slopes.diff().abs() > tolerance * slopes.abs().max().clamp_min(1e-300)
    return x[1:-1][changes]


def linear_pieces(layers: Sequence[Layer], low: float, high: float) -> int:
    """The number of linear pieces of a network on [low, high]: its `breakpoints` and one."""
    return len(breakpoints(layers, low, high)) + 1


def sawtooth(x: Tensor, depth: int) -> Tensor:
    """The tent map m(x) = min(2 x, 2 - 2 x) on [0, 1], applied `depth` times: 2^(depth - 1) teeth, 2^depth pieces.

    Source: Telgarsky 2015, section 2.2.

    >>> sawtooth(torch.tensor([0.0, 0.25, 0.5]), 2).tolist()
    [0.0, 1.0, 0.0]
    """
    _check_depth(depth)
    for _ in range(depth):
        x = torch.minimum(2 * x, 2 - 2 * x)
    return x


def deep_sawtooth(depth: int) -> list[Layer]:
    """The sawtooth as a network of `depth` hidden layers of two rectified units, float64; exact.

    m(x) = 2 relu(x) - 4 relu(x - 1/2) on [0, 1]: each layer takes what the tent of the last one gives.

    >>> layers = deep_sawtooth(3)
    >>> linear_pieces(layers, 0.0, 1.0), sum(w.numel() + b.numel() for w, b in layers)
    (8, 19)
    """
    _check_depth(depth)
    tent = torch.tensor([[2.0, -4.0]], dtype=torch.float64)
    bias = torch.tensor([0.0, -0.5], dtype=torch.float64)
    first = (torch.ones(2, 1, dtype=torch.float64), bias)
    return [first, *[(tent.repeat(2, 1), bias)] * (depth - 1), (tent, torch.zeros(1, dtype=torch.float64))]


def shallow_sawtooth(depth: int) -> list[Layer]:
    """The same sawtooth with one hidden layer: a rectified unit for each of its 2^depth pieces, float64; exact.

    >>> layers = shallow_sawtooth(3)
    >>> linear_pieces(layers, 0.0, 1.0), sum(w.numel() + b.numel() for w, b in layers)
    (8, 25)
    """
    _check_depth(depth)
    pieces = 2**depth
    corners = torch.arange(pieces, dtype=torch.float64) / pieces
    signs = torch.where(torch.arange(pieces) % 2 == 0, 2.0, -2.0).double() * pieces
    signs[0] = pieces
    hidden = (torch.ones(pieces, 1, dtype=torch.float64), -corners)
    return [hidden, (signs[None], torch.zeros(1, dtype=torch.float64))]


def least_alternating_error(points: int, pieces: int) -> float:
    """The smallest share of errors of any continuous function of so many pieces on labels 0, 1, 0, 1, ...

    A straight piece crosses the level 1/2 once at most, so the answers are at most pieces + 1 runs of equal labels, and
    a run of r points has floor(r / 2) errors at least. So with n points there are at least (n - pieces - 1) / 2 errors.

    Source: the argument of Telgarsky 2015, section 3, with its constants worked out for continuous functions.

    >>> least_alternating_error(16, 16), least_alternating_error(16, 3)
    (0.0, 0.375)
    """
    if points < 1 or pieces < 1:
        raise UserError(
            "there is no such bound", expected="points and pieces of 1 or more", found=f"{points}, {pieces}"
        )
    return max(0, -(-(points - pieces - 1) // 2)) / points


def _check_depth(depth: int) -> None:
    if not 1 <= depth <= 20:
        raise UserError("the depth of the sawtooth is out of range", expected="from 1 to 20", found=depth)


TOPICS = (
    Topic(
        "Depth against width",
        "深度与宽度",
        lectures=(2, 5),
        code=("linear_pieces", "deep_sawtooth"),
        command="chainrule train depth-width",
    ),
)
