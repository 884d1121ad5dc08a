"""Whether hyperplanes can tell classes apart: answered by linear programming, with a proof either way.

Shapes: N rows, D columns, K classes; x~ is a row with a 1 appended.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import RunFailed, UserError

Separation = Literal["complete", "quasi-complete", "none"]
TINY = 1e-6  # what a linear programme's answer, of size 1, may be off


def separation(x: Tensor, y: Tensor) -> Separation:
    """How far linear scores w_k . x~ can separate the classes: the largest score is the right class's ...

    - `complete`: of every row, strictly. A perceptron converges; an unpenalised likelihood has no maximum.
    - `quasi-complete`: of every row but for ties, and of some strictly. There the likelihood has no maximum either.
    - `none`: only where all scores tie on all rows.

    Maximises sum_i t_i over 0 <= t_i <= 1 with (w_y - w_k) . x~_i >= t_i for every other class k, which scales to t_i = 1
    wherever t_i > 0 is possible; on a part of the rows that grows by those which the weights found get wrong.

    Args:
        x: rows (N, D).
        y: their classes (N,), any numbers.

    Raises:
        UserError: a value is not finite, or shapes do not fit.

    Source: Albert and Anderson: On the existence of maximum likelihood estimates in logistic regression models,
    Biometrika 71, 1984; Konis: Linear programming algorithms for detecting separated data, 2007, section 4.

    >>> corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> separation(corners, torch.tensor([0, 0, 0, 1])), separation(corners, torch.tensor([0, 1, 1, 0]))
    ('complete', 'none')
    """
    return _separation(x, y, complete_only=False)


def separable(x: Tensor, y: Tensor) -> bool:
    """Whether `separation` is complete: for two classes, whether one threshold unit can compute y from x.

    >>> corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> {name: separable(corners, torch.tensor(y)) for name, y in {"and": [0, 0, 0, 1], "xor": [0, 1, 1, 0]}.items()}
    {'and': True, 'xor': False}
    """
    return _separation(x, y, complete_only=True) == "complete"


def shared_point(x: Tensor, y: Tensor) -> Tensor | None:
    """A proof that two classes cannot be separated: weights (N,) by which both classes average to one point.

    The weights of each class are a distribution, and sum_n weight_n x_n is the same for both classes: a point of both
    convex hulls, on which no hyperplane can have both on their own sides. None where there is no such point.

    Args:
        x: rows (N, D).
        y: their classes (N,), two different numbers.

    Source: Minsky and Papert: Perceptrons, 1969, chapter 2, for the argument; Farkas' lemma.

    >>> corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> shared_point(corners, torch.tensor([0, 1, 1, 0])).tolist()
    [0.5, 0.5, 0.5, 0.5]
    >>> shared_point(corners, torch.tensor([0, 0, 0, 1])) is None
    True
    """
    from scipy.optimize import linprog

    rows, codes, num_classes = _checked(x, y)
    if num_classes != 2:
        raise UserError("a shared point is of two classes", where="y", expected="2 classes", found=num_classes)
    sign = np.where(codes == 1, 1.0, -1.0)
    sums = np.stack([codes == 0, codes == 1]).astype(float)
    found = linprog(
        np.zeros(len(rows)),
        A_eq=np.concatenate([(rows * sign[:, None]).T, sums]),
        b_eq=np.concatenate([np.zeros(rows.shape[1]), [1.0, 1.0]]),
        bounds=(0, None),
        method="highs",
    )
    if found.status == 2:  # infeasible
        return None
    _expect(found)
    return torch.from_numpy(found.x).to(x.device)


def hard_margin(x: Tensor, sign: Tensor) -> tuple[Tensor, float]:
    """The unit vector w (D,) whose least margin min_n sign_n w . x_n is largest, and that margin, in float64.

    w solves: minimise |w|^2 subject to sign_n w . x_n >= 1, a least-distance problem, by non-negative least squares. The
    hyperplane passes through the origin; append a column of ones to the rows for one that need not.

    Args:
        x: rows (N, D).
        sign: 1 or -1 (N,).

    Raises:
        UserError: no such hyperplane separates the rows.

    Source: Lawson and Hanson: Solving Least Squares Problems, 1974, chapter 23, section 4 (LDP).

    >>> w, margin = hard_margin(torch.tensor([[3.0, 4.0], [-6.0, -8.0]]), torch.tensor([1, -1]))
    >>> [round(v, 6) for v in w.tolist()], round(margin, 6)
    ([0.6, 0.8], 5.0)
    """
    from scipy.optimize import nnls

    signed = (x.double().cpu() * sign.double().cpu()[:, None]).numpy()
    largest = float(np.abs(signed).max(initial=0.0))
    failed = UserError(
        "no hyperplane through the origin separates the rows",
        expected="two linearly separable classes",
        cure="append a column of ones, or see chainrule.systems.linear.separability.separation",
    )
    if not largest > 0:
        raise failed
    target = np.append(np.zeros(x.shape[1]), 1.0)
    matrix = np.concatenate([signed.T / largest, np.ones((1, len(signed)))])
    dual, _ = nnls(matrix, target, maxiter=max(1000, 10 * len(signed)))
    rest = matrix @ dual - target
    w = rest[:-1]
    length = float(np.linalg.norm(w))
    margin = float((signed @ w).min()) / length if length > 0 else 0.0
    if not margin > 1e-10 * largest:
        raise failed
    return torch.from_numpy(w / length).to(x.device), margin


def _separation(x: Tensor, y: Tensor, *, complete_only: bool) -> Separation:
    rows, codes, num_classes = _checked(x, y)
    if num_classes < 2:
        raise UserError("there is only one class", where="y", expected="two at least")
    rows = rows - rows.mean(0)  # what can be separated does not change by it; the programme's numbers become of size 1
    scale = np.abs(rows).max(0, initial=0.0)
    rows = np.concatenate([rows / np.where(scale > 0, scale, 1.0), np.ones((len(rows), 1))], 1)
    order = np.random.default_rng(0).permutation(len(rows))
    chosen = np.sort(order[: 4 * rows.shape[1] * num_classes])
    rank = int(np.linalg.matrix_rank(rows))
    while True:
        weights, strict = _programme(rows[chosen], codes[chosen], num_classes)
        if not strict.all() and complete_only:
            return "none"
        margins = _margins(rows, codes, weights)
        wrong = margins < (1.0 - TINY if strict.all() else -TINY)
        if not strict.any() and np.linalg.matrix_rank(rows[chosen]) == rank:
            return "none"  # all scores tie on rows that span the others
        if strict.any() and not wrong.any():
            return "complete" if strict.all() else "quasi-complete"
        candidates = np.setdiff1d(np.flatnonzero(wrong) if strict.any() else order, chosen)
        if not len(candidates):
            raise RunFailed("the linear programme's answer is too rough to tell whether the classes are separable")
        worst = candidates[np.argsort(margins[candidates], kind="stable")] if strict.any() else candidates
        chosen = np.union1d(chosen, worst[: len(chosen)])


def _programme(
    rows: NDArray[np.float64], codes: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Weights (K, D + 1) with the largest sum of t, and whether each row has t > 0."""
    import scipy.sparse
    from scipy.optimize import linprog

    N, D1 = rows.shape
    blocks = []
    if num_classes == 2:  # one difference of weights says it all
        variables = D1
        blocks.append(scipy.sparse.csr_array(-rows * np.where(codes == 1, 1.0, -1.0)[:, None]))
    else:
        variables = num_classes * D1
        for shift in range(1, num_classes):  # the constraint against the class that is `shift` further
            matrix = np.zeros((N, num_classes, D1))
            matrix[np.arange(N), codes] = -rows
            matrix[np.arange(N), (codes + shift) % num_classes] = rows
            blocks.append(scipy.sparse.csr_array(matrix.reshape(N, -1)))
    eye = scipy.sparse.eye_array(N)
    constraints = scipy.sparse.block_array([[block, eye] for block in blocks], format="csr")
    found = linprog(
        np.concatenate([np.zeros(variables), -np.ones(N)]),
        A_ub=constraints,
        b_ub=np.zeros(constraints.shape[0]),
        bounds=[(None, None)] * variables + [(0.0, 1.0)] * N,
        method="highs",
    )
    _expect(found)
    weights = found.x[:variables].reshape(-1, D1)
    if num_classes == 2:
        weights = np.concatenate([np.zeros_like(weights), weights])
    return weights, found.x[variables:] > 0.5


def _margins(rows: NDArray[np.float64], codes: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = rows @ weights.T
    own = np.take_along_axis(scores, codes[:, None], 1)[:, 0]
    np.put_along_axis(scores, codes[:, None], -np.inf, 1)
    margins: NDArray[np.float64] = own - scores.max(1)
    return margins


def _checked(x: Tensor, y: Tensor) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
    if x.dim() != 2 or y.dim() != 1 or len(x) != len(y) or not len(x):
        raise UserError(
            "rows and classes do not fit",
            expected="x (N, D) and y (N,), N at least 1",
            found=f"x {tuple(x.shape)}, y {tuple(y.shape)}",
        )
    rows = x.detach().double().cpu().numpy()
    if not np.isfinite(rows).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(rows))[0])
        raise UserError(
            "a value is not finite", where=f"x[{row}, {column}]", expected="a finite number", found=rows[row, column]
        )
    classes, codes = np.unique(y.detach().cpu().numpy(), return_inverse=True)
    return rows, codes.astype(np.int64), len(classes)


def _expect(found: object) -> None:
    if getattr(found, "status", None) != 0:
        raise RunFailed(f"the linear programme was not solved: {getattr(found, 'message', found)}")


TOPICS = (Topic("McCulloch-Pitts neuron, threshold units, XOR", code=("shared_point",)),)
