"""Where the boxes of a figure stand: in layers, with few crossings, and arrows led around the boxes between.

The steps are those of Sugiyama, Tagawa, Toda 1981: layers by longest path, invisible boxes where an arrow passes a layer,
an order within each layer by the mean place of neighbours, then places that stay near neighbours and keep their distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP = 26.0  # between boxes of one layer
SWEEPS = 12
LONG = 10  # arrows of one box that pass more layers than this run along together as far as they can


@dataclass
class Layout:
    """Centres of the boxes, for each arrow the points it goes through, and the size of the whole.

    Along the first axis the layers follow each other; along the second the boxes of a layer stand.
    """

    centres: list[tuple[float, float]]
    routes: list[list[tuple[float, float]]]
    layers: list[int]
    size: tuple[float, float]


def layers_of(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: one more than the last of its sources; what has none stands next to its first user.

    So does what would stand far before it: each step of a long loop has its inputs beside it.

    >>> layers_of(4, [(0, 1), (1, 2), (3, 2)])
    [0, 1, 2, 1]
    """
    layer = [0] * count
    for source, target in sorted(arrows, key=lambda a: a[1]):  # sources stand before their users
        layer[target] = max(layer[target], layer[source] + 1)
    targets = {target for _, target in arrows}
    uses: dict[int, list[int]] = {}
    for source, target in arrows:
        uses.setdefault(source, []).append(target)
    for box in sorted(uses, reverse=True):  # users are placed before what they use
        nearest = min(layer[user] for user in uses[box]) - 1
        if box not in targets or nearest - layer[box] > LONG:
            layer[box] = nearest
    return layer


def arrange(
    lengths: Sequence[float], breadths: Sequence[float], arrows: Sequence[tuple[int, int]], gap: float
) -> Layout:
    """Places boxes.

    Args:
        lengths: the size of each box along the layers' axis; `breadths` across it.
        arrows: (source, target) by number; a source has the smaller number.
        gap: the distance between two layers.
    """
    layer = layers_of(len(lengths), arrows)
    deep = max(layer, default=-1) + 1
    ranks: list[list[int]] = [[] for _ in range(deep)]
    for box, at in enumerate(layer):
        ranks[at].append(box)
    breadth = list(breadths)
    chains: list[list[int]] = []
    links: dict[tuple[int, int], None] = {}  # an ordered set
    trunks: dict[int, list[int]] = {}
    for source, target in arrows:
        passed = range(layer[source] + 1, layer[target])
        trunk = trunks.setdefault(source, []) if len(passed) > LONG else []
        for at in passed[len(trunk) :]:
            ranks[at].append(len(breadth))
            trunk.append(len(breadth))
            breadth.append(8.0)
        chain = [source, *trunk[: len(passed)], target]
        chains.append(chain)
        links |= dict.fromkeys(pairwise(chain))
    before: list[list[int]] = [[] for _ in breadth]
    after: list[list[int]] = [[] for _ in breadth]
    for source, target in links:
        before[target].append(source)
        after[source].append(target)
    place = _ordered(ranks, breadth, before, after)
    along = _along(ranks, lengths, gap)
    lowest = min((place[b] - breadth[b] / 2 for b in range(len(breadth))), default=0.0)
    place = [p - lowest for p in place]
    where = {b: along[at] for at, rank in enumerate(ranks) for b in rank}
    centres = [(where[b], place[b]) for b in range(len(lengths))]
    routes = [[(where[b], place[b]) for b in chain] for chain in chains]
    total = along[-1] + max((lengths[b] for b in ranks[-1] if b < len(lengths)), default=0.0) / 2 if deep else 0.0
    return Layout(
        centres, routes, layer, (total, max((place[b] + breadth[b] / 2 for b in range(len(breadth))), default=0.0))
    )


def _along(ranks: list[list[int]], lengths: Sequence[float], gap: float) -> list[float]:
    """The middle of each layer; a layer is as long as its longest box."""
    result, end = [], 0.0
    for rank in ranks:
        longest = max((lengths[b] for b in rank if b < len(lengths)), default=0.0)
        result.append(end + longest / 2)
        end += longest + gap
    return result


def _ordered(
    ranks: list[list[int]], breadth: list[float], before: list[list[int]], after: list[list[int]]
) -> list[float]:
    """Sorts each layer by the mean place of its neighbours, down and up in turn, and gives the places across."""
    place = [0.0] * len(breadth)
    for rank in ranks:
        _spread(rank, [0.0] * len(rank), breadth, place)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        near = before if down else after
        for rank in ranks if down else reversed(ranks):
            wish = {b: sum(place[n] for n in near[b]) / len(near[b]) if near[b] else place[b] for b in rank}
            rank.sort(key=lambda b: wish[b])
            _spread(rank, [wish[b] for b in rank], breadth, place)
    for _ in range(4):  # the order stands; now towards the middle of all neighbours
        for rank in [*ranks, *reversed(ranks)]:
            wishes = []
            for b in rank:
                near_ = before[b] + after[b]
                wishes.append(sum(place[n] for n in near_) / len(near_) if near_ else place[b])
            _spread(rank, wishes, breadth, place)
    return place


def _spread(rank: list[int], wishes: list[float], breadth: list[float], place: list[float]) -> None:
    """The places nearest to the wishes, in least squares, that keep order and distance (pool adjacent violators)."""
    offsets = [0.0]
    for a, b in pairwise(rank):
        offsets.append(offsets[-1] + (breadth[a] + breadth[b]) / 2 + GAP)
    pools: list[list[float]] = []  # [sum, count]
    for wish, offset in zip(wishes, offsets, strict=False):
        pools.append([wish - offset, 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    bases = [total / count for total, count in pools for _ in range(int(count))]
    for box, base, offset in zip(rank, bases, offsets, strict=False):
        place[box] = base + offset
