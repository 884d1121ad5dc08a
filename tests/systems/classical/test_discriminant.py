"""Linear discriminant analysis against scikit-learn, and against the Gaussians that it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.covariance import ledoit_wolf_shrinkage as their_shrinkage
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from chainrule.core.errors import UserError
from chainrule.systems.classical.discriminant import LinearDiscriminant, ledoit_wolf_shrinkage


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_digits])
@pytest.mark.parametrize("shrinkage", [None, "auto", 0.2])
def test_equals_scikit_learn(load: Any, shrinkage: Any) -> None:
    x, y = load(return_X_y=True)
    if load is load_digits:  # what their solver cannot do is below
        x = x[:, x.std(0) > 0]
    ours = LinearDiscriminant(shrinkage=shrinkage).fit(x, y)
    theirs = LinearDiscriminantAnalysis("eigen", shrinkage=shrinkage).fit(x, y)
    pairs = [(ours.coef_, theirs.coef_), (ours.intercept_, theirs.intercept_)]
    if len(ours.classes_) > 2:  # what is added to all classes alike is free
        pairs = [(a - a.mean(0), b - b.mean(0)) for a, b in pairs]
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-6)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, atol=1e-8)
    a, b = ours.transform(x), theirs.transform(x)
    a, b = a - a.mean(0), (b - b.mean(0))[:, : a.shape[1]]
    b = b * np.sign((a * b).sum(0))  # a direction's sign is free
    np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())


@pytest.mark.parametrize("priors", [None, [0.1, 0.2, 0.7]])
def test_is_bayes_rule_with_one_covariance(priors: Any) -> None:
    """Densities of SciPy with the pooled covariance, divided by N."""
    x, y = load_iris(return_X_y=True)
    means = np.stack([x[y == k].mean(0) for k in range(3)])
    pooled = (x - means[y]).T @ (x - means[y]) / len(x)
    weights = priors or [1 / 3] * 3
    joint = np.stack(
        [w * scipy.stats.multivariate_normal(m, pooled).pdf(x) for m, w in zip(means, weights, strict=True)], 1
    )
    model = LinearDiscriminant(priors=priors).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), joint / joint.sum(1, keepdims=True), atol=1e-9)


def test_directions_make_the_covariance_the_identity() -> None:
    x, y = load_wine(return_X_y=True)
    z = LinearDiscriminant().fit(x, y).transform(x)
    within = z - np.stack([z[y == k].mean(0) for k in range(3)])[y]
    np.testing.assert_allclose(within.T @ within / len(x), np.eye(2), atol=1e-9)
    between = np.stack([z[y == k].mean(0) * np.sqrt((y == k).sum()) for k in range(3)])
    off = between.T @ between
    assert abs(off[0, 1]) < 1e-8 * off[0, 0]
    assert off[0, 0] > off[1, 1]


def test_the_share_of_ledoit_and_wolf() -> None:
    random = np.random.default_rng(0)
    for shape in ((10, 40), (200, 5), (3, 1)):
        x = random.normal(size=shape) @ np.diag(np.linspace(1, 3, shape[1]))
        x -= x.mean(0)
        assert ledoit_wolf_shrinkage(torch.from_numpy(x)) == pytest.approx(their_shrinkage(x), rel=1e-9)
    nearly_round = np.array([[1.1, 0.0], [0.0, 1.0], [-1.1, 0.0], [0.0, -1.0]])  # whose noise is more than its distance
    assert ledoit_wolf_shrinkage(torch.from_numpy(nearly_round)) == their_shrinkage(nearly_round) == 1.0
    assert ledoit_wolf_shrinkage(torch.zeros(4, 3)) == 0.0


def test_singular_covariances() -> None:
    """A column twice: the plain form leaves the direction out, as scikit-learn does; no shrinkage at all is refused."""
    x, y = load_iris(return_X_y=True)
    twice = np.concatenate([x, x[:, :1]], 1)
    np.testing.assert_allclose(
        LinearDiscriminant().fit(twice, y).predict_proba(twice),
        LinearDiscriminant().fit(x, y).predict_proba(x),
        atol=1e-8,
    )
    constant = np.concatenate([x, np.ones((len(x), 1))], 1)
    np.testing.assert_allclose(
        LinearDiscriminant().fit(constant, y).predict_proba(constant),
        LinearDiscriminant().fit(x, y).predict_proba(x),
        atol=1e-8,
    )
    with pytest.raises(UserError, match="shrunk covariance is singular"):
        LinearDiscriminant(shrinkage=0.0).fit(constant, y)


def test_classes_without_a_spread() -> None:
    """Points have no covariance. One class that varies is enough; a column in which none varies is left out, and said so."""
    points, y = np.repeat([[0.1, 0.3], [1.1, 0.7]], 3, axis=0), [0] * 3 + [1] * 3
    for shrinkage in (None, "auto", 0.5):
        with pytest.raises(UserError, match="no class has a spread"):
            LinearDiscriminant(shrinkage=shrinkage).fit(points, y)
    random = np.random.default_rng(0)
    one = np.concatenate([points[:3], points[3:] + random.normal(size=(3, 2))])
    for shrinkage in (None, 0.5):
        ours = LinearDiscriminant(shrinkage=shrinkage).fit(one, y)
        theirs = LinearDiscriminantAnalysis("eigen" if shrinkage else "svd", shrinkage=shrinkage).fit(one, y)
        np.testing.assert_allclose(ours.predict_proba(one), theirs.predict_proba(one), atol=1e-8)
    apart = np.column_stack([np.array(y, float), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]])
    with (
        pytest.warns(UserWarning, match="1 columns are constant within every class"),
        pytest.raises(UserError, match="differ only along directions in which no class varies"),
    ):
        LinearDiscriminant().fit(apart, y)
    assert LinearDiscriminant(shrinkage=0.1).fit(apart, y).predict(apart).tolist() == y


def test_columns_whose_squares_are_out_of_range() -> None:
    x, y = load_iris(return_X_y=True)
    wide = x * np.array([1e-200, 1.0, 1e200, 1e-160])
    np.testing.assert_allclose(
        LinearDiscriminant().fit(wide, y).predict_proba(wide),
        LinearDiscriminant().fit(x, y).predict_proba(x),
        atol=1e-9,
    )


def test_more_columns_than_rows() -> None:
    random = np.random.default_rng(1)
    y = np.arange(20) % 2
    x = random.normal(size=(20, 100)) + 2 * y[:, None]
    model = LinearDiscriminant(shrinkage="auto").fit(x, y)
    theirs = LinearDiscriminantAnalysis("eigen", shrinkage="auto").fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), theirs.predict_proba(x), atol=1e-7)
    assert model.score(x, y) == 1.0


def test_float32_rows_are_computed_in_float64() -> None:
    x, y = load_wine(return_X_y=True)
    ours = LinearDiscriminant().fit(x.astype(np.float32), y)
    wide = LinearDiscriminant().fit(x.astype(np.float32).astype(np.float64), y)
    np.testing.assert_allclose(ours.coef_, wide.coef_, rtol=1e-12)
    assert ours.predict_proba(x.astype(np.float32)).dtype == np.float32


def test_what_is_refused() -> None:
    x, y = load_iris(return_X_y=True)
    for settings, match in (
        ({"shrinkage": 1.5}, "shrinkage is out of range"),
        ({"shrinkage": "some"}, "shrinkage is out of range"),
        ({"tol": -1.0}, "tol is out of range"),
        ({"n_components": 3}, "n_components is out of range"),
        ({"priors": [1.0]}, "priors are no probabilities"),
    ):
        with pytest.raises(UserError, match=match):
            LinearDiscriminant(**settings).fit(x, y)
    with pytest.raises(UserError, match="two classes"):
        LinearDiscriminant().fit(x, np.zeros(len(x)))
    with pytest.raises(UserError, match="no more samples than classes"):
        LinearDiscriminant().fit(x[:3], [0, 1, 2])
    with pytest.raises(UserError, match="means are all the same"):
        LinearDiscriminant().fit([[0.0], [1.0], [0.0], [1.0]], [0, 0, 1, 1])
