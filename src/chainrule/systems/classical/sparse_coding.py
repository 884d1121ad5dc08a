"""Dictionary learning: atoms of which every row is a sum of few.

Shapes: N rows, D columns, K atoms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.answers import Sparse
from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite
from chainrule.systems.classical.arrays import dense_rows
from chainrule.systems.classical.solvers.sparse_coding import admm_codes, coding_objective, sparse_codes, update_atoms

# Of the cosine: atoms within a degree of each other are one direction, which no method tells apart soon.
SAME_LINE = 1e-4


class SparseCoding(TransformerMixin, BaseEstimator):
    """Minimises 1/2 |X - U V|^2 + alpha |U|_1 over codes U (N, K) and atoms V (K, D) with |v_k| <= 1, by turns.

    Args:
        n_components: K; none is D. More than D is over-complete, which is what sparse codes are for.
        alpha: the price of a unit of code, above 0: the larger, the sparser.
        max_iter: most turns.
        tol: ends where a turn lowers the objective by less than this share of it.
        code_tol: how near to its optimum each row's code is brought, as a share of 1/2 |x|^2.
        init: the first atoms (K, D), or none for the right singular vectors of X, as far as they go.
        device: where it is computed.

    Attributes:
        components_ (K, D), the atoms; objective_path_: the objective after each turn; n_iter_; code_scale_: the root mean square of
        the training codes that are not zero.

    Raises:
        UserError: for settings out of range.

    The rows are not centred. All is computed in float64, float32 rows too; answers have the rows' type.

    Source: Olshausen and Field 1996; Mairal, Bach, Ponce, Sapiro: Online dictionary learning for sparse coding, 2009, with all
    rows in each turn.

    >>> x = np.kron(np.eye(2), np.ones((3, 1)))  # each row is one of two atoms
    >>> model = SparseCoding(n_components=2, alpha=0.1).fit(x)
    >>> np.abs(model.transform([[1.0, 0.0]])).round(2).tolist()
    [[0.9, 0.0]]
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        alpha: float = 1.0,
        max_iter: int = 1000,
        tol: float = 1e-8,
        code_tol: float = 1e-8,
        init: ArrayLike | None = None,
        device: str = "cpu",
    ) -> None:
        self.n_components, self.alpha, self.max_iter, self.tol = n_components, alpha, max_iter, tol
        self.code_tol, self.init, self.device = code_tol, init, device

    def fit(self, X: Any, y: Any = None) -> SparseCoding:
        """Fits rows X (N, D); y is not looked at."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        K = X.shape[1] if self.n_components is None else self.n_components
        self._check_settings(K)
        x = dense_rows(X, self.device).double()
        atoms, codes = self._start(x, K)
        path: list[float] = []
        for _ in range(self.max_iter):
            codes = sparse_codes(x, atoms, self.alpha, start=codes, tolerance=self.code_tol)
            atoms, codes = update_atoms(x, codes, atoms)
            path.append(
                expect_finite(coding_objective(x, codes, atoms, self.alpha), "dictionary learning", len(path) + 1)
            )
            if len(path) > 1 and path[-2] - path[-1] < self.tol * path[-1]:
                break
        used = codes[codes != 0]
        self.code_scale_ = float(used.square().mean().sqrt()) if len(used) else 1.0
        self.components_, self.objective_path_ = atoms.cpu().numpy(), np.array(path)
        self.n_iter_ = len(path)
        return self

    def _check_settings(self, num_atoms: int) -> None:
        for name, value in {"n_components": num_atoms, "max_iter": self.max_iter}.items():
            if value != int(value) or value < 1:
                raise UserError(f"the setting {name} is out of range", expected="1 or more", found=value)
        for name, number in {"alpha": self.alpha, "code_tol": self.code_tol}.items():
            if not (number > 0 and np.isfinite(number)):
                raise UserError(f"the setting {name} is out of range", expected="a number above 0", found=number)
        if not (self.tol >= 0 and np.isfinite(self.tol)):
            raise UserError("the setting tol is out of range", expected="a number of 0 or more", found=self.tol)

    def _start(self, x: Tensor, num_atoms: int) -> tuple[Tensor, Tensor]:
        """Atoms (K, D) and codes (N, K) to begin with; atoms beyond the rank of x are zero, so never used, so replaced."""
        if self.init is not None:
            init = check_array(self.init, dtype=np.float64)
            if init.shape != (num_atoms, x.shape[1]):
                raise UserError(
                    "the atoms given do not fit", where="init", expected=f"{(num_atoms, x.shape[1])}", found=init.shape
                )
            return torch.tensor(init, device=x.device), x.new_zeros(len(x), num_atoms)
        u, singular, v = torch.linalg.svd(x, full_matrices=False)
        rank = min(num_atoms, len(singular))
        atoms, codes = x.new_zeros(num_atoms, x.shape[1]), x.new_zeros(len(x), num_atoms)
        atoms[:rank], codes[:, :rank] = singular[:rank, None] * v[:rank], u[:, :rank]
        return atoms, codes

    def decide(self, x: Tensor) -> Tensor:
        """Codes (N, K) of rows x (N, D).

        Of atoms along one line, to a degree, the first alone is used: how they share would be anybody's guess. A program that is
        exported finds the same codes by another method, `admm_codes`.
        """
        unit = self.components_ / np.linalg.norm(self.components_, axis=1, keepdims=True).clip(
            np.finfo(np.float64).tiny
        )
        once = ~np.tril(np.abs(unit @ unit.T) > 1 - SAME_LINE, -1).any(1)  # (K,)
        used = self.components_[once]
        if torch.compiler.is_exporting():
            codes = admm_codes(x.double(), used, self.alpha, rho=self.alpha / self.code_scale_)
        else:
            atoms = torch.as_tensor(used, dtype=torch.float64, device=x.device)
            codes = sparse_codes(x.double(), atoms, self.alpha, tolerance=min(self.code_tol, 1e-9))
        if not once.all():
            codes = codes @ torch.as_tensor(np.eye(len(once))[once], device=x.device)  # zeros for the others
        return codes.to(x.dtype)

    def transform(self, X: Any) -> NDArray[Any]:
        """Codes (N, K) of rows X (N, D)."""
        return self.decide(self._rows(X)).cpu().numpy()

    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """The rows (N, D) that codes X (N, K) stand for: U V."""
        check_is_fitted(self)
        return check_array(X, dtype=[np.float64, np.float32]) @ self.components_

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the objective of rows X (N, D), a row; y is not looked at."""
        return -self.measure(self._rows(X))["objective"]

    def measure(self, x: Tensor, y: Tensor | None = None) -> dict[str, float]:
        """Of rows x (N, D): the objective a row, the mean squared error a row, and the share of codes that are not zero."""
        x = x.double()
        codes, atoms = self.decide(x), torch.as_tensor(self.components_, device=x.device)
        return {
            "objective": coding_objective(x, codes, atoms, self.alpha) / len(x),
            "mean_square": float((x - codes @ atoms).square().sum() / len(x)),
            "used": float((codes != 0).double().mean()),
        }

    def answers(self, x: Tensor) -> list[dict[str, Any]]:
        """The atoms that each row x (N, D) is made of, the largest first, and how much of each."""
        found, names = [], [str(k) for k in range(len(self.components_))]
        for row in self.decide(x).cpu():
            order = row.abs().argsort(descending=True)[: int((row != 0).sum())].tolist()
            found.append({"atoms": Sparse({str(k): round(float(row[k]), 6) for k in order}, names=names)})
        return found

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return dense_rows(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), self.device)


SPARSE_CODING = Card(
    name="sparse-coding",
    source="Olshausen and Field 1996; Mairal, Bach, Ponce, Sapiro: Online dictionary learning for sparse coding, 2009",
    build=SparseCoding,
    example=lambda count: (torch.randn(count, 4, dtype=torch.float64),),
    deviations=("All rows take part in every turn; the paper takes them one by one.",),
    tiny={"n_components": 3, "max_iter": 5},
    topics=(Topic("Sparse coding", "稀疏编码", lectures=(2, 3), command="chainrule train sparse-coding"),),
)
