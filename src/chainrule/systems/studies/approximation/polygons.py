"""Polygons of the plane: their half planes, whether a point lies inside, and their convex pieces."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.errors import UserError


def half_planes(corners: Tensor) -> tuple[Tensor, Tensor]:
    """The sides of a convex polygon as half planes: n_i . x + b_i is the distance from side i, positive inside.

    Args:
        corners: of the polygon in turn (K, 2), in either sense.

    Returns:
        the normals, of length 1 and pointing inwards (K, 2), and the offsets (K,); float64.

    Raises:
        UserError: no simple polygon, or one that is not convex.

    >>> normals, offsets = half_planes(torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]))
    >>> (normals @ torch.tensor([0.5, 0.25], dtype=torch.float64) + offsets).tolist()  # below, right, above, left
    [0.25, 1.5, 0.75, 0.5]
    """
    places = simple_polygon(corners)
    if not _is_convex(places):
        raise UserError("the polygon is not convex", cure="convex_pieces(corners) divides it into convex ones")
    along = places.roll(-1, 0) - places
    normals = torch.stack([-along[:, 1], along[:, 0]], 1) / along.norm(dim=1, keepdim=True)
    return normals, -(normals * places).sum(1)


def inside(points: Tensor, corners: Tensor) -> Tensor:
    """Whether each point lies in a polygon: whether a ray to the right crosses its sides an odd number of times.

    Args:
        points: (N, 2).
        corners: of the polygon (K, 2), convex or not.

    Returns:
        bool (N,). On a side itself it is the one or the other.

    >>> inside(torch.tensor([[0.5, 0.2], [1.5, 0.2]]), torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).tolist()
    [True, False]
    """
    places = simple_polygon(corners)
    x, y = points.double().unsqueeze(1).unbind(2)  # (N, 1) each, beside the sides (K,)
    (x1, y1), (x2, y2) = places.unbind(1), places.roll(-1, 0).unbind(1)
    spans = (y1 > y) != (y2 > y)
    rise = torch.where(y1 == y2, torch.ones_like(y1), y2 - y1)  # a level side spans no height
    return (spans & (x < x1 + (y - y1) / rise * (x2 - x1))).sum(1) % 2 == 1


def convex_pieces(corners: Tensor) -> list[Tensor]:
    """A polygon divided by diagonals into convex ones, each (K, 2): ears are cut off, and pieces put together again.

    An ear is a corner whose triangle with its two neighbours holds no other corner. Of the diagonals between the
    triangles those are taken away that leave a convex piece; there are at most four times as many pieces as the fewest.

    Args:
        corners: of a simple polygon in turn (K, 2), in either sense.

    Raises:
        UserError: no simple polygon, or a very thin one.

    Source: Meisters 1975; Hertel and Mehlhorn 1983.

    >>> arrow = torch.tensor([[0.0, 0.0], [2.0, 1.0], [0.0, 2.0], [1.0, 1.0]])
    >>> [len(piece) for piece in convex_pieces(arrow)]
    [3, 3]
    """
    places = simple_polygon(corners)
    left, pieces = list(range(len(places))), []
    while len(left) > 3:
        # 1. An ear: there is one, since the polygon is simple.
        for at in range(len(left)):
            ear = [left[at - 1], left[at], left[(at + 1) % len(left)]]
            others = places[[i for i in left if i not in ear]]
            turns = torch.stack(
                [_turn(places[a], places[b], others) for a, b in zip(ear, ear[1:] + ear[:1], strict=True)]
            )
            if _turn(*places[ear]) > 0 and not bool((turns >= 0).all(0).any()):
                break
        else:  # which happens only where corners are nearer to each other than float64 tells apart
            raise UserError("the polygon is too thin to be divided", cure="corners farther from the sides")
        # 2. Off with it.
        pieces.append(ear)
        del left[at]
    pieces.append(left)
    # 3. Two pieces on the two sides of a diagonal become one where that is convex.
    while merged := _first_merged(places, pieces):
        pieces = merged
    return [places[piece] for piece in pieces]


def simple_polygon(corners: Tensor) -> Tensor:
    """The corners in float64, anticlockwise, without those in the middle of a straight side.

    Raises:
        UserError: fewer than three corners, NaN or infinite ones, sides that touch each other.
    """
    places = corners.detach().double()
    if places.dim() != 2 or places.shape[1] != 2 or len(places) < 3 or not bool(places.isfinite().all()):
        raise UserError(
            "this is no polygon", expected="three corners or more, (K, 2), finite", found=tuple(corners.shape)
        )
    before, after = places.roll(1, 0), places.roll(-1, 0)
    straight = (_turn(before, places, after) == 0) & (((places - before) * (after - places)).sum(1) > 0)
    places = places[~straight]
    if len(places) < 3 or _touches_itself(places):
        raise UserError("the sides of the polygon touch each other", cure="corners in turn, each one once")
    area = (places[:, 0] * places.roll(-1, 0)[:, 1] - places.roll(-1, 0)[:, 0] * places[:, 1]).sum()
    return places if area > 0 else places.flip(0)


def _turn(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Twice the signed area of the triangles a b c (..., 2): positive where they turn to the left."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def _is_convex(places: Tensor) -> bool:
    return bool((_turn(places.roll(1, 0), places, places.roll(-1, 0)) > 0).all())


def _touches_itself(places: Tensor) -> bool:
    """Whether two sides share a point that is not the corner between them."""
    count = len(places)
    ends = places.roll(-1, 0)
    one, other = torch.triu_indices(count, count, 1)  # every pair of sides
    a, b, c, d = places[one], ends[one], places[other], ends[other]
    beside = (other - one == 1) | (other - one == count - 1)
    # Neighbours share their corner; they must not lie back over each other.
    back = ((b - a) * (d - c)).sum(1) < 0
    folded = beside & (_turn(a, b, c) == 0) & (_turn(a, b, d) == 0) & back
    # Others touch where each has its ends on two sides of the other; boxes tell sides of one line.
    apart = (_turn(a, b, c) * _turn(a, b, d) > 0) | (_turn(c, d, a) * _turn(c, d, b) > 0)
    boxes = (torch.minimum(a, b) <= torch.maximum(c, d)) & (torch.minimum(c, d) <= torch.maximum(a, b))
    return bool((folded | (~beside & ~apart & boxes.all(1))).any())


def _first_merged(places: Tensor, pieces: list[list[int]]) -> list[list[int]] | None:
    """The pieces with the first two put together that make a convex one; None where no two do."""
    for one, first in enumerate(pieces):
        for other in range(one + 1, len(pieces)):
            for a, b in zip(first, first[1:] + first[:1], strict=True):
                second = pieces[other]
                if b not in second or second[(second.index(b) + 1) % len(second)] != a:
                    continue  # not the two sides of one diagonal, from a to b and from b to a
                at, there = first.index(b), second.index(a)
                # From b round the first piece to a, then from a round the second back to b.
                whole = first[at:] + first[:at] + (second[there:] + second[:there])[1:-1]
                if _is_convex(places[whole]):
                    return [whole, *pieces[:one], *pieces[one + 1 : other], *pieces[other + 1 :]]
    return None
