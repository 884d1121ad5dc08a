"""Logistic regression for two classes and softmax regression for any number.

Shapes: N rows, D columns, K classes, M rows of weights (1 for two classes by one logit, else K).
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
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError, unknown
from chainrule.functional.sparse_rows import SparseRows, accepts_sparse, as_rows
from chainrule.nn.fitted import example_rows
from chainrule.optim.lbfgs import Minimum
from chainrule.systems.linear.separability import separation
from chainrule.systems.linear.solvers.gradient_descent import gradient_descent
from chainrule.systems.linear.solvers.irls import irls
from chainrule.systems.linear.solvers.logistic import logistic_lbfgs
from chainrule.systems.linear.solvers.logistic_objective import LogisticObjective

Solver = Literal["lbfgs", "newton", "gradient"]
SOLVERS = ("lbfgs", "newton", "gradient")
SURE = 10.0  # a margin in logits from which on separation is suspected
FAR = 1e3  # spreads from 0 from which on a column's mean is taken off


class LogisticRegression(ClassifierMixin, BaseEstimator):
    """Classes from log-odds that are linear in the columns, by the largest penalised likelihood.

    Two classes: p(1 | x) = 1 / (1 + exp(-(w . x + b))). More: p(k | x) = softmax(W x + b)_k. Minimises

        sum_n s_n loss(x_n, y_n) + |W|^2 / (2 C),

    loss being -log p(y_n | x_n). This is scikit-learn's C. As a penalty alpha / 2 |W|^2 of the summed loss, alpha = 1/C;
    of the mean loss, alpha = 1 / (C sum_n s_n). Intercepts are not penalised.

    Args:
        C: inverse strength of the penalty, above 0; `inf` for none.
        solver: `lbfgs`; `newton`, which needs a matrix of all second derivatives (IRLS); or `gradient`, plain descent with
            the step that the largest second derivative allows.
        class_weight: weights of classes by label, `balanced` for N / (K N_k), or None.
        fit_intercept: whether there is b.
        tol: bound of the gradient of the mean objective, its largest element, at which the solver ends.
        max_iter: most iterations; a ConvergenceWarning says when they did not do.
        device: where to compute.

    Attributes:
        coef_ (M, D), intercept_ (M,): weights; float32 for float32 rows.
        classes_: labels in order.
        n_iter_: iterations, in an array of one, as scikit-learn has it.
        objective_path_: the objective above divided by sum_n s_n, after each iteration. (On many rows, `lbfgs` begins with
            a fit to a part of them, whose iterations are not counted.)

    Raises:
        UserError: the settings are out of range; there is no penalty and a hyperplane separates the classes, so that the
            best weights are infinite; Newton's method has too many parameters.
        ValueError: rows or labels are not what scikit-learn's conventions ask: nan, shapes, one class.

    Rows may be sparse (SciPy) for `lbfgs` and `gradient` with few columns; they stay sparse for `lbfgs`. Products with
    float32 rows are computed in float32, with sums in float64: the gradient is right to about 1e-6.

    Source: Bishop: Pattern Recognition and Machine Learning, 2006, sections 4.3.2 to 4.3.4.

    >>> x = [[0.0], [1.0], [2.0], [3.0]]
    >>> model = LogisticRegression().fit(x, ["no", "yes", "no", "yes"])
    >>> model.predict([[0.2], [2.9]]), model.predict_proba([[1.5]]).round(4)
    (array(['no', 'yes'], dtype='<U3'), array([[0.5, 0.5]]))
    """

    probabilistic = True

    def __init__(
        self,
        *,
        C: float = 1.0,
        solver: Solver = "lbfgs",
        class_weight: Mapping[Any, float] | str | None = None,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 1000,
        device: str = "cpu",
    ) -> None:
        self.C, self.solver, self.class_weight, self.fit_intercept = C, solver, class_weight, fit_intercept
        self.tol, self.max_iter, self.device = tol, max_iter, device

    def fit(self, X: Any, y: Any, sample_weight: Any = None, world: World = ONE_PROCESS) -> LogisticRegression:
        """Fits rows X (N, D), dense or sparse, and labels y (N,), with weights of the rows (N,) if any.

        Processes share the work: each sums losses and derivatives over its own rows.
        """
        self._check_settings()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=(np.float64, np.float32), y_numeric=False)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(
                "a classifier needs two classes",
                where="y",
                expected="two classes at least",
                found=f"only one class: {self.classes_[0]}",
            )
        weight = self._weights(X, y, codes, sample_weight)
        if weight is not None and (weight == 0).any():
            X, codes, weight = X[weight > 0], codes[weight > 0], weight[weight > 0]
        total = float(len(codes) if weight is None else weight.sum())
        penalty = 0.0 if np.isinf(self.C) else 1.0 / (self.C * total)
        shift = _far_means(X) if self.fit_intercept else None
        X = X if shift is None else (X - shift).astype(X.dtype)
        objective = self._objective(X, codes, weight, penalty, world)
        found = _minimise(objective, self.solver, self.tol, self.max_iter)
        D = X.shape[1]
        w = found.x.cpu().numpy()
        self.coef_, b = w[:, :D].astype(X.dtype), w[:, D] if self.fit_intercept else np.zeros(len(w))
        self.intercept_ = (b if shift is None else b - self.coef_ @ shift).astype(X.dtype)
        self.objective_path_ = np.array(found.path)
        self.n_iter_ = np.array([max(1, len(found.path))])
        if np.isinf(self.C):
            _refuse_separation(self._objective(X, codes, weight, penalty, ONE_PROCESS), found)
        if not found.converged:
            warnings.warn(
                f"{self.solver} did not reach tol={self.tol:g} in max_iter={self.max_iter} iterations; standardise the "
                "columns, or raise max_iter, or lower C",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def decide(self, x: Tensor) -> Tensor:
        """Log-probabilities (N, K) of rows x (N, D)."""
        coef = torch.as_tensor(self.coef_, dtype=x.dtype, device=x.device)
        return _log_probs(x @ coef.T + torch.as_tensor(self.intercept_, dtype=x.dtype, device=x.device))

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Logits: (N,) of the second class for two classes by one logit, else (N, K)."""
        logits: NDArray[Any] = self._logits(X).cpu().numpy()
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Log-probabilities (N, K), in the order of `classes_`."""
        result: NDArray[Any] = _log_probs(self._logits(X)).cpu().numpy()
        return result

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probabilities (N, K), in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each row (N,)."""
        best = self.predict_log_proba(X).argmax(1)
        found: NDArray[Any] = self.classes_[best]
        return found

    # -- inside -------------------------------------------------------------------------------------------------

    def _objective(
        self, X: Any, codes: NDArray[Any], weight: NDArray[np.float64] | None, penalty: float, world: World
    ) -> LogisticObjective:
        """The objective over the rows of `world`'s process, all of them where there is one."""
        if world.size > 1:
            mine = world.share(len(codes))
            X, codes, weight = X[mine], codes[mine], None if weight is None else weight[mine]
        rows = as_rows(X, self.device)
        return LogisticObjective(
            rows,
            torch.from_numpy(codes.astype(np.int64)).to(self.device),
            self._num_outputs(),
            penalty=penalty,
            weight=None if weight is None else torch.from_numpy(weight).to(self.device, rows.dtype),
            intercept=self.fit_intercept,
            world=world,
        )

    def _num_outputs(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _logits(self, X: Any) -> Tensor:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        rows = as_rows(X, self.device)
        logits: Tensor = rows @ torch.from_numpy(self.coef_.T.astype(X.dtype)).to(self.device)
        return logits + torch.from_numpy(self.intercept_.astype(X.dtype)).to(self.device)

    def _weights(self, X: Any, y: NDArray[Any], codes: NDArray[Any], sample_weight: Any) -> NDArray[np.float64] | None:
        if sample_weight is None and self.class_weight is None:
            return None
        weight = np.asarray(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))
        if self.class_weight is not None:
            given = None if sample_weight is None else weight
            weight = (
                weight * compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=given)[codes]
            )
        if not weight.sum() > 0:
            raise UserError("all rows weigh nothing", where="sample_weight", expected="a positive sum")
        return weight

    def _check_settings(self) -> None:
        if self.solver not in SOLVERS:
            raise unknown("there is no solver", str(self.solver), SOLVERS)
        for name, value in (("C", self.C), ("tol", self.tol), ("max_iter", self.max_iter)):
            if not value > 0:
                raise UserError(f"{name} is out of range", expected="above 0", found=value)

    def __sklearn_tags__(self) -> Any:
        return accepts_sparse(super().__sklearn_tags__())


class SoftmaxRegression(LogisticRegression):
    """`LogisticRegression` with weights for every class, for two classes too: p(k | x) = softmax(W x + b)_k.

    For two classes the penalty then counts both rows of weights, which come out as opposite; the same answers as with
    one row come from half of its C. Arguments, attributes and errors are those of `LogisticRegression`.

    >>> model = SoftmaxRegression(C=0.5).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    >>> model.coef_.shape, bool(abs(model.coef_.sum()) < 1e-9)
    ((2, 1), True)
    """

    def _num_outputs(self) -> int:
        return len(self.classes_)


def _far_means(X: Any) -> NDArray[np.float64] | None:
    """The means (D,) of the columns that lie far from 0 beside their spread, 0 for the others; None where none does.

    The intercept has no penalty, so taking them off leaves the weights what they are; with them no step keeps its digits.
    """
    if not isinstance(X, np.ndarray):
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers whose squares overflow
        mean = X.mean(0, dtype=np.float64)
        far = np.abs(mean) > FAR * X.std(0, dtype=np.float64)
    return np.where(far, mean, 0.0) if far.any() else None


def _minimise(objective: LogisticObjective, solver: Solver, tol: float, max_iter: int) -> Minimum:
    if solver == "newton":
        return irls(objective, tolerance=tol, max_iterations=max_iter)
    if solver == "gradient":
        lr = 1.0 / objective.lipschitz()
        return gradient_descent(
            objective.value_and_gradient, objective.start(), lr=lr, tolerance=tol, max_iterations=max_iter
        )
    return logistic_lbfgs(objective, tolerance=tol, max_iterations=max_iter)


def _log_probs(logits: Tensor) -> Tensor:
    """(N, K), where one column of logits stands for two classes."""
    if logits.shape[1] > 1:
        return logits.log_softmax(1)
    return torch.nn.functional.logsigmoid(torch.cat([-logits, logits], 1))


def _refuse_separation(objective: LogisticObjective, found: Minimum) -> None:
    """UserError where no finite weights are best: a hyperplane has every row on its right side, or some on it."""
    x, D = objective.x, objective.x.shape[1]
    logits = x @ found.x[:, :D].T.to(x.dtype) + (found.x[:, D].to(x.dtype) if objective.intercept else 0.0)
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], 1)
    own = logits.gather(1, objective.y[:, None])
    margins = own[:, 0] - logits.scatter(1, objective.y[:, None], -torch.inf).max(1).values
    kind = "complete" if bool((margins > 0).all()) else "none"
    if kind == "none" and (not found.converged or bool(margins.max() > SURE)):
        kind = separation(x.dense() if isinstance(x, SparseRows) else x, objective.y)
    if kind != "none":
        raise UserError(
            "the classes are perfectly separated"
            if kind == "complete"
            else "the classes are separated but for rows on the border",
            where="LogisticRegression without a penalty",
            expected="classes that overlap, as the best weights are infinite else",
            found=f"{kind} separation by a hyperplane",
            cure="a finite C, or fewer columns",
        )


LOGISTIC_REGRESSION = Card(
    name="logistic-regression",
    source="Cox: The regression analysis of binary sequences, 1958; Bishop 2006, sections 4.3.2 and 4.3.3",
    build=LogisticRegression,
    example=example_rows,
    deviations=("A squared penalty of the weights, which the sources have as a prior (Bishop 4.3.4 leaves it out).",),
    topics=(
        Topic(
            "Logistic and softmax regression",
            "logistic 回归、softmax 回归",
            lectures=(2, 3, 4, 5),
            command="chainrule train logistic-regression",
        ),
    ),
)
SOFTMAX_REGRESSION = Card(
    name="softmax-regression",
    source="Bishop: Pattern Recognition and Machine Learning, 2006, section 4.3.4",
    build=SoftmaxRegression,
    example=example_rows,
    deviations=("A squared penalty of the weights, so that one of the equivalent solutions is chosen.",),
    topics=(Topic("Logistic and softmax regression", command="chainrule train softmax-regression"),),
)
