"""The size of a class of hypotheses: its labellings of a sample, VC dimension, Rademacher complexity, by enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

MOST_SIGNS = 20  # samples up to which all sequences of signs are tried


def thresholds(x: Tensor) -> Tensor:
    """The labellings of points on a line by h(x) = 1 where x >= t, else -1: n + 1 of n different points.

    Args:
        x: (n,).

    Returns:
        each labelling once, +1 or -1 (L, n), int8.

    >>> thresholds(torch.tensor([0.2, 0.7])).tolist()
    [[1, 1], [-1, 1], [-1, -1]]
    """
    values = torch.cat([_line(x).unique(), torch.tensor([math.inf], dtype=torch.float64)])
    return (_line(x) >= values[:, None]).to(torch.int8) * 2 - 1


def intervals(x: Tensor) -> Tensor:
    """The labellings of points on a line by h(x) = 1 where a <= x <= b, else -1: n (n + 1) / 2 + 1 of n different points.

    >>> len(intervals(torch.tensor([0.2, 0.7, 0.9])))  # all 8 but + - +
    7
    """
    values = _line(x).unique()
    pairs = torch.combinations(values, 2, with_replacement=True)
    inside = (_line(x) >= pairs[:, :1]) & (_line(x) <= pairs[:, 1:])
    return torch.cat([torch.zeros(1, len(x), dtype=torch.bool), inside]).to(torch.int8) * 2 - 1


def rectangles(x: Tensor) -> Tensor:
    """The labellings of points of the plane (n, 2) by rectangles along the axes: 1 inside, else -1.

    >>> len(rectangles(torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])))  # all 16: four are shattered
    16
    """
    wide, high = (intervals(axis) > 0 for axis in _plane(x).unbind(1))
    return _signs((wide[:, None] & high[None]).flatten(0, 1))


def half_planes(x: Tensor) -> Tensor:
    """The labellings of points of the plane (n, 2) by lines: n^2 - n + 2 where no three lie on one line.

    Two parts that a line divides have two inner common tangents, on one of which the part to the left is ahead. So for each
    line through two points there are the labels of its sides, and those of the points on it: 1 from a place on, which
    turning it a little does. All of this with the opposite labels, too.

    Source: Cover 1965, theorem 1.

    >>> len(half_planes(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])))  # all 16 but XOR and its negation
    14
    """
    points = _plane(x)
    count = len(points)
    if len(points.unique(dim=0)) < count:
        raise UserError("two points are the same", where="half planes", expected="different points")
    found = [torch.ones(1, count, dtype=torch.bool)]
    for i, j in itertools.combinations(range(count), 2):
        along = points[j] - points[i]
        side = along[0] * (points[:, 1] - points[i, 1]) - along[1] * (points[:, 0] - points[i, 0])
        on = side.abs() <= 1e-12 * along.square().sum()
        place = ((points - points[i]) @ along)[on]
        # The points on the line: all those from a place on, for every place and for none.
        ends = torch.cat([place, torch.tensor([math.inf], dtype=torch.float64)])
        labels = (side > 0).repeat(len(ends), 1)
        labels[:, on] = place >= ends[:, None]
        found.append(labels)
    return _signs(torch.cat([part for some in found for part in (some, ~some)]))


CLASSES: dict[str, Callable[[Tensor], Tensor]] = {
    "thresholds": thresholds,
    "intervals": intervals,
    "half planes": half_planes,
    "rectangles": rectangles,
}
VC_DIMENSIONS = {"thresholds": 1, "intervals": 2, "half planes": 3, "rectangles": 4}
IN_THE_PLANE = ("half planes", "rectangles")


def is_shattered(labellings: Tensor) -> bool:
    """Whether a class with these labellings (L, n), each once, gives the sample every labelling: L = 2^n.

    >>> is_shattered(intervals(torch.tensor([0.0, 1.0]))), is_shattered(intervals(torch.tensor([0.0, 1.0, 2.0])))
    (True, False)
    """
    return len(labellings) == 2 ** labellings.shape[1]


def vc_dimension(labellings_of: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """The size of the largest part of the points that a class shatters: its VC dimension, where the points allow it.

    Args:
        labellings_of: a sample to its labellings, as the functions here.
        x: the points among which to look (n,) or (n, 2).

    Source: Vapnik and Chervonenkis 1971; Mohri et al. 2018, definition 3.10.

    >>> vc_dimension(half_planes, torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    3
    """
    for size in range(1, len(x) + 1):
        parts = itertools.combinations(range(len(x)), size)
        if not any(is_shattered(labellings_of(x[list(part)])) for part in parts):
            return size - 1  # a larger part would have this size's parts shattered as well
    return len(x)


def rademacher_complexity(labellings: Tensor, draws: int = 0) -> float:
    """The empirical Rademacher complexity of a class on a sample: how well it fits random signs, in the mean.

        R_S = E_s max_h (1/n) sum_i s_i h(x_i),    s_i = +1 or -1, each with probability 1/2

    It is 1 for a class that shatters the sample, and 0 for a single hypothesis.

    Args:
        labellings: of the sample by the class, +1 or -1 (L, n).
        draws: the mean of so many sequences of signs; 0 is that of all 2^n of them.

    Raises:
        UserError: no labelling, or all sequences of more than 20 signs.

    Source: Bartlett and Mendelson 2002; Mohri et al. 2018, definition 3.1.

    >>> rademacher_complexity(thresholds(torch.tensor([0.5]))), rademacher_complexity(thresholds(torch.tensor([0.2, 0.7])))
    (1.0, 0.75)
    """
    if labellings.dim() != 2 or not labellings.numel() or (not draws and labellings.shape[1] > MOST_SIGNS):
        expected = f"labellings (L, n), n up to {MOST_SIGNS} where draws is 0"
        raise UserError("no complexity of that", expected=expected, found=tuple(labellings.shape))
    count = labellings.shape[1]
    if draws:
        signs = torch.randint(2, (draws, count)) * 2.0 - 1
    else:
        numbers = torch.arange(2**count)
        signs = (numbers[:, None] >> torch.arange(count) & 1) * 2.0 - 1  # (2^n, n)
    best = [(part @ labellings.float().T).max(1).values for part in signs.split(4096)]
    return float(torch.cat(best).double().mean()) / count


def growth_bound(count: int, dimension: int) -> int:
    """Sauer's bound of the labellings of n points by a class of VC dimension d: sum_(i <= d) (n over i).

    >>> growth_bound(4, 1), growth_bound(4, 2), growth_bound(4, 4)
    (5, 11, 16)
    """
    _whole(count, dimension)
    return sum(math.comb(count, i) for i in range(dimension + 1))


def massart_bound(labellings: int, count: int) -> float:
    """Massart's bound of the Rademacher complexity of L labellings of n points: sqrt(2 ln L / n).

    >>> round(massart_bound(3, 2), 6)
    1.048147
    """
    _whole(count, labellings - 1)
    return math.sqrt(2 * math.log(labellings) / count)


def _whole(count: int, other: int) -> None:
    if count < 1 or other < 0:
        raise UserError(
            "no bound of that", expected="one point or more, a labelling or more", found=f"{count}, {other}"
        )


def _line(x: Tensor) -> Tensor:
    if x.dim() != 1 or not len(x) or not bool(x.isfinite().all()):
        raise UserError("these are no points of a line", expected="(n,), finite", found=tuple(x.shape))
    return x.double()


def _plane(x: Tensor) -> Tensor:
    if x.dim() != 2 or x.shape[1] != 2 or not len(x) or not bool(x.isfinite().all()):
        raise UserError("these are no points of the plane", expected="(n, 2), finite", found=tuple(x.shape))
    return x.double()


def _signs(labels: Tensor) -> Tensor:
    """Each row once, in the order in which it came first, as +1 and -1."""
    rows = dict.fromkeys(map(tuple, labels.tolist()))
    return torch.tensor(list(rows), dtype=torch.int8) * 2 - 1


TOPICS = (
    Topic(
        "VC dimension, Rademacher complexity: the size of a class of hypotheses",
        "VC 维、Rademacher 复杂度：假设空间的大小",
        lectures=(3,),
        code=("vc_dimension", "rademacher_complexity", "half_planes", "growth_bound"),
        command="chainrule train generalization-gap",
    ),
)
