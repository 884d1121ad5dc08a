"""Naive Bayes: columns that are independent given the class, with Gaussian, multinomial or Bernoulli columns.

Shapes: N rows, D columns, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite
from chainrule.functional.shared_rows import column_mean, column_variance
from chainrule.functional.sparse_rows import SparseRows, accepts_sparse, as_rows
from chainrule.systems.classical.arrays import LogProbabilityMixin, dense_rows, like

Priors = Sequence[float] | Literal["uniform"] | None


class GaussianNaiveBayes(LogProbabilityMixin, ClassifierMixin, BaseEstimator):
    """p(y = k | x) in proportion to p(k) prod_j N(x_j; theta_kj, var_kj).

    Args:
        priors: probabilities of the classes (K,), `uniform`, or none for their shares in training.
        var_smoothing: this share of the largest column variance is added to every variance, so that a column that is
            constant within a class does not decide alone.
        device: where it is computed.

    Attributes:
        classes_ (K,), class_count_ (K,), class_prior_ (K,); theta_, var_ (K, D): means and variances (divided by N_k);
        epsilon_: what was added to the variances.

    Raises:
        UserError: for settings out of range; one class alone; variances that are all zero with no smoothing.

    All is computed in float64, float32 rows too; answers have the rows' type. Source: Bishop 2006, section 4.2.

    >>> model = GaussianNaiveBayes().fit([[-1.0], [1.0], [4.0], [6.0]], ["low", "low", "high", "high"])
    >>> model.theta_[:, 0].tolist(), model.predict([[2.0], [3.0]]).tolist()
    ([5.0, 0.0], ['low', 'high'])
    """

    probabilistic = True

    def __init__(self, *, priors: Priors = None, var_smoothing: float = 1e-9, device: str = "cpu") -> None:
        self.priors, self.var_smoothing, self.device = priors, var_smoothing, device

    def fit(self, X: Any, y: Any, world: World = ONE_PROCESS) -> GaussianNaiveBayes:
        """Fits rows X (N, D) and their classes y (N,); processes share the work."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        index = _classes(self, y)
        _at_least_zero("var_smoothing", self.var_smoothing)
        mine = world.share(len(index))
        x = dense_rows(X[mine], self.device).double()
        theta, var = [], []
        for k in range(len(self.classes_)):
            rows, count = x[torch.from_numpy(index[mine] == k).to(x.device)], int(self.class_count_[k])
            theta.append(column_mean(rows, count, world))
            var.append(column_variance(rows, count, world))
        self.epsilon_ = self.var_smoothing * float(column_variance(x, len(index), world).max())
        expect_finite(self.epsilon_, "the variance of a column")
        self.theta_, self.var_ = torch.stack(theta).cpu().numpy(), torch.stack(var).cpu().numpy() + self.epsilon_
        if not self.var_.all():
            k, column = np.argwhere(self.var_ == 0)[0].tolist()
            raise UserError(
                "a variance is zero, so its density is infinite",
                where=f"class {self.classes_[k]}, column {column}",
                cure="var_smoothing above 0, or leave constant columns out",
            )
        return self

    def decide(self, x: Tensor) -> Tensor:
        """log p(class | x) (N, K) in nats of rows x (N, D)."""
        rows = x.double()  # float32 would lose digits of columns far from 0
        theta, deviation = like(rows, self.theta_), like(rows, np.sqrt(self.var_))
        log_prior = like(rows, np.log(self.class_prior_) - 0.5 * np.log(2 * math.pi * self.var_).sum(1))
        squares = [((rows - theta[k]) / deviation[k]).square().sum(1) for k in range(len(theta))]
        return (log_prior - 0.5 * torch.stack(squares, 1)).log_softmax(1).to(x.dtype)


class MultinomialNaiveBayes(LogProbabilityMixin, ClassifierMixin, BaseEstimator):
    """p(y = k | x) in proportion to p(k) prod_j theta_kj^x_j, for counts such as the words of a text.

    theta_kj = (N_kj + alpha) / (N_k + alpha D), where N_kj sums column j over the rows of class k.

    Args:
        alpha: added to every count, above 0: 1 is Laplace's, less is Lidstone's.
        priors: probabilities of the classes (K,), `uniform`, or none for their shares in training.
        device: where it is computed.

    Attributes:
        classes_ (K,), class_count_ (K,), class_prior_ (K,), feature_count_ (K, D) and feature_log_prob_ (K, D).

    Raises:
        UserError: for settings out of range, one class alone, a value below zero.

    Sparse rows (any SciPy format) stay sparse. Counts are summed in float64. Source: Manning, Raghavan, Schuetze: Introduction
    to information retrieval, 2008, section 13.2.

    >>> model = MultinomialNaiveBayes().fit([[2, 0], [1, 0], [0, 3]], ["a", "a", "b"])
    >>> np.exp(model.feature_log_prob_).round(2).tolist(), model.predict([[1, 2]]).tolist()
    ([[0.8, 0.2], [0.2, 0.8]], ['b'])
    """

    probabilistic = True

    def __init__(self, *, alpha: float = 1.0, priors: Priors = None, device: str = "cpu") -> None:
        self.alpha, self.priors, self.device = alpha, priors, device

    def __sklearn_tags__(self) -> Any:
        tags = accepts_sparse(super().__sklearn_tags__())
        tags.input_tags.positive_only = True
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any, world: World = ONE_PROCESS) -> MultinomialNaiveBayes:
        """Fits counts X (N, D), dense or sparse, and their classes y (N,); processes share the work."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], accept_sparse="csr")
        if X.size and X.min() < 0:
            raise UserError(
                "Negative values in data passed to MultinomialNaiveBayes",
                expected="counts: 0 or more",
                found=X.min(),
                cure="GaussianNaiveBayes, or rows that are not standardised",
            )
        index = _classes(self, y)
        _above_zero("alpha", self.alpha)
        self.feature_count_ = _column_sums(X, index, self, world)
        counts = self.feature_count_ + self.alpha
        self.feature_log_prob_ = np.log(counts) - np.log(counts.sum(1, keepdims=True))
        return self

    def decide(self, x: Tensor) -> Tensor:
        """log p(class | x) (N, K) in nats of counts x (N, D), dense or a sparse tensor."""
        scores = x @ like(x, self.feature_log_prob_).T + like(x, np.log(self.class_prior_))
        return scores.log_softmax(1)


class BernoulliNaiveBayes(LogProbabilityMixin, ClassifierMixin, BaseEstimator):
    """p(y = k | x) in proportion to p(k) prod_j theta_kj^b_j (1 - theta_kj)^(1 - b_j), where b_j = 1 if x_j > binarize.

    theta_kj = (N_kj + alpha) / (N_k + 2 alpha), where N_kj counts the rows of class k with b_j = 1. A word that is absent
    speaks too, which the multinomial form does not let it.

    Args:
        alpha: added to both counts of a column, above 0.
        binarize: values above it are 1, the others 0.
        priors: probabilities of the classes (K,), `uniform`, or none for their shares in training.
        device: where it is computed.

    Attributes:
        classes_ (K,), class_count_ (K,), class_prior_ (K,), feature_count_ (K, D) and feature_log_prob_ (K, D), log theta.

    Raises:
        UserError: for settings out of range; one class alone; sparse rows with binarize below zero, which would fill them.

    Sparse rows (any SciPy format) stay sparse. Source: Manning, Raghavan, Schuetze 2008, section 13.3.

    >>> model = BernoulliNaiveBayes().fit([[1, 0], [1, 0], [0, 1]], ["a", "a", "b"])
    >>> np.exp(model.feature_log_prob_).round(3).tolist(), model.predict([[0, 0]]).tolist()
    ([[0.75, 0.25], [0.333, 0.667]], ['a'])
    """

    probabilistic = True

    def __init__(
        self, *, alpha: float = 1.0, binarize: float = 0.0, priors: Priors = None, device: str = "cpu"
    ) -> None:
        self.alpha, self.binarize, self.priors, self.device = alpha, binarize, priors, device

    def __sklearn_tags__(self) -> Any:
        tags = accepts_sparse(super().__sklearn_tags__())
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any, world: World = ONE_PROCESS) -> BernoulliNaiveBayes:
        """Fits rows X (N, D), dense or sparse, and their classes y (N,); processes share the work."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], accept_sparse="csr")
        index = _classes(self, y)
        _above_zero("alpha", self.alpha)
        self.feature_count_ = _column_sums(self._binary(X), index, self, world)
        self.feature_log_prob_ = np.log(self.feature_count_ + self.alpha) - np.log(
            self.class_count_[:, None] + 2 * self.alpha
        )
        return self

    def _binary(self, X: Any) -> Any:
        """1 where X is above the threshold, in X's own type and form."""
        if not hasattr(X, "tocsr"):
            return (self.binarize < X).astype(X.dtype)
        if self.binarize < 0:
            raise UserError(
                "sparse rows cannot be binarised below zero: all their zeros would become ones",
                where="binarize",
                expected="0 or more",
                found=self.binarize,
            )
        X = X.copy()
        X.data = (X.data > self.binarize).astype(X.dtype)
        return X

    def decide(self, x: Tensor) -> Tensor:
        """log p(class | x) (N, K) in nats of rows x (N, D), dense, or a sparse tensor of zeros and ones."""
        if x.layout == torch.strided:
            x = (x > self.binarize).to(x.dtype)
        log_theta, log_rest = self.feature_log_prob_, np.log1p(-np.exp(self.feature_log_prob_))
        scores = x @ like(x, log_theta - log_rest).T + like(x, np.log(self.class_prior_) + log_rest.sum(1))
        return scores.log_softmax(1)

    def _rows(self, X: Any) -> Any:
        return self._binary(X) if hasattr(X, "tocsr") else X


def _classes(model: Any, y: NDArray[Any]) -> NDArray[np.int64]:
    """Sets classes_, class_count_ and class_prior_; the number of each row's class (N,)."""
    check_classification_targets(y)
    model.classes_, index = np.unique(y, return_inverse=True)
    K = len(model.classes_)
    if K < 2:
        raise UserError("a classifier needs two classes", expected="2 or more", found=f"1 class, {model.classes_[0]}")
    model.class_count_ = np.bincount(index).astype(np.float64)
    given = model.priors
    if given is None:
        model.class_prior_ = model.class_count_ / len(index)
    elif isinstance(given, str) and given == "uniform":
        model.class_prior_ = np.full(K, 1 / K)
    else:
        found = np.asarray(given, dtype=np.float64) if not isinstance(given, str) else np.zeros(0)
        if found.shape != (K,) or not (found > 0).all() or abs(found.sum() - 1) > 1e-6:
            raise UserError(
                "the priors are no probabilities of the classes",
                where="priors",
                expected=f"{K} numbers above 0 that sum to 1, uniform, or none",
                found=given,
            )
        model.class_prior_ = found
    return index


def _column_sums(X: Any, index: NDArray[np.int64], model: Any, world: World) -> NDArray[np.float64]:
    """Sums of each column over the rows of each class (K, D), float64; each process sums its own rows."""
    if world.size > 1:
        X, index = X[world.share(len(index))], index[world.share(len(index))]
    rows = as_rows(X, model.device)
    member = torch.zeros(len(index), len(model.classes_), dtype=rows.dtype, device=_device(rows))
    member[torch.arange(len(index)), torch.from_numpy(index)] = 1
    sums = (rows.T @ member).T.double() if isinstance(rows, SparseRows) else member.double().T @ rows.double()
    return world.sum(sums).cpu().numpy()


def _device(rows: Tensor | SparseRows) -> torch.device:
    return rows.rows.device if isinstance(rows, SparseRows) else rows.device


def _above_zero(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"the setting {name} is out of range", expected="a number above 0", found=value)


def _at_least_zero(name: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise UserError(f"the setting {name} is out of range", expected="a number of 0 or more", found=value)


def _rows(count: int) -> tuple[Tensor]:
    return (torch.randn(count, 4, dtype=torch.float64),)


def _counts(count: int) -> tuple[Tensor]:
    return (torch.randint(0, 5, (count, 4)).double(),)


GAUSSIAN_NAIVE_BAYES = Card(
    name="gaussian-naive-bayes",
    source="Bishop: Pattern recognition and machine learning, 2006, section 4.2",
    build=GaussianNaiveBayes,
    example=_rows,
    deviations=("A share of the largest variance is added to all, as scikit-learn does.",),
    topics=(Topic("Naive Bayes", "朴素贝叶斯", lectures=(3,), command="chainrule train naive-bayes"),),
)
MULTINOMIAL_NAIVE_BAYES = Card(
    name="multinomial-naive-bayes",
    source="Manning, Raghavan, Schuetze: Introduction to information retrieval, 2008, section 13.2",
    build=MultinomialNaiveBayes,
    example=_counts,
    topics=(Topic("Naive Bayes", command="chainrule train naive-bayes"),),
)
BERNOULLI_NAIVE_BAYES = Card(
    name="bernoulli-naive-bayes",
    source="Manning, Raghavan, Schuetze: Introduction to information retrieval, 2008, section 13.3",
    build=BernoulliNaiveBayes,
    example=_rows,
)
