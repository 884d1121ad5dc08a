"""The perceptron, with the last, the averaged or the voting weights.

Shapes: N rows, D columns, K classes, M mistakes.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.nn.fitted import example_rows
from chainrule.systems.linear.separability import hard_margin, separable
from chainrule.systems.linear.solvers.perceptron import perceptron

Average = Literal["last", "averaged", "voted"]
AVERAGES = ("last", "averaged", "voted")
EXAMINED = 200  # weights up to which a linear programme finds out why there were mistakes to the end


class Perceptron(ClassifierMixin, BaseEstimator):
    """Classes by the sign of w . x + b, or by the highest of K such scores; weights are sums of rows answered wrongly.

    Where a hyperplane separates two classes, the algorithm makes at most (R / margin)^2 mistakes, whatever the order and
    however many the rows (Novikoff); `bound` computes that number. Where none does, it never stops making mistakes, and `separable_`
    says so: a linear programme finds it out. For `last`, whose weights are then arbitrary, a ConvergenceWarning says it too;
    averages and votes are made for that case.

    Args:
        average: which weights answer: `last`; `averaged`, those after each row, averaged; `voted`, the vote of all, each
            with as many voices as rows it was held for.
        fit_intercept: whether there is b: a column of ones beside the rows.
        max_iter: most epochs.
        random_state: seed of the order of rows in each epoch.
        device: where rows are multiplied.

    Attributes:
        coef_ (1 or K, D), intercept_ (1 or K,): one row for two classes, in float64.
        classes_: labels in order.
        n_iter_: epochs; objective_path_: mistakes in each.
        mistakes_: all of them.
        separable_: `yes` where the last epoch had no mistake; else `no` or `yes` by a linear programme, or `unknown` where
            that has more than 200 weights to find.
        vectors_ (M + 1, K, D + 1), survived_ (M + 1,): for `voted`: the weights that vote, and their voices.

    Raises:
        UserError: the settings are out of range; voting would keep more than a gibibyte of weights.
        ValueError: rows or labels are not what scikit-learn's conventions ask: nan, shapes, one class.

    Source: Rosenblatt: The perceptron, Psychological Review 65, 1958; Novikoff: On convergence proofs for perceptrons,
    1962; Freund and Schapire: Large margin classification using the perceptron algorithm, 1999.

    >>> model = Perceptron().fit([[-2.0], [-1.0], [1.0], [3.0]], ["no", "no", "yes", "yes"])
    >>> model.predict([[-5.0], [5.0]]), model.separable_
    (array(['no', 'yes'], dtype='<U3'), 'yes')
    """

    probabilistic = False

    def __init__(
        self,
        *,
        average: Average = "last",
        fit_intercept: bool = True,
        max_iter: int = 100,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.average, self.fit_intercept, self.max_iter = average, fit_intercept, max_iter
        self.random_state, self.device = random_state, device

    def fit(self, X: Any, y: Any) -> Perceptron:
        """Fits rows X (N, D) and labels y (N,)."""
        if self.average not in AVERAGES:
            raise unknown("there is no average", str(self.average), AVERAGES)
        if not self.max_iter > 0:
            raise UserError("max_iter is out of range", expected="1 or more", found=self.max_iter)
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(
                "a classifier needs two classes",
                where="y",
                expected="two classes at least",
                found=f"only one class: {self.classes_[0]}",
            )
        x, target = self._rows(X), torch.from_numpy(codes.astype(np.int64)).to(self.device)
        found = perceptron(
            x,
            target,
            len(self.classes_),
            max_epochs=self.max_iter,
            keep_all=self.average == "voted",
            generator=torch.Generator().manual_seed(self.random_state),
        )
        w = found.mean if self.average == "averaged" else found.w
        w = w[1:] if len(self.classes_) == 2 else w
        self.coef_ = w[:, : X.shape[1]].copy()
        self.intercept_ = w[:, -1].copy() if self.fit_intercept else np.zeros(len(w))
        if found.vectors is not None:
            self.vectors_, self.survived_ = found.vectors, found.survived
        self.n_iter_, self.mistakes_ = len(found.mistakes), sum(found.mistakes)
        self.objective_path_ = np.array(found.mistakes, dtype=float)
        self.separable_ = "yes" if found.converged else self._examine(X, target, found.w.size)
        return self

    def bound(self, X: Any, y: Any) -> float:
        """(R / margin)^2, above which the algorithm makes no mistake on two separable classes, whatever their order.

        R is the length of the longest row (with its 1 for the intercept), the margin the largest distance that a
        hyperplane through the origin can keep from all rows: that of `hard_margin`.

        Raises:
            UserError: there are not two classes, or no hyperplane separates them.
        """
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), reset=False)
        classes = np.unique(y)
        if len(classes) != 2:
            raise UserError("the bound is one of two classes", where="y", expected="2 classes", found=len(classes))
        x = self._rows(X)
        _, margin = hard_margin(x, torch.from_numpy(np.where(y == classes[1], 1.0, -1.0)))
        return float(x.norm(dim=1).max()) ** 2 / margin**2

    def decide(self, x: Tensor) -> Tensor:
        """Scores (N, K) of rows x (N, D): w . x + b, or voices; for two classes the first is the second's negative."""
        if self.average == "voted":
            return self._votes(x)
        coef = torch.as_tensor(self.coef_, dtype=x.dtype, device=x.device)
        scores = x @ coef.T + torch.as_tensor(self.intercept_, dtype=x.dtype, device=x.device)
        return torch.cat([-scores, scores], 1) if len(self.classes_) == 2 else scores

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Scores: (N,) of the second class for two classes, else (N, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        scores: NDArray[Any] = self.decide(torch.tensor(X, device=self.device)).cpu().numpy()
        return scores[:, 1] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """The label of the highest score (N,)."""
        scores = self.decision_function(X)
        best = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        found: NDArray[Any] = self.classes_[best]
        return found

    # -- inside -------------------------------------------------------------------------------------------------

    def _rows(self, X: NDArray[Any]) -> Tensor:
        x = torch.tensor(X, device=self.device, dtype=torch.float64)
        return torch.cat([x, x.new_ones(len(x), 1)], 1) if self.fit_intercept else x

    def _votes(self, x: Tensor) -> Tensor:
        """Voices for each class (N, K); for two classes a tie of a vector's scores gives it no voice."""
        vectors = torch.as_tensor(self.vectors_, dtype=x.dtype, device=x.device)
        voices = torch.as_tensor(self.survived_, dtype=x.dtype, device=x.device)
        D = x.shape[1]
        votes = x.new_zeros(len(x), len(self.classes_))
        for part, voice in zip(vectors.split(1024), voices.split(1024), strict=True):
            scores = torch.einsum("nd,mkd->nmk", x, part[:, :, :D])
            if self.fit_intercept:
                scores = scores + part[:, :, D]
            if len(self.classes_) == 2:
                against = (scores[:, :, 1] - scores[:, :, 0]).sign() @ voice
                votes = votes + torch.stack([-against, against], 1)
            else:
                winners = torch.nn.functional.one_hot(scores.argmax(2), len(self.classes_)).to(x.dtype)
                votes = votes + torch.einsum("nmk,m->nk", winners, voice)
        return votes

    def _examine(self, X: NDArray[Any], target: Tensor, size: int) -> str:
        """Whether the classes are separable, after a last epoch with mistakes; and the warning that says it."""
        answer = "unknown"
        if size <= EXAMINED and self.fit_intercept:
            answer = "yes" if separable(torch.from_numpy(X), target) else "no"
        if self.average != "last":
            return answer
        reason = {
            "no": "no hyperplane separates the classes, so the algorithm never ends",
            "yes": "the classes are separable, so more epochs will do: raise max_iter",
            "unknown": "whether the classes are separable was not examined: chainrule.systems.linear.separability.separable does",
        }[answer]
        warnings.warn(
            f"the perceptron made {int(self.objective_path_[-1])} mistakes in the last of {self.n_iter_} epochs; {reason}",
            ConvergenceWarning,
            stacklevel=3,
        )
        return answer


PERCEPTRON = Card(
    name="perceptron",
    source="Rosenblatt: The perceptron, 1958; Freund and Schapire 1999, section 2",
    build=Perceptron,
    example=example_rows,
    deviations=(
        "More than two classes by Collins's rule (2002): the right class's weights grow, the highest wrong one's shrink.",
    ),
    tiny={"max_iter": 20},
    topics=(
        Topic(
            "Perceptron, its bound on mistakes",
            "感知器及其错误次数的界",
            lectures=(1, 2, 3),
            code=("Perceptron", "Perceptron.bound"),
            command="chainrule train perceptron",
        ),
    ),
)
