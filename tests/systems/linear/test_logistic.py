"""Logistic and softmax regression, their objective and their solvers, against scikit-learn, SciPy and autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, rosen, rosen_der
from sklearn import linear_model
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_classification
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.functional.sparse_rows import SparseRows, as_rows
from chainrule.optim.lbfgs import _between as between
from chainrule.optim.lbfgs import lbfgs, strong_wolfe
from chainrule.systems.linear.logistic import LogisticRegression, SoftmaxRegression
from chainrule.systems.linear.solvers.irls import MOST_PARAMETERS, irls, newton_step, without_shifts
from chainrule.systems.linear.solvers.logistic import SAMPLE_FROM, SHRINK, logistic_lbfgs
from chainrule.systems.linear.solvers.logistic import _by_blocks as by_blocks
from chainrule.systems.linear.solvers.logistic_objective import LogisticObjective


def standard(x: NDArray[Any]) -> NDArray[Any]:
    return (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)


def overlapping(rows: int, columns: int, classes: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    return make_classification(
        rows,
        columns,
        n_informative=max(2, columns // 2),
        n_redundant=0,
        n_classes=classes,
        n_clusters_per_class=1,
        flip_y=0.2,
        class_sep=0.7,
        random_state=seed,
    )


TABLES = {
    "iris": load_iris(return_X_y=True),
    "wine, raw": load_wine(return_X_y=True),
    "digits": (load_digits().data[:300, ::3], load_digits().target[:300]),
    "cancer": (standard(load_breast_cancer().data), load_breast_cancer().target),
    "wide": overlapping(20, 50, 2),
    "far": (load_iris().data[50:] + 1e3, load_iris().target[50:]),
    "text": (load_iris().data, np.array(list("abc"))[load_iris().target]),
    "one column": (overlapping(80, 4, 2)[0][:, :1], overlapping(80, 4, 2)[1]),
}


def objective_of(model: Any, x: NDArray[Any], y: NDArray[Any], C: float, weight: NDArray[Any] | None = None) -> float:
    """sum of weighted losses + |W|^2 / 2C, by NumPy alone."""
    z = x @ model.coef_.T + model.intercept_
    z = np.concatenate([np.zeros_like(z), z], 1) if z.shape[1] == 1 else z
    codes = np.unique(y, return_inverse=True)[1]
    losses = np.logaddexp.reduce(z, axis=1) - z[np.arange(len(y)), codes]
    penalty = 0.5 * np.square(model.coef_).sum() / C
    return float((losses if weight is None else losses * weight).sum() + penalty)


@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize("name", TABLES)
def test_agrees_with_scikit_learn(name: str, C: float) -> None:
    x, y = TABLES[name]
    theirs = linear_model.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(x, y)
    for solver in ("lbfgs", "newton"):
        ours = LogisticRegression(C=C, solver=solver, tol=1e-10).fit(x, y)  # type: ignore[arg-type]
        if name != "far":  # where an intercept is a thousand weights
            np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6 * max(1.0, np.abs(theirs.coef_).max()))
            np.testing.assert_allclose(
                ours.intercept_, theirs.intercept_, atol=2e-6 * max(1.0, np.abs(theirs.intercept_).max())
            )
        assert objective_of(ours, x, y, C) == pytest.approx(objective_of(theirs, x, y, C), rel=1e-10)
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-6)
        np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=1e-4)
        assert (ours.predict(x) == theirs.predict(x)).all()


@pytest.mark.parametrize("solver", ["lbfgs", "newton", "gradient"])
@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_rows_and_classes(solver: Any, classes: int) -> None:
    x, y = overlapping(150, 6, classes)
    weight = np.random.default_rng(0).uniform(0.0, 2.0, 150).round(1)
    for class_weight in (None, "balanced", {0: 3.0, 1: 0.5, 2: 1.0} if classes == 3 else {0: 3.0, 1: 0.5}):
        ours = LogisticRegression(solver=solver, tol=1e-9, max_iter=20_000, class_weight=class_weight).fit(x, y, weight)
        theirs = linear_model.LogisticRegression(tol=1e-12, solver="newton-cholesky", class_weight=class_weight).fit(
            x, y, weight
        )
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    total = LogisticRegression(solver=solver, tol=1e-9, max_iter=20_000).fit(x, y, weight)
    assert total.objective_path_[-1] == pytest.approx(objective_of(total, x, y, 1.0, weight) / weight.sum(), rel=1e-9)


def test_softmax_with_two_classes_is_logistic_with_half_of_c() -> None:
    x, y = overlapping(100, 4, 2)
    one, two = LogisticRegression(C=1.0, tol=1e-10).fit(x, y), SoftmaxRegression(C=0.5, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(two.coef_, np.concatenate([-one.coef_, one.coef_]) / 2, atol=1e-7)
    np.testing.assert_allclose(two.predict_proba(x), one.predict_proba(x), atol=1e-7)
    np.testing.assert_allclose(two.decision_function(x), one.decision_function(x), atol=1e-6)


def test_no_intercept_and_no_penalty() -> None:
    x, y = overlapping(300, 4, 3)
    for settings in ({"fit_intercept": False}, {"C": np.inf}, {"C": np.inf, "solver": "newton"}):
        ours = SoftmaxRegression(tol=1e-10, **settings).fit(x, y)  # type: ignore[arg-type]
        plain = {key: value for key, value in settings.items() if key != "solver"}
        theirs = linear_model.LogisticRegression(tol=1e-10, max_iter=5000, **plain).fit(x, y)
        np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-6)
        np.testing.assert_allclose(ours.coef_.sum(0), 0.0, atol=1e-9)


def test_many_rows_begin_on_a_sample_and_end_at_the_same_optimum() -> None:
    x, y = overlapping(SAMPLE_FROM + 1000, 8, 3)
    order = np.argsort(y, kind="stable")  # a part taken from the front would lack classes
    ours = LogisticRegression(C=0.1, tol=1e-9).fit(x[order], y[order])
    theirs = linear_model.LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-12).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    assert ours.n_iter_[0] < 20
    two = y > 0
    ours = LogisticRegression(C=np.inf, tol=1e-9).fit(x, two)
    np.testing.assert_allclose(
        ours.coef_,
        linear_model.LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(x, two).coef_,
        atol=1e-7,
    )


def test_a_rare_column_of_many_rows() -> None:
    """One that a sample does not see: its curvature is not taken to be nothing."""
    x, y = overlapping(SAMPLE_FROM + 1000, 4, 2)
    rare = np.zeros(len(x))
    rare[7], rare[9] = 1.0, -50.0
    x = np.concatenate([x, rare[:, None], np.zeros((len(x), 1))], 1)
    ours = LogisticRegression(tol=1e-9).fit(x, y)
    theirs = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    assert ours.n_iter_[0] < 30


def test_a_column_that_the_sample_lacks_is_not_taken_to_be_flat() -> None:
    """The inverse curvature of a sample without the column is bounded by the share of the whole's bound."""
    columns = torch.tensor([0.25, 1e-3, 0.0]).double()
    sampled = torch.diag(torch.tensor([0.2, 0.0, 0.0]).double())[None]
    step = by_blocks(sampled, columns, SHRINK)(torch.ones(1, 3).double())[0]
    torch.testing.assert_close(step, 1 / torch.tensor([0.2 + SHRINK * 0.25, SHRINK * 1e-3, 1.0]).double())


def test_the_value_is_near_the_least_where_the_curvature_is_known() -> None:
    """Small gradients along flat directions can hide a large distance; the value tells."""
    x, y = overlapping(2000, 10, 2)
    x = x * np.geomspace(1.0, 1e-3, 10)
    f = LogisticObjective(torch.from_numpy(x), torch.from_numpy(y), 1, penalty=1e-9)
    least = irls(f, tolerance=1e-12).path[-1]
    assert logistic_lbfgs(f, tolerance=1e-2).path[-1] - least < 1e-4
    start = f.start()
    assert (
        f.value_and_gradient(start)[0] - least > 1e-2
    )  # which the bound of the gradient alone would have left much of


def test_lbfgs_goes_on_until_the_decrement_is_small() -> None:
    """Along a flat direction the gradient is below its bound from the start, far from the minimum."""
    scale, start = torch.tensor([1.0, 1e-4]).double(), torch.tensor([1.0, 100.0]).double()

    def f(x: Tensor) -> tuple[float, Tensor]:
        return 0.5 * float(scale @ (x - 1).square()), scale * (x - 1)

    loose = lbfgs(f, start, tolerance=0.1)
    tight = lbfgs(f, start, tolerance=0.1, decrement=1e-12)
    assert loose.converged and tight.converged
    assert torch.equal(loose.x, start) and f(tight.x)[0] < 1e-10


def test_float32() -> None:
    x, y = load_digits(return_X_y=True)
    ours = LogisticRegression(C=0.01, tol=1e-5).fit(x.astype(np.float32), y)
    assert ours.coef_.dtype == ours.intercept_.dtype == ours.predict_proba(x.astype(np.float32)).dtype == np.float32
    best = LogisticRegression(C=0.01, tol=1e-9).fit(x, y)
    assert objective_of(ours, x, y, 0.01) <= objective_of(best, x, y, 0.01) * (1 + 1e-5)
    tight = LogisticRegression(C=0.01, tol=1e-30).fit(x[:200].astype(np.float32), y[:200])  # what no float32 can reach
    assert objective_of(tight, x[:200], y[:200], 0.01) == pytest.approx(
        objective_of(LogisticRegression(C=0.01, tol=1e-9).fit(x[:200], y[:200]), x[:200], y[:200], 0.01), rel=1e-5
    )


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array])
def test_sparse_rows(kind: Any) -> None:
    x, y = TABLES["digits"]
    weight = np.linspace(0.0, 2.0, len(x))
    ours = LogisticRegression(C=0.01, tol=1e-9).fit(kind(x), y, weight)
    dense = LogisticRegression(C=0.01, tol=1e-9).fit(x, y, weight)
    np.testing.assert_allclose(ours.coef_, dense.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(kind(x)), dense.predict_proba(x), atol=1e-6)


def test_wide_sparse_rows_stay_sparse() -> None:
    """2,000 x 50,000 with 40 numbers a row: dense, they would take 800 MB."""
    random = np.random.default_rng(0)
    x = scipy.sparse.random_array((2000, 50_000), density=8e-4, rng=random, format="csr")
    y = (x @ random.normal(size=50_000) > 0).astype(int)
    ours = LogisticRegression(tol=1e-6).fit(x, y)
    theirs = linear_model.LogisticRegression(tol=1e-6, max_iter=1000).fit(x, y)
    assert objective_of(ours, x, y, 1.0) == pytest.approx(objective_of(theirs, x, y, 1.0), rel=1e-7)


def test_sparse_products_and_squares() -> None:
    x = scipy.sparse.random_array((20, 7), density=0.3, rng=np.random.default_rng(0), format="coo")
    rows, dense = SparseRows(x), torch.from_numpy(x.toarray())
    a, b, s = torch.randn(7, 3).double(), torch.randn(20, 3).double(), torch.rand(20)
    torch.testing.assert_close(rows @ a, dense @ a)
    torch.testing.assert_close(rows.T @ b, dense.T @ b)
    torch.testing.assert_close(rows.square_columns(), dense.square().sum(0))
    torch.testing.assert_close(rows.square_columns(s), (dense.square() * s.double()[:, None]).sum(0))
    assert torch.equal(rows.dense(), dense) and rows.shape == (20, 7) and rows.T.shape == (7, 20)
    array = np.ones((2, 2))
    array.flags.writeable = False
    assert torch.equal(as_rows(array), torch.ones(2, 2).double())  # type: ignore[arg-type]


# -- the objective ----------------------------------------------------------------------------------------------


def plain_loss(w: Tensor, x: Tensor, y: Tensor, s: Tensor, penalty: float, intercept: bool) -> Tensor:
    """The objective as its definition reads, for autograd."""
    D = x.shape[1]
    z = x @ w[:, :D].T + (w[:, D] if intercept else 0.0)
    z = torch.cat([torch.zeros_like(z), z], 1) if z.shape[1] == 1 else z
    loss = torch.nn.functional.cross_entropy(z, y, reduction="none")
    return (s * loss).sum() / s.sum() + 0.5 * penalty * w[:, :D].square().sum()


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
def test_derivatives_agree_with_autograd(outputs: int, intercept: bool) -> None:
    torch.manual_seed(0)
    x, y, s = torch.randn(700, 5).double(), torch.randint(0, max(2, outputs), (700,)), torch.rand(700).double()
    f = LogisticObjective(x, y, outputs, penalty=0.3, weight=s, intercept=intercept)
    w = torch.randn(f.shape, dtype=torch.float64, requires_grad=True)
    expected = plain_loss(w, x, y, s, 0.3, intercept)
    value, gradient = f.value_and_gradient(w.detach())
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, w)[0])
    hessian = torch.autograd.functional.hessian(lambda v: plain_loss(v, x, y, s, 0.3, intercept), w.detach())
    P = w.numel()
    torch.testing.assert_close(f.hessian(w.detach()), hessian.reshape(P, P))
    torch.testing.assert_close(f.hessian_blocks(w.detach()), torch.stack([hessian[k, :, k] for k in range(outputs)]))
    bound = f.curvature_bound()
    assert all(torch.linalg.eigvalsh(bound - block)[0] > -1e-12 for block in f.hessian_blocks(w.detach()))
    assert torch.linalg.eigvalsh(f.hessian(w.detach()))[-1] <= f.lipschitz()
    torch.testing.assert_close(f.column_curvature(), bound.diagonal())


def test_blocks_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, y, s = torch.randn(5000, 3).double(), torch.randint(0, 3, (5000,)), torch.rand(5000).double()
    w = torch.randn(3, 4).double()
    whole = LogisticObjective(x, y, 3, weight=s).value_and_gradient(w)
    monkeypatch.setattr("chainrule.systems.linear.solvers.logistic_objective.BLOCK_ELEMENTS", 1)
    parts = LogisticObjective(x, y, 3, weight=s)
    assert len(list(parts._blocks())) == 20
    value, gradient = parts.value_and_gradient(w)
    assert value == pytest.approx(whole[0], rel=1e-13)
    torch.testing.assert_close(gradient, whole[1])


def test_extreme_logits_stay_finite() -> None:
    x, y = torch.tensor([[1e4], [-1e4], [1e4]]).double(), torch.tensor([0, 1, 1])
    for outputs in (1, 2):
        f = LogisticObjective(x, y, outputs)
        value, gradient = f.value_and_gradient(
            torch.full(f.shape, 10.0).double() * torch.tensor([[1.0], [-1.0]])[:outputs]
        )
        assert np.isfinite(value) and torch.isfinite(gradient).all()


# -- the solvers ------------------------------------------------------------------------------------------------


def rosenbrock(x: Tensor) -> tuple[float, Tensor]:
    return float(rosen(x.numpy())), torch.from_numpy(rosen_der(x.numpy()))


def test_lbfgs_on_rosenbrock() -> None:
    start = torch.full((10,), -1.2).double()
    found = lbfgs(rosenbrock, start, tolerance=1e-9, max_iterations=500)
    assert found.converged
    torch.testing.assert_close(found.x, torch.ones(10).double(), atol=1e-7, rtol=0)
    scipys = minimize(
        rosen, start.numpy(), jac=rosen_der, method="L-BFGS-B", options={"gtol": 1e-9, "ftol": 0, "maxcor": 10}
    )
    assert len(found.path) <= 1.5 * scipys.nit
    assert (np.diff(found.path) <= 0).all()


def test_lbfgs_with_the_inverse_hessian_ends_in_one_step() -> None:
    torch.manual_seed(0)
    a = torch.randn(6, 6).double()
    h = a @ a.T + 0.01 * torch.eye(6).double()
    found = lbfgs(
        lambda x: (0.5 * float(x @ h @ x), h @ x),
        torch.ones(6).double(),
        precondition=lambda v: torch.linalg.solve(h, v),
        tolerance=1e-9,
    )
    assert len(found.path) == 1 and found.converged


def test_lbfgs_ends_where_rounding_ends_it() -> None:
    """A value so large that its changes are below its own rounding: no endless search, and no failure."""
    found = lbfgs(lambda x: (1e20 + float(x.square().sum()), 2 * x), torch.ones(2).double(), tolerance=1e-9)
    assert found.converged and len(found.path) < 100


@pytest.mark.parametrize("first", [1e-6, 0.1, 1.0, 50.0])
@pytest.mark.parametrize("shape", ["quartic", "exponential", "sine"])
def test_line_search_satisfies_wolfe(first: float, shape: str) -> None:
    line = {
        "quartic": lambda t: ((t - 2) ** 4, 4 * (t - 2) ** 3),
        "exponential": lambda t: (np.exp(t) - 5 * t, np.exp(t) - 5),
        "sine": lambda t: (-np.sin(t) + 0.05 * t * t, -np.cos(t) + 0.1 * t),
    }[shape]

    def f(x: Tensor) -> tuple[float, Tensor]:
        with np.errstate(over="ignore"):
            value, slope = line(float(x))
        return float(value), torch.tensor([float(slope)]).double()

    value, gradient = f(torch.zeros(1).double())
    slope = float(gradient)
    found = strong_wolfe(f, torch.zeros(1).double(), value, slope, torch.ones(1).double(), first)
    assert found is not None
    step, at, gradient = found
    assert at <= value + 1e-4 * step * slope and abs(float(gradient)) <= 0.9 * abs(slope)


@pytest.mark.parametrize(("a", "b"), [(0.0, 3.0), (3.0, 0.0), (0.5, 2.0), (-4.0, 1.1), (1.1, -4.0)])
def test_interpolation_finds_the_minimum_of_a_cubic(a: float, b: float) -> None:
    """t^3 - 3t has its minimum at 1; kept a tenth of the interval away from its ends."""
    low, high = ((t, t**3 - 3 * t, 3 * t**2 - 3) for t in (a, b))
    margin = 0.1 * abs(a - b)
    assert between(low, high) == pytest.approx(min(max(1.0, min(a, b) + margin), max(a, b) - margin))
    assert between((0.0, 0.0, -1.0), (1.0, float("inf"), float("nan"))) == 0.5


def test_newton_converges_quadratically_and_lowers_the_objective() -> None:
    x, y = overlapping(200, 5, 3)
    f = LogisticObjective(torch.from_numpy(x), torch.from_numpy(y), 3, penalty=0.01)
    found = irls(f, tolerance=1e-13)
    assert found.converged and len(found.path) <= 8
    errors = np.array(found.path[:-1]) - found.path[-1]
    assert (errors[1:4] < 0.1 * errors[:3]).all()


def test_newton_shortens_steps_that_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = overlapping(200, 5, 2)
    f = LogisticObjective(torch.from_numpy(x), torch.from_numpy(y), 1, penalty=0.01)
    best = irls(f, tolerance=1e-12)
    whole = LogisticObjective.hessian
    monkeypatch.setattr(LogisticObjective, "hessian", lambda self, w: 0.1 * whole(self, w))  # steps ten times too long
    found = irls(f, tolerance=1e-8)
    assert found.converged and (np.diff(found.path) <= 0).all()
    torch.testing.assert_close(found.x, best.x, atol=1e-6, rtol=0)


def test_newton_step_of_a_singular_hessian_is_the_shortest() -> None:
    torch.manual_seed(0)
    a = torch.randn(6, 3).double()
    h, g = a @ a.T, a @ torch.randn(3).double()
    torch.testing.assert_close(newton_step(h, g), torch.linalg.pinv(h) @ g)


def test_shifts_do_not_change_the_step() -> None:
    x, y = overlapping(100, 3, 3)
    f = LogisticObjective(torch.from_numpy(x), torch.from_numpy(y), 3)
    _, gradient = f.value_and_gradient(f.start())
    hessian = f.hessian(f.start())
    step = newton_step(without_shifts(hessian, 3), gradient.reshape(-1))
    torch.testing.assert_close(step, torch.linalg.pinv(hessian) @ gradient.reshape(-1))


def test_dependent_columns_without_a_penalty_give_the_least_norm() -> None:
    x, y = overlapping(200, 3, 2)
    double = np.concatenate([x, x, np.ones((200, 1))], 1)
    for solver in ("newton", "lbfgs"):
        ours = LogisticRegression(C=np.inf, solver=solver, tol=1e-9).fit(double, y)  # type: ignore[arg-type]
        single = LogisticRegression(C=np.inf, tol=1e-10).fit(x, y)
        np.testing.assert_allclose(ours.predict_proba(double), single.predict_proba(x), atol=1e-6)
        np.testing.assert_allclose(ours.coef_[0, :3], ours.coef_[0, 3:6], atol=1e-9 if solver == "newton" else 1e-4)


# -- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["lbfgs", "newton", "gradient"])
@pytest.mark.parametrize("kind", ["complete", "quasi-complete"])
def test_separation_without_a_penalty_is_told(kind: str, solver: Any) -> None:
    x = np.array([[-2.0], [-1.0], [1.0], [2.0]]) if kind == "complete" else np.array([[-2.0], [0.0], [0.0], [2.0]])
    with pytest.raises(UserError, match=rf"(?s)separated.*{kind} separation.*a finite C"):
        LogisticRegression(C=np.inf, solver=solver, max_iter=300).fit(x, [0, 0, 1, 1])
    assert np.isfinite(LogisticRegression(solver=solver).fit(x, [0, 0, 1, 1]).coef_).all()  # a penalty keeps it finite


def test_separation_of_three_classes_is_told() -> None:
    x, y = load_iris(return_X_y=True)  # one class is separable from the others, which overlap
    with pytest.raises(UserError, match="quasi-complete separation"):
        SoftmaxRegression(C=np.inf).fit(x, y)
    two = y > 0
    with pytest.raises(UserError, match="complete separation"):
        LogisticRegression(C=np.inf).fit(x, two)
    assert LogisticRegression(C=np.inf).fit(x, y == 1).n_iter_[0] > 0  # the one in the middle is not


def test_rows_that_weigh_nothing_do_not_hide_a_separation() -> None:
    x, y, weight = [[-2.0], [-1.0], [1.0], [2.0], [5.0]], [0, 0, 1, 1, 0], [1.0, 1.0, 1.0, 1.0, 0.0]
    with pytest.raises(UserError, match="complete separation"):
        LogisticRegression(C=np.inf).fit(x, y, weight)


def test_outliers_are_not_taken_for_separation() -> None:
    x, y = overlapping(200, 2, 2)
    x[0] *= 200  # its logit is large, but the classes overlap
    ours = LogisticRegression(C=np.inf, tol=1e-8).fit(x, y)
    theirs = linear_model.LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "sgd"}, "no solver 'sgd'"),
        ({"C": 0.0}, "C is out of range"),
        ({"tol": -1.0}, "tol"),
        ({"max_iter": 0}, "max_iter"),
        ({"C": float("nan")}, "C is out of range"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LogisticRegression(**settings).fit([[0.0], [1.0]], [0, 1])


def test_bad_data_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        LogisticRegression().fit([[0.0], [np.nan]], [0, 1])
    with pytest.raises(UserError, match="two classes"):
        LogisticRegression().fit([[0.0], [1.0]], [1, 1])
    with pytest.raises(ValueError, match="Unknown label type"):
        LogisticRegression().fit([[0.0], [1.0]], [0.5, 1.5])
    with pytest.raises(ValueError, match=r"weigh nothing|zero"):
        LogisticRegression().fit([[0.0], [1.0]], [0, 1], [0.0, 0.0])
    wide = LogisticObjective(torch.zeros(2, MOST_PARAMETERS).double(), torch.tensor([0, 1]), 1)
    with pytest.raises(UserError, match="solver='lbfgs'"):
        irls(wide)


def test_too_few_iterations_are_told() -> None:
    x, y = load_iris(return_X_y=True)
    for solver in ("lbfgs", "newton", "gradient"):
        with pytest.warns(ConvergenceWarning, match=f"{solver} did not reach tol"):
            model = LogisticRegression(solver=solver, max_iter=2).fit(x, y)  # type: ignore[arg-type]
        assert len(model.objective_path_) == 2


def test_constant_columns_and_decide() -> None:
    x, y = overlapping(100, 3, 3)
    more = np.concatenate([x, np.full((100, 1), 5.0)], 1)
    ours = LogisticRegression(tol=1e-9).fit(more, y)
    log_probs = ours.decide(torch.from_numpy(more))
    np.testing.assert_allclose(log_probs, ours.predict_log_proba(more))
    torch.testing.assert_close(log_probs.logsumexp(1), torch.zeros(100).double())
    np.testing.assert_allclose(ours.decide(torch.from_numpy(more[:1])), log_probs[:1])  # a batch of one
    assert ours.decide(torch.from_numpy(more).bfloat16()).dtype == torch.bfloat16
    two = LogisticRegression().fit(more, y > 0)
    assert two.decide(torch.from_numpy(more)).shape == (100, 2)
    far = two.decide(torch.tensor([[1e30, 0.0, 0.0, 0.0]]).double())
    assert not torch.isnan(far).any()


def test_lbfgs_of_the_objective_is_a_function_of_its_data() -> None:
    x, y = overlapping(SAMPLE_FROM, 3, 2)
    f = LogisticObjective(torch.from_numpy(x), torch.from_numpy(y), 1, penalty=1e-4)
    torch.manual_seed(1)
    first = logistic_lbfgs(f)
    torch.manual_seed(2)
    assert torch.equal(first.x, logistic_lbfgs(f).x) and first.path == logistic_lbfgs(f).path


@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
@pytest.mark.parametrize("classes", [2, 3])
def test_where_the_rows_lie_is_no_matter(solver: Any, classes: int) -> None:
    """The intercept has no penalty, so rows moved by 1e9, and a constant column, give the same logits."""
    x, y = overlapping(60, 4, classes)
    far = np.column_stack([x + 1e9, np.full(60, 1e9)])
    near = LogisticRegression(solver=solver, tol=1e-9).fit(x, y).decision_function(x)
    np.testing.assert_allclose(
        LogisticRegression(solver=solver, tol=1e-9).fit(far, y).decision_function(far), near, atol=1e-5
    )
