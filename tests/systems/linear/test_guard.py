"""The guard of estimators: numbers out of the range of floating point end a fit with words, whoever solves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from chainrule.core.errors import RunFailed
from chainrule.nn.fitted import Fitted
from chainrule.systems.classical.k_means import KMeans
from chainrule.systems.classical.naive_bayes import GaussianNaiveBayes
from chainrule.systems.classical.pca import PCA
from chainrule.systems.classical.sparse_coding import SparseCoding
from chainrule.systems.linear.logistic import LogisticRegression
from chainrule.systems.linear.svm import LinearSVM

MODELS = [
    LogisticRegression(solver="newton"),
    LogisticRegression(solver="lbfgs"),
    LinearSVM(),
    SparseCoding(n_components=3, max_iter=3),
    PCA(),
    KMeans(n_clusters=2),
    GaussianNaiveBayes(),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_rows_whose_squares_overflow_end_a_fit_with_words(model: Any) -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(RunFailed, match="out of the range of floating point"):
        model.fit(x[50:] * 1e200, y[50:])


def test_what_is_not_finite_is_no_model() -> None:
    class Spoiled:
        coef_: np.ndarray

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            return {}

        def set_params(self, **params: Any) -> None: ...

        def fit(self, X: Any, y: Any = None) -> None:
            self.coef_ = np.array([1.0, np.nan])

        def decide(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(RunFailed, match=r"Spoiled is not finite: its coef_"):
        Fitted(Spoiled()).fit(torch.zeros(2, 2))
