"""k-means: rows into clusters around their means.

Shapes: N rows, D columns, K clusters.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.answers import Scores
from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError
from chainrule.functional.kmeans import kmeans_plus_plus
from chainrule.systems.classical.arrays import dense_rows, like
from chainrule.systems.classical.solvers.lloyd import Clustering, lloyd, nearest


class KMeans(TransformerMixin, ClusterMixin, BaseEstimator):
    """Minimises the inertia, sum_n |x_n - c_(label n)|^2, over K centres and the labels of the rows.

    Args:
        n_clusters: K.
        init: `k-means++`, rows drawn far from each other, or the first centres (K, D).
        n_init: how many starts are tried; that of least inertia is kept. With centres given there is one.
        max_iter: most updates of the centres, a start.
        tol: ends where the squared movements of the centres sum to this times the mean variance of the columns.
        random_state: seed of the starts.
        device: where it is computed.

    Attributes:
        cluster_centers_ (K, D), labels_ (N,), inertia_, n_iter_; objective_path_: the inertia after each update of the
        centres; measured_: the rows whose distances were computed in each iteration, of N.

    Raises:
        UserError: for settings out of range; fewer rows than clusters; fewer distinct rows than clusters, for k-means++.
            ConvergenceWarning where centres that were given end without rows.

    Steps, stopping rule and what becomes of empty clusters are scikit-learn's, so that from the same start it comes to the
    same clusters; bounds on distances leave most of them uncomputed (`chainrule.systems.classical.solvers.lloyd`).

    Source: Lloyd 1982; Arthur and Vassilvitskii 2007 for the start.

    >>> model = KMeans(n_clusters=2).fit([[0.0], [1.0], [9.0], [11.0]])
    >>> sorted(model.cluster_centers_[:, 0].tolist()), model.inertia_
    ([0.5, 10.0], 2.5)
    """

    def __init__(
        self,
        *,
        n_clusters: int = 8,
        init: ArrayLike | str = "k-means++",
        n_init: int = 1,
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = 0,
        device: str = "cpu",
    ) -> None:
        self.n_clusters, self.init, self.n_init, self.max_iter = n_clusters, init, n_init, max_iter
        self.tol, self.random_state, self.device = tol, random_state, device

    def fit(self, X: Any, y: Any = None, world: World = ONE_PROCESS) -> KMeans:
        """Fits rows X (N, D); y is not looked at. Processes share the work."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        starts = self._check_settings(X)
        x = dense_rows(X, self.device)
        mine = x[world.share(len(x))]
        best: Clustering | None = None
        for start in starts or self._drawn(x):
            found = lloyd(mine, start, max_iterations=self.max_iter, tolerance=self.tol, world=world)
            best = found if best is None or found.inertia < best.inertia else best
        assert best is not None
        self.cluster_centers_ = best.centres.cpu().numpy()
        self.labels_ = np.concatenate(world.gather(best.labels.cpu().numpy().astype(np.int32)))
        self.inertia_, self.n_iter_ = best.inertia, best.iterations
        self.objective_path_, self.measured_ = np.array(best.inertia_path), np.array(best.measured)
        found_clusters = len(np.unique(self.labels_))
        if found_clusters < self.n_clusters:
            warnings.warn(
                f"{found_clusters} of {self.n_clusters} clusters have rows: there are too few distinct rows for more",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _check_settings(self, X: NDArray[Any]) -> list[Tensor]:
        """Raises what the docstring says; gives the start, where it is given."""
        for name, value in {"n_clusters": self.n_clusters, "n_init": self.n_init, "max_iter": self.max_iter}.items():
            if value != int(value) or value < 1:
                raise UserError(f"the setting {name} is out of range", expected="1 or more", found=value)
        if not (self.tol >= 0 and np.isfinite(self.tol)):
            raise UserError("the setting tol is out of range", expected="a number of 0 or more", found=self.tol)
        if len(X) < self.n_clusters:
            raise UserError(
                "there are fewer rows than clusters",
                expected=f"{self.n_clusters} or more",
                found=f"n_samples={len(X)}",
                cure="a smaller n_clusters",
            )
        if isinstance(self.init, str):
            if self.init != "k-means++":
                raise UserError("the setting init is out of range", expected="k-means++ or centres", found=self.init)
            return []
        init = check_array(self.init, dtype=X.dtype)
        if init.shape != (self.n_clusters, X.shape[1]):
            raise UserError(
                "the centres given do not fit",
                where="init",
                expected=f"{(self.n_clusters, X.shape[1])}",
                found=init.shape,
            )
        return [torch.tensor(init, device=self.device)]

    def _drawn(self, x: Tensor) -> list[Tensor]:
        """A start by k-means++ for each of n_init."""
        seed = int(check_random_state(self.random_state).randint(2**31))
        generator = torch.Generator().manual_seed(seed)
        return [kmeans_plus_plus(x, self.n_clusters, generator) for _ in range(self.n_init)]

    def decide(self, x: Tensor) -> Tensor:
        """Distances (N, K) of rows x (N, D) to the centres."""
        rows = x.double()  # float32 would lose digits where centres are far apart
        centres = like(rows, self.cluster_centers_)
        middle = centres.mean(0)
        rows, centres = rows - middle, centres - middle
        squares = torch.addmm(centres.square().sum(1), rows, centres.T, alpha=-2) + rows.square().sum(1, keepdim=True)
        return squares.clamp_min(0).sqrt().to(x.dtype)

    def predict(self, X: Any) -> NDArray[Any]:
        """The number of the nearest centre (N,) of each row X (N, D)."""
        x = self._rows(X)
        return nearest(x, like(x, self.cluster_centers_)).int().cpu().numpy()

    def transform(self, X: Any) -> NDArray[Any]:
        """Distances (N, K) of rows X (N, D) to the centres."""
        return self.decide(self._rows(X)).cpu().numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the inertia of rows X (N, D); y is not looked at."""
        return -float(self.decide(self._rows(X)).amin(1).double().square().sum())

    def measure(self, x: Tensor, y: Tensor | None = None) -> dict[str, float]:
        """The mean squared distance of rows x (N, D) to their centres; with classes y (N,), how well clusters match them.

        `purity`: the share of rows whose class is the commonest of their cluster. `adjusted_rand` is Hubert and Arabie's: the
        agreement over pairs of rows, 0 for chance and 1 for equal partitions.
        """
        distance, cluster = self.decide(x).min(1)
        found = {"mean_square": float(distance.double().square().mean())}
        if y is None:
            return found
        counts = torch.zeros(len(self.cluster_centers_), int(y.max()) + 1, dtype=torch.float64)
        counts.index_put_((cluster.cpu(), y.cpu()), torch.ones(len(y), dtype=torch.float64), accumulate=True)
        return {**found, "purity": float(counts.amax(1).sum() / len(y)), "adjusted_rand": _adjusted_rand(counts)}

    def answers(self, x: Tensor) -> list[dict[str, Any]]:
        """The cluster of each row x (N, D), its distance to the centre, and its distances to all centres."""
        distances = self.decide(x)
        distance, cluster = distances.min(1)
        found = []
        for k, d, row in zip(cluster.tolist(), distance.tolist(), distances.tolist(), strict=True):
            every = Scores({str(i): round(each, 6) for i, each in enumerate(row)}, by="distance")
            found.append({"cluster": int(k), "distance": round(d, 6), "distances": every})
        return found

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return dense_rows(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), self.device)


def _adjusted_rand(counts: Tensor) -> float:
    """Hubert and Arabie 1985, equation 5, from how many rows each cluster has of each class (K, classes)."""

    def pairs(n: Tensor) -> float:
        return float((n * (n - 1) / 2).sum())

    both, by_cluster, by_class, total = pairs(counts), pairs(counts.sum(1)), pairs(counts.sum(0)), pairs(counts.sum())
    by_chance = by_cluster * by_class / total if total else 0.0
    most = (by_cluster + by_class) / 2
    return 1.0 if most == by_chance else (both - by_chance) / (most - by_chance)


K_MEANS = Card(
    name="k-means",
    source="Lloyd: Least squares quantization in PCM, 1982; Arthur and Vassilvitskii: k-means++, 2007",
    build=KMeans,
    example=lambda count: (torch.randn(count, 4, dtype=torch.float64),),
    deviations=("Bounds on distances (Elkan 2003, Ding et al. 2015) skip rows whose centre cannot change.",),
    tiny={"n_clusters": 2},
    topics=(
        Topic(
            "Clustering: k-means from k-means++",
            "聚类：k-means，k-means++ 起点",
            lectures=(3,),
            command="chainrule train k-means clusters=8,10,12",
        ),
    ),
)
