"""Principal components, nearest neighbours, kernel densities: against scikit-learn, and against what they mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from sklearn import decomposition
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.neighbors import KernelDensity as TheirKernelDensity
from sklearn.neighbors import KNeighborsClassifier

from chainrule.core.errors import UserError
from chainrule.systems.classical import neighbours as neighbours_module
from chainrule.systems.classical.discriminant import LinearDiscriminant
from chainrule.systems.classical.kernel_density import LOG_KERNELS, KernelDensity, log_volume
from chainrule.systems.classical.naive_bayes import GaussianNaiveBayes
from chainrule.systems.classical.neighbours import NearestNeighbours
from chainrule.systems.classical.pca import PCA

# -- principal components -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [None, 3, 0.9])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_pca_equals_scikit_learn(n_components: Any, whiten: bool, wide: bool) -> None:
    x = np.random.default_rng(0).normal(size=(12, 30)) if wide else load_wine().data
    if wide and n_components is None:
        n_components = 11  # the twelfth has no variance
    ours = PCA(n_components=n_components, whiten=whiten).fit(x)
    theirs = decomposition.PCA(n_components, whiten=whiten, svd_solver="full").fit(x)
    for name in ("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_", "mean_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-6, atol=1e-9, err_msg=name)
    assert ours.n_components_ == theirs.n_components_
    assert ours.noise_variance_ == pytest.approx(theirs.noise_variance_, abs=1e-9)
    z = ours.transform(x)
    np.testing.assert_allclose(z, theirs.transform(x), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.inverse_transform(z), theirs.inverse_transform(z), rtol=1e-6, atol=1e-8)


def test_pca_is_the_eigendecomposition_of_the_covariance() -> None:
    x = load_digits().data
    values, vectors = np.linalg.eigh(np.cov(x.T))
    model = PCA(n_components=5).fit(x)
    np.testing.assert_allclose(model.explained_variance_, values[::-1][:5], rtol=1e-9)
    np.testing.assert_allclose(np.abs(model.components_ @ vectors[:, ::-1][:, :5]), np.eye(5), atol=1e-8)
    assert (model.components_[np.arange(5), np.abs(model.components_).argmax(1)] > 0).all()


def test_pca_log_density_is_that_of_its_gaussian() -> None:
    """SciPy's density with C = V L V^T + noise (I - V V^T); and scikit-learn's."""
    x = load_wine().data / load_wine().data.std(0)
    for count in (1, 4, 13):
        model = PCA(n_components=count).fit(x)
        V, noise = model.components_, model.noise_variance_
        C = V.T @ np.diag(model.explained_variance_) @ V + noise * (np.eye(13) - V.T @ V)
        expected = scipy.stats.multivariate_normal(model.mean_, C).logpdf(x)
        np.testing.assert_allclose(model.score_samples(x), expected, rtol=1e-9)
        assert model.score(x) == pytest.approx(decomposition.PCA(count).fit(x).score(x), rel=1e-9)


def test_pca_density_where_columns_depend_on_each_other() -> None:
    x = load_iris().data
    twice = np.concatenate([x, x @ np.array([[0.6], [0.0], [0.8], [0.0]])], 1)
    model = PCA().fit(twice)
    assert np.isfinite(model.score(twice))
    with pytest.raises(UserError, match=r"cannot be whitened.*\n.*component 4"):
        PCA(whiten=True).fit(twice)


def test_pca_measures() -> None:
    x = load_digits().data
    model = PCA(n_components=10).fit(x)
    found = model.measure(torch.from_numpy(x))
    assert found["unexplained"] == pytest.approx(1 - model.explained_variance_ratio_.sum(), rel=1e-9)
    assert found["nll_nats"] == pytest.approx(-model.score(x))
    np.testing.assert_allclose(
        model.answers(torch.from_numpy(x[:1]))[0]["coordinates"], model.transform(x[:1])[0], atol=1e-6
    )


def test_pca_far_from_the_origin_and_float32() -> None:
    x = load_iris().data
    near, far = PCA().fit(x), PCA().fit(x + 1e6)
    np.testing.assert_allclose(near.explained_variance_, far.explained_variance_, rtol=1e-6)
    narrow = PCA().fit(x.astype(np.float32))
    assert narrow.transform(x.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(narrow.components_, near.components_, atol=1e-5)


@pytest.mark.parametrize(
    "model", [PCA(n_components=2), LinearDiscriminant(), GaussianNaiveBayes(), KernelDensity(bandwidth=0.2)], ids=str
)
def test_float32_rows_far_from_zero(model: Any) -> None:
    """The same numbers in float32 and float64, a hundred thousand from 0: answers differ by the rounding of answers."""
    x, y = load_iris(return_X_y=True)
    narrow = (x + np.array([1e5, 0.0, -1e5, 3e4])).astype(np.float32)
    model.fit(narrow, y)
    found, expected = (model.decide(torch.from_numpy(rows)).double() for rows in (narrow, narrow.astype(np.float64)))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("count", [0, 5, 1.5, -1, True])
def test_pca_refuses(count: Any) -> None:
    with pytest.raises(UserError, match="n_components is out of range"):
        PCA(n_components=count).fit(load_iris().data)


# -- neighbours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_neighbours_equal_scikit_learn(weights: str, count: int) -> None:
    x, y = load_wine(return_X_y=True)
    x = x / x.std(0)
    theirs = KNeighborsClassifier(count, weights=weights, algorithm="kd_tree").fit(x[::2], y[::2])
    ours = NearestNeighbours(n_neighbors=count, weights=weights).fit(x[::2], y[::2])
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-9)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    distance, row = ours.kneighbors(x)
    their_distance, their_row = theirs.kneighbors(x)
    np.testing.assert_allclose(distance, their_distance, atol=1e-12)
    np.testing.assert_array_equal(row, their_row)


def test_neighbours_of_digits_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stable sort of exact distances, and against scikit-learn, which breaks ties otherwise."""
    x, y = load_digits(return_X_y=True)
    squares = (
        (x[1000:] ** 2).sum(1)[:, None] - 2 * x[1000:] @ x[:1000].T + (x[:1000] ** 2).sum(1)
    )  # whole numbers: exact
    nearest = squares.argsort(1, kind="stable")[:, :3]
    whole = NearestNeighbours(n_neighbors=3).fit(x[:1000], y[:1000])
    np.testing.assert_array_equal(whole.kneighbors(x[1000:])[1], nearest)
    found = whole.predict(x[1000:])
    assert (found == KNeighborsClassifier(3).fit(x[:1000], y[:1000]).predict(x[1000:])).mean() > 0.997
    monkeypatch.setattr(neighbours_module, "BLOCK_NUMBERS", 5000)
    np.testing.assert_array_equal(whole.predict(x[1000:]), found)
    np.testing.assert_array_equal(whole.predict(x[1000:1001]), found[:1])


def test_equal_distances_go_to_the_earlier_row() -> None:
    """A grid of whole numbers, where almost all distances are tied; a stable sort is the oracle."""
    random = np.random.default_rng(0)
    known = random.integers(0, 3, size=(200, 4)).astype(float)
    asked = random.integers(0, 3, size=(50, 4)).astype(float)
    model = NearestNeighbours(n_neighbors=6).fit(known, random.integers(3, size=200))
    squares = ((asked[:, None] - known) ** 2).sum(2)
    np.testing.assert_array_equal(model.kneighbors(asked)[1], squares.argsort(1, kind="stable")[:, :6])


def test_equal_votes_go_to_the_lower_class() -> None:
    model = NearestNeighbours(n_neighbors=2).fit([[0.0], [1.0]], ["b", "a"])
    assert model.predict([[0.1]]).tolist() == ["a"]


def test_rows_at_no_distance_vote_alone() -> None:
    model = NearestNeighbours(n_neighbors=3, weights="distance").fit([[0.0], [0.0], [1.0], [1.1]], [0, 1, 1, 1])
    np.testing.assert_allclose(model.predict_proba([[0.0]]), [[0.5, 0.5]])


def test_neighbours_far_from_the_origin() -> None:
    """At an offset of 1e6 in float32, where |x|^2 has no digit left for the distances."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 50, size=(300, 3)).astype(np.float32), random.integers(2, size=300)
    near, far = (
        NearestNeighbours(n_neighbors=3).fit(x + o, y).kneighbors(x + o) for o in (np.float32(0), np.float32(1e6))
    )
    np.testing.assert_allclose(near[0], far[0], atol=1e-4)


def test_neighbours_refuse() -> None:
    x, y = load_iris(return_X_y=True)
    for settings, match in (({"n_neighbors": 0}, "n_neighbors is out"), ({"weights": "rank"}, "weights is out")):
        with pytest.raises(UserError, match=match):
            NearestNeighbours(**settings).fit(x, y)
    with pytest.raises(UserError, match="fewer training rows than neighbours"):
        NearestNeighbours(n_neighbors=4).fit(x[:3], y[:3]).predict(x)


# -- densities --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", LOG_KERNELS)
@pytest.mark.parametrize("columns", [1, 2, 4])
@pytest.mark.parametrize("bandwidth", [0.31, 1.7, "scott", "silverman"])
def test_density_equals_scikit_learn(kernel: Any, columns: int, bandwidth: Any) -> None:
    x = load_iris().data[:, :columns] + 100
    ours = KernelDensity(bandwidth=bandwidth, kernel=kernel).fit(x)
    theirs = TheirKernelDensity(bandwidth=bandwidth, kernel=kernel).fit(x)
    asked = x + np.random.default_rng(0).normal(size=x.shape)
    assert ours.bandwidth_ == pytest.approx(theirs.bandwidth_, rel=1e-12)
    found = ours.score_samples(asked)
    r = torch.from_numpy(np.linalg.norm(asked[:, None] - x, axis=2) / ours.bandwidth_)
    shape = scipy.special.logsumexp(LOG_KERNELS[kernel](r).numpy(), axis=1)
    constant = len(x) * ours.bandwidth_**columns * math.exp(log_volume(kernel, columns))
    np.testing.assert_allclose(found, shape - math.log(constant), rtol=1e-8, atol=1e-8)
    if kernel != "cosine" or columns == 1:  # beyond, the constant of scikit-learn 1.9 is not that of the integral
        np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(x), atol=1e-6)


@pytest.mark.parametrize("kernel", LOG_KERNELS)
@pytest.mark.parametrize("dim", [1, 3, 10, 40])
def test_kernels_integrate_to_one(kernel: str, dim: int) -> None:
    surface = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)
    end = 1.0 if kernel in ("tophat", "epanechnikov", "linear", "cosine") else 300.0

    def shell(r: float) -> float:
        return surface * float(LOG_KERNELS[kernel](torch.tensor(r, dtype=torch.float64)).exp()) * r ** (dim - 1)

    middle = min(end, 1.0 * dim)
    total = scipy.integrate.quad(shell, 0, middle)[0] + scipy.integrate.quad(shell, middle, end)[0]
    assert math.exp(log_volume(kernel, dim)) == pytest.approx(total, rel=1e-6)


def test_density_of_two_bumps_by_hand() -> None:
    model = KernelDensity(bandwidth=2.0).fit([[0.0], [4.0]])
    expected = np.log(0.5 * (scipy.stats.norm(0, 2).pdf(1.0) + scipy.stats.norm(4, 2).pdf(1.0)))
    assert model.score_samples([[1.0]])[0] == pytest.approx(expected, rel=1e-12)
    assert model.measure(torch.tensor([[1.0]]).double())["nll_nats"] == pytest.approx(-expected, rel=1e-12)
    assert model.answers(torch.tensor([[1.0]]).double()) == [{"log_density": round(expected, 6)}]


def test_density_far_away_is_no_underflow_and_outside_the_support_is_zero() -> None:
    assert KernelDensity().fit([[0.0]]).score_samples([[100.0]])[0] == pytest.approx(
        -5000 - 0.5 * math.log(2 * math.pi)
    )
    assert KernelDensity(kernel="linear").fit([[0.0]]).score_samples([[2.0]])[0] == -math.inf


@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
def test_samples_are_of_the_density(kernel: Any) -> None:
    """Kolmogorov and Smirnov's test against the distribution function, on a fixed seed; and the seed alone decides."""
    model = KernelDensity(bandwidth=0.5, kernel=kernel).fit([[0.0], [3.0]])
    drawn = model.sample(2000, random_state=1)
    bump = scipy.stats.norm(0, 0.5) if kernel == "gaussian" else scipy.stats.uniform(-0.5, 1.0)
    assert scipy.stats.kstest(drawn[:, 0], lambda t: 0.5 * (bump.cdf(t) + bump.cdf(t - 3.0))).pvalue > 0.01
    np.testing.assert_array_equal(drawn, model.sample(2000, random_state=1))
    plane = KernelDensity(bandwidth=2.0, kernel="tophat").fit([[0.0, 0.0]]).sample(4000)
    assert (np.linalg.norm(plane, axis=1) <= 2).all()
    assert np.mean(np.linalg.norm(plane, axis=1) <= 1) == pytest.approx(0.25, abs=0.03)


def test_density_refuses() -> None:
    for settings, match in (
        ({"kernel": "box"}, "there is no kernel"),
        ({"bandwidth": 0.0}, "bandwidth is out"),
        ({"bandwidth": "wide"}, "bandwidth is out"),
    ):
        with pytest.raises(UserError, match=match):
            KernelDensity(**settings).fit([[0.0]])
    with pytest.raises(UserError, match="cannot be drawn from"):
        KernelDensity(kernel="cosine").fit([[0.0]]).sample()


def test_a_density_of_rows_that_lie_far_apart() -> None:
    """Each row by itself: no bump reaches another, however wide the rows are spread."""
    x = 1e9 * np.random.default_rng(0).normal(size=(20, 3))
    theirs = TheirKernelDensity(bandwidth=0.5).fit(x).score_samples(x)
    np.testing.assert_allclose(KernelDensity(bandwidth=0.5).fit(x).score_samples(x), theirs)
