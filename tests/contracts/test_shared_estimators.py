"""Estimators whose statistics are sums over rows: three processes, each with a part of them, fit what one fits."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

import chainrule
from chainrule.core.device import join_world
from chainrule.core.errors import UserError
from chainrule.nn.fitted import Estimator, Fitted
from chainrule.systems.classical.discriminant import LinearDiscriminant
from chainrule.systems.classical.k_means import KMeans
from chainrule.systems.classical.naive_bayes import BernoulliNaiveBayes, GaussianNaiveBayes, MultinomialNaiveBayes
from chainrule.systems.classical.neighbours import NearestNeighbours
from chainrule.systems.classical.pca import PCA
from chainrule.systems.linear.logistic import LogisticRegression, SoftmaxRegression
from chainrule.systems.linear.regression import Lasso, LinearRegression, Ridge
from tests.run.together import can_fork, together

pytestmark = [*can_fork, pytest.mark.usefixtures("no_report")]

N, D = 50, 4


def tables() -> dict[str, tuple[Any, NDArray[Any] | None]]:
    """Rows and targets, sorted by class, so that no process sees all classes."""
    random = np.random.default_rng(0)
    y = np.sort(random.integers(0, 3, N))
    x = random.normal(size=(N, D)) @ random.normal(size=(D, D)) + y[:, None] + 5
    rare = np.hstack([x, np.where(y == 1, random.normal(size=N), 0.1)[:, None]])  # constant in all classes but one
    counts = random.poisson(1.5, size=(N, D)).astype(np.float64)
    return {
        "classes": (x, y),
        "a rare column": (rare, y),
        "two classes": (x, (y > 0).astype(int)),
        "counts": (counts, y),
        "sparse": (csr_matrix(counts), y),
        "numbers": (x, x @ random.normal(size=D) + random.normal(size=N)),
        "wide": (random.normal(size=(5, 8)), random.normal(size=5)),
        "one row": (np.array([[0.0, 1.0], [4.0, 5.0]]), None),  # a process has none
    }


CASES: list[tuple[Estimator, str]] = [
    (LinearRegression(), "numbers"),
    (LinearRegression(), "wide"),
    (LinearRegression(solver="normal", fit_intercept=False), "numbers"),
    (LinearRegression(solver="gradient", tol=1e-3), "numbers"),
    (Ridge(alpha=2.0), "numbers"),
    (Ridge(alpha=2.0), "wide"),
    (PCA(n_components=2), "numbers"),
    (PCA(n_components=4), "wide"),
    (LinearDiscriminant(), "classes"),
    (LinearDiscriminant(shrinkage="auto"), "a rare column"),
    (LinearDiscriminant(shrinkage=0.2), "two classes"),
    (GaussianNaiveBayes(), "a rare column"),
    (MultinomialNaiveBayes(), "sparse"),
    (BernoulliNaiveBayes(), "counts"),
    (LogisticRegression(), "two classes"),
    (LogisticRegression(class_weight="balanced"), "classes"),
    (LogisticRegression(solver="newton"), "classes"),
    (SoftmaxRegression(solver="gradient", tol=0.05), "counts"),
    (LogisticRegression(), "sparse"),
    (Lasso(alpha=0.1, tol=1e-9), "numbers"),
    (Lasso(alpha=0.01, tol=1e-9), "wide"),
    (KMeans(n_clusters=3), "numbers"),
    (KMeans(n_clusters=15, n_init=2), "numbers"),  # centres in groups
    (KMeans(n_clusters=3, init=np.full((3, D), 5.0) * [[1], [99], [999]]), "numbers"),  # two begin without rows
    (KMeans(n_clusters=2), "one row"),
]


def fitted(estimator: Estimator) -> dict[str, Any]:
    return {k: v for k, v in vars(estimator).items() if k.endswith("_") and k not in ("objective_path_", "measured_")}


def test_three_processes_fit_what_one_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = []
    for estimator, name in CASES:
        estimator.fit(*tables()[name])
        expected.append(fitted(estimator))

    def act(rank: int) -> None:
        world = join_world(torch.device("cpu"))
        for (estimator, name), alone in zip(CASES, expected, strict=True):
            assert Fitted(estimator).shares
            estimator.fit(*tables()[name], world=world)
            found = fitted(estimator)
            assert found.keys() == alone.keys()
            for key, value in alone.items():
                if np.asarray(value).dtype.kind in "fiu":
                    what = f"{estimator} on {name}: {key}"
                    np.testing.assert_allclose(found[key], value, rtol=1e-6, atol=1e-8, err_msg=what)

    together(act, count=3)


def test_many_rows_begin_on_the_same_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick start of L-BFGS on part of the rows is that of one process: its steps are the same."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    x = random.normal(size=(20_100, 2))
    y = (x.sum(1) + random.normal(size=len(x)) > 0).astype(int)
    alone = LogisticRegression().fit(x, y)

    def act(rank: int) -> None:
        shared = LogisticRegression().fit(x, y, world=join_world(torch.device("cpu")))
        np.testing.assert_allclose(shared.objective_path_, alone.objective_path_, rtol=1e-9)
        np.testing.assert_allclose(shared.coef_, alone.coef_, rtol=1e-8)

    together(act)


def test_what_is_no_sum_over_rows_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not Fitted(NearestNeighbours()).shares

    def act(rank: int) -> None:
        with warnings.catch_warnings(), pytest.raises(UserError, match="nearest-neighbours trains in one process"):
            chainrule.train("nearest-neighbours", out=tmp_path / "run", device="cpu")

    together(act)
    assert not (tmp_path / "run").exists()
