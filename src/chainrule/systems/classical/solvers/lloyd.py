"""Lloyd's k-means with Elkan's and Yinyang's bounds: the steps of the plain algorithm, and most distances never computed.

A row keeps one upper bound u of the distance to its own centre, and lower bounds l of those to the others: Elkan keeps one
a centre, Hamerly one for all, Yinyang one a group of centres. By the triangle inequality, if u < l for every group, or
u is below half the distance from its centre to the nearest other centre, the label stands and nothing is measured.

Shapes: N rows, D columns, K clusters, G groups of centres, B rows of a block, M rows whose bounds fail.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError
from chainrule.functional.kmeans import kmeans

BLOCK_NUMBERS = {"cpu": 2**19}  # distances of a block, or a quarter of its numbers: what stays in the caches
OTHER_BLOCK_NUMBERS = 2**26
ELKAN_COLUMNS = 64  # from so many columns on, a distance costs more than keeping a bound for each centre
PARTS = 8  # of the rows: each is a task for a thread; fixed, so that sums do not depend on how many threads there are
CENTRES_A_GROUP = 10  # below that, one bound for so many centres (Ding et al. 2015, section 3.1)


class Clustering(NamedTuple):
    """What `lloyd` found: centres (K, D), labels (N,), the sum of squared distances, and how it came about."""

    centres: Tensor
    labels: Tensor
    inertia: float
    iterations: int
    inertia_path: list[float]  # after each update of the centres, of the labels before it
    measured: list[int]  # rows whose distances were computed, an iteration each; the plain algorithm needs N


def lloyd(
    x: Tensor, start: Tensor, *, max_iterations: int = 300, tolerance: float = 1e-4, world: World = ONE_PROCESS
) -> Clustering:
    """Minimises sum_n |x_n - c_(label n)|^2 by turns: each row to its nearest centre, each centre to its rows' mean.

    Where the centres move, the bounds move by as much. Only rows whose bounds leave the label open are measured again,
    by a matrix product with all centres, so the steps are those of the plain algorithm. Bounds are rounded outwards,
    and the sums of each cluster are kept in float64 and changed by the rows that move.

    Args:
        x: rows (N, D), float32 or float64, finite.
        start: the first centres (K, D).
        max_iterations: most updates of the centres.
        tolerance: ends where the squared movements of the centres sum to this times the mean variance of the columns.
            No label that changes ends it too.
        world: processes that each call this with rows of their own and the same start; sums over clusters are those of
            all. The centres, the inertia and the paths are the same on each, the labels are those of its own rows.

    A row stays with its centre where another is as near, and begins with the lowest number among equals. A cluster
    without rows takes the row that is farthest from its own centre, as scikit-learn does; where all rows lie on their
    centres, or one gave its only row away, it takes the place of the largest cluster.
    Torch's threads each take parts of the rows; while it runs, torch itself is held to one thread, all over the process.
    Memory beside x: N (G + 3) numbers, where G is K for wide rows and K / 10 for narrow ones, and a copy of x where
    its mean is larger than its spread.

    Source: Lloyd 1982; Elkan, Using the triangle inequality to accelerate k-means, 2003; Hamerly, Making k-means even
    faster, 2010; Ding et al., Yinyang k-means, 2015, for groups.

    >>> x = torch.tensor([[0.0], [1.0], [9.0], [11.0]])
    >>> found = lloyd(x, torch.tensor([[0.0], [1.0]]))
    >>> found.centres.tolist(), found.labels.tolist(), found.inertia
    ([[0.5], [10.0]], [0, 0, 1, 1], 2.5)
    """
    count = world.sum(len(x))
    _check(x, start, count)
    x = x.detach()
    with _threads(x.device) as over_parts:
        parts = _parts(len(x))
        mean, variance = _moments(x, count, parts, over_parts, world)
        if not bool(mean.isfinite().all() & start.isfinite().all()):  # one value that is not finite makes its mean so
            raise UserError("a value is missing or infinite", expected="finite numbers", cure="leave such rows out")
        offset = mean if bool(mean.square().sum() > variance.sum()) else torch.zeros_like(mean)
        if offset.any():  # distances by a matrix product lose digits where all rows are far from the origin
            x = x - offset.to(x.dtype)
        state = _Bounds(x, (start.double() - offset).to(x.dtype), parts, over_parts, world)
        enough = tolerance * float(variance.mean())
        path, measured, settled = [], [], False
        total_square = float(variance.sum() + (mean - offset).square().sum()) * count  # sum_n |x_n|^2
        for _ in range(max_iterations):
            changed = state.assign()  # the assignment step
            movement = state.update()  # the update step (K,)
            path.append(total_square - state.explained())  # inertia = sum_n |x_n|^2 - sum_k n_k |c_k|^2
            measured.append(state.measured)
            settled = not changed
            if settled or float(movement.square().sum()) <= enough:
                break
        if not settled:  # so that the labels belong to the centres
            state.assign()
        inertia = float(world.sum(state.squares().sum()))
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

    def __init__(
        self, x: Tensor, centres: Tensor, parts: list[slice], over_parts: OverParts, world: World = ONE_PROCESS
    ) -> None:
        N, K = len(x), len(centres)
        self.x, self.parts, self.over_parts, self.world = x, parts, over_parts, world
        self.rows = _rows_of_a_block(x, K)
        self.norms = torch.cat(list(over_parts(lambda part: _row_norms(x[part], self.rows), parts)))
        self.largest_norm = float(self.norms.amax()) if len(x) else 0.0
        groups = _groups(centres, wide=x.shape[1] >= ELKAN_COLUMNS)
        self.order = torch.cat(groups)  # the centres stand group by group in here; labels are their places
        self.places = self.order.argsort()
        self.centres, self.sizes = centres[self.order], [len(group) for group in groups]
        self.labels = torch.full((N,), -1, device=x.device)
        self.upper = x.new_full((N,), math.inf)  # u(n) >= |x_n - c_(label n)|
        self.lower = x.new_full((len(self.sizes), N), -math.inf)  # (G, N): l(g, n) <= |x_n - c| of every other c in g
        self.movement = x.new_zeros(K)  # which the bounds have not followed yet
        self.sums = torch.zeros(centres.shape, dtype=torch.float64, device=x.device)  # (K, D)
        self.counts = torch.zeros(K, dtype=torch.int64, device=x.device)
        self.measured = 0

    # -- rows to centres ----------------------------------------------------------------------------------------

    def assign(self) -> bool:
        """Each row to its nearest centre; whether a label changed. Only rows that could have changed are measured."""
        # s(k) = half the distance from c_k to the nearest other centre (Elkan, step 1): a row nearer than that stays.
        gaps = torch.cdist(self.centres.double(), self.centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
        half_gap = 0.5 * gaps.fill_diagonal_(math.inf).amin(1) - self._rounding()  # (K, K) -> (K,)
        self.half_gap, self.half_norms = (
            half_gap.to(self.x.dtype),
            0.5 * self.centres.square().sum(1)[:, None],
        )  # (K, 1)
        self.slack, self.measured, changed = self._slack(), 0, 0
        alone = self.world.size == 1
        sums, counts = (self.sums, self.counts) if alone else (self.sums * 0, self.counts * 0)
        for measured, moves in self.over_parts(self._assign_part, self.parts):
            self.measured += measured
            if moves is not None:
                changed = 1
                sums += moves[0]
                counts += moves[1]
        if not alone:  # what the rows of all processes do to the clusters
            sums, counts, self.measured, changed = self.world.sum((sums, counts, self.measured, changed))
            self.sums += sums
            self.counts += counts
        return bool(changed)

    def _assign_part(self, part: slice) -> tuple[int, tuple[Tensor, Tensor] | None]:
        """The same for some rows: how many were measured, and what their moves do to sums and counts."""
        labels, upper, lower = self.labels[part], self.upper[part], self.lower[:, part]
        if bool((labels[:1] < 0).any()):  # there are no labels yet, nor bounds
            found = torch.arange(len(labels), device=labels.device)
        else:
            # The bounds follow the centres: u grows by how far its own centre moved, l shrinks by the farthest move of
            # its group (Elkan, steps 5 and 6; Yinyang's group filter).
            upper += self.movement[labels]
            lower -= torch.stack([group.amax() for group in self.movement.split(self.sizes)])[:, None]  # (G, 1)
            # The global filter: u(n) < min_g l(g, n), or u(n) < s(label n), leaves the label as it is.
            found = (upper >= torch.maximum(lower.amin(0), self.half_gap[labels])).nonzero()[:, 0]
        if not len(found):
            return 0, None
        x, norms, K = self.x[part], self.norms[part], len(self.centres)
        everything = len(found) > 0.8 * len(x)  # then gathering costs more than it saves
        found = torch.arange(len(x), device=x.device) if everything else found
        distances, gathered = x.new_empty(K * self.rows), x.new_empty(0 if everything else self.rows, x.shape[1])
        moves: tuple[Tensor, Tensor] | None = None
        for place in found.split(self.rows):  # (B,) of the rows that no bound settles
            if everything:
                block = x[int(place[0]) : int(place[0]) + len(place)]
            else:
                block = torch.index_select(x, 0, place, out=gathered[: len(place)])
            # All their distances, by one matrix product.
            out = distances[: K * len(block)].view(K, len(block))  # (K * B,) -> (K, B)
            torch.addmm(self.half_norms, self.centres, block.T, alpha=-1, out=out)  # (|x - c|^2 - |x|^2) / 2, (K, B)
            new, least = self._nearest(out, old := labels[place])
            # Rows that change cluster change its sum and count.
            if len(moved := (new != old).nonzero()[:, 0]):
                moves = (torch.zeros_like(self.sums), torch.zeros_like(self.counts)) if moves is None else moves
                _move(moves, block.index_select(0, moved).double(), old[moved], new[moved])
                labels[place] = new
            # Both bounds are exact again: u the distance to the own centre, l to the nearest other one of each group.
            out.scatter_(0, new[None], math.inf)
            if len(self.sizes) < K:
                out = torch.stack([group.amin(0) for group in out.split(self.sizes)])  # (K, B) -> (G, B)
            norm = norms[place]  # |x|^2, which turns what the product gave into squared distances
            upper[place] = least.mul_(2).add_(norms[place]).add_(self.slack).clamp_min_(0).sqrt_()
            lower.index_copy_(1, place, out.mul_(2).add_(norm).sub_(self.slack).clamp_min_(0).sqrt_())
        return len(found), moves

    def _nearest(self, distances: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        """Label (B,) and distance (B,) of the nearest centre, from distances (K, B) and the labels before."""
        least = distances.amin(0)
        own = distances.gather(0, old.clamp_min(0)[None])[0]  # (K, B) at (1, B) -> (B,)
        nearer = ((own > least) | (old < 0)).nonzero()[:, 0]
        if not len(nearer):
            return old, least
        equal = distances.index_select(1, nearer) == least[nearer]  # (K, M)
        first = self.places[torch.where(equal, self.order[:, None], len(self.order)).amin(0)]  # the lowest number
        return old.index_copy(0, nearer, first), least

    # -- centres to rows ----------------------------------------------------------------------------------------

    def update(self) -> Tensor:
        """Each centre to the mean of its rows; how far each centre moved (K,), float64."""
        sums, counts = self._without_empty()
        centres = (sums / counts[:, None]).to(self.x.dtype)
        movement = (centres.double() - self.centres.double()).norm(dim=1)
        self.centres = centres
        self.movement = (movement + self._rounding()).to(self.x.dtype)
        return movement

    def _without_empty(self) -> tuple[Tensor, Tensor]:
        """Sums and counts, an empty cluster given the row that is farthest from its centre, taken from another."""
        empty = (self.counts == 0).nonzero()[:, 0]
        if not len(empty):
            return self.sums, self.counts
        sums, counts = self.sums.clone(), self.counts.clone()
        # The rows that are farthest from their centres, of all processes: (square, label, row) each, the farthest first.
        squares = self.squares()
        far, rows = squares.topk(min(len(empty), len(squares)))
        mine = [(float(f), int(self.labels[n]), self.x[n].double()) for f, n in zip(far, rows.tolist(), strict=True)]
        farthest = sorted(itertools.chain(*self.world.gather(mine)), key=lambda one: -one[0])
        for cluster, (square, label, row) in zip(empty.tolist(), farthest, strict=False):
            if square == 0:  # there are no more distinct rows than centres that have rows
                break
            sums[label] -= row
            counts[label] -= 1
            sums[cluster], counts[cluster] = row, 1
        if bool((counts == 0).any()):  # for want of rows, or one gave its only row away
            gone, largest = counts == 0, counts.argmax()
            sums[gone], counts[gone] = sums[largest].clone(), counts[largest].clone()
        return sums, counts

    # -- what they amount to ------------------------------------------------------------------------------------

    def explained(self) -> float:
        """sum_k |sum of the rows of k|^2 / n_k: what the centres take from the sum of squares."""
        return float((self.sums.square().sum(1) / self.counts.clamp_min(1)).sum())

    def squares(self) -> Tensor:
        """|x_n - c_(label n)|^2 (N,), float64, by differences."""

        def of(part: slice) -> Tensor:
            blocks = zip(self.x[part].split(self.rows), self.labels[part].split(self.rows), strict=True)
            return torch.cat([(block - self.centres[k]).square().sum(1, dtype=torch.float64) for block, k in blocks])

        return torch.cat(list(self.over_parts(of, self.parts)))

    # -- rounding -----------------------------------------------------------------------------------------------

    def _slack(self) -> float:
        """How far a squared distance may be off that is computed as |x|^2 - 2 x.c + |c|^2."""
        eps = torch.finfo(self.x.dtype).eps
        return 4 * eps * math.sqrt(self.x.shape[1]) * (self.largest_norm + float(self.centres.square().sum(1).amax()))

    def _rounding(self) -> float:
        """How far a bound may be off after it was moved once."""
        eps = torch.finfo(self.x.dtype).eps
        return 4 * eps * (math.sqrt(self.largest_norm) + float(self.centres.norm(dim=1).amax()))


def _move(moves: tuple[Tensor, Tensor], rows: Tensor, old: Tensor, new: Tensor) -> None:
    """Takes rows (M, D) float64 from the sums of their old clusters, if they had one, to those of the new."""
    sums, counts = moves
    sums.index_add_(0, new, rows)
    counts += torch.bincount(new, minlength=len(counts))
    if bool((old >= 0).all()):  # all of a block had labels, or none
        sums.index_add_(0, old, rows, alpha=-1)
        counts -= torch.bincount(old, minlength=len(counts))


OverParts = Callable[[Callable[[slice], Any], list[slice]], Iterable[Any]]


@contextmanager
def _threads(device: torch.device) -> Iterator[OverParts]:
    """A map over parts of rows that uses torch's threads, one operation each, in place of all of them on each operation.

    Operations on a block are short: threads that meet after each of them would wait longer than they work.
    """
    count, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()
    if device.type != "cpu" or count == 1:
        yield map
        return

    def within(function: Callable[[slice], Any], parts: list[slice]) -> Iterator[Any]:
        def task(part: slice) -> Any:
            with torch.inference_mode(inference):  # which a new thread does not know of
                return function(part)

        return pool.map(task, parts)

    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(count, PARTS)) as pool:
            yield within
    finally:
        torch.set_num_threads(count)


def _parts(num_rows: int) -> list[slice]:
    step = max(-(-num_rows // PARTS), 1024)
    firsts = range(0, max(num_rows, 1), step)  # a process may have no rows: that is one part without any
    return [slice(first, min(first + step, num_rows)) for first in firsts]


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


def _moments(x: Tensor, count: int, parts: list[slice], over_parts: OverParts, world: World) -> tuple[Tensor, Tensor]:
    """Mean and variance of each column (D,) over `count` rows of all processes, float64, in two passes over blocks."""
    rows = _rows_of_a_block(x, 1)

    def total(part: slice) -> Tensor:
        return torch.stack([block.sum(0, dtype=torch.float64) for block in x[part].split(rows)]).sum(0)

    mean = world.sum(torch.stack(list(over_parts(total, parts))).sum(0)) / count
    near = mean.to(x.dtype)

    def spread(part: slice) -> Tensor:
        return torch.stack([(b - near).square().sum(0, dtype=torch.float64) for b in x[part].split(rows)]).sum(0)

    return mean, world.sum(torch.stack(list(over_parts(spread, parts))).sum(0)) / count


def _row_norms(x: Tensor, rows: int) -> Tensor:
    return torch.cat([block.square().sum(1) for block in x.split(rows)])


def _check(x: Tensor, start: Tensor, count: int) -> None:
    if x.dim() != 2 or start.dim() != 2 or x.shape[1:] != start.shape[1:] or not len(start):
        raise UserError(
            "rows and centres do not fit",
            expected="x (N, D) and start (K, D), K of 1 or more",
            found=f"{tuple(x.shape)} and {tuple(start.shape)}",
        )
    if x.dtype not in (torch.float32, torch.float64):
        raise UserError("k-means needs float32 or float64", found=x.dtype, cure="x.float()")
    if count < len(start):
        raise UserError("there are fewer rows than clusters", expected=f"{len(start)} or more", found=count)


TOPICS = (Topic("Clustering: k-means from k-means++", code=("lloyd",)),)
