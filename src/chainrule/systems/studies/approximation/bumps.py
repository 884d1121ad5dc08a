"""Sigmoid networks whose weights are written down, not learnt: bumps on a line, towers on a square."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


@dataclass(frozen=True)
class BumpWeights:
    """Weights of layers, each (out, in) with its bias (out,), in the order of the network; a sigmoid is between two layers."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """The network's answers (N,) at x (N, inputs)."""
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.nn.functional.linear(x, weight, bias)
            x = torch.sigmoid(x) if number < last else x
        return x[:, 0]


def cell_centres(count: int, low: float, high: float) -> Tensor:
    """The middles of `count` equal cells of [low, high], float64.

    >>> cell_centres(2, 0.0, 1.0).tolist()
    [0.25, 0.75]
    """
    if count < 1 or not -math.inf < low < high < math.inf:
        raise UserError(
            "there are no such cells", expected="count >= 1, low < high", found=f"{count}, {low:g}, {high:g}"
        )
    return low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


def bumps(values: Tensor, low: float, high: float, sharpness: float) -> BumpWeights:
    """A net with one hidden layer of 2 n sigmoids: a pair of steep ones makes a bump over each of n cells.

        g(x) = sum_i v_i [ s(k (x - t_i)) - s(k (x - t_i+1)) ],    k = sharpness / h

    t are the edges of cells of width h. The two outermost lie one h outside, so that the ends are inside a bump.

    Args:
        values: v, the height of each bump: the function at the middle of each cell (n,).
        low, high: the ends of the interval.
        sharpness: k h: how far a cell's width reaches on the sigmoid's axis; 10 makes bumps that are nearly flat.

    Returns:
        the weights, float64: 2 n hidden units, one input, one output.

    Raises:
        UserError: no values, an interval without length, a sharpness that is not above 0.

    Source: the idea of Cybenko 1989; the construction as in Nielsen 2015, chapter 4.

    >>> net = bumps(torch.tensor([3.0, 5.0]), 0.0, 1.0, sharpness=60.0)
    >>> [round(v, 4) for v in net(torch.tensor([[0.2], [0.5], [0.8]], dtype=torch.float64)).tolist()]
    [3.0, 4.0, 5.0]
    """
    edges = _edges(len(values), low, high, sharpness)
    steepness = sharpness * len(values) / (high - low)
    left, right = edges[:-1], edges[1:]
    places = torch.stack([left, right], 1).reshape(-1)  # (2 n,): left and right edge of each cell in turn
    heights = values.double().reshape(-1)
    signed = torch.stack([heights, -heights], 1).reshape(1, -1)  # (1, 2 n): up at the left edge, down at the right
    return BumpWeights(
        (torch.full((len(places), 1), steepness, dtype=torch.float64), signed),
        (-steepness * places, torch.zeros(1, dtype=torch.float64)),
    )


def towers(values: Tensor, low: float, high: float, sharpness: float, second: float = 60.0) -> BumpWeights:
    """A net with two hidden layers: a tower over each of n x n cells of a square.

    The first layer has a steep sigmoid for each edge, n for x and n for y. The second layer's unit ij is on where both
    edges i and j are passed: the quarter plane s(second (s_i(x) + s_j(y) - 3/2)). A tower is a pair of pairs of quarter
    planes, as a bump is a pair of sigmoids; the sum of all towers is gathered, so that n^2 units do.

    The sum of thresholded bumps, s(bump(x) + bump(y) - 3/2), which is often drawn, has a hole at each corner of the
    grid, however steep it is, and so does not converge in the largest error. Quarter planes have none.

    Args:
        values: the function at the middle of each cell (n, n), the first axis is x.
        low, high: the ends of both sides of the square.
        sharpness: as in `bumps`, of the first layer.
        second: the steepness of the second layer.

    Returns:
        the weights, float64: 2 n and n^2 hidden units, two inputs, one output.

    Raises:
        UserError: values that are no square, an interval without length, a steepness that is not above 0.

    >>> net = towers(torch.tensor([[1.0, 2.0], [3.0, 7.0]]), 0.0, 1.0, sharpness=60.0)
    >>> net(torch.tensor([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8]], dtype=torch.float64)).round(decimals=4).tolist()
    [1.0, 3.0, 7.0]
    """
    count = len(values)
    if values.shape != (count, count) or second <= 0:
        raise UserError(
            "towers need a square of cells",
            expected="values (n, n) and second above 0",
            found=f"{tuple(values.shape)}, second={second:g}",
        )
    edges = _edges(count, low, high, sharpness)[:-1]
    steepness = sharpness * count / (high - low)
    first = torch.zeros(2 * count, 2, dtype=torch.float64)
    first[:count, 0] = first[count:, 1] = steepness  # n edges of x, then n edges of y
    pairs = torch.zeros(count, count, 2 * count, dtype=torch.float64)  # unit ij takes edge i of x and edge j of y
    rows = torch.arange(count)
    pairs[rows, :, rows] = second
    pairs[:, rows, count + rows] = second
    return BumpWeights(
        # (2 n, 2), (n^2, 2 n), (1, n^2)
        (first, pairs.reshape(count * count, -1), _mixed_differences(values).reshape(1, -1)),
        (
            -steepness * torch.cat([edges, edges]),
            torch.full((count * count,), -1.5 * second, dtype=torch.float64),
            torch.zeros(1, dtype=torch.float64),
        ),
    )


def modulus_of_continuity(values: Tensor, reach: int) -> float:
    """The most by which samples differ that are at most `reach` apart, along every axis: w(reach) of a grid.

    Args:
        values: samples on an even grid (N,) or (N, N).
        reach: in samples.

    >>> modulus_of_continuity(torch.tensor([0.0, 1.0, 3.0, 3.0]), 1)
    2.0
    """
    if reach < 0 or values.dim() not in (1, 2):
        raise UserError(
            "no modulus of that",
            expected="(N,) or (N, N) and a reach of 0 or more",
            found=f"{tuple(values.shape)}, {reach}",
        )
    grid = values.double()[None]
    pool = torch.nn.functional.max_pool1d if values.dim() == 1 else torch.nn.functional.max_pool2d
    # A window that begins at each sample and is cut off at the end holds every pair that is `reach` apart.
    padded = torch.nn.functional.pad(grid, (0, reach) * values.dim(), value=-math.inf)
    below = torch.nn.functional.pad(-grid, (0, reach) * values.dim(), value=-math.inf)
    return float((pool(padded, reach + 1, 1) + pool(below, reach + 1, 1)).max())


def bumps_bound(sharpness: float, modulus: float, spread: float, largest: float) -> float:
    """No error of `bumps` is above this.

        |g - f| <= w(h) + spread [s(-kh/2) + s(-kh)] + 2 largest s(-kh)

    Proof: a point lies in its cell, and in the half of it beside one neighbour; the middles of these two are at most h
    away. What the left and the right tails of the sigmoids give to other cells is below the bracket, and what falls
    outside the outermost edges is below s(-kh) on each side. As the sigmoids become steep, w(h) is left.

    Args:
        sharpness: k h.
        modulus: w(h), by how much f differs over a cell's width.
        spread: the largest value of f less the smallest.
        largest: the largest absolute value of f.

    >>> bumps_bound(1000.0, modulus=0.1, spread=1.0, largest=1.0)
    0.1
    """
    half, whole = _tail(sharpness / 2), _tail(sharpness)
    return modulus + spread * (half + whole) + 2 * largest * whole


def towers_bound(values: Tensor, sharpness: float, second: float, modulus: float) -> float:
    """No error of `towers` is above this: 3 w(h), and what the sigmoids lack of steps, times the sum of all weights.

    Proof: near a corner four cells meet, with shares that sum to 1 and of absolute values that sum to 3 at most; their
    middles are at most h away along each axis. Every other unit differs from 0 or 1, or from the value that its near
    edge alone gives it, by at most max(second d / 4, s(-second (1/2 - 2 d))), d = s(-kh/2).

    Args:
        values: the function at the middle of each cell (n, n).
        sharpness: k h.
        second: the steepness of the second layer.
        modulus: w(h), by how much f differs where both coordinates are at most a cell's width apart.

    >>> round(towers_bound(torch.ones(2, 2), 100.0, 60.0, 0.0), 9)
    0.0
    """
    far = _tail(sharpness / 2)
    lacking = max(second * far / 4, _tail(second * (0.5 - 2 * far)))
    return 3 * modulus + lacking * float(_mixed_differences(values).abs().sum())


def _edges(count: int, low: float, high: float, sharpness: float) -> Tensor:
    """The n + 1 edges of the cells; the first and the last are one cell's width outside."""
    centres = cell_centres(count, low, high)
    if not 0 < sharpness < math.inf:
        raise UserError("the sharpness is out of range", expected="above 0", found=sharpness)
    half = (high - low) / count / 2
    edges = torch.cat([centres - half, centres[-1:] + half])
    edges[0] -= 2 * half
    edges[-1] += 2 * half
    return edges


def _mixed_differences(values: Tensor) -> Tensor:
    """The weights of the quarter planes: v_ij - v_i-1,j - v_i,j-1 + v_i-1,j-1, with 0 outside."""
    padded = torch.nn.functional.pad(values.double(), (1, 0, 1, 0))
    return padded.diff(dim=0).diff(dim=1)


def _tail(x: float) -> float:
    """s(-x), without overflow."""
    return math.exp(-x) / (1 + math.exp(-x)) if x > 0 else 1 / (1 + math.exp(x))


TOPICS = (
    Topic(
        "Universal approximation by sigmoid bumps",
        "通用近似：sigmoid 鼓包",
        lectures=(1, 2, 3),
        code=("bumps", "towers", "bumps_bound"),
        command="chainrule train sigmoid-bumps function=runge",
    ),
)
