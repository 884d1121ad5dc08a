"""Lloyd's k-means with bounds on distances: the same steps as the plain algorithm, and most distances never computed.

Shapes: N rows, D columns, K clusters, G groups of centres, B rows of a block, M rows whose bounds fail.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from chainrule.errors import UserError
from chainrule.functional.kmeans import kmeans

BLOCK_NUMBERS = {"cpu": 2**19}  # distances of a block, or a quarter of its numbers: what stays in the caches
OTHER_BLOCK_NUMBERS = 2**26
ELKAN_COLUMNS = 64  # from so many columns on, a distance costs more than keeping a bound for each centre
CENTRES_A_GROUP = 10  # below that, one bound for so many centres (Ding et al. 2015, section 3.1)


class Clustering(NamedTuple):
    """What `lloyd` found: centres (K, D), labels (N,), the sum of squared distances, and how it came about."""

    centres: Tensor
    labels: Tensor
    inertia: float
    iterations: int
    inertia_path: list[float]  # after each update of the centres, of the labels before it
    measured: list[int]  # rows whose distances were computed, an iteration each; the plain algorithm needs N


def lloyd(x: Tensor, start: Tensor, *, max_iterations: int = 300, tolerance: float = 1e-4) -> Clustering:
    """Minimises sum_n |x_n - c_(label n)|^2 by turns: each row to its nearest centre, each centre to its rows' mean.

    A row keeps an upper bound of the distance to its centre and lower bounds of those to the others, one a group of
    centres. Where the centres move, the bounds move by as much. Only rows whose bounds leave the label open are
    measured again, by a matrix product with all centres, so the steps are those of the plain algorithm. Bounds are
    rounded outwards, and the sums of each cluster are kept in float64 and changed by the rows that move.

    Args:
        x: rows (N, D), float32 or float64, finite.
        start: the first centres (K, D).
        max_iterations: most updates of the centres.
        tolerance: ends where the squared movements of the centres sum to this times the mean variance of the columns.
            No label that changes ends it too.

    A row stays with its centre where another is as near, and begins with the lowest number among equals. A cluster without rows takes the row that is farthest from its
    own centre, as scikit-learn does; where all rows lie on their centres, it takes the place of the largest cluster.
    Memory beside x: N (G + 3) numbers, where G is K for wide rows and K / 10 for narrow ones, and a copy of x where
    its mean is larger than its spread.

    Source: Lloyd 1982; Elkan, Using the triangle inequality to accelerate k-means, 2003; Ding et al., Yinyang k-means,
    2015, for groups.

    >>> x = torch.tensor([[0.0], [1.0], [9.0], [11.0]])
    >>> found = lloyd(x, torch.tensor([[0.0], [1.0]]))
    >>> found.centres.tolist(), found.labels.tolist(), found.inertia
    ([[0.5], [10.0]], [0, 0, 1, 1], 2.5)
    """
    _check(x, start)
    mean, variance = _moments(x)
    if not bool(mean.isfinite().all() & start.isfinite().all()):  # one value that is not finite makes its mean so
        raise UserError("a value is missing or infinite", expected="finite numbers", cure="leave such rows out")
    offset = mean if bool(mean.square().sum() > variance.sum()) else torch.zeros_like(mean)
    if offset.any():  # distances by a matrix product lose digits where all rows are far from the origin
        x = x - offset.to(x.dtype)
    state = _Bounds(x, (start.double() - offset).to(x.dtype))
    enough = tolerance * float(variance.mean())
    path, measured, settled = [], [], False
    total_square = float(variance.sum() + (mean - offset).square().sum()) * len(x)
    for _ in range(max_iterations):
        changed = state.assign()
        movement = state.update()
        path.append(total_square - state.explained())
        measured.append(state.measured)
        settled = not changed
        if settled or float(movement.square().sum()) <= enough:
            break
    if not settled:  # so that the labels belong to the centres
        state.assign()
    inertia = state.inertia()
    centres = (state.centres.double() + offset).to(x.dtype)[state.places]
    return Clustering(centres, state.order[state.labels], inertia, len(path), path, measured)


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """The number of the nearest centre (K, D) of each row (N, D); the lower one where two are equally near.

    >>> nearest(torch.tensor([[0.0], [2.0], [3.6]]), torch.tensor([[1.0], [4.0], [3.0]])).tolist()
    [0, 0, 1]
    """
    middle = centres.double().mean(0)
    centres = (centres.double() - middle).to(x.dtype)
    half_norms = 0.5 * centres.square().sum(1)
    rows = _rows_of_a_block(x, len(centres))
    return torch.cat([(half_norms - (block - middle.to(x.dtype)) @ centres.T).argmin(1) for block in x.split(rows)])


class _Bounds:
    """Centres, labels, and what is known of the distances between them."""

    def __init__(self, x: Tensor, centres: Tensor) -> None:
        N, K = len(x), len(centres)
        self.x = x
        self.rows = _rows_of_a_block(x, K)
        self.norms = torch.cat([block.square().sum(1) for block in x.split(self.rows)])
        groups = _groups(centres, wide=x.shape[1] >= ELKAN_COLUMNS)
        self.order = torch.cat(groups)  # the centres stand group by group in here; labels are their places
        self.places = self.order.argsort()
        self.centres, self.sizes = centres[self.order], [len(group) for group in groups]
        self.labels = torch.full((N,), -1, device=x.device)
        self.upper = x.new_full((N,), math.inf)
        self.lower = x.new_full((len(self.sizes), N), -math.inf)
        self.sums = torch.zeros(centres.shape, dtype=torch.float64, device=x.device)
        self.counts = torch.zeros(K, dtype=torch.int64, device=x.device)
        self.measured = 0

    # -- rows to centres ----------------------------------------------------------------------------------------

    def assign(self) -> bool:
        """Each row to its nearest centre; whether a label changed. Only rows that could have changed are measured."""
        gaps = torch.cdist(self.centres.double(), self.centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
        half_gap = 0.5 * gaps.fill_diagonal_(math.inf).amin(1) - self._rounding()  # nearer than this: no other is near
        open_to_others = self.lower.amin(0)
        if self.measured:  # there are labels
            open_to_others = torch.maximum(open_to_others, half_gap.to(self.x.dtype)[self.labels])
        places = (self.upper >= open_to_others).nonzero()[:, 0]
        self.measured = len(places)
        half_norms, slack = self.centres.square().sum(1).mul_(0.5)[:, None], self._slack()
        distances = self.x.new_empty(len(self.centres) * self.rows)
        everything = self.measured > 0.8 * len(self.x)  # then gathering costs more than it saves
        gathered = self.x.new_empty(0 if everything else self.rows, self.x.shape[1])
        changed = False
        for start in range(0, len(self.x) if everything else len(places), self.rows):
            if everything:
                place: Tensor | slice = slice(start, start + self.rows)
                block = self.x[place]
            else:
                place = places[start : start + self.rows]
                block = torch.index_select(self.x, 0, place, out=gathered[: len(place)])
            out = distances[: len(self.centres) * len(block)].view(len(self.centres), len(block))
            torch.addmm(half_norms, self.centres, block.T, alpha=-1, out=out)  # (|x - c|^2 - |x|^2) / 2, (K, B)
            changed |= self._measure(out, block, place, slack)
        self.measured = max(self.measured, 1)
        return changed

    def _measure(self, distances: Tensor, block: Tensor, place: Tensor | slice, slack: float) -> bool:
        """Labels and bounds of the rows at `place`, and the sums where they move; whether one moved."""
        least = distances.amin(0)
        old = self.labels[place]
        own = distances.gather(0, old.clamp_min(0)[None])[0]
        moved = ((own > least) | (old < 0)).nonzero()[:, 0]
        if len(moved):
            equal = distances.index_select(1, moved) == least[moved]
            new = self.places[torch.where(equal, self.order[:, None], len(self.order)).amin(0)]  # the lowest number
            self._move(block.index_select(0, moved).double(), old[moved], new)
            labels = old.index_copy(0, moved, new)
            self.labels[place] = labels
        else:
            labels = old
        distances.scatter_(0, labels[None], math.inf)
        norms = self.norms[place]
        self.upper[place] = least.mul_(2).add_(norms).add_(slack).clamp_min_(0).sqrt_()
        if len(self.sizes) < len(distances):
            distances = torch.stack([group.amin(0) for group in distances.split(self.sizes)])
        lower = distances.mul_(2).add_(norms).sub_(slack).clamp_min_(0).sqrt_()
        if isinstance(place, slice):
            self.lower[:, place] = lower
        else:
            self.lower.index_copy_(1, place, lower)
        return bool(len(moved))

    def _move(self, rows: Tensor, old: Tensor, new: Tensor) -> None:
        """Takes rows (M, D) float64 from the sums of their old clusters, if they had one, to those of the new."""
        self.sums.index_add_(0, new, rows)
        self.counts += torch.bincount(new, minlength=len(self.counts))
        had = old >= 0
        if bool(had.all()):
            self.sums.index_add_(0, old, rows, alpha=-1)
            self.counts -= torch.bincount(old, minlength=len(self.counts))

    # -- centres to rows ----------------------------------------------------------------------------------------

    def update(self) -> Tensor:
        """Each centre to the mean of its rows, bounds moved along; how far each centre moved (K,), float64."""
        sums, counts = self._without_empty()
        centres = (sums / counts[:, None]).to(self.x.dtype)
        movement = (centres.double() - self.centres.double()).norm(dim=1)
        self.centres = centres
        padded = (movement + self._rounding()).to(self.x.dtype)
        self.upper += padded[self.labels]
        self.lower -= torch.stack([group.amax() for group in padded.split(self.sizes)])[:, None]
        return movement

    def _without_empty(self) -> tuple[Tensor, Tensor]:
        """Sums and counts, an empty cluster given the row that is farthest from its centre, taken from another."""
        empty = (self.counts == 0).nonzero()[:, 0]
        if not len(empty):
            return self.sums, self.counts
        sums, counts = self.sums.clone(), self.counts.clone()
        squares = self._squares()
        if float(squares.max()) == 0:  # there are no more distinct rows than centres that have rows
            largest = counts.argmax()
            sums[empty], counts[empty] = sums[largest].clone(), counts[largest].clone()
            return sums, counts
        for cluster, row in zip(empty.tolist(), squares.topk(len(empty)).indices.tolist(), strict=True):
            value = self.x[row].double()
            sums[self.labels[row]] -= value
            counts[self.labels[row]] -= 1
            sums[cluster], counts[cluster] = value, 1
        if bool((counts == 0).any()):  # one gave its only row away: it stays where it is
            gone = counts == 0
            sums[gone], counts[gone] = self.centres[gone].double(), 1
        return sums, counts

    # -- what they amount to ------------------------------------------------------------------------------------

    def explained(self) -> float:
        """sum_k |sum of the rows of k|^2 / n_k: what the centres take from the sum of squares."""
        return float((self.sums.square().sum(1) / self.counts.clamp_min(1)).sum())

    def inertia(self) -> float:
        return float(self._squares().sum())

    def _squares(self) -> Tensor:
        """|x_n - c_(label n)|^2 (N,), float64, by differences."""
        blocks = zip(self.x.split(self.rows), self.labels.split(self.rows), strict=True)
        return torch.cat([(block - self.centres[of]).square().sum(1, dtype=torch.float64) for block, of in blocks])

    # -- rounding -----------------------------------------------------------------------------------------------

    def _slack(self) -> float:
        """How far a squared distance may be off that is computed as |x|^2 - 2 x.c + |c|^2."""
        eps = torch.finfo(self.x.dtype).eps
        return 4 * eps * math.sqrt(self.x.shape[1]) * float(self.norms.amax() + self.centres.square().sum(1).amax())

    def _rounding(self) -> float:
        """How far a bound may be off after it was moved once."""
        eps = torch.finfo(self.x.dtype).eps
        return 4 * eps * float(self.norms.amax().sqrt() + self.centres.norm(dim=1).amax())


def _rows_of_a_block(x: Tensor, num_clusters: int) -> int:
    numbers = BLOCK_NUMBERS.get(x.device.type, OTHER_BLOCK_NUMBERS)
    return max(64, numbers // max(num_clusters, x.shape[1] // 4, 1))


def _groups(centres: Tensor, *, wide: bool) -> list[Tensor]:
    """The numbers of the centres in each group: alone where columns are many, else near ones together."""
    K = len(centres)
    wanted = K if wide else min(-(-K // CENTRES_A_GROUP), len(centres.unique(dim=0)))
    if wanted == K:
        return list(torch.arange(K, device=centres.device)[:, None])
    _, group = kmeans(centres, wanted, torch.Generator().manual_seed(0), max_iterations=5)
    return [members for g in range(wanted) if len(members := (group == g).nonzero()[:, 0])]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each column (D,), float64, in two passes over blocks."""
    rows = _rows_of_a_block(x, 1)
    mean = torch.stack([block.sum(0, dtype=torch.float64) for block in x.split(rows)]).sum(0) / len(x)
    centred = (((block - mean.to(x.dtype)).square().sum(0, dtype=torch.float64)) for block in x.split(rows))
    return mean, torch.stack(list(centred)).sum(0) / len(x)


def _check(x: Tensor, start: Tensor) -> None:
    if x.dim() != 2 or start.dim() != 2 or x.shape[1:] != start.shape[1:] or not len(start):
        raise UserError("rows and centres do not fit", expected="x (N, D) and start (K, D), K of 1 or more",
                        found=f"{tuple(x.shape)} and {tuple(start.shape)}")  # fmt: skip
    if x.dtype not in (torch.float32, torch.float64):
        raise UserError("k-means needs float32 or float64", found=x.dtype, cure="x.float()")
    if len(x) < len(start):
        raise UserError("there are fewer rows than clusters", expected=f"{len(start)} or more", found=len(x))
