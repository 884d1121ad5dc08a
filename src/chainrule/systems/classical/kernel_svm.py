"""Support vector machines with kernels: two classes by SMO on the dual, more classes by several such machines.

Shapes: N rows, D columns, K classes, P two-class machines, S support vectors of all machines together.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
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
from chainrule.systems.classical.kernels import Kernel, kernel_width
from chainrule.systems.classical.output_codes import class_pairs, one_vs_one_scores
from chainrule.systems.classical.solvers.smo import ENDLESS, WORKING_SET, DualSolution, smo_in_blocks

ANSWER_ROWS = 2048  # rows answered at a time: the kernel between them and S vectors is in memory


class KernelSVM(ClassifierMixin, BaseEstimator):
    """The support vector machine with a kernel, trained on its dual by sequential minimal optimisation.

    Two classes, y = +1 for `classes_[1]`: maximise sum_i alpha_i - 1/2 sum_ij alpha_i alpha_j y_i y_j k(x_i, x_j) where
    0 <= alpha_i <= C w(class of i) and sum_i alpha_i y_i = 0; decide by sum_i alpha_i y_i k(x_i, x) + bias. More
    classes: a machine for each pair (`ovo`, as LIBSVM) that votes, or for each class against the rest (`ovr`), of which
    the largest decides.

    Args:
        C: what a unit of slack costs, above 0.
        kernel: linear, poly, rbf or sigmoid; see `chainrule.systems.classical.kernels`.
        gamma: its factor, a number above 0, or "scale" = 1 / (D Var[X]), or "auto" = 1 / D.
        degree: of poly.
        coef0: of poly and sigmoid.
        multi_class: "ovo" or "ovr"; with two classes both are one machine.
        class_weight: what C is multiplied by, a class: a dictionary, "balanced" (N / (K N_k)), or none.
        tol: the violation of the optimality conditions at which SMO stops, as LIBSVM's.
        max_iter: pair steps at most, a machine.
        cache_size: MB of kernel rows that are kept at a time.
        working_set: rows of a block.
        device: where kernel rows are computed.

    Attributes:
        classes_: (K,).
        support_: rows that are support vectors of a machine, (S,), rising; `support_vectors_` (S, D) are those.
        n_support_: how many of them are of each class, (K,).
        dual_coef_: y_i alpha_i of each machine, 0 where it has no part, (P, S).
        intercept_: the biases, (P,).
        gamma_: gamma as a number.
        n_iter_: pair steps of each machine, (P,).
        objective_path_: the dual's value at the start and after each block, summed over machines; one that has ended keeps its last.

    Raises:
        UserError: for settings out of range, and for one class alone. Missing and infinite values are refused by
            scikit-learn's check. ConvergenceWarning where max_iter or the digits of float64 end before `tol`.

    float32 rows have their kernel in float32; the optimisation and the answer's coefficients are float64.
    Constant columns change no RBF kernel and cost nothing else. Equal rows of different classes all become support
    vectors at the bound C.

    >>> x = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    >>> machine = KernelSVM(C=10.0).fit(x, ["even", "even", "odd", "odd"])  # XOR: no line parts them
    >>> machine.predict(x).tolist(), machine.n_support_.tolist()
    (['even', 'even', 'odd', 'odd'], [2, 2])
    """

    probabilistic = False

    def __init__(
        self,
        *,
        C: float = 1.0,
        kernel: Literal["linear", "poly", "rbf", "sigmoid"] = "rbf",
        gamma: float | Literal["scale", "auto"] = "scale",
        degree: int = 3,
        coef0: float = 0.0,
        multi_class: Literal["ovo", "ovr"] = "ovo",
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        tol: float = 1e-3,
        max_iter: int = ENDLESS,
        cache_size: float = 200.0,
        working_set: int = WORKING_SET,
        device: str = "cpu",
    ) -> None:
        self.C, self.kernel, self.gamma, self.degree, self.coef0 = C, kernel, gamma, degree, coef0
        self.multi_class, self.class_weight, self.tol, self.max_iter = multi_class, class_weight, tol, max_iter
        self.cache_size, self.working_set, self.device = cache_size, working_set, device

    def fit(self, X: Any, y: Any) -> KernelSVM:
        """Fits rows X (N, D) and their classes y (N,)."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], force_writeable=True)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        weights = self._check_settings(y)
        x, of = torch.from_numpy(X).to(self.device), torch.from_numpy(index)
        self.gamma_ = kernel_width(self.gamma, x)
        kernel, upper = self._kernel(), torch.from_numpy(self.C * weights)[of]
        machines = list(self._machines(of))
        dual: NDArray[np.float64] = np.zeros((len(machines), len(X)))
        solutions = []
        for machine, (rows, sign) in enumerate(machines):
            found = smo_in_blocks(
                kernel.rows_of(x[rows.to(x.device)]),
                sign,
                upper[rows],
                tol=self.tol,
                working_set=self.working_set,
                cache_bytes=self.cache_size * 1e6,
                max_steps=self.max_iter,
            )
            dual[machine, rows.numpy()] = found.coef.numpy()
            solutions.append(found)
        self._warn(solutions)
        self.support_ = np.flatnonzero(dual.any(0))
        self.support_vectors_ = X[self.support_]
        self.n_support_ = np.bincount(index[self.support_], minlength=len(self.classes_))
        self.dual_coef_ = np.ascontiguousarray(dual[:, self.support_])  # a layout that is saved and loaded as it is
        self.intercept_ = np.array([found.bias for found in solutions])
        self.n_iter_ = np.array([found.steps for found in solutions])
        paths = [found.objective_path for found in solutions]
        longest = max(map(len, paths))
        self.objective_path_ = -np.sum([path + path[-1:] * (longest - len(path)) for path in paths], axis=0)
        return self

    def _machines(self, of: Tensor) -> Any:
        """For each two-class machine: its rows, and which of them are its positive class (+1) or not (-1)."""
        count = len(self.classes_)
        if count > 2 and self.multi_class == "ovr":
            for k in range(count):
                yield torch.arange(len(of)), torch.where(of == k, 1.0, -1.0).double()
            return
        for i, j in class_pairs(count):
            rows = ((of == i) | (of == j)).nonzero()[:, 0]
            yield rows, torch.where(of[rows] == j, 1.0, -1.0).double()

    def decide(self, x: Tensor) -> Tensor:
        """Scores (N, K) of rows x (N, D): decisions of the machines, or votes that decisions part where they tie."""
        vectors = torch.as_tensor(self.support_vectors_, dtype=x.dtype, device=x.device)
        dual = torch.as_tensor(self.dual_coef_, dtype=x.dtype, device=x.device)
        bias = torch.as_tensor(self.intercept_, dtype=x.dtype, device=x.device)
        decisions = self._kernel()(x, vectors) @ dual.T + bias  # (N, P)
        if len(self.classes_) == 2:
            return torch.cat([-decisions, decisions], 1)
        return decisions if self.multi_class == "ovr" else one_vs_one_scores(decisions, len(self.classes_))

    def decision_function(self, X: Any) -> NDArray[Any]:
        """`decide` on rows X (N, D): (N, K), or (N,) with two classes, where it is above 0 for the second."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], force_writeable=True, reset=False)
        parts = torch.from_numpy(X).split(ANSWER_ROWS)
        scores = torch.cat([self.decide(part.to(self.device)).cpu() for part in parts]).numpy()
        return scores[:, 1] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """The classes (N,) of rows X (N, D)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]

    def _kernel(self) -> Kernel:
        return Kernel(self.kernel, self.gamma_, self.degree, self.coef0)

    def _check_settings(self, y: NDArray[Any]) -> NDArray[np.float64]:
        """Raises what fit's docstring says; gives the weight of each class (K,)."""
        if len(self.classes_) < 2:
            raise UserError(
                "a classifier needs two classes", expected="2 or more", found=f"1 class, {self.classes_[0]}"
            )
        for name, value in (
            ("C", self.C),
            ("tol", self.tol),
            ("cache_size", self.cache_size),
            ("max_iter", self.max_iter),
        ):
            if not (value > 0 and np.isfinite(value)):
                raise UserError(f"the setting {name} is out of range", expected="a number above 0", found=value)
        if self.multi_class not in ("ovo", "ovr"):
            raise unknown("there is no multi_class", self.multi_class, ("ovo", "ovr"))
        weights = np.asarray(compute_class_weight(self.class_weight, classes=self.classes_, y=y), dtype=np.float64)
        if not (weights > 0).all():
            raise UserError(
                "a class has no weight", where="class_weight", expected="numbers above 0", found=weights.tolist()
            )
        return weights

    def _warn(self, solutions: list[DualSolution]) -> None:
        unfinished = [found for found in solutions if not found.converged]
        if unfinished:
            warnings.warn(
                f"SMO of {len(unfinished)} of {len(solutions)} machines stopped at a violation of "
                f"{max(found.violation for found in unfinished):.2g} (tol={self.tol:g}) after at most "
                f"{max(found.steps for found in unfinished)} steps (max_iter={self.max_iter}); scale the features, "
                "or choose a smaller C",
                ConvergenceWarning,
                stacklevel=3,
            )


def _rows(count: int) -> tuple[Tensor]:
    return (torch.randn(count, 4, dtype=torch.float64),)


KERNEL_SVM = Card(
    name="kernel-svm",
    source="Cortes and Vapnik: Support-vector networks, 1995; solved as LIBSVM (Fan, Chen, Lin, JMLR 6, 2005)",
    build=KernelSVM,
    example=_rows,
    tiny={"working_set": 8},
    deviations=(
        "Working sets of many rows, solved by pairs, in place of single pairs on the whole problem, and no shrinking; "
        "where pairs creep, the free variables of a working set also move together by Newton's method.",
        "Votes of pairs that tie are parted by the sum of the decisions; LIBSVM takes the first class.",
        "dual_coef_ has a row for each two-class machine, not LIBSVM's packed form of K - 1 rows; a pair's decision is "
        "positive for its second class, which is LIBSVM's with the sign turned.",
    ),
    topics=(
        Topic(
            "Support vector machine, kernels, SMO",
            "支持向量机、核函数、SMO",
            lectures=(1, 2, 3, 5),
            command="chainrule train kernel-svm",
        ),
    ),
)
