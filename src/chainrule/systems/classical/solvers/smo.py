"""Sequential minimal optimisation: the dual problem of the support vector machine, two variables at a time.

The dual of the two-class machine, written in b_i = y_i alpha_i, which makes the constraints those of an interval each
and one sum:

    minimise   F(b) = 1/2 b' K b - y' b
    where      sum_i b_i = 0,   0 <= y_i b_i <= C_i

Shapes: N rows, Q of them in a working set. f = dF/db = K b - y, (N,).

Because the b_i sum to a constant, no less than two can move: one goes up by t, another goes down by t. Along that
line F is a parabola whose minimum is known. `smo` repeats this on a kernel matrix that is at hand; it is the algorithm
of the textbooks. `smo_in_blocks` is for matrices too large for that: it picks Q rows, solves their problem by the same
pairs, and carries the change into f by one matrix product: decomposition, with a cache of kernel rows. There is no
shrinking; a row that never violates optimality is never looked up. Both end by the rule of LIBSVM.
In the papers' words: `up` is I_up, `down` I_low, f_i is y_i G_i, and a pair (i, j) is the working set B.

Sources:
- Platt: Fast training of support vector machines using sequential minimal optimization, 1998.
- Keerthi, Shevade, Bhattacharyya, Murthy: Improvements to Platt's SMO algorithm, Neural Computation 13, 2001: the
  stopping rule by two thresholds.
- Fan, Chen, Lin: Working set selection using second order information, JMLR 6, 2005: the second variable of a pair.
- Joachims: Making large-scale SVM learning practical, 1999; Wen et al.: ThunderSVM, JMLR 19, 2018: blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite

FLAT = 1e-12  # the curvature that stands for none: equal rows, or a kernel that is no inner product (LIBSVM's TAU)
ENDLESS = 10_000_000  # pair steps
WORKING_SET = 256  # rows a block
CREEPING = 20  # pairs a row of a block after which its free variables are moved together
JOINT_STEPS = 10  # such moves in a row at most, each of which ends at a bound but the last

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DualSolution:
    """What SMO found.

    `coef` (N,) are b_i = y_i alpha_i, float64; `bias` makes the decision sum_i coef_i k(x_i, x) + bias; `objective` is
    F, the negative of the dual's value; `violation` is what the stopping rule compares with the tolerance; `steps`
    counts pairs; `objective_path` is F at the start and after each block; `converged` says whether the violation fell below the
    tolerance.
    """

    coef: Tensor
    bias: float
    objective: float
    violation: float
    steps: int
    converged: bool
    objective_path: list[float] = field(default_factory=list)


def smo(kernel: Tensor, y: Tensor, upper: Tensor, *, tol: float = 1e-3, max_steps: int = ENDLESS) -> DualSolution:
    """Solves the dual on a kernel matrix that is at hand, pair by pair.

    Args:
        kernel: k(x_i, x_j), (N, N), symmetric.
        y: the classes as +1 and -1, (N,); both must occur.
        upper: C_i, the bound of alpha_i, (N,), above 0.
        tol: the largest violation of the optimality conditions at which it stops.
        max_steps: pairs to try at most.

    Raises:
        UserError: for shapes that do not fit, values of y other than +1 and -1, one class alone, bounds that are
            not above zero, a matrix with entries that are NaN or infinite.

    Source: Fan, Chen, Lin 2005, algorithm 2 (WSS 2).

    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [3.0]])
    >>> found = smo(x @ x.T, torch.tensor([-1.0, -1.0, 1.0, 1.0]), torch.full((4,), 10.0))
    >>> found.coef, found.bias  # the margin is between -1 and 1: w = 0.5 * 1 + 0.5 * 1
    (tensor([ 0.0000, -0.5000,  0.5000,  0.0000], dtype=torch.float64), 0.0)
    """
    if kernel.ndim != 2 or kernel.shape != (len(y), len(y)):
        raise UserError("the kernel matrix does not fit y", expected=(len(y), len(y)), found=tuple(kernel.shape))
    _check(y, upper)
    matrix = _numbers(kernel)
    sign = _numbers(y)
    bound = sign * _numbers(upper)
    b, f = np.zeros_like(sign), -sign
    steps = pair_steps(matrix, b, f, np.minimum(bound, 0), np.maximum(bound, 0), tol=tol, max_steps=max_steps)
    return _solution(torch.from_numpy(b), torch.from_numpy(f), y.double().cpu(), upper.double().cpu(), steps, tol, [])


def pair_steps(kernel: Floats, b: Floats, f: Floats, low: Floats, high: Floats, *, tol: float, max_steps: int) -> int:
    """Moves pairs of b until no pair violates optimality by `tol`, in place; gives the number of pairs.

    Args:
        kernel: (Q, Q).
        b: where it starts, (Q,), within the bounds; changed in place.
        f: the gradient there, (Q,); changed in place. It may hold what other, fixed variables add.
        low, high: the interval of each variable, (Q,).
        tol, max_steps: when to stop.

    With up = {b < high} and down = {b > low}, b is optimal when no f of down is above an f of up. The pair is
    i = argmin f over up, and j in down which lets F fall the most, (f_j - f_i)^2 / (2 eta), eta = K_ii + K_jj - 2 K_ij.
    """
    # 1 / a_ij, a_ij = K_ii + K_jj - 2 K_ij: the curvature along each pair, tau where there is none (Fan, Chen, Lin, (6)).
    diagonal = kernel.diagonal()  # (Q,)
    gain = 1.0 / np.maximum(diagonal[:, None] + diagonal - 2.0 * kernel, FLAT)  # (Q, Q)
    not_up = np.where(b < high, 0.0, np.inf)  # added to f, it takes a variable out of the choice
    not_down = np.where(b > low, 0.0, -np.inf)
    scratch = np.empty_like(f)
    least, most = low.tolist(), high.tolist()  # Python's numbers: a scalar of an array costs more than the arithmetic
    for step in range(max_steps):
        # Working set selection (WSS 2): i is the maximal violator, the least f over I_up.
        i = int(np.add(f, not_up, out=scratch).argmin())
        lowest = float(scratch[i])
        # The stopping rule: no f of I_low is above that by tol, m(b) - M(b) < tol.
        np.add(f, not_down, out=scratch)
        scratch -= lowest
        if scratch.max() < tol:
            return step
        # j is the partner in I_low that lets F fall the most, by second order: (f_j - f_i)^2 / a_ij.
        np.maximum(scratch, 0.0, out=scratch)
        scratch *= scratch
        scratch *= gain[i]
        j = int(scratch.argmax())

        # The two-variable problem: the minimum of the parabola along b_i + t, b_j - t, clipped to the box (Platt).
        b_i, b_j = float(b[i]), float(b[j])
        t = min((float(f[j]) - lowest) * float(gain[i, j]), most[i] - b_i, b_j - least[j])
        b_i = most[i] if t == most[i] - b_i else b_i + t  # exactly at the bound, so that comparisons hold
        b_j = least[j] if t == b_j - least[j] else b_j - t
        if b_i == b[i] and b_j == b[j]:  # the step is below the last digit of both
            return step
        b[i], b[j] = b_i, b_j
        # The gradient follows, f += t (K_i - K_j); then I_up and I_low, as a variable met its bound or left it.
        np.subtract(kernel[i], kernel[j], out=scratch)
        scratch *= t
        f += scratch
        not_up[i] = 0.0 if b_i < most[i] else np.inf
        not_down[i] = 0.0
        not_down[j] = 0.0 if b_j > least[j] else -np.inf
        not_up[j] = 0.0
    return max_steps


def solve_block(kernel: Floats, b: Floats, f: Floats, low: Floats, high: Floats, *, tol: float, max_steps: int) -> int:
    """`pair_steps`, helped where pairs creep: each moves along an axis pair, and a narrow valley takes very many.

    After CREEPING pairs a row without an end, the free variables move together by Newton's method, then pairs continue.
    Arguments and what comes back are those of `pair_steps`.
    """
    steps, patience = 0, CREEPING * len(b)
    while True:
        most = min(patience, max_steps - steps)
        taken = pair_steps(kernel, b, f, low, high, tol=tol, max_steps=most)
        steps += taken
        if taken < most or steps == max_steps:
            return steps
        for _ in range(JOINT_STEPS):
            if not joint_step(kernel, b, f, low, high):
                break


def joint_step(kernel: Floats, b: Floats, f: Floats, low: Floats, high: Floats) -> bool:
    """Moves all free variables to where F is least along Newton's direction, in place; says whether one hit its bound.

    The direction d solves (K + r I) d + m 1 = -f, sum d = 0, on the variables strictly between their bounds; r is tiny
    beside K and lets equal rows be. Nothing moves where F does not fall that way, as a kernel that is no inner product
    can have it.
    """
    free = np.flatnonzero((b > low) & (b < high))  # free support vectors, V of them
    if len(free) < 2:
        return False
    # Newton's direction under sum d = 0: solve for -f and for 1, and mix them so that the sum vanishes.
    k = kernel[np.ix_(free, free)]  # (V, V)
    task = k + max(1e-12 * float(np.abs(k.diagonal()).max()), FLAT) * np.eye(len(free))
    both = np.linalg.solve(task, np.stack([-f[free], np.ones(len(free))], 1))  # (V, 2)
    direction = both[:, 0] - both[:, 1] * (both[:, 0].sum() / both[:, 1].sum())
    direction -= direction.mean()
    slope, curvature = float(f[free] @ direction), float(direction @ k @ direction)
    if not (slope < 0 and np.isfinite(direction).all()):
        return False
    # How far each may go until it meets its bound; the first that does ends the step, if F is not least before.
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(direction > 0, (high[free] - b[free]) / direction, (low[free] - b[free]) / direction)
    room[direction == 0] = np.inf
    nearest = int(room.argmin())
    best = -slope / curvature if curvature > 0 else np.inf
    t = min(best, float(room[nearest]))
    moved = np.clip(b[free] + t * direction, low[free], high[free])
    hit = t < best
    if hit:
        moved[nearest] = (high if direction[nearest] > 0 else low)[free[nearest]]
    f += kernel[:, free] @ (moved - b[free])  # (Q, V) @ (V,)
    b[free] = moved
    return hit


class RowCache:
    """Rows of a kernel matrix, computed when they are asked for; those not asked for the longest make room for new ones.

    Args:
        compute: from indices (M,) to rows (M, N).
        num_rows: N.
        capacity: how many rows it holds.

    >>> x = torch.arange(3.0)[:, None]
    >>> cache = RowCache(lambda index: x[index] @ x.T, 3, capacity=2)
    >>> cache(np.array([2]))
    tensor([[0., 2., 4.]])
    """

    def __init__(self, compute: Callable[[Tensor], Tensor], num_rows: int, capacity: int) -> None:
        self.compute = compute
        self.slot_of: NDArray[np.int64] = np.full(num_rows, -1)
        self.row_in: NDArray[np.int64] = np.full(capacity, -1)
        self.last_used: NDArray[np.int64] = np.zeros(capacity, np.int64)
        self.calls = 0
        self.store: Tensor | None = None  # made by the first call, which knows type and device

    def __call__(self, index: NDArray[np.int64]) -> Tensor:
        """The rows (M, N) of M different indices, at most `capacity`."""
        self.calls += 1
        slots = self.slot_of[index]
        self.last_used[slots[slots >= 0]] = self.calls
        missing = index[slots < 0]
        if len(missing):
            fresh = self.compute(torch.from_numpy(missing))  # (missing, N)
            if self.store is None:
                self.store = fresh.new_empty(len(self.row_in), len(self.slot_of))
            # The slots of the rows that nobody has asked for the longest (least recently used) are taken.
            taken = np.argsort(self.last_used, kind="stable")[: len(missing)]
            evicted = self.row_in[taken]
            self.slot_of[evicted[evicted >= 0]] = -1
            self.store[torch.from_numpy(taken)] = fresh
            self.row_in[taken], self.slot_of[missing], self.last_used[taken] = missing, taken, self.calls
        assert self.store is not None
        return self.store[torch.from_numpy(self.slot_of[index])]


def smo_in_blocks(
    rows: Callable[[Tensor], Tensor],
    y: Tensor,
    upper: Tensor,
    *,
    tol: float = 1e-3,
    working_set: int = WORKING_SET,
    cache_bytes: float = 200e6,
    max_steps: int = ENDLESS,
) -> DualSolution:
    """Solves the dual without the whole kernel matrix: `smo` on the rows that violate optimality the most.

    A block is up to half new rows, the worst violators, and rows of the block before, which keeps it from going back
    and forth. Its problem is solved on the processor, where a pair takes microseconds; the kernel rows and the gradient
    are matrix products on the device of the rows. Memory: the cache, a copy of one block's rows, and vectors of N.

    Args:
        rows: from indices (M,) to those rows of the kernel matrix, (M, N), float32 or float64; sums over them are
            taken in float64.
        y: the classes as +1 and -1, (N,); both must occur.
        upper: C_i, the bound of alpha_i, (N,), above 0.
        tol: the largest violation at which it stops.
        working_set: Q, rows of a block, at least 2.
        cache_bytes: what rows of the kernel matrix may take in memory; a block's rows are kept in any case.
        max_steps: pairs to try at most.

    Raises:
        UserError: as `smo`.

    >>> x = torch.tensor([[-2.0], [-1.0], [1.0], [3.0]])
    >>> found = smo_in_blocks(lambda i: x[i] @ x.T, torch.tensor([-1.0, -1.0, 1.0, 1.0]), torch.full((4,), 10.0))
    >>> found.coef, found.converged
    (tensor([ 0.0000, -0.5000,  0.5000,  0.0000], dtype=torch.float64), True)
    """
    _check(y, upper)
    if working_set < 2:
        raise UserError("a working set needs two rows to move a pair", expected="2 or more", found=working_set)
    sign, bound = y.double().cpu(), upper.double().cpu()
    low, high = (sign * bound).clamp(max=0.0), (sign * bound).clamp(min=0.0)
    b, f = torch.zeros_like(sign), -sign
    one_row = rows(torch.tensor([0]))
    size = min(working_set, len(y)) if len(y) > 2 * working_set else len(y)  # a little more than a block is one block
    fit = int(cache_bytes // (one_row.element_size() * len(y)))
    cache = RowCache(rows, len(y), max(size, min(fit, len(y))))
    held, steps, path = np.empty(0, np.int64), 0, [0.0]
    while steps < max_steps:
        # The stopping rule over all rows: the largest violation.
        up, down = b < high, b > low  # I_up, I_low
        worst = violation_of(f, up, down)
        if worst < tol:
            break
        # The working set, and its kernel rows, from the cache where they are.
        held = _next_block(f.numpy(), up.numpy(), down.numpy(), held, size)
        block = torch.from_numpy(held)
        k = cache(held)  # (Q, N)
        # Its own dual problem, all other variables fixed: their part of the gradient is in f.
        before = b[block]
        part_b, part_f = before.numpy().copy(), f[block].numpy().copy()
        taken = solve_block(
            _numbers(k[:, block.to(k.device)]),  # (Q, Q)
            part_b,
            part_f,
            low[block].numpy(),
            high[block].numpy(),
            tol=tol if size == len(y) else max(0.5 * tol, 0.1 * worst),
            max_steps=max_steps - steps,
        )
        change = torch.from_numpy(part_b) - before
        moved = change.nonzero()[:, 0]
        if not len(moved):  # the arithmetic has no digits left for this block
            break
        # The gradient of all rows follows what moved.
        steps += taken
        b[block] += change
        f += (change[moved].to(k.device) @ k[moved.to(k.device)].double()).cpu()  # (M,) @ (M, N)
        path.append(expect_finite(_objective(b, f, sign), "SMO", steps))
    return _solution(b, f, sign, bound, steps, tol, path)


def violation_of(f: Tensor, up: Tensor, down: Tensor) -> float:
    """How far f is from optimal: the largest of `down` minus the smallest of `up`; -inf where one of them is empty."""
    return float(f.where(down, -math.inf).max() - f.where(up, math.inf).min())


def _next_block(
    f: Floats, up: NDArray[np.bool_], down: NDArray[np.bool_], held: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Indices of the next block (Q,): the worst violators of either side, then what the last block held."""
    if size == len(f):
        return np.arange(size)
    new = size // 2 if len(held) else size
    f_up, f_down = np.where(up, f, np.inf), np.where(down, f, -np.inf)
    lowest, highest = f_up.min(), f_down.max()
    first = np.argsort(f_up, kind="stable")[: (new + 1) // 2]
    first = first[f_up[first] < highest]  # the others gain nothing from any partner
    last = np.argsort(-f_down, kind="stable")[: (new + 1) // 2]
    last = last[f_down[last] > lowest]
    chosen = np.concatenate(
        [np.stack([first[: len(last)], last[: len(first)]], 1).ravel(), first[len(last) :], last[len(first) :], held]
    )
    _, places = np.unique(chosen, return_index=True)  # a row can be on both sides, and in the last block
    return chosen[np.sort(places)][:size]


def _objective(b: Tensor, f: Tensor, y: Tensor) -> float:
    return float(0.5 * b @ (f - y))  # K b = f + y


def _solution(
    b: Tensor, f: Tensor, y: Tensor, upper: Tensor, steps: int, tol: float, path: list[float]
) -> DualSolution:
    """Bias and objective: f + bias is 0 on free variables, so the bias is minus their mean; else between the bounds."""
    size = b * y
    up, down = torch.where(y > 0, size < upper, size > 0), torch.where(y > 0, size > 0, size < upper)
    free = up & down
    level = f[free].mean() if free.any() else (f[down].max() + f[up].min()) / 2
    worst = violation_of(f, up, down)
    return DualSolution(b, -float(level) + 0.0, _objective(b, f, y), worst, steps, worst < tol, path)


def _check(y: Tensor, upper: Tensor) -> None:
    if y.ndim != 1 or upper.shape != y.shape:
        raise UserError(
            "y and its bounds do not fit", expected="both (N,)", found=f"{tuple(y.shape)} and {tuple(upper.shape)}"
        )
    values = set(y.unique().tolist())
    if values != {1.0, -1.0}:
        raise UserError("the classes of the dual are two", expected="+1 and -1, both", found=sorted(values))
    if not bool(((upper > 0) & upper.isfinite()).all()):
        raise UserError("the bounds of alpha are out of range", expected="numbers above 0", found=float(upper.min()))


def _numbers(values: Tensor) -> Floats:
    """As float64 on the processor; an error where one is NaN or infinite."""
    result: Floats = values.detach().double().cpu().numpy()
    if not np.isfinite(result).all():
        raise UserError(
            "the kernel has entries that are not finite",
            expected="numbers",
            found="nan or infinity",
            cure="scale the features; a smaller gamma or degree",
        )
    return result


TOPICS = (Topic("Support vector machine, kernels, SMO", code=("smo",)),)
