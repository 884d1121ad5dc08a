"""The k nearest neighbours of a row, and the class that most of them have.

Shapes: N training rows, B rows asked, D columns, K classes, C candidates.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.classical.arrays import dense_rows, like

BLOCK_NUMBERS = 2**24  # most numbers of a block of distances: 128 MiB in float64
SPARE = 8  # candidates measured again beyond the k


class NearestNeighbours(ClassifierMixin, BaseEstimator):
    """Each row gets the class of most of the n_neighbors training rows nearest to it, by Euclidean distance.

    Args:
        n_neighbors: how many vote.
        weights: `uniform`, a vote each; or `distance`, a vote of 1 / distance each, where rows at no distance at all vote alone.
        device: where distances are computed.

    Attributes:
        classes_ (K,); fit_X_ (N, D), the training rows; fit_index_ (N,), the number of each one's class.

    Raises:
        UserError: for settings out of range; fewer training rows than neighbours.

    Distances are computed in blocks by a matrix product of the rows less a middle one; the best n_neighbors + 8 are
    measured again by differences. Memory beside the training rows: some arrays of 2^24 numbers.

    Ties: of training rows at equal distance the earlier one is nearer; of classes with equal votes the lower wins.

    Source: Cover and Hart: Nearest neighbor pattern classification, 1967.

    >>> model = NearestNeighbours(n_neighbors=3).fit([[0.0], [1.0], [2.0], [10.0]], ["a", "a", "b", "b"])
    >>> model.predict([[0.5], [9.0]]).tolist(), model.predict_proba([[9.0]]).round(2).tolist()
    (['a', 'b'], [[0.33, 0.67]])
    """

    probabilistic = False  # shares of votes may be zero, so their logarithm says nothing

    def __init__(
        self, *, n_neighbors: int = 5, weights: Literal["uniform", "distance"] = "uniform", device: str = "cpu"
    ) -> None:
        self.n_neighbors, self.weights, self.device = n_neighbors, weights, device

    def fit(self, X: Any, y: Any) -> NearestNeighbours:
        """Keeps rows X (N, D) and their classes y (N,)."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, self.fit_index_ = np.unique(y, return_inverse=True)
        if self.n_neighbors != int(self.n_neighbors) or self.n_neighbors < 1:
            raise UserError("the setting n_neighbors is out of range", expected="1 or more", found=self.n_neighbors)
        if self.weights not in ("uniform", "distance"):
            raise UserError("the setting weights is out of range", expected="uniform or distance", found=self.weights)
        self.fit_X_ = X.copy()
        return self

    def decide(self, x: Tensor) -> Tensor:
        """The share of the votes that each class has (B, K), for rows x (B, D)."""
        distance, row = self.neighbours(x)
        votes = torch.ones_like(distance)
        if self.weights == "distance":
            touching = distance == 0
            votes = torch.where(touching.any(1, keepdim=True), touching.to(x.dtype), 1 / distance)
        index = torch.as_tensor(self.fit_index_, device=x.device)[row]
        shares = x.new_zeros(x.shape[0], len(self.classes_)).scatter_add(1, index, votes)
        return shares / votes.sum(1, keepdim=True)

    def neighbours(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (B, k), rising, and numbers (B, k) of the training rows nearest to rows x (B, D)."""
        known = like(x, self.fit_X_)
        k = self.n_neighbors
        if k > len(known):
            raise UserError(
                "there are fewer training rows than neighbours",
                expected=f"{k} or more",
                cure="fewer n_neighbors",
                found=f"n_samples_fit = {len(known)}",
            )
        candidates = _lowest(_squared_distances(x, known), min(k + SPARE, len(known)))  # (B, C), rising numbers
        distance = (x[:, None] - known[candidates]).square().sum(2).sqrt()
        if torch.onnx.is_in_onnx_export():  # which knows no stable sort, but says of equals which comes first: the same
            order = distance.topk(k, dim=1, largest=False).indices
        else:
            order = distance.argsort(dim=1, stable=True)[:, :k]  # equal distances stay in the order of their numbers
        return distance.gather(1, order), candidates.gather(1, order)

    def kneighbors(self, X: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """`neighbours` of rows X (B, D), for any number of rows."""
        found = [self.neighbours(block) for block in self._blocks(X)]
        return torch.cat([d for d, _ in found]).cpu().numpy(), torch.cat([n for _, n in found]).cpu().numpy()

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The share of the votes that each class has (B, K), for rows X (B, D)."""
        return torch.cat([self.decide(block).cpu() for block in self._blocks(X)]).numpy()

    def predict(self, X: Any) -> NDArray[Any]:
        """The classes (B,) of rows X (B, D)."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(1)]

    def _blocks(self, X: Any) -> tuple[Tensor, ...]:
        check_is_fitted(self)
        x = dense_rows(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), self.device)
        numbers = max(len(self.fit_X_), (self.n_neighbors + SPARE) * x.shape[1])
        return x.split(max(1, BLOCK_NUMBERS // numbers))


def _squared_distances(x: Tensor, known: Tensor) -> Tensor:
    """(B, N), up to rounding, from differences to the row of `known` nearest to its mean.

    So no digits are lost far from the origin, and whole numbers stay whole, where equal distances come out equal.
    """
    middle = known[(known - known.mean(0)).square().sum(1).argmin()]
    x, known = x - middle, known - middle
    return torch.addmm(known.square().sum(1), x, known.T, alpha=-2) + x.square().sum(1, keepdim=True)


def _lowest(values: Tensor, count: int) -> Tensor:
    """Columns (B, count) of the lowest values of each row, in rising order; of equal values those of lower number."""
    last = values.topk(count, dim=1, largest=False).values[:, -1:]
    below, level = values < last, values == last
    wanted = count - below.sum(1, keepdim=True)  # of those that equal the last
    taken = below | (level & (level.cumsum(1, dtype=torch.int32) <= wanted))
    backwards = torch.arange(values.shape[1], 0, -1, device=values.device, dtype=torch.int32)
    return values.shape[1] - (taken * backwards).topk(count, dim=1).values.long()


NEAREST_NEIGHBOURS = Card(
    name="nearest-neighbours",
    source="Cover and Hart: Nearest neighbor pattern classification, 1967",
    build=NearestNeighbours,
    example=lambda count: (torch.randn(count, 4, dtype=torch.float64),),
    topics=(Topic("Nearest neighbours", "最近邻", command="chainrule train nearest-neighbours"),),
)
