"""Least squares, ridge and lasso against NumPy and scikit-learn, on data that are hard for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning

from chainrule.core.errors import UserError
from chainrule.systems.linear.regression import Lasso, LinearRegression, Ridge
from chainrule.systems.linear.solvers.coordinate_descent import _sweep as sweep
from chainrule.systems.linear.solvers.coordinate_descent import lasso, lasso_path
from chainrule.systems.linear.solvers.gradient_descent import gradient_descent
from chainrule.systems.linear.solvers.least_squares import (
    least_squares_descent,
    least_squares_qr,
    normal_equations,
    ridge_qr,
)

Rows = tuple[NDArray[np.float64], NDArray[np.float64]]


def made(rows: int, columns: int, *, condition: float = 1.0, offset: float = 0.0) -> Rows:
    """Gaussian rows whose singular values fall geometrically to 1 / condition, and targets of all columns with noise."""
    random = np.random.default_rng(rows * 1000 + columns)
    u, _, v = np.linalg.svd(random.normal(size=(rows, columns)), full_matrices=False)
    x = u * np.geomspace(1.0, 1.0 / condition, len(v)) @ v * np.sqrt(rows)
    y = x @ random.normal(size=columns) + 0.1 * random.normal(size=rows)
    return x + offset, y + offset


KINDS: dict[str, Rows] = {
    "tall": made(200, 8),
    "wide": made(10, 30),
    "square": made(12, 12),
    "one column": made(20, 1),
    "far": made(100, 5, offset=1e6),
    "ill": made(100, 10, condition=1e5),
    "two rows": made(2, 1),
    "diabetes": load_diabetes(return_X_y=True),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def data(request: pytest.FixtureRequest) -> Rows:
    found: Rows = request.param
    return found


def tensors(data: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(data[0]), torch.tensor(data[1])


def test_qr_agrees_with_numpy(data: Rows) -> None:
    x, y = data
    found = least_squares_qr(*tensors(data))
    w, _, rank, singular = np.linalg.lstsq(x, y, rcond=None)
    np.testing.assert_allclose(found.w, w, rtol=1e-6, atol=1e-7 * np.abs(w).max())
    np.testing.assert_allclose(found.singular, singular, rtol=1e-9, atol=1e-9 * singular[0])
    assert found.rank == rank


@pytest.mark.parametrize(("rows", "columns", "rank"), [(50, 6, 4), (6, 50, 4), (5, 5, 3), (9, 4, 0)])
def test_dependent_columns_give_the_least_norm(rows: int, columns: int, rank: int) -> None:
    random = np.random.default_rng(rank)
    x = random.normal(size=(rows, rank)) @ random.normal(size=(rank, columns))
    y = random.normal(size=rows)
    found = least_squares_qr(*tensors((x, y)))
    np.testing.assert_allclose(found.w, np.linalg.pinv(x) @ y, atol=1e-10)
    assert found.rank == rank


@pytest.mark.parametrize("intercept", [True, False])
def test_linear_regression_agrees_with_scikit_learn(data: Rows, intercept: bool) -> None:
    x, y = data
    weight = np.random.default_rng(0).uniform(0.1, 3.0, len(x))
    for given in (None, weight):
        ours = LinearRegression(fit_intercept=intercept).fit(x, y, given)
        theirs = linear_model.LinearRegression(fit_intercept=intercept, tol=1e-15).fit(x, y, given)
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5, atol=1e-6 * np.abs(theirs.coef_).max())
        if intercept and given is None:
            assert ours.rank_ == np.linalg.matrix_rank(x - x.mean(0))


def test_normal_equations_and_descent_agree_with_qr() -> None:
    x, y = made(200, 8, condition=10.0, offset=3.0)
    expected = LinearRegression().fit(x, y)
    for model in (LinearRegression(solver="normal"), LinearRegression(solver="gradient", tol=1e-10)):
        found = model.fit(x, y)
        np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-6)
        np.testing.assert_allclose(found.intercept_, expected.intercept_, rtol=1e-6)
    path = found.objective_path_
    assert (np.diff(path) <= 1e-15).all() and len(path) == found.n_iter_
    assert path[-1] == pytest.approx(0.5 * np.mean((y - expected.predict(x)) ** 2), rel=1e-9)


def test_units_do_not_make_normal_equations_singular() -> None:
    x, y = made(100, 3)
    scaled = x * [1e-9, 1.0, 1e9]
    found = LinearRegression(solver="normal").fit(scaled, y)
    np.testing.assert_allclose(found.coef_ * [1e-9, 1.0, 1e9], LinearRegression().fit(x, y).coef_, rtol=1e-8)


@pytest.mark.parametrize("case", ["double", "sum", "constant", "wide", "zero"])
def test_singular_normal_equations_are_refused(case: str) -> None:
    x, y = made(50, 3)
    more = {
        "double": 2 * x[:, :1],
        "sum": x.sum(1, keepdims=True),
        "constant": np.full((50, 1), 7.0),
        "zero": np.zeros((50, 1)),
        "wide": np.random.default_rng(0).normal(size=(50, 60)),
    }[case]
    singular = np.concatenate([x, more], 1)
    with pytest.raises(UserError, match="normal equations are singular") as caught:
        LinearRegression(solver="normal").fit(singular, y)
    if case in ("double", "sum", "constant", "zero"):
        assert "column 3" in str(caught.value) and "solver='qr'" in str(caught.value)
    found = LinearRegression().fit(singular, y)  # QR answers, with the weights of least norm
    centred = singular - singular.mean(0)
    np.testing.assert_allclose(found.coef_, np.linalg.lstsq(centred, y - y.mean())[0], atol=1e-8)
    ridge = Ridge(alpha=1e-3, solver="normal").fit(singular, y)  # and so does a penalty
    np.testing.assert_allclose(ridge.coef_, linear_model.Ridge(1e-3).fit(singular, y).coef_, atol=1e-6)


def test_descent_from_zero_approaches_the_least_norm() -> None:
    x, y = made(5, 20)
    found = least_squares_descent(*tensors((x, y)), tolerance=1e-12, max_iterations=100_000)
    np.testing.assert_allclose(found.x, np.linalg.pinv(x) @ y, atol=1e-8)


def test_descent_says_when_it_was_too_short_or_too_long() -> None:
    x, y = made(100, 10, condition=1e5)
    with pytest.warns(ConvergenceWarning, match="did not reach tol"):
        LinearRegression(solver="gradient", max_iter=20).fit(x, y)
    with pytest.raises(UserError, match="runs away"):
        gradient_descent(lambda w: (float(w.square().sum()), 2 * w), torch.ones(1), lr=3.0, max_iterations=10_000)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1.0, 1e4])
@pytest.mark.parametrize("solver", ["qr", "normal"])
def test_ridge_agrees_with_scikit_learn(data: Rows, alpha: float, solver: Any) -> None:
    x, y = data
    if solver == "normal" and alpha * 1e9 < len(x) * np.square(x).mean():
        return  # nearly singular: that they are refused is another test
    weight = np.random.default_rng(0).uniform(0.1, 3.0, len(x))
    for given in (None, weight):
        ours = Ridge(alpha=alpha, solver=solver).fit(x, y, given)
        plain = linear_model.LinearRegression(tol=1e-14)  # as its Ridge keeps singular values that are rounding
        theirs = (linear_model.Ridge(alpha, solver="svd") if alpha else plain).fit(x, y, given)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-6 * np.abs(theirs.coef_).max())
        np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=1e-6, atol=1e-6)


def test_ridge_by_descent() -> None:
    x, y = made(100, 5, condition=10.0)
    weight = np.linspace(1.0, 2.0, 100)
    ours = Ridge(alpha=3.0, solver="gradient", tol=1e-11).fit(x, y, weight)
    np.testing.assert_allclose(ours.coef_, linear_model.Ridge(3.0).fit(x, y, weight).coef_, rtol=1e-7)
    residual = y - ours.predict(x)
    objective = (weight @ residual**2 + 3.0 * ours.coef_ @ ours.coef_) / (2 * weight.sum())
    assert ours.objective_path_[-1] == pytest.approx(objective, rel=1e-9)


def test_ridge_qr_keeps_digits_that_normal_equations_lose() -> None:
    x, y = made(60, 6, condition=1e8)
    expected = linear_model.Ridge(1e-13, solver="svd", fit_intercept=False).fit(x, y).coef_
    error = float(np.abs(ridge_qr(*tensors((x, y)), 1e-13).numpy() - expected).max() / np.abs(expected).max())
    assert error < 1e-5
    with pytest.raises(UserError, match="singular"):
        normal_equations(*tensors((x, y)), 1e-13)


def test_float32() -> None:
    x, y = (t.astype(np.float32) for t in made(200, 8, condition=10.0))
    pairs = [
        (LinearRegression(), linear_model.LinearRegression()),
        (LinearRegression(solver="normal"), linear_model.LinearRegression()),
        (Ridge(alpha=2.0), linear_model.Ridge(2.0)),
        (Lasso(alpha=0.1, tol=1e-6), linear_model.Lasso(0.1, tol=1e-6)),
    ]
    for ours, theirs in pairs:
        ours.fit(x, y)
        expected = theirs.fit(x.astype(np.float64), y.astype(np.float64)).coef_
        assert ours.coef_.dtype == ours.predict(x).dtype == np.float32
        np.testing.assert_allclose(ours.coef_, expected, rtol=2e-4, atol=2e-5)


# -- lasso ------------------------------------------------------------------------------------------------------


def objective(x: NDArray[Any], y: NDArray[Any], model: Any, alpha: float) -> float:
    return float(0.5 * np.mean((y - model.predict(x)) ** 2) + alpha * np.abs(model.coef_).sum())


@pytest.mark.parametrize("share", [0.9, 0.3, 0.05, 0.005])
def test_lasso_agrees_with_scikit_learn(data: Rows, share: float) -> None:
    x, y = data
    alpha = share * float(np.abs((x - x.mean(0)).T @ (y - y.mean())).max()) / len(x)
    ours = Lasso(alpha=alpha, tol=1e-11).fit(x, y)
    theirs = linear_model.Lasso(alpha, tol=1e-11, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(objective(x, y, ours, alpha), objective(x, y, theirs, alpha), rtol=1e-8)
    assert 0.0 <= ours.dual_gap_ <= 1e-11 * np.mean((y - y.mean()) ** 2)
    assert objective(x, y, ours, alpha) <= objective(x, y, theirs, alpha) * (1 + 1e-9)
    if len(x) > x.shape[1]:
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6 * max(1.0, np.abs(theirs.coef_).max()))


def test_lasso_is_optimal_by_its_subgradient() -> None:
    x, y = made(80, 300)
    alpha = 0.02 * float(np.abs(x.T @ y).max()) / 80
    found = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12).fit(x, y)
    pull = x.T @ (y - x @ found.coef_) / 80
    on = found.coef_ != 0
    assert 0 < on.sum() < 80
    np.testing.assert_allclose(pull[on], alpha * np.sign(found.coef_[on]), rtol=1e-5)
    assert (np.abs(pull[~on]) <= alpha * (1 + 1e-6)).all()


def test_the_working_set_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3,000 columns a hundred or so are ever swept, not the inner products of all."""
    x, y = tensors(made(100, 3000))
    sizes = []

    def spy(gram: Any, aims: Any, w: Any, alpha: float, target: float, most: int) -> Any:
        sizes.append(len(gram))
        return sweep(gram, aims, w, alpha, target, most)

    monkeypatch.setattr("chainrule.systems.linear.solvers.coordinate_descent._sweep", spy)
    found = lasso(x, y, 0.3 * float((x.T @ y).abs().max()) / 100, tolerance=1e-10)
    assert found.converged and max(sizes) < 300 and sizes == sorted(sizes)


def test_the_gap_bounds_the_distance() -> None:
    x, y = tensors(made(60, 40, condition=100.0))
    best = lasso(x, y, 0.01, tolerance=1e-13).path[-1]
    for sweeps in (1, 5, 20):
        rough = lasso(x, y, 0.01, tolerance=1e-13, max_sweeps=sweeps)
        assert rough.path[-1] - best <= rough.gap + 1e-12
        # The dual of |y - Xw|^2 / 2N + alpha |w|_1 is |y|^2 / 2N - N |t - y / N|^2 / 2 where |X^T t| <= alpha.
        residual = y - x @ rough.w
        t = residual / 60 * min(1.0, 0.01 / float((x.T @ residual / 60).abs().max()))
        dual = y.square().sum() / 120 - 30 * (t - y / 60).square().sum()
        primal = residual.square().sum() / 120 + 0.01 * rough.w.abs().sum()
        assert rough.gap == pytest.approx(float(primal - dual), rel=1e-9) and rough.gap > 1e-6


def test_lasso_path_agrees_with_scikit_learn() -> None:
    x, y = load_diabetes(return_X_y=True)
    y = y - y.mean()
    alphas, theirs, _ = linear_model.lasso_path(x, y, alphas=20, tol=1e-10)
    ours = np.stack([one.w.numpy() for one in lasso_path(*tensors((x, y)), alphas.tolist(), tolerance=1e-10)], 1)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert (ours[:, 0] == 0).all()  # the path begins where all weights are 0


def test_lasso_with_double_columns_and_constants() -> None:
    x, y = made(50, 3)
    more = np.concatenate([x, x, np.ones((50, 2)), np.zeros((50, 1))], 1)
    ours = Lasso(alpha=0.05, tol=1e-10).fit(more, y)
    assert objective(more, y, ours, 0.05) == pytest.approx(
        objective(x, y, Lasso(alpha=0.05, tol=1e-10).fit(x, y), 0.05), rel=1e-8
    )
    assert (ours.coef_[6:] == 0).all()


def test_lasso_says_when_sweeps_ran_out() -> None:
    x, y = made(100, 50, condition=1e4)
    with pytest.warns(ConvergenceWarning, match="duality gap"):
        Lasso(alpha=1e-6, tol=1e-14, max_iter=1).fit(x, y)


# -- what all of them refuse, and what they do with constants -----------------------------------------------------


def test_constant_columns_and_targets() -> None:
    x = np.concatenate([np.ones((20, 1)), np.arange(20.0)[:, None]], 1)
    for model in (LinearRegression(), Ridge(alpha=1e-9), Lasso(alpha=1e-9, tol=1e-12)):
        model.fit(x, 3 * np.arange(20.0) + 2)
        np.testing.assert_allclose(model.predict(x), 3 * np.arange(20.0) + 2, atol=1e-5)
        assert abs(model.coef_[0]) < 1e-9
        np.testing.assert_allclose(model.fit(x, np.full(20, 5.0)).predict(x), 5.0)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), Lasso()], ids=lambda m: type(m).__name__)
def test_bad_rows_are_refused(model: Any) -> None:
    x, y = made(10, 2)
    broken = x.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(broken, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(x, y[:-1])
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        model.fit(x[:0], y[:0])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LinearRegression(solver="lu"), "no solver 'lu'"),
        (LinearRegression(tol=0.0), "tol"),
        (Ridge(alpha=-1.0), "alpha"),  # type: ignore[arg-type]
        (Ridge(alpha=float("nan")), "alpha"),
        (Lasso(alpha=0.0), "alpha"),
        (Ridge(max_iter=0), "max_iter"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(model: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.fit(*made(10, 2))
    with pytest.raises(UserError, match="alpha"):
        lasso(torch.ones(2, 1), torch.ones(2), 0.0)


def test_rows_that_weigh_nothing_are_as_if_left_out() -> None:
    x, y = made(40, 3)
    weight = np.r_[np.ones(30), np.zeros(10)]
    for model in (LinearRegression(), Ridge()):
        np.testing.assert_allclose(model.fit(x, y, weight).coef_, model.fit(x[:30], y[:30]).coef_, rtol=1e-9)
        with pytest.raises(ValueError, match=r"weigh nothing|zero"):
            model.fit(x, y, np.zeros(40))
