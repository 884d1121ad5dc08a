"""Linear discriminant analysis: Gaussian classes that share one covariance.

Shapes: N rows, D columns, K classes, R directions that tell classes apart (K - 1 at most).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError
from chainrule.functional.shared_rows import column_deviation, column_mean, rows_of_the_factor
from chainrule.systems.classical.arrays import LogProbabilityMixin, dense_rows, like


class LinearDiscriminant(LogProbabilityMixin, ClassifierMixin, TransformerMixin, BaseEstimator):
    """p(y = k | x) in proportion to p(k) N(x; mean_k, S), one S for all classes, so that the borders are planes.

    S is divided by N, as maximum likelihood has it. log p(k | x) = x . w_k + b_k + const with w_k = S^-1 mean_k and b_k = -1/2 mean_k . w_k + log p(k). `transform` gives
    the coordinates along Fisher's directions: those that spread the means most, where S has become the identity.

    Args:
        shrinkage: none; a share lambda in [0, 1] for S = (1 - lambda) S + lambda tr(S)/D I; or `auto`, the share of Ledoit
            and Wolf. Needed where there are few rows to a column.
        priors: probabilities of the classes (K,), or none for their shares in training.
        n_components: coordinates that `transform` gives; none is all, min(K - 1, D).
        tol: without shrinkage, directions whose singular value is below it (columns in units of their within-class
            deviation) are left out, so that S may be singular.
        device: where it is computed.

    Attributes:
        classes_ (K,), priors_ (K,), means_ (K, D), coef_ (K, D) and intercept_ (K,), or (1, D) and (1,) of the second class
        where there are two; xbar_ (D,), scalings_ (D, R), explained_variance_ratio_; shrinkage_ where there is some: its
        share, of each class (K,).

    Raises:
        UserError: for settings out of range, one class alone, as many classes as rows; rows that do not vary within any
            class; a covariance that is singular though it was shrunk; classes whose means are all the same, or differ only
            along directions in which no class varies.

    All is computed in float64, float32 rows too; answers have the rows' type. Without shrinkage S is never formed: two
    singular value decompositions are enough. Source: Fisher 1936; Hastie, Tibshirani, Friedman 2009, section 4.3;
    Ledoit and Wolf: A well-conditioned estimator for large-dimensional covariance matrices, 2004.

    >>> x = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [4.0, 0.0], [5.0, 0.0], [4.0, 1.0]]
    >>> model = LinearDiscriminant().fit(x, [0, 0, 0, 1, 1, 1])
    >>> model.predict([[2.0, 0.0], [3.0, 0.0]]).tolist(), model.transform(x).shape
    ([0, 1], (6, 1))
    """

    probabilistic = True

    def __init__(
        self,
        *,
        shrinkage: float | Literal["auto"] | None = None,
        priors: Sequence[float] | None = None,
        n_components: int | None = None,
        tol: float = 1e-4,
        device: str = "cpu",
    ) -> None:
        self.shrinkage, self.priors, self.n_components = shrinkage, priors, n_components
        self.tol, self.device = tol, device

    def fit(self, X: Any, y: Any, world: World = ONE_PROCESS) -> LinearDiscriminant:
        """Fits rows X (N, D) and their classes y (N,); processes share the work."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        self.priors_ = self._check_settings(index, X.shape[1])
        mine, counts = world.share(len(index)), np.bincount(index).tolist()
        x = dense_rows(X[mine], self.device).double()
        of = torch.from_numpy(index[mine]).to(x.device)
        priors = torch.from_numpy(self.priors_).to(x.device)
        means = torch.stack([column_mean(x[of == k], count, world) for k, count in enumerate(counts)])
        if not world.sum(float((x != means[of]).sum())):
            raise UserError(
                "no class has a spread: all rows of a class are equal, so that nothing says how far apart the means are",
                expected="a class at least whose rows vary",
                found=f"{len(index)} rows of {len(counts)} classes",
                cure="more rows, or nearest-neighbours, which needs no spread",
            )
        solve = self._by_singular_values if self.shrinkage is None else self._by_eigenvectors
        scalings, spread, centre = solve(x, of, means, priors, counts, world)
        self.means_, self.xbar_ = means.cpu().numpy(), (priors @ means).cpu().numpy()
        self.scalings_ = scalings.cpu().numpy()
        total = float(spread.sum())
        self.explained_variance_ratio_ = (spread / total).cpu().numpy()[: self._num_components]
        projected = (means - centre) @ scalings
        coef = projected @ scalings.T
        intercept = -0.5 * projected.square().sum(1) + priors.log() - centre @ coef.T
        if len(self.classes_) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = coef.cpu().numpy(), intercept.cpu().numpy()
        return self

    def _check_settings(self, index: NDArray[np.int64], num_columns: int) -> NDArray[np.float64]:
        """Raises what the docstring says; gives the priors (K,)."""
        K = len(self.classes_)
        if K < 2:
            raise UserError(
                "a classifier needs two classes", expected="2 or more", found=f"1 class, {self.classes_[0]}"
            )
        if len(index) <= K:
            raise UserError(
                "there are no more samples than classes, so no class has a spread",
                expected=f"more than {K}",
                found=f"n_samples={len(index)}",
            )
        share = self.shrinkage
        if not (share is None or share == "auto" or (not isinstance(share, str) and 0 <= share <= 1)):
            raise UserError("the setting shrinkage is out of range", expected="none, auto, or 0 to 1", found=share)
        if not (self.tol >= 0 and math.isfinite(self.tol)):
            raise UserError("the setting tol is out of range", expected="a number of 0 or more", found=self.tol)
        most = min(K - 1, num_columns)
        if self.n_components is not None and not 1 <= self.n_components <= most:
            raise UserError(
                "the setting n_components is out of range",
                expected=f"1 to {most}: the lesser of classes - 1 and columns",
                found=self.n_components,
            )
        self._num_components = most if self.n_components is None else self.n_components
        if self.priors is None:
            return np.bincount(index) / len(index)
        found = np.asarray(self.priors, dtype=np.float64)
        if found.shape != (K,) or not (found > 0).all() or abs(found.sum() - 1) > 1e-6:
            raise UserError(
                "the priors are no probabilities of the classes",
                where="priors",
                expected=f"{K} numbers above 0 that sum to 1, or none",
                found=self.priors,
            )
        return found

    def _by_singular_values(
        self, x: Tensor, of: Tensor, means: Tensor, priors: Tensor, counts: list[int], world: World
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Directions (D, R), the spread of the means along each (R,), and the centre (D,).

        The rows, centred by class, are made white by their singular values; the means, weighted, are then turned to
        their own axes.
        """
        N, K = sum(counts), len(means)
        within = x - means[of]
        deviation = column_deviation(within, N, world)
        varies = deviation > 0
        apart = ((means != means[:1]).any(0) & ~varies).nonzero()[:, 0].tolist()
        if apart:
            warnings.warn(
                f"{len(apart)} columns are constant within every class and differ between classes, which no density says; they "
                f"are left out ({', '.join(map(str, apart[:5]))}); shrinkage=0.1 takes them in",
                UserWarning,
                stacklevel=3,
            )
        deviation = torch.where(varies, deviation, 1.0)
        white = rows_of_the_factor(within / deviation / math.sqrt(N), world)
        _, singular, axes = torch.linalg.svd(white, full_matrices=False)
        rank = int((singular > self.tol).sum())
        whitening = (axes[:rank] / deviation).T / singular[:rank]
        centre = priors @ means
        weighted = ((N * priors / max(K - 1, 1)).sqrt()[:, None] * (means - centre)) @ whitening
        _, singular, axes = torch.linalg.svd(weighted, full_matrices=False)
        rounding = 8 * torch.finfo(x.dtype).eps * math.sqrt(N) * float((means.abs() * varies / deviation).max())
        if not len(singular) or not float(singular[0]) > rounding:
            if bool(((means - centre).abs() > 1e-12 * means.abs().amax(0)).any()):
                raise UserError(
                    "the means of the classes differ only along directions in which no class varies",
                    found=f"{K} classes",
                    cure="shrinkage=0.1, which gives every direction a variance",
                )
            raise UserError("the classes cannot be told apart: their means are all the same", found=f"{K} classes")
        rank = int((singular > self.tol * singular[0]).sum())
        return whitening @ axes.T[:, :rank], singular.square()[: self._num_components], centre

    def _by_eigenvectors(
        self, x: Tensor, of: Tensor, means: Tensor, priors: Tensor, counts: list[int], world: World
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same from S_between v = lambda S_within v, with both covariances shrunk; the centre is the origin."""
        shrunk = [_shrunk_covariance(x[of == k], self.shrinkage, count, world) for k, count in enumerate(counts)]
        self.shrinkage_ = np.array([share for _, share in shrunk])
        within = torch.stack([p * covariance for p, (covariance, _) in zip(priors, shrunk, strict=True)]).sum(0)
        between = _shrunk_covariance(x, self.shrinkage, sum(counts), world)[0] - within
        factor, failed = torch.linalg.cholesky_ex(within)
        if int(failed):
            raise UserError(
                "the shrunk covariance is singular",
                expected="a positive definite matrix",
                where="shrinkage",
                found=f"shrinkage={self.shrinkage}",
                cure="a larger shrinkage, or leave constant columns out",
            )
        half = torch.linalg.solve_triangular(factor, between, upper=False)
        values, vectors = torch.linalg.eigh(torch.linalg.solve_triangular(factor, half.T, upper=False))
        scalings = torch.linalg.solve_triangular(factor.T, vectors, upper=True).flip(1)
        return scalings, values.flip(0), torch.zeros_like(means[0])

    def decide(self, x: Tensor) -> Tensor:
        """log p(class | x) (N, K) in nats of rows x (N, D)."""
        rows = x.double()  # float32 would lose digits of columns far from 0
        scores = rows @ like(rows, self.coef_).T + like(rows, self.intercept_)
        if scores.shape[1] == 1:
            scores = torch.cat([torch.zeros_like(scores), scores], 1)
        return scores.log_softmax(1).to(x.dtype)

    def transform(self, X: Any) -> NDArray[Any]:
        """Coordinates (N, n_components) of rows X (N, D) along the directions that tell the classes apart."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        x = dense_rows(X, self.device).double()
        if self.shrinkage is None:
            x = x - like(x, self.xbar_)
        found = x @ like(x, self.scalings_[:, : len(self.explained_variance_ratio_)])
        return found.cpu().numpy().astype(X.dtype, copy=False)


def _shrunk_covariance(
    x: Tensor, shrinkage: float | str | None, count: int, world: World = ONE_PROCESS
) -> tuple[Tensor, float]:
    """(1 - share) S + share tr(S)/D I of rows (N, D), `count` in all, and the share: given, or Ledoit and Wolf's.

    Their share is found, and applied, on columns in units of their own deviation, as scikit-learn does.
    """
    D = x.shape[1]
    unit = torch.ones(D, dtype=x.dtype, device=x.device)
    if shrinkage == "auto":
        unit = column_deviation(x, count, world)
        unit = torch.where(unit == 0, 1.0, unit)
    z = (x - column_mean(x, count, world)) / unit
    covariance = world.sum(z.T @ z) / count
    level = covariance.trace() / D
    share = ledoit_wolf_shrinkage(z, count, world) if shrinkage == "auto" else float(shrinkage or 0.0)
    shrunk = (1 - share) * covariance + share * level * torch.eye(D, dtype=x.dtype, device=x.device)
    return unit[:, None] * shrunk * unit, share


def ledoit_wolf_shrinkage(x: Tensor, count: int | None = None, world: World = ONE_PROCESS) -> float:
    """The share lambda that brings (1 - lambda) S + lambda tr(S)/D I nearest to the true covariance, for centred rows (N, D).

    Where processes share the rows, each gives its own, and `count` is how many there are in all.

    lambda = min(b^2, d^2) / d^2 with d^2 = |S - tr(S)/D I|^2 and b^2 = 1/N^2 sum_n |x_n x_n^T - S|^2.

    Source: Ledoit and Wolf 2004, section 3.3.

    >>> ledoit_wolf_shrinkage(torch.tensor([[1.0], [-1.0]]))
    0.0
    """
    N, D = len(x) if count is None else count, x.shape[1]
    if D == 1:
        return 0.0
    covariance = world.sum(x.T @ x) / N
    level = covariance.trace() / D
    distance = covariance.square().sum() - D * level.square()
    noise = (world.sum(x.square().sum(1).square().sum()) / N - covariance.square().sum()) / N
    return float(torch.minimum(noise, distance) / distance) if float(distance) > 0 else 0.0


LINEAR_DISCRIMINANT = Card(
    name="lda",
    source="Fisher: The use of multiple measurements in taxonomic problems, 1936; Hastie, Tibshirani, Friedman 2009, section 4.3",
    build=LinearDiscriminant,
    example=lambda count: (torch.randn(count, 4, dtype=torch.float64),),
    topics=(Topic("Linear discriminant", "线性判别分析", lectures=(2, 3), command="chainrule train lda"),),
)
