"""Many classes by two-class estimators: each class against the rest, or a machine for each pair.

Shapes: N rows, K classes, P = K (K - 1) / 2 pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.sparse_rows import csr_tensor
from chainrule.systems.classical.output_codes import class_pairs, one_vs_one_scores


class OneVsRest(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """One two-class estimator a class, that class against all others; the highest decision answers.

    Args:
        estimator: a classifier of two classes with `fit` and `decide`; a copy of it is fitted for each class.

    Attributes:
        classes_: (K,).
        estimators_: the fitted copies, K of them, or one where there are two classes.

    Raises:
        UserError: for one class alone.

    Source: Bishop: Pattern Recognition and Machine Learning, 2006, section 7.1.3.

    >>> from chainrule.systems.linear.svm import LinearSVM
    >>> x = np.array([[0.0], [1.0], [4.0], [5.0], [9.0], [10.0]])
    >>> OneVsRest(LinearSVM(C=10.0)).fit(x, list("aabbcc")).predict([[-1.0], [11.0]])
    array(['a', 'c'], dtype='<U1')
    """

    probabilistic = False

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __sklearn_tags__(self) -> Any:
        return _tags_of(self.estimator, super().__sklearn_tags__())

    def fit(self, X: Any, y: Any) -> OneVsRest:
        """Fits rows X (N, D) and their classes y (N,)."""
        X, index = _validated(self, X, y)
        positive = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        self.estimators_ = [clone(self.estimator).fit(X, (index == k).astype(int)) for k in positive]
        return self

    def decide(self, x: Tensor) -> Tensor:
        """Scores (N, K) of rows x (N, D): the decision of each class's machine."""
        decisions = torch.stack([_decision(machine, x) for machine in self.estimators_], 1)
        return torch.cat([-decisions, decisions], 1) if len(self.classes_) == 2 else decisions

    def decision_function(self, X: Any) -> NDArray[Any]:
        """`decide` on rows X (N, D): (N, K), or (N,) with two classes, where it is above 0 for the second."""
        return _answer(self, X)

    def predict(self, X: Any) -> NDArray[Any]:
        """The classes (N,) of rows X (N, D)."""
        return _class_of(self, _answer(self, X))


class OneVsOne(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """One two-class estimator a pair of classes, on the rows of these two; each votes, decisions part equal votes.

    Args:
        estimator: a classifier of two classes with `fit` and `decide`; a copy of it is fitted for each pair.

    Attributes:
        classes_: (K,).
        estimators_: the fitted copies, P of them, in the order of `class_pairs`.

    Raises:
        UserError: for one class alone.

    Source: Friedman: Another approach to polychotomous classification, 1996.

    >>> from chainrule.systems.linear.svm import LinearSVM
    >>> x = np.array([[0.0], [1.0], [4.0], [5.0], [9.0], [10.0]])
    >>> OneVsOne(LinearSVM(C=10.0)).fit(x, list("aabbcc")).predict([[-1.0], [4.5], [11.0]])
    array(['a', 'b', 'c'], dtype='<U1')
    """

    probabilistic = False

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def __sklearn_tags__(self) -> Any:
        return _tags_of(self.estimator, super().__sklearn_tags__())

    def fit(self, X: Any, y: Any) -> OneVsOne:
        """Fits rows X (N, D) and their classes y (N,)."""
        X, index = _validated(self, X, y)
        self.estimators_ = []
        for i, j in class_pairs(len(self.classes_)):
            rows = np.flatnonzero((index == i) | (index == j))
            self.estimators_.append(clone(self.estimator).fit(X[rows], (index[rows] == j).astype(int)))
        return self

    def decide(self, x: Tensor) -> Tensor:
        """Scores (N, K) of rows x (N, D): see `one_vs_one_scores`."""
        decisions = torch.stack([_decision(machine, x) for machine in self.estimators_], 1)
        if len(self.classes_) == 2:
            return torch.cat([-decisions, decisions], 1)
        return one_vs_one_scores(decisions, len(self.classes_))

    def decision_function(self, X: Any) -> NDArray[Any]:
        """`decide` on rows X (N, D): (N, K), or (N,) with two classes, where it is above 0 for the second."""
        return _answer(self, X)

    def predict(self, X: Any) -> NDArray[Any]:
        """The classes (N,) of rows X (N, D)."""
        return _class_of(self, _answer(self, X))


def _tags_of(estimator: Any, tags: Any) -> Any:
    tags.input_tags.sparse = get_tags(estimator).input_tags.sparse
    return tags


def _validated(coding: OneVsRest | OneVsOne, X: Any, y: Any) -> tuple[Any, NDArray[np.int64]]:
    """X as an array, the index of each row's class, and `classes_`."""
    X, y = validate_data(coding, X, y, dtype=[np.float64, np.float32], force_writeable=True, accept_sparse="csr")
    check_classification_targets(y)
    coding.classes_, index = np.unique(y, return_inverse=True)
    if len(coding.classes_) < 2:
        raise UserError("a classifier needs two classes", expected="2 or more", found=f"1 class, {coding.classes_[0]}")
    return X, index


def _decision(machine: Any, x: Tensor) -> Tensor:
    """How much a two-class machine is for its second class, (N,): half the difference of its two scores.

    For log-probabilities that is half the log-odds, for a support vector machine (scores -d and d) it is d.
    """
    scores = machine.decide(x)
    return 0.5 * (scores[:, 1] - scores[:, 0])


def _answer(coding: OneVsRest | OneVsOne, X: Any) -> NDArray[Any]:
    check_is_fitted(coding)
    X = validate_data(coding, X, dtype=[np.float64, np.float32], force_writeable=True, accept_sparse="csr", reset=False)
    if isinstance(X, np.ndarray):
        scores = coding.decide(torch.from_numpy(X)).numpy()
    else:
        scores = coding.decide(csr_tensor(X)).numpy()
    return scores[:, 1] if len(coding.classes_) == 2 else scores


def _class_of(coding: OneVsRest | OneVsOne, scores: NDArray[Any]) -> NDArray[Any]:
    answer: NDArray[Any] = coding.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]
    return answer


TOPICS = (
    Topic(
        "Classifiers of two classes put together: one against the rest, one against one",
        "多类分类：一对其余、一对一",
        lectures=(1,),
        code=("OneVsRest", "OneVsOne"),
        command="chainrule train kernel-svm multi_class=ovr",
    ),
)
