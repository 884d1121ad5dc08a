"""Regions of the plane as networks whose weights are written down: an AND of half planes, and a union of those."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.studies.approximation.bumps import BumpWeights
from chainrule.systems.studies.approximation.polygons import half_planes


def convex_region(corners: Tensor, sharpness: float) -> BumpWeights:
    """A net with one hidden layer whose answer is above 0 inside a convex polygon: a unit a side, and their AND.

        g(x) = sum_i s(k (n_i . x + b_i)) - (K - 1/2)

    A point outside is outside of one side at least, whose unit is below 1/2: so g is below 0 there, however blunt the
    sigmoids are. Inside, g is above 0 from a distance of ln(2 K - 1) / k to all sides on.

    Convex is what an AND gives, and not the limit of one hidden layer: XOR is no convex region, and with ever more units
    any is approximated (`bumps`).

    Args:
        corners: of a convex polygon in turn (K, 2).
        sharpness: k, the steepness of the sigmoids per unit of distance from a side.

    Returns:
        the weights, float64: two inputs, K hidden units, one output.

    Raises:
        UserError: no convex polygon, a sharpness that is not above 0.

    Source: Lippmann: An introduction to computing with neural nets, 1987, figure 14.

    >>> net = convex_region(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), sharpness=10.0)
    >>> (net(torch.tensor([[1.0, 1.0], [3.0, 3.0], [-1.0, 1.0]], dtype=torch.float64)) > 0).tolist()
    [True, False, False]
    """
    _check(sharpness)
    normals, offsets = half_planes(corners)
    count = len(offsets)
    ones = torch.ones(1, count, dtype=torch.float64)
    return BumpWeights((sharpness * normals, ones), (sharpness * offsets, ones[:, 0] * (0.5 - count)))


def square_bump(low: float, high: float, sharpness: float, second: float = 8.0) -> BumpWeights:
    """The 2-4-1 net whose hidden units are paired in opposition, two for x and two for y: together they make a bump.

        g(x, y) = second [ s(k (x - low)) + s(k (high - x)) + s(k (y - low)) + s(k (high - y)) - 7/2 ]

    The output unit's s(g) is near 1 over the square and near 0 elsewhere. It is `convex_region` of the square: one pair
    alone makes a ridge, on which the sum of the four units is 3, where two ridges cross it is 4.

    Args:
        low, high: the ends of both sides of the square.
        sharpness: k of the hidden units; blunt ones make the smooth bump of the figure.
        second: the steepness of the output unit.

    Returns:
        the weights, float64: two inputs, 4 hidden units, one output, which is the output unit's g.

    Source: Duda, Hart and Stork: Pattern classification, 2001, figure 6.2.

    >>> net = square_bump(-1.0, 1.0, sharpness=8.0)
    >>> net(torch.tensor([[0.0, 0.0], [3.0, 0.0], [3.0, 3.0]], dtype=torch.float64)).sigmoid().round(decimals=2).tolist()
    [0.98, 0.02, 0.0]
    """
    if not low < high or second <= 0:
        raise UserError(
            "there is no such bump", expected="low < high, second above 0", found=f"{low}, {high}, {second}"
        )
    net = convex_region(torch.tensor([[low, low], [high, low], [high, high], [low, high]]), sharpness)
    return BumpWeights((net.weights[0], second * net.weights[1]), (net.biases[0], second * net.biases[1]))


def region(pieces: Sequence[Tensor], sharpness: float, second: float = 20.0) -> BumpWeights:
    """A net with two hidden layers whose answer is above 0 inside a union of convex polygons: half planes, ANDs, an OR.

        a_p(x) = s(second (sum_(i of p) s(k (n_i . x + b_i)) - (K_p - 1/2))),    g(x) = sum_p a_p(x) - 1/2

    The pieces may lie apart, overlap, or share sides as those of `convex_pieces` do. On a shared side there is no gap: its
    two units are s(z) and s(-z), so a_p + a_q = 1 from a distance of about 3 / k to all other sides on.

    Args:
        pieces: the corners of each polygon in turn (K_p, 2).
        sharpness: k, the steepness of the first layer per unit of distance from a side.
        second: the steepness of the second layer.

    Returns:
        the weights, float64: two inputs, a unit a side, a unit a piece, one output.

    Raises:
        UserError: no pieces, one that is no convex polygon, a steepness that is not above 0.

    Source: Lippmann 1987, figure 14; Duda, Hart and Stork 2001, section 6.2.

    >>> from chainrule.systems.studies.approximation.polygons import convex_pieces
    >>> arrow = torch.tensor([[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0]])
    >>> net = region(convex_pieces(arrow), sharpness=100.0)
    >>> (net(torch.tensor([[1.5, 1.0], [0.5, 0.4], [0.5, 1.0]], dtype=torch.float64)) > 0).tolist()
    [True, True, False]
    """
    _check(sharpness)
    if not pieces or second <= 0:
        raise UserError(
            "there is no such region", expected="a polygon or more, second above 0", found=f"{len(pieces)}, {second}"
        )
    nets = [convex_region(corners, sharpness) for corners in pieces]
    # (sum of K_p, 2), (P, sum of K_p), (1, P)
    ands = second * torch.block_diag(*(net.weights[1] for net in nets))
    ones = torch.ones(1, len(nets), dtype=torch.float64)
    return BumpWeights(
        (torch.cat([net.weights[0] for net in nets]), ands, ones),
        (
            torch.cat([net.biases[0] for net in nets]),
            second * torch.cat([net.biases[1] for net in nets]),
            -0.5 * ones[0, :1],
        ),
    )


def _check(sharpness: float) -> None:
    if not 0 < sharpness < float("inf"):
        raise UserError("the sharpness is out of range", expected="above 0", found=sharpness)


TOPICS = (
    Topic(
        "Regions of the plane: half planes, their AND and OR, the 2-4-1 bump",
        "平面区域：半平面、与、或，2-4-1 鼓包",
        lectures=(1,),
        code=("convex_region", "region", "square_bump"),
        command="chainrule train sigmoid-bumps",
    ),
)
