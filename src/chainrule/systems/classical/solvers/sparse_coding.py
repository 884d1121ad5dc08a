"""Sparse coding: codes of rows over a dictionary, and the dictionary itself, each by coordinate descent.

Both halves minimise 1/2 |X - U V|^2 + alpha |U|_1 over codes U (N, K) and atoms V (K, D) of length 1 at most.

Shapes: N rows, D columns, K atoms.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite

UNUSED = 1e-6  # an atom whose codes have a smaller sum of squares is hardly ever used
SWEEPS_A_STEP = 4
SYSTEMS_AT_ONCE = 1024
SETTLED = 1e-10  # of alpha / rho: codes that move by less in a step are where they stay


def sparse_codes(
    x: Tensor,
    atoms: Tensor,
    alpha: float,
    *,
    start: Tensor | None = None,
    tolerance: float = 1e-6,
    max_sweeps: int = 1000,
) -> Tensor:
    """The codes u (N, K) that minimise 1/2 |x - u V|^2 + alpha |u|_1, a row at a time, by cyclic coordinate descent.

    Coordinate k of a row moves to its best value while the others stand: with G = V V^T,
    u_k = soft(x.v_k - sum_(j != k) u_j G_jk, alpha) / G_kk. All rows do so at once, and a row leaves when it is done.
    After every few sweeps the codes that are not zero take a step together.

    Args:
        x: rows (N, D).
        atoms: V (K, D), of any lengths; an atom that is zero gets the code zero.
        alpha: the price of a unit of code, above 0.
        start: codes to begin from (N, K); zeros if none.
        tolerance: a row is done when its duality gap is below this times 1/2 |x|^2.
        max_sweeps: most passes over the atoms; a ConvergenceWarning says where they were not enough.

    Source: Wu and Lange: Coordinate descent algorithms for lasso penalized regression, 2008; the gap is that of Kim et al.,
    An interior-point method for large-scale l1-regularized least squares, 2007, section III.

    >>> sparse_codes(torch.tensor([[3.0, 0.5]]), torch.eye(2), 1.0).tolist()
    [[2.0, 0.0]]
    """
    if x.dim() != 2 or atoms.dim() != 2 or x.shape[1] != atoms.shape[1]:
        raise UserError(
            "rows and atoms do not fit",
            expected="x (N, D) and atoms (K, D)",
            found=f"{tuple(x.shape)} and {tuple(atoms.shape)}",
        )
    if not alpha > 0:
        raise UserError("alpha is out of range", expected="a number above 0", found=alpha)
    gram = atoms @ atoms.T  # (K, K)
    norms = gram.diagonal()
    correlation = atoms @ x.T  # (K, N)
    codes = torch.zeros_like(correlation) if start is None else start.T.clone()
    codes[norms == 0] = 0
    squares = x.square().sum(1)
    expect_finite(float(squares.detach().sum()), "the square of the rows")
    left, u, rest = torch.arange(len(x), device=x.device), codes.clone(), correlation - gram @ codes
    usable = (norms > 0).nonzero()[:, 0].tolist()
    for sweep in range(1, max_sweeps + 1):
        for k in usable:
            old = u[k]
            new = torch.nn.functional.softshrink(rest[k] + norms[k] * old, alpha) / norms[k]
            rest.addr_(gram[k], new - old, alpha=-1)
            u[k] = new
        if sweep % SWEEPS_A_STEP == 0:
            u = _towards_signed_optimum(u, rest, gram, alpha)
            rest = correlation[:, left] - gram @ u  # anew: the moves of many sweeps leave rounding behind
        done = _gap(u, rest, correlation[:, left], squares[left], alpha) <= tolerance * 0.5 * squares[left]
        if bool(done.any()):
            codes[:, left[done]] = u[:, done]
            left, u, rest = left[~done], u[:, ~done], rest[:, ~done]
            if not len(left):
                return codes.T
    warnings.warn(
        f"{len(left)} of {len(x)} codes were not done after {max_sweeps} sweeps; scale the atoms, or choose a larger alpha or tolerance",
        ConvergenceWarning,
        stacklevel=2,
    )
    codes[:, left] = u
    return codes.T


def _towards_signed_optimum(u: Tensor, rest: Tensor, gram: Tensor, alpha: float) -> Tensor:
    """Codes u (K, N) after one step on their supports S: to where the objective is least while signs stay, or to the first zero.

    The step solves G_SS d = rest_S - alpha sign(u_S). Coordinate descent finds supports soon and then creeps; once a support
    is right this is the answer, and where it is too large a code drops out. The objective never rises.
    Source: Lee, Battle, Raina, Ng: Efficient sparse coding algorithms, 2006, algorithm 1.
    """
    moved = []
    ridge = 10 * torch.finfo(u.dtype).eps * gram.diagonal().max()  # for supports whose atoms depend on each other
    for part, left in zip(u.split(SYSTEMS_AT_ONCE, 1), rest.split(SYSTEMS_AT_ONCE, 1), strict=True):
        width = int((part != 0).sum(0).max())  # S is padded to the largest support, with equations d = 0
        within, support = (part != 0).T.to(torch.uint8).topk(width, dim=1)  # (N, S)
        within, now = within.to(u.dtype), part.T.gather(1, support)
        systems = gram[support[:, :, None], support[:, None, :]] * within[:, :, None] * within[:, None, :]
        systems = systems + torch.diag_embed(1 - within + ridge)
        downhill = within * (left.T.gather(1, support) - alpha * now.sign())
        step = torch.linalg.solve_ex(systems, downhill[:, :, None])[0][:, :, 0].nan_to_num(0.0, 0.0, 0.0)
        reach = torch.where(step * now < 0, -now / step, torch.inf)  # how much of the step takes a code to zero
        share = reach.amin(1, keepdim=True).clamp_max(1)
        moved.append(
            torch.zeros_like(part.T).scatter(1, support, torch.where(reach <= share, 0.0, now + share * step)).T
        )
    return torch.cat(moved, 1)


def _gap(u: Tensor, rest: Tensor, correlation: Tensor, squares: Tensor, alpha: float) -> Tensor:
    """Primal less dual objective of each row (N,), the dual at the residual scaled into |V r|_inf <= alpha.

    With r = x - u V: V r = rest, |r|^2 = |x|^2 - u.(correlation + rest), x.r = |x|^2 - u.correlation.
    """
    fitted = (u * correlation).sum(0)
    residual = (squares - fitted - (u * rest).sum(0)).clamp_min(0)
    scale = (alpha / rest.abs().amax(0)).clamp_max(1)
    primal = 0.5 * residual + alpha * u.abs().sum(0)
    return primal - (scale * (squares - fitted) - 0.5 * scale.square() * residual)


def admm_codes(x: Tensor, atoms: NDArray[np.float64], alpha: float, *, rho: float, most_steps: int = 50_000) -> Tensor:
    """What `sparse_codes` gives, by one loop without a branch inside, as a program that is exported can hold it.

    The alternating direction method of multipliers, over-relaxed by 1.6: u = (x V^T + rho (z - w)) (V V^T + rho I)^-1,
    a = 1.6 u - 0.6 z, z <- soft(a + w, alpha / rho), w <- w + a - z. How many steps it takes depends on rho, whose best
    value is about alpha over the size of the codes, and on how alike the atoms are: it ends when no code moves any more.

    Args:
        x: rows (N, D).
        atoms: V (K, D), a constant of the program.
        alpha: the price of a unit of code.
        rho: above 0.
        most_steps: most steps.

    Source: Boyd et al.: Distributed optimization and statistical learning via the alternating direction method of multipliers,
    2011, sections 6.4 and 3.4.3.

    >>> admm_codes(torch.tensor([[3.0, 0.5]]).double(), np.eye(2), 1.0, rho=0.5).round(decimals=6).tolist()
    [[2.0, 0.0]]
    """
    inverse = np.linalg.inv(atoms @ atoms.T + rho * np.eye(len(atoms)))
    identity, pull = np.eye(len(atoms)), 1.6 * rho * inverse

    def constant(value: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(value, dtype=x.dtype, device=x.device)

    # With s = a + w: w is s held to +-alpha/rho, z = s - w, and the next s is linear in s and w.
    from_s, from_w, always = (
        constant(pull - 0.6 * identity),
        constant(1.6 * identity - 2 * pull),
        x @ constant(1.6 * atoms.T @ inverse),
    )
    enough = SETTLED * alpha / rho

    def moves(step: Tensor, s: Tensor, w: Tensor, moved: Tensor) -> Tensor:
        return (step < most_steps) & (moved > enough)

    def move(step: Tensor, s: Tensor, w: Tensor, moved: Tensor) -> tuple[Tensor, ...]:
        after = always + s @ from_s + w @ from_w
        return step + 1, after, after.clamp(-alpha / rho, alpha / rho), (after - s).abs().max()

    state = torch.tensor(0), torch.zeros_like(always), torch.zeros_like(always), x.new_full((), torch.inf)
    if torch.compiler.is_exporting():
        from torch._higher_order_ops.while_loop import while_loop

        state = while_loop(moves, move, state)
    else:
        while moves(*state):
            state = move(*state)  # type: ignore[assignment]
    return state[1] - state[2]


def update_atoms(x: Tensor, codes: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
    """One pass of block coordinate descent over the atoms; the atoms (K, D) and codes (N, K) after it.

    v_k <- v_k + (B_k - A_k V) / A_kk, then scaled down to length 1 if it is longer, with A = U^T U and B = U^T X. Atoms that
    are hardly ever used become rows of x, taken at equal steps from the first to the last, at length 1; their codes become zero.

    Args:
        x: rows (N, D).
        codes: U (N, K).
        atoms: V (K, D).

    Source: Mairal, Bach, Ponce, Sapiro: Online dictionary learning for sparse coding, 2009, algorithm 2.

    >>> update_atoms(torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0]]), torch.tensor([[0.0, 1.0]]))[0].tolist()
    [[1.0, 0.0]]
    """
    A, B = codes.T @ codes, codes.T @ x
    used = A.diagonal() > UNUSED
    atoms, codes = atoms.clone(), codes * used
    for k in used.nonzero()[:, 0].tolist():
        atoms[k] += (B[k] - A[k] @ atoms) / A[k, k]
        atoms[k] /= atoms[k].norm().clamp_min(1)
    unused = (~used).nonzero()[:, 0]
    steps = torch.linspace(0, len(x) - 1, len(unused), dtype=torch.float64).round().long().to(x.device)
    taken = x[steps]
    atoms[unused] = taken / taken.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    return atoms, codes


def coding_objective(x: Tensor, codes: Tensor, atoms: Tensor, alpha: float) -> float:
    """1/2 |X - U V|^2 + alpha |U|_1.

    >>> coding_objective(torch.tensor([[3.0]]), torch.tensor([[2.0]]), torch.tensor([[1.0]]), 0.5)
    1.5
    """
    return float(0.5 * (x - codes @ atoms).square().sum() + alpha * codes.abs().sum())


TOPICS = (Topic("Sparse coding", code=("sparse_codes",)),)
