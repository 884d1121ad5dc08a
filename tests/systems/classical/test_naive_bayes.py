"""Naive Bayes against scikit-learn, against SciPy's densities, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB

from chainrule.core.errors import UserError
from chainrule.systems.classical.naive_bayes import BernoulliNaiveBayes, GaussianNaiveBayes, MultinomialNaiveBayes

OURS = (GaussianNaiveBayes, MultinomialNaiveBayes, BernoulliNaiveBayes)


# -- Gaussian -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priors", [None, [0.2, 0.5, 0.3]])
@pytest.mark.parametrize("var_smoothing", [1e-9, 0.1])
def test_gaussian_equals_scikit_learn(priors: Any, var_smoothing: float) -> None:
    x, y = load_iris(return_X_y=True)
    ours = GaussianNaiveBayes(priors=priors, var_smoothing=var_smoothing).fit(x, y)
    theirs = GaussianNB(priors=priors, var_smoothing=var_smoothing).fit(x, y)
    np.testing.assert_allclose(ours.theta_, theirs.theta_, rtol=1e-12)
    np.testing.assert_allclose(ours.var_, theirs.var_, rtol=1e-10)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-10)


def test_gaussian_is_bayes_rule_with_scipys_densities() -> None:
    x, y = load_iris(return_X_y=True)
    model = GaussianNaiveBayes(priors="uniform").fit(x, y)
    joint = np.stack(
        [scipy.stats.norm(model.theta_[k], np.sqrt(model.var_[k])).logpdf(x).sum(1) - np.log(3) for k in range(3)], 1
    )
    expected = joint - np.log(np.exp(joint).sum(1, keepdims=True))
    np.testing.assert_allclose(model.decide(torch.from_numpy(x)).numpy(), expected, atol=1e-9)


def test_gaussian_far_from_the_origin() -> None:
    """An offset of 1e7 leaves the answers as they were: squares are of differences."""
    x, y = load_iris(return_X_y=True)
    near, far = (GaussianNaiveBayes(var_smoothing=0.0).fit(rows, y).predict_proba(rows) for rows in (x, x + 1e7))
    np.testing.assert_allclose(near, far, atol=1e-5)


def test_gaussian_float32_rows_have_moments_in_float64() -> None:
    x, y = load_iris(return_X_y=True)
    x = (x + 1000).astype(np.float32)
    model = GaussianNaiveBayes().fit(x, y)
    np.testing.assert_allclose(model.var_, GaussianNB().fit(x.astype(np.float64), y).var_, rtol=1e-9)
    assert model.predict_proba(x).dtype == np.float32


def test_gaussian_constant_column_within_a_class() -> None:
    x, y = np.array([[0.0, 1.0], [1.0, 1.0], [5.0, 2.0], [6.0, 3.0]]), [0, 0, 1, 1]
    with pytest.raises(UserError, match=r"variance is zero.*\n.*class 0, column 1"):
        GaussianNaiveBayes(var_smoothing=0.0).fit(x, y)
    np.testing.assert_allclose(GaussianNaiveBayes().fit(x, y).var_, GaussianNB().fit(x, y).var_, rtol=1e-12)


# -- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 0.01])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_multinomial_equals_scikit_learn(alpha: float, form: Any) -> None:
    x, y = load_digits(return_X_y=True)
    ours, theirs = MultinomialNaiveBayes(alpha=alpha).fit(form(x), y), MultinomialNB(alpha=alpha).fit(x, y)
    np.testing.assert_allclose(ours.feature_log_prob_, theirs.feature_log_prob_, rtol=1e-12)
    np.testing.assert_allclose(ours.predict_proba(form(x)), theirs.predict_proba(x), atol=1e-10)


@pytest.mark.parametrize("binarize", [0.0, 7.0])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_bernoulli_equals_scikit_learn(binarize: float, form: Any) -> None:
    x, y = load_digits(return_X_y=True)
    ours = BernoulliNaiveBayes(alpha=0.5, binarize=binarize).fit(form(x), y)
    theirs = BernoulliNB(alpha=0.5, binarize=binarize).fit(x, y)
    np.testing.assert_allclose(ours.feature_log_prob_, theirs.feature_log_prob_, rtol=1e-12)
    np.testing.assert_allclose(ours.predict_proba(form(x)), theirs.predict_proba(x), atol=1e-10)


def test_the_text_of_the_book() -> None:
    """Manning et al., examples 13.1 and 13.2: Chinese, Beijing, Shanghai, Macao, Tokyo, Japan; three of China, one not."""
    x = np.array([[2, 1, 0, 0, 0, 0], [2, 0, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 1, 1]], dtype=float)
    y, asked = [1, 1, 1, 0], np.array([[3.0, 0, 0, 0, 1, 1]])
    counts = MultinomialNaiveBayes().fit(x, y).predict_proba(asked)[0]
    yes, no = 3 / 4 * (3 / 7) ** 3 / 14**2, 1 / 4 * (2 / 9) ** 3 * (2 / 9) ** 2
    np.testing.assert_allclose(counts, [no / (yes + no), yes / (yes + no)], rtol=1e-12)
    present = BernoulliNaiveBayes().fit(x, y).predict_proba(asked)[0]
    yes = 3 / 4 * 4 / 5 * 1 / 5 * 1 / 5 * (1 - 2 / 5) ** 3
    no = 1 / 4 * 2 / 3 * 2 / 3 * 2 / 3 * (1 - 1 / 3) ** 3
    np.testing.assert_allclose(present, [no / (yes + no), yes / (yes + no)], rtol=1e-12)


def test_sparse_rows_are_never_made_dense() -> None:
    """Rows of 2,000 x 200,000: 3.2 GB if they were filled."""
    random = np.random.default_rng(0)
    x = scipy.sparse.random_array((2000, 200_000), density=2e-4, format="csr", rng=random)
    y = random.integers(3, size=2000)
    ours, theirs = MultinomialNaiveBayes().fit(x, y), MultinomialNB().fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=1e-10)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", OURS)
def test_settings_out_of_range(build: Any) -> None:
    x, y = np.abs(load_iris().data), load_iris().target
    for priors in ([0.5, 0.5], [0.5, 0.6, -0.1], [0.1, 0.1, 0.1], "even"):
        with pytest.raises(UserError, match="priors are no probabilities"):
            build(priors=priors).fit(x, y)
    with pytest.raises(UserError, match="two classes"):
        build().fit(x, np.zeros(len(x)))
    name = "var_smoothing" if build is GaussianNaiveBayes else "alpha"
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match=f"{name} is out of range"):
            build(**{name: value}).fit(x, y)


def test_rows_that_are_no_counts() -> None:
    with pytest.raises(UserError, match="Negative values"):
        MultinomialNaiveBayes().fit([[1.0], [-1.0]], [0, 1])
    with pytest.raises(UserError, match="below zero"):
        BernoulliNaiveBayes(binarize=-1.0).fit(scipy.sparse.csr_matrix(np.eye(2)), [0, 1])
    with pytest.raises(ValueError, match="NaN"):
        GaussianNaiveBayes().fit([[np.nan], [1.0]], [0, 1])


def test_a_word_never_seen_has_a_finite_probability() -> None:
    model = MultinomialNaiveBayes().fit([[3, 0, 0], [0, 2, 0]], [0, 1])
    assert np.isfinite(model.predict_proba([[0, 0, 9]])).all()
    np.testing.assert_allclose(np.exp(model.feature_log_prob_[:, 2]), [1 / 6, 1 / 5])
