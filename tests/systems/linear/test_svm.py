"""Support vector machines: with a kernel and linear, against SciPy, scikit-learn's LIBSVM and LIBLINEAR, hands."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import torch
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise
from sklearn.preprocessing import scale
from sklearn.svm import SVC, LinearSVC

from chainrule.core.errors import UserError
from chainrule.systems.classical.kernel_svm import KernelSVM
from chainrule.systems.classical.kernels import Kernel, rbf_kernel
from chainrule.systems.linear.solvers.pegasos import pegasos
from chainrule.systems.linear.solvers.svm_newton import svm_newton
from chainrule.systems.linear.svm import LinearSVM


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def signs(count: int, seed: int = 0) -> torch.Tensor:
    y = torch.where(normal(count, seed=seed + 100) > 0, 1.0, -1.0).double()
    y[0], y[1] = 1.0, -1.0
    return y


# -- the machine with a kernel ----------------------------------------------------------------------------------------


def dual_value(model: Any, x: np.ndarray, y: np.ndarray, **kernel: Any) -> float:
    """Of a fitted two-class model, ours or theirs, from its coefficients and scikit-learn's kernel."""
    b = model.dual_coef_[0]
    vectors = x[model.support_]
    return float(
        np.abs(b).sum() - 0.5 * b @ pairwise.pairwise_kernels(vectors, metric=kernel.pop("kernel"), **kernel) @ b
    )


def two_classes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    wine = datasets.load_wine(return_X_y=True)
    digits = datasets.load_digits(return_X_y=True)
    return {
        "blobs": datasets.make_blobs(200, 2, centers=2, cluster_std=2.0, random_state=0),
        "moons": datasets.make_moons(300, noise=0.25, random_state=0),
        "digits": (digits[0], digits[1] % 2),
        "wine": (scale(wine[0]), np.where(wine[1] == 1, "one", "other")),
        "one feature": (normal(80, 1).numpy(), (signs(80).numpy() > 0)),
        "unscaled": (wine[0], wine[1] == 0),
    }


TWO = two_classes()


@pytest.mark.parametrize("C", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("name", TWO)
def test_two_classes_as_libsvm(name: str, C: float) -> None:
    x, y = TWO[name]
    ours, theirs = KernelSVM(C=C, working_set=64).fit(x, y), SVC(C=C).fit(x, y)
    kernel = {"kernel": "rbf", "gamma": theirs._gamma}
    assert ours.gamma_ == pytest.approx(theirs._gamma, rel=1e-9)
    assert dual_value(ours, x, y, **kernel) == pytest.approx(dual_value(theirs, x, y, **kernel), rel=1e-3)
    decisions = theirs.decision_function(x)
    size = np.abs(theirs.dual_coef_).sum()
    np.testing.assert_allclose(ours.decision_function(x), decisions, atol=min(0.05, 3e-3 * max(1.0, size)))
    clear = np.abs(decisions) > 0.05
    assert (ours.predict(x) == theirs.predict(x))[clear].all() and clear.mean() > 0.85
    assert ours.objective_path_[-1] == pytest.approx(dual_value(ours, x, y, **kernel), rel=1e-6)
    assert (np.diff(ours.objective_path_) > 0).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": "linear"},
        {"kernel": "poly", "degree": 2, "coef0": 1.0},
        {"kernel": "rbf", "gamma": 0.5},
        {"kernel": "rbf", "gamma": "auto"},
        {"class_weight": "balanced"},
        {"class_weight": {0: 5.0, 1: 0.2}},
    ],
    ids=str,
)
def test_settings_as_libsvm(settings: dict[str, Any]) -> None:
    x, y = TWO["moons"]
    x, y = x[20:], y[20:]
    ours, theirs = KernelSVM(tol=1e-5, **settings).fit(x, y), SVC(tol=1e-5, **settings).fit(x, y)
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=2e-4)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=2e-4)
    assert np.abs(ours.dual_coef_).sum() == pytest.approx(np.abs(theirs.dual_coef_).sum(), rel=1e-4)


@pytest.mark.parametrize("name", ["wine", "digits", "iris"])
def test_pairs_of_classes_as_libsvm(name: str) -> None:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    train, test = np.arange(len(x)) % 3 > 0, np.arange(len(x)) % 3 == 0
    x = scale(x)
    ours = KernelSVM(C=10.0, tol=1e-6).fit(x[train], y[train])
    theirs = SVC(C=10.0, tol=1e-6, decision_function_shape="ovo").fit(x[train], y[train])
    kernel = Kernel("rbf", ours.gamma_)(torch.from_numpy(x[test]), torch.from_numpy(ours.support_vectors_)).numpy()
    np.testing.assert_allclose(
        kernel @ ours.dual_coef_.T + ours.intercept_, -theirs.decision_function(x[test]), atol=1e-4
    )
    clear = (np.abs(theirs.decision_function(x[test])) > 1e-4).all(1)  # no vote hangs on the last digits
    assert clear.mean() > 0.95
    theirs.set_params(decision_function_shape="ovr", break_ties=True)
    scores = theirs.decision_function(x[test])
    np.testing.assert_allclose(ours.decision_function(x[test])[clear], scores[clear], atol=1e-4)
    assert (ours.predict(x[test]) == theirs.predict(x[test]))[clear].all()
    assert abs(len(ours.support_) - len(theirs.support_)) <= 0.01 * len(theirs.support_) + 1
    assert ours.n_support_.sum() == len(ours.support_)


def test_class_weights_reach_every_pair() -> None:
    x, y = datasets.load_wine(return_X_y=True)
    settings: dict[str, Any] = {"class_weight": {0: 0.02, 1: 1.0, 2: 30.0}, "tol": 1e-6, "gamma": 0.1}
    ours = KernelSVM(**settings).fit(scale(x), y)
    theirs = SVC(decision_function_shape="ovo", **settings).fit(scale(x), y)
    vectors = torch.from_numpy(ours.support_vectors_)
    kernel = rbf_kernel(torch.from_numpy(scale(x)), vectors, gamma=0.1).numpy()
    found = kernel @ ours.dual_coef_.T + ours.intercept_
    np.testing.assert_allclose(found, -theirs.decision_function(scale(x)), atol=1e-4)


def test_unscaled_features_with_a_linear_kernel() -> None:
    """LIBSVM moves a quarter of a million pairs here."""
    x, y = datasets.load_wine(return_X_y=True)
    ours, theirs = KernelSVM(kernel="linear").fit(x, y == 0), SVC(kernel="linear").fit(x, y == 0)
    assert ours.n_iter_[0] < 60_000 < theirs.n_iter_[0]
    value = dual_value(theirs, x, y, kernel="linear")
    assert dual_value(ours, x, y, kernel="linear") == pytest.approx(value, rel=1e-3)
    assert (ours.predict(x) == theirs.predict(x)).all()


def test_each_class_against_the_rest() -> None:
    x, y = datasets.load_iris(return_X_y=True)
    ours = KernelSVM(multi_class="ovr", tol=1e-5).fit(x, y)
    scores = ours.decision_function(x)
    for k in range(3):
        theirs = SVC(tol=1e-5, gamma=ours.gamma_).fit(x, y == k)
        np.testing.assert_allclose(scores[:, k], theirs.decision_function(x), atol=1e-3)
    assert (ours.predict(x) == scores.argmax(1)).all()


def test_a_huge_c_is_the_hard_margin() -> None:
    x, y = datasets.make_blobs(60, 2, centers=[[-4, -4], [4, 4]], random_state=1)
    ours, theirs = KernelSVM(C=1e10, kernel="linear").fit(x, y), SVC(C=1e10, kernel="linear").fit(x, y)
    assert dual_value(ours, x, y, kernel="linear") == pytest.approx(dual_value(theirs, x, y, kernel="linear"), rel=1e-3)
    signed = np.where(y == 1, 1, -1) * ours.decision_function(x)
    assert signed.min() == pytest.approx(1.0, abs=1e-3) and len(ours.support_) <= 4


def test_a_huge_c_on_classes_that_overlap() -> None:
    x, y = datasets.make_moons(120, noise=0.3, random_state=3)
    settings: dict[str, Any] = {"C": 1e5, "gamma": 0.5}
    ours, theirs = KernelSVM(**settings).fit(x, y), SVC(**settings).fit(x, y)
    kernel = {"kernel": "rbf", "gamma": 0.5}
    assert dual_value(ours, x, y, **kernel) == pytest.approx(dual_value(theirs, x, y, **kernel), rel=1e-3)


def test_equal_rows_constant_columns_and_offsets() -> None:
    x, y = TWO["moons"]
    plain = KernelSVM(gamma=1.0, tol=1e-6).fit(x, y).decision_function(x)
    moved = np.hstack([x + 1e6, np.full((len(x), 1), 3.0)])
    np.testing.assert_allclose(KernelSVM(gamma=1.0, tol=1e-6).fit(moved, y).decision_function(moved), plain, atol=1e-3)
    twice_x, twice_y = np.vstack([x, x[:5]]), np.concatenate([y, 1 - y[:5]])
    ours = KernelSVM(C=2.0, tol=1e-5).fit(twice_x, twice_y)
    theirs = SVC(C=2.0, tol=1e-5).fit(twice_x, twice_y)
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=1e-3)
    same = KernelSVM().fit(np.ones((6, 2)), [0, 1, 0, 1, 0, 0])  # nothing tells the classes apart
    assert np.isfinite(same.decision_function(np.ones((1, 2)))).all() and same.predict([[1.0, 1.0]]) == [0]


def test_float32_rows() -> None:
    x, y = TWO["digits"]
    double, single = KernelSVM().fit(x, y), KernelSVM().fit(x.astype(np.float32), y)
    assert single.support_vectors_.dtype == np.float32
    np.testing.assert_allclose(single.decision_function(x.astype(np.float32)), double.decision_function(x), atol=5e-3)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"C": 0.0}, "C is out of range"),
        ({"C": np.inf}, "C is out of range"),
        ({"tol": -1.0}, "tol is out of range"),
        ({"kernel": "cubic"}, "no kernel 'cubic'"),
        ({"multi_class": "all"}, "no multi_class"),
        ({"gamma": 0.0}, "gamma is out of range"),
        ({"class_weight": {0: 0.0, 1: 1.0}}, "no weight"),
        ({"working_set": 1}, "two rows"),
        ({"cache_size": 0.0}, "cache_size"),
    ],
    ids=str,
)
def test_the_machine_refuses(settings: dict[str, Any], says: str) -> None:
    x, y = TWO["blobs"]
    with pytest.raises(UserError, match=says):
        KernelSVM(**settings).fit(x, y)


def test_one_class_and_missing_values_are_refused_and_an_unfinished_fit_says_so() -> None:
    x, y = TWO["moons"]
    for model in (KernelSVM(), LinearSVM()):
        with pytest.raises(UserError, match="two classes"):
            model.fit(x, np.ones(len(x)))
        with pytest.raises(ValueError, match="NaN"):
            model.fit(np.where(x > 1, np.nan, x), y)
    with pytest.warns(ConvergenceWarning, match=r"1 of 1 machines .* after at most 3 steps"):
        KernelSVM(max_iter=3).fit(x, y)
    with pytest.warns(ConvergenceWarning, match="duality gap .* after 2 steps"):
        LinearSVM(loss="hinge", max_iter=2).fit(x, y)


def test_decide_is_torch_and_has_gradients() -> None:
    x, y = datasets.load_iris(return_X_y=True)
    for model in (KernelSVM(), KernelSVM(multi_class="ovr"), LinearSVM()):
        rows = torch.from_numpy(x[::10].copy()).requires_grad_()
        scores = model.fit(x, y).decide(rows)
        assert (scores.argmax(1).numpy() == model.predict(x[::10])).all()
        assert torch.autograd.grad(scores.sum(), rows)[0].abs().sum() > 0
        one = model.decide(rows[:1])
        torch.testing.assert_close(one, scores[:1], rtol=1e-9, atol=1e-12)


# -- the linear machine -----------------------------------------------------------------------------------------------


def primal(model: Any, x: Any, y: np.ndarray, C: float, power: int) -> float:
    total = 0.0
    for k in range(len(model.coef_)):
        sign = np.where(y == model.classes_[1 if len(model.coef_) == 1 else k], 1, -1)
        slack = np.maximum(0, 1 - sign * (x @ model.coef_[k] + model.intercept_[k]))
        total += 0.5 * (model.coef_[k] @ model.coef_[k] + model.intercept_[k] ** 2) + C * (slack**power).sum()
    return float(total)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_the_squared_hinge_as_liblinear(name: str, C: float) -> None:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = scale(x)
    ours = LinearSVM(C=C, tol=1e-12).fit(x, y)
    theirs = LinearSVC(C=C, dual=False, tol=1e-10, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-5, atol=1e-6)
    assert (ours.predict(x) == theirs.predict(x)).all()
    assert ours.objective_path_[-1] == pytest.approx(primal(ours, x, y, C, 2), rel=1e-9)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_the_hinge_is_nowhere_above_liblinear(name: str, C: float) -> None:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = scale(x)
    ours = LinearSVM(C=C, loss="hinge").fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its iterations run out before its tolerance
        theirs = LinearSVC(C=C, loss="hinge", tol=1e-7, max_iter=20_000, random_state=0).fit(x, y)
    assert primal(ours, x, y, C, 1) <= primal(theirs, x, y, C, 1) * (1 + 2e-6)
    if C <= 1:
        assert primal(ours, x, y, C, 1) == pytest.approx(primal(theirs, x, y, C, 1), rel=1e-3)


@pytest.mark.parametrize("shape", [(30, 4), (12, 60), (40, 1)], ids=str)
@pytest.mark.parametrize("scaled", [1.0, 1000.0])
def test_the_hinge_against_its_dual_by_scipy(shape: tuple[int, int], scaled: float) -> None:
    x, y = normal(*shape) * scaled, signs(shape[0])
    cost = torch.linspace(0.5, 2.0, shape[0]).double() / scaled**2
    q = (x @ x.T * y[:, None] * y).numpy()
    dual = scipy.optimize.minimize(
        lambda a: 0.5 * a @ q @ a - a.sum(),
        np.zeros(shape[0]),
        jac=lambda a: q @ a - 1,
        method="L-BFGS-B",
        bounds=[(0, c) for c in cost.tolist()],
        options={"ftol": 1e-15, "gtol": 1e-11, "maxiter": 50_000, "maxfun": 100_000},
    )
    found = svm_newton(x, y, cost, loss="hinge", tol=1e-8)
    assert found.converged and 0 <= found.gap <= 1e-8 * found.objective
    assert found.objective == pytest.approx(-dual.fun, rel=1e-6)
    assert ((found.alpha >= 0) & (found.alpha <= cost)).all()


def test_unscaled_features_and_large_costs_converge() -> None:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    for loss in ("hinge", "squared_hinge"):  # an error would be a ConvergenceWarning
        model = LinearSVM(C=100.0, loss=loss).fit(x, y)
        assert model.score(x, y) > 0.97
    apart = np.array([[-2.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [3.0, 0.0]])  # the second column is constant
    hard = LinearSVM(C=1e6, loss="hinge").fit(apart, [0, 0, 1, 1])
    np.testing.assert_allclose(hard.coef_, [[1.0, 0.0]], atol=1e-3)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_sparse_rows_stay_sparse(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = scipy.sparse.random_array((150, 400), density=0.05, format="csr", rng=np.random.default_rng(0))
    y = np.asarray((x @ normal(400).numpy() > 0).astype(int) + (x @ normal(400, seed=1).numpy() > 0.3))
    dense = LinearSVM(loss=loss, tol=1e-10).fit(x.toarray(), y)
    for name in ("toarray", "todense"):
        monkeypatch.setattr(scipy.sparse.csr_array, name, lambda *_: pytest.fail("made dense"))
    sparse = LinearSVM(loss=loss, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-4)
    np.testing.assert_allclose(sparse.intercept_, dense.intercept_, atol=1e-4)
    assert (sparse.predict(x) == dense.predict(x)).all()


def test_text_sized_rows() -> None:
    """2,000 x 50,000 would be 800 MB dense."""
    x = scipy.sparse.random_array((2000, 50_000), density=0.001, format="csr", rng=np.random.default_rng(0))
    y = np.asarray(x @ normal(50_000).numpy() > 0)
    ours, theirs = LinearSVM().fit(x, y), LinearSVC().fit(x, y)
    assert primal(ours, x, y, 1.0, 2) <= primal(theirs, x, y, 1.0, 2) * (1 + 1e-6)
    assert (ours.predict(x) == theirs.predict(x)).all()


def test_many_columns_take_conjugate_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(50, 300), signs(50)
    factored = svm_newton(x, y, torch.ones(50).double(), loss="hinge")
    monkeypatch.setattr("chainrule.systems.linear.solvers.svm_newton.FACTORED", 100)
    iterated = svm_newton(x, y, torch.ones(50).double(), loss="hinge")
    assert iterated.converged and iterated.objective == pytest.approx(factored.objective, rel=2e-6)


@pytest.mark.parametrize("weights", ["balanced", {0: 3.0, 2: 0.2}], ids=str)
@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_class_weights_of_more_classes_as_liblinear(loss: Any, weights: Any) -> None:
    """The weight is that of the class against the rest, whose rows have none."""
    x, y = datasets.load_iris(return_X_y=True)
    x, y = scale(x)[20:], y[20:]
    ours = LinearSVM(loss=loss, class_weight=weights, tol=1e-10).fit(x, y)
    settings: dict[str, Any] = {"dual": False} if loss == "squared_hinge" else {"random_state": 0}
    theirs = LinearSVC(loss=loss, class_weight=weights, tol=1e-9, max_iter=1_000_000, **settings).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5 if loss == "squared_hinge" else 2e-3)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5 if loss == "squared_hinge" else 2e-3)


def test_class_weights_intercepts_and_float32() -> None:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = scale(x)
    for settings in (
        {"class_weight": "balanced"},
        {"class_weight": {0: 3.0}},
        {"fit_intercept": False},
        {"intercept_scaling": 50.0},
    ):
        ours = LinearSVM(tol=1e-11, **settings).fit(x, y)
        theirs = LinearSVC(dual=False, tol=1e-10, max_iter=100_000, **settings).fit(x, y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)
    single = LinearSVM().fit(x.astype(np.float32), y)
    np.testing.assert_allclose(single.coef_, LinearSVM().fit(x, y).coef_, atol=1e-4)
    assert single.decision_function(x.astype(np.float32)).dtype == np.float32


def test_pegasos_comes_near_the_minimum() -> None:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = scale(x)
    best = LinearSVM(C=0.1, loss="hinge").fit(x, y)
    near = LinearSVM(C=0.1, loss="hinge", solver="pegasos", max_iter=200).fit(x, y)
    assert near.objective_path_[-1] == pytest.approx(primal(near, x, y, 0.1, 1), rel=1e-9)
    assert primal(best, x, y, 0.1, 1) <= near.objective_path_[-1] <= 1.03 * primal(best, x, y, 0.1, 1)
    again = LinearSVM(C=0.1, loss="hinge", solver="pegasos", max_iter=200).fit(x, y)
    other = LinearSVM(C=0.1, loss="hinge", solver="pegasos", max_iter=200, random_state=1).fit(x, y)
    assert (again.coef_ == near.coef_).all() and (other.coef_ != near.coef_).any()


def test_the_first_step_of_pegasos_by_hand() -> None:
    """One batch of both rows: lambda = 1/4, w = (1 / lambda) mean(y x) = 4 * 3/2 = 6, back to the ball of radius 2."""
    w, path = pegasos(
        torch.tensor([[1.0], [-2.0]]),
        torch.tensor([1.0, -1.0]),
        torch.full((2,), 2.0),
        epochs=1,
        batch_size=2,
        generator=torch.Generator(),
    )
    assert w.tolist() == [2.0] and path == [4.0, 2.0]


def test_pegasos_gives_the_mean_of_the_second_half_of_its_steps() -> None:
    """On batches of all rows there is no chance: the steps of the paper, written out."""
    x, y = normal(20, 3).numpy(), signs(20).numpy()
    rate, w, steps = 1 / 40.0, np.zeros(3), []  # lambda = 1 / (N C), C = 2
    for t in range(1, 7):
        violating = y * (x @ w) < 1
        w = (1 - 1 / t) * w + x.T @ (y * violating) / (rate * t * 20)
        w = w * min(1.0, 1 / (np.sqrt(rate) * np.linalg.norm(w)))
        steps.append(w)
    found, _ = pegasos(
        torch.from_numpy(x),
        torch.from_numpy(y),
        torch.full((20,), 2.0, dtype=torch.float64),
        epochs=6,
        batch_size=20,
        generator=torch.Generator().manual_seed(0),
    )
    np.testing.assert_allclose(found.numpy(), np.mean(steps[3:], axis=0), rtol=1e-10)


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"C": -1.0}, "C is out of range"),
        ({"loss": "log"}, "no loss 'log'"),
        ({"solver": "adam"}, "no solver 'adam'"),
        ({"solver": "pegasos"}, "pegasos is for the hinge"),
        ({"max_iter": 0}, "max_iter"),
        ({"class_weight": {0: -1.0, 1: 1.0}}, "no weight"),
    ],
    ids=str,
)
def test_the_linear_machine_refuses(settings: dict[str, Any], says: str) -> None:
    x, y = TWO["blobs"]
    with pytest.raises(UserError, match=says):
        LinearSVM(**settings).fit(x, y)


def test_the_linear_solvers_refuse() -> None:
    x, y, cost = normal(3, 2), torch.tensor([1.0, -1.0, 1.0]).double(), torch.ones(3).double()
    wrong = [
        ((x, y[:2], cost), "fit"),
        ((x.float(), y, cost), "float64"),
        ((x, y + 1, cost), "two-class"),
        ((x, y, -cost), "range"),
    ]
    for given, says in wrong:
        with pytest.raises(UserError, match=says):
            svm_newton(*given)
    with pytest.raises(UserError, match="do not fit"):
        pegasos(x, y[:2], cost, generator=torch.Generator())
    with pytest.raises(UserError, match="needs steps"):
        pegasos(x, y, cost, epochs=0, generator=torch.Generator())
    with pytest.raises(UserError, match="two-class"):
        pegasos(x, y * 2, cost, generator=torch.Generator())
    with pytest.raises(UserError, match="dense rows"):
        LinearSVM(loss="hinge", solver="pegasos").fit(scipy.sparse.csr_array(x.numpy()), y.numpy())


def test_columns_far_from_zero_have_a_solution() -> None:
    """Beside numbers of 1e9 the Hessian has no digits for the penalty; the gap says how good what was found is."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3))
    model = LinearSVM().fit(x + 1e9, x[:, 0] > 0)
    assert np.isfinite(model.coef_).all() and model.score(x + 1e9, x[:, 0] > 0) > 0.9
