"""Linear regression: least squares, ridge and lasso.

Shapes: N rows, D columns.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError, unknown
from chainrule.functional.shared_rows import rows_of_the_factor
from chainrule.nn.fitted import example_rows
from chainrule.systems.linear.solvers.coordinate_descent import lasso
from chainrule.systems.linear.solvers.least_squares import (
    least_squares_descent,
    least_squares_qr,
    normal_equations,
    ridge_qr,
)

Solver = Literal["qr", "normal", "gradient"]
SOLVERS = ("qr", "normal", "gradient")


class _LinearValues:
    """Mixin of a fitted model with `coef_` and `intercept_`: w . x + b."""

    coef_: NDArray[Any]
    intercept_: Any
    device: str

    def decide(self, x: Tensor) -> Tensor:
        """Values (N,) of rows x (N, D)."""
        return x @ torch.as_tensor(self.coef_, dtype=x.dtype, device=x.device) + float(self.intercept_)

    def predict(self, X: Any) -> NDArray[Any]:
        """Values (N,) of rows X (N, D)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        found: NDArray[Any] = self.decide(torch.tensor(X, device=self.device)).cpu().numpy()
        return found


class LinearRegression(_LinearValues, RegressorMixin, BaseEstimator):
    """Least squares: minimises sum_n s_n (y_n - w . x_n - b)^2.

    Args:
        solver: `qr`, which takes dependent columns and gives the weights of least norm; `normal`, the normal equations by
            Cholesky, which refuses them; or `gradient`, descent with the step that the largest curvature allows.
        fit_intercept: whether there is b; rows and targets are then centred first.
        tol: for `gradient`: bound of the gradient of half of the mean square, its largest element, at which it ends.
        max_iter: for `gradient`: most steps; a ConvergenceWarning says when they did not do.
        device: where to compute.

    Attributes:
        coef_ (D,), intercept_: in the rows' dtype.
        rank_, singular_ (min(N, D),): of the centred rows; for `qr`.
        n_iter_: steps, 1 for the direct solvers; objective_path_: half of the mean square after each step of `gradient`.

    Raises:
        UserError: the settings are out of range; the normal equations are singular (a constant column beside an intercept,
            a column that is a combination of others, fewer rows than columns).
        ValueError: rows or targets are not what scikit-learn's conventions ask: nan, shapes.

    float32 rows are computed in float32, but for the normal equations, whose sums are float64.

    Source: Golub and Van Loan: Matrix Computations, 4th edition, 2013, sections 5.3 and 5.5.

    >>> model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(6), round(float(model.intercept_), 6)
    (array([2.]), 1.0)
    """

    def __init__(
        self,
        *,
        solver: Solver = "qr",
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 10_000,
        device: str = "cpu",
    ) -> None:
        self.solver, self.fit_intercept, self.tol, self.max_iter, self.device = (
            solver,
            fit_intercept,
            tol,
            max_iter,
            device,
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None, world: World = ONE_PROCESS) -> LinearRegression:
        """Fits rows X (N, D) and targets y (N,), with weights of the rows (N,) if any; processes share the work."""
        _check_numbers(tol=self.tol, max_iter=self.max_iter)
        if self.solver not in SOLVERS:
            raise unknown("there is no solver", str(self.solver), SOLVERS)
        centred = _Centred(self, X, y, sample_weight, world)
        self.n_iter_ = 1
        if self.solver == "qr":
            found = least_squares_qr(centred.x, centred.y)
            self.rank_, self.singular_ = found.rank, found.singular.cpu().numpy()[: centred.count]
            w = found.w
        elif self.solver == "normal":
            w = normal_equations(centred.x, centred.y)
        else:
            w = _descend(self, centred, 0.0)
        self.coef_, self.intercept_ = centred.weights(w)
        return self


class Ridge(_LinearValues, RegressorMixin, BaseEstimator):
    """Least squares with a squared penalty: minimises sum_n s_n (y_n - w . x_n - b)^2 + alpha |w|^2; b is not penalised.

    Args:
        alpha: the penalty, 0 or more.
        solver: `qr` (of the rows with sqrt(alpha) I below); `normal`, by Cholesky; `gradient`.
        fit_intercept, tol, max_iter, device: as `LinearRegression` has them.

    Attributes:
        coef_ (D,), intercept_: in the rows' dtype.
        n_iter_: steps, 1 for the direct solvers; objective_path_: the objective / (2 sum_n s_n) after each of `gradient`.

    Raises:
        UserError, ValueError: as `LinearRegression`; a penalty above rounding makes dependent columns harmless.

    Source: Hoerl and Kennard: Ridge regression, Technometrics 12, 1970.

    >>> Ridge(alpha=2.0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).coef_.round(6)
    array([1.])
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        solver: Solver = "qr",
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int = 10_000,
        device: str = "cpu",
    ) -> None:
        self.alpha, self.solver, self.fit_intercept = alpha, solver, fit_intercept
        self.tol, self.max_iter, self.device = tol, max_iter, device

    def fit(self, X: Any, y: Any, sample_weight: Any = None, world: World = ONE_PROCESS) -> Ridge:
        """Fits rows X (N, D) and targets y (N,), with weights of the rows (N,) if any; processes share the work."""
        _check_numbers(tol=self.tol, max_iter=self.max_iter)
        if not 0 <= self.alpha < float("inf"):
            raise UserError("alpha is out of range", expected="0 or more", found=self.alpha)
        if self.solver not in SOLVERS:
            raise unknown("there is no solver", str(self.solver), SOLVERS)
        centred = _Centred(self, X, y, sample_weight, world)
        self.n_iter_ = 1
        if self.solver == "normal":
            w = normal_equations(centred.x, centred.y, self.alpha)
        elif self.solver == "gradient":
            w = _descend(self, centred, self.alpha)
        elif self.alpha > 0:
            w = ridge_qr(centred.x, centred.y, self.alpha)
        else:
            w = least_squares_qr(centred.x, centred.y).w
        self.coef_, self.intercept_ = centred.weights(w)
        return self


class Lasso(_LinearValues, RegressorMixin, BaseEstimator):
    """Least squares with a penalty that sets weights to 0: minimises sum_n (y_n - w . x_n - b)^2 / (2 N) + alpha |w|_1.

    Args:
        alpha: the penalty, above 0.
        fit_intercept: whether there is b; rows and targets are then centred first.
        tol: the duality gap, as a share of the mean square of the (centred) targets, at which coordinate descent ends.
        max_iter: most sweeps; a ConvergenceWarning says when they did not do.
        device: where to compute what concerns all columns; single weights are moved on the CPU, in float64.

    Attributes:
        coef_ (D,), intercept_: in the rows' dtype.
        dual_gap_: an upper bound of the distance to the least objective.
        n_iter_: sweeps; objective_path_: the objective each time that all columns were looked at.

    Raises:
        UserError: the settings are out of range. ValueError: as `LinearRegression`.

    Source: Tibshirani: Regression shrinkage and selection via the lasso, 1996; Friedman, Hastie, Tibshirani 2010.

    >>> Lasso(alpha=0.5).fit([[0.0, 1.0], [1.0, -1.0], [2.0, 1.0]], [1.0, 3.0, 5.0]).coef_.round(6)
    array([1.25, 0.  ])
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        tol: float = 1e-4,
        max_iter: int = 10_000,
        device: str = "cpu",
    ) -> None:
        self.alpha, self.fit_intercept, self.tol, self.max_iter, self.device = (
            alpha,
            fit_intercept,
            tol,
            max_iter,
            device,
        )

    def fit(self, X: Any, y: Any, world: World = ONE_PROCESS) -> Lasso:
        """Fits rows X (N, D) and targets y (N,). Processes share the products over the rows."""
        _check_numbers(alpha=self.alpha, tol=self.tol, max_iter=self.max_iter)
        centred = _Centred(self, X, y, None, world)
        found = lasso(
            centred.x, centred.y, self.alpha, tolerance=self.tol, max_sweeps=self.max_iter, count=centred.count
        )
        self.coef_, self.intercept_ = centred.weights(found.w)
        self.dual_gap_, self.n_iter_ = found.gap, max(1, found.sweeps)
        self.objective_path_ = np.array(found.path)
        if not found.converged:
            _warn(f"coordinate descent ended at a duality gap of {found.gap:.3g} after {self.max_iter} sweeps")
        return self


class _Centred:
    """Rows and targets as tensors, less their (weighted) means if there is an intercept, times the root of the weights.

    Several processes prepare a part of them each, and then have the few rows that have the same inner products.
    """

    def __init__(self, model: Any, X: Any, y: Any, sample_weight: Any, world: World = ONE_PROCESS) -> None:
        X, y = validate_data(model, X, y, dtype=(np.float64, np.float32), y_numeric=True)
        x = torch.tensor(X, device=model.device)
        target = torch.tensor(np.asarray(y, dtype=X.dtype), device=model.device)
        self.dtype = X.dtype
        self.x_mean, self.y_mean = torch.zeros_like(x[0]), torch.zeros_like(target[0])
        weight = None
        if sample_weight is not None:
            given = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
            weight = torch.tensor(given, device=model.device)
            if not float(weight.sum()) > 0:
                raise UserError("all rows weigh nothing", where="sample_weight", expected="a positive sum")
        self.count, mine = len(x), world.share(len(x))
        self.total = float(len(x)) if weight is None else float(weight.sum(dtype=torch.float64))
        x, target, weight = x[mine], target[mine], None if weight is None else weight[mine]
        if model.fit_intercept:
            w = torch.ones_like(target) if weight is None else weight
            self.x_mean, self.y_mean = (
                (world.sum(w @ t.double()) / self.total).to(t) for t, w in ((x, w.double()), (target, w.double()))
            )
            x, target = x - self.x_mean, target - self.y_mean
        if weight is not None:
            root = weight.sqrt()
            x, target = x * root[:, None], target * root
        if world.size > 1:
            few = rows_of_the_factor(torch.cat([x, target[:, None]], 1), world)  # (n, D + 1) -> (size (D + 1), D + 1)
            x, target = few[:, :-1], few[:, -1]
        self.x, self.y = x, target

    def weights(self, w: Tensor) -> tuple[NDArray[Any], Any]:
        """coef_ and intercept_."""
        intercept = self.y_mean.double() - self.x_mean.double() @ w.double()
        return w.cpu().numpy().astype(self.dtype), self.dtype.type(float(intercept))


def _descend(model: Any, centred: _Centred, ridge: float) -> Tensor:
    found = least_squares_descent(
        centred.x, centred.y, ridge, count=centred.count, tolerance=model.tol, max_iterations=model.max_iter
    )
    model.n_iter_, model.objective_path_ = (
        max(1, len(found.path)),
        np.array(found.path) * (centred.count / centred.total),
    )
    if not found.converged:
        _warn(f"gradient descent did not reach tol={model.tol:g} in max_iter={model.max_iter} steps")
    return found.x


def _warn(what: str) -> None:
    warnings.warn(f"{what}; standardise the columns, or raise max_iter", ConvergenceWarning, stacklevel=4)


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < float("inf"):
            raise UserError(f"{name} is out of range", expected="a number above 0", found=value)


LINEAR_REGRESSION = Card(
    name="linear-regression",
    source="Golub and Van Loan: Matrix Computations, 4th edition, 2013, sections 5.3 and 5.5",
    build=LinearRegression,
    example=example_rows,
    topics=(
        Topic(
            "Linear regression: normal equations, QR, descent",
            "线性回归：正规方程、QR 分解、梯度下降",
            lectures=(2, 3),
            command="chainrule train linear-regression solver=normal",
        ),
    ),
)
RIDGE = Card(
    name="ridge",
    source="Hoerl and Kennard: Ridge regression: biased estimation for nonorthogonal problems, 1970",
    build=Ridge,
    example=example_rows,
    deviations=("The intercept is not penalised, and columns are not standardised by the estimator.",),
    topics=(
        Topic(
            "Penalties: ridge, lasso (L1)",
            "正则化：岭回归、lasso（L1）",
            lectures=(2, 3, 4),
            command="chainrule train ridge",
        ),
    ),
)
LASSO = Card(
    name="lasso",
    source="Tibshirani: Regression shrinkage and selection via the lasso, 1996",
    build=Lasso,
    example=example_rows,
    deviations=("Coordinate descent on a working set (Friedman et al. 2010) in place of quadratic programming.",),
    tiny={"alpha": 0.01},
    topics=(Topic("Penalties: ridge, lasso (L1)", command="chainrule train lasso"),),
)
