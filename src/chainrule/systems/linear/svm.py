"""The linear support vector machine on its primal.

Shapes: N rows, D columns, K classes, P = 1 machine for two classes, else K, each class against the rest.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.functional.sparse_rows import SparseRows, accepts_sparse, csr_tensor
from chainrule.nn.fitted import example_rows
from chainrule.systems.linear.solvers.pegasos import pegasos
from chainrule.systems.linear.solvers.svm_newton import LOSSES, svm_newton

NEWTON_STEPS, PEGASOS_EPOCHS = 500, 100  # what max_iter=None stands for


class LinearSVM(ClassifierMixin, BaseEstimator):
    """The linear support vector machine: the widest margin, with slack, by Newton's method or by Pegasos.

    For each machine minimise 1/2 (|w|^2 + v^2) + C sum_i loss(y_i (w.x_i + b)), b = intercept_scaling v, where the loss
    of a margin m is max(0, 1 - m) (hinge) or its square. As in LIBLINEAR the intercept is a weight like the others, of a
    column that is intercept_scaling everywhere.

    Args:
        C: what a unit of slack costs, above 0.
        loss: hinge or squared_hinge.
        solver: "newton", to a duality gap of `tol` (relative); or "pegasos", stochastic sub-gradients for max_iter
            passes, which comes near and has no stopping rule: for the hinge and dense rows.
        class_weight: what C is multiplied by, a class: a dictionary, "balanced" (N / (K N_k)), or none. Of more than two classes
            the machine of class k has the weight of k for the rows of k, and 1 for the rest, as in LIBLINEAR.
        fit_intercept: whether there is b.
        intercept_scaling: the larger, the less b is held back.
        tol: the relative gap at which newton stops.
        max_iter: Newton steps (none is 500) or passes of pegasos (none is 100), a machine.
        batch_size: rows a step of pegasos.
        random_state: seed of the order in which pegasos takes rows.
        device: where it is computed.

    Attributes:
        classes_: (K,).
        coef_: (P, D).
        intercept_: (P,).
        n_iter_: steps or passes of each machine, (P,).
        objective_path_: the objective at the start and after each step or pass, summed over machines; one that has ended keeps its last.

    Raises:
        UserError: for settings out of range, pegasos with the squared hinge or with sparse rows, one class alone.
            ConvergenceWarning where max_iter or the digits of float64 end before `tol`.

    Sparse rows (any SciPy format) stay sparse. All is computed in float64, float32 rows too; answers have the rows' type.

    >>> x = np.array([[-2.0], [-1.0], [1.0], [3.0]])
    >>> machine = LinearSVM(C=10.0, loss="hinge").fit(x, ["a", "a", "b", "b"])
    >>> machine.coef_.round(3), machine.predict([[0.1]])
    (array([[1.]]), array(['b'], dtype='<U1'))
    """

    probabilistic = False

    def __init__(
        self,
        *,
        C: float = 1.0,
        loss: Literal["hinge", "squared_hinge"] = "squared_hinge",
        solver: Literal["newton", "pegasos"] = "newton",
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        tol: float = 1e-6,
        max_iter: int | None = None,
        batch_size: int = 64,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.C, self.loss, self.solver, self.class_weight = C, loss, solver, class_weight
        self.fit_intercept, self.intercept_scaling, self.tol = fit_intercept, intercept_scaling, tol
        self.max_iter, self.batch_size, self.random_state, self.device = max_iter, batch_size, random_state, device

    def __sklearn_tags__(self) -> Any:
        return accepts_sparse(super().__sklearn_tags__())

    def fit(self, X: Any, y: Any) -> LinearSVM:
        """Fits rows X (N, D), dense or sparse, and their classes y (N,)."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], force_writeable=True, accept_sparse="csr")
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        weights = self._check_settings(X, y)
        rows = self._rows(X)
        of = torch.from_numpy(index).to(self.device)
        cost = torch.from_numpy(self.C * weights).to(self.device)[of]  # (N,)
        two = len(self.classes_) == 2
        fitted = []
        for k in [1] if two else range(len(self.classes_)):
            positive = of == k
            of_machine = cost if two else torch.where(positive, cost, self.C)  # the rest is no class, and has no weight
            fitted.append(self._machine(rows, torch.where(positive, 1.0, -1.0).double(), of_machine))
        w = torch.stack([of_one for of_one, _ in fitted]).cpu().numpy()
        dim, paths = X.shape[1], [path for _, path in fitted]
        self.coef_ = w[:, :dim].copy()
        self.intercept_ = self.intercept_scaling * w[:, dim] if self.fit_intercept else np.zeros(len(w))
        self.n_iter_ = np.array([len(path) - 1 for path in paths])
        longest = max(map(len, paths))
        self.objective_path_ = np.sum([path + path[-1:] * (longest - len(path)) for path in paths], axis=0)
        return self

    def _machine(self, rows: Tensor | SparseRows, sign: Tensor, cost: Tensor) -> tuple[Tensor, list[float]]:
        """Weights (D or D + 1,) of one machine, and the objective's path."""
        if self.solver == "pegasos":
            assert isinstance(rows, Tensor)  # the settings were checked
            return pegasos(
                rows,
                sign,
                cost,
                epochs=self.max_iter or PEGASOS_EPOCHS,
                batch_size=self.batch_size,
                generator=torch.Generator().manual_seed(self.random_state),
            )
        found = svm_newton(rows, sign, cost, loss=self.loss, tol=self.tol, max_steps=self.max_iter or NEWTON_STEPS)
        if not found.converged:
            warnings.warn(
                f"Newton's method stopped at a duality gap of {found.gap / found.objective:.2g} of the objective "
                f"(tol={self.tol:g}) after {found.steps} steps; scale the features, choose a smaller C or a larger tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        return found.w, found.objective_path

    def _rows(self, X: Any) -> Tensor | SparseRows:
        """X with the intercept's column, float64, on the device."""
        if scipy.sparse.issparse(X):
            column = np.full((X.shape[0], 1), self.intercept_scaling)
            X = X.astype(np.float64)
            return SparseRows(scipy.sparse.hstack([X, column], "csr") if self.fit_intercept else X, self.device)
        x = torch.from_numpy(X).to(self.device, torch.float64)
        return torch.cat([x, x.new_full((len(x), 1), self.intercept_scaling)], 1) if self.fit_intercept else x

    def decide(self, x: Tensor) -> Tensor:
        """Scores (N, K) of rows x (N, D), dense or a sparse tensor: w_k.x + b_k; for two classes minus it, and it."""
        coef = torch.as_tensor(self.coef_, dtype=x.dtype, device=x.device)
        decisions = x @ coef.T + torch.as_tensor(self.intercept_, dtype=x.dtype, device=x.device)
        return torch.cat([-decisions, decisions], 1) if len(self.classes_) == 2 else decisions

    def decision_function(self, X: Any) -> NDArray[Any]:
        """`decide` on rows X (N, D): (N, K), or (N,) with two classes, where it is above 0 for the second."""
        check_is_fitted(self)
        X = validate_data(
            self, X, dtype=[np.float64, np.float32], force_writeable=True, accept_sparse="csr", reset=False
        )
        x = csr_tensor(X, self.device) if scipy.sparse.issparse(X) else torch.from_numpy(X).to(self.device)
        scores = self.decide(x).cpu().numpy()
        return scores[:, 1] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """The classes (N,) of rows X (N, D)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]

    def _check_settings(self, X: Any, y: NDArray[Any]) -> NDArray[np.float64]:
        """Raises what the docstring says; gives the weight of each class (K,)."""
        if len(self.classes_) < 2:
            raise UserError(
                "a classifier needs two classes", expected="2 or more", found=f"1 class, {self.classes_[0]}"
            )
        numbers = {
            "C": self.C,
            "tol": self.tol,
            "intercept_scaling": self.intercept_scaling,
            "batch_size": self.batch_size,
            "max_iter": 1 if self.max_iter is None else self.max_iter,
        }
        for name, value in numbers.items():
            if not (value > 0 and np.isfinite(value)):
                raise UserError(f"the setting {name} is out of range", expected="a number above 0", found=value)
        if self.loss not in LOSSES:
            raise unknown("there is no loss", self.loss, LOSSES)
        if self.solver not in ("newton", "pegasos"):
            raise unknown("there is no solver", self.solver, ("newton", "pegasos"))
        if self.solver == "pegasos" and (self.loss != "hinge" or scipy.sparse.issparse(X)):
            raise UserError(
                "pegasos is for the hinge and dense rows",
                expected="loss=hinge and an array",
                found=f"loss={self.loss}, {type(X).__name__}",
                cure="solver=newton",
            )
        weights = np.asarray(compute_class_weight(self.class_weight, classes=self.classes_, y=y), dtype=np.float64)
        if not (weights > 0).all():
            raise UserError(
                "a class has no weight", where="class_weight", expected="numbers above 0", found=weights.tolist()
            )
        return weights


LINEAR_SVM = Card(
    name="linear-svm",
    source="Cortes and Vapnik: Support-vector networks, 1995; the primal as LIBLINEAR has it (Fan et al., JMLR 9, 2008)",
    build=LinearSVM,
    example=example_rows,
    deviations=(
        "Newton's method on the primal (with multipliers for the hinge) in place of LIBLINEAR's dual coordinate descent.",
        "Classes against the rest; the machine of Crammer and Singer is not there.",
    ),
    topics=(Topic("Support vector machine, kernels, SMO", command="chainrule train linear-svm"),),
)
