"""Principal component analysis.

Shapes: N rows, D columns, K components.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import UserError
from chainrule.functional.finite import expect_finite
from chainrule.functional.shared_rows import column_mean, rows_of_the_factor
from chainrule.systems.classical.arrays import dense_rows, like

RANK_TOLERANCE = 1e-12  # of the largest variance: below it nothing varies but rounding
LOG_2PI = math.log(2 * math.pi)


class PCA(TransformerMixin, BaseEstimator):
    """The orthogonal directions along which rows vary most: right singular vectors of the centred rows.

    X - mean = U S V^T; component k is v_k, its variance s_k^2 / (N - 1). The coordinates of a row are (x - mean) V.

    Args:
        n_components: K, at most min(N, D); none is all; a share between 0 and 1 takes as many as explain that share of the
            variance.
        whiten: divides coordinates by their deviation, so that each has variance 1.
        device: where it is computed.

    Attributes:
        components_ (K, D), each with its entry of largest size positive; mean_ (D,), explained_variance_ (K,),
        explained_variance_ratio_ (K,), singular_values_ (K,), n_components_; noise_variance_: the mean variance along
        what was left out.

    Raises:
        UserError: for n_components out of range; whitening a direction in which nothing varies.

    `score` is the mean log-likelihood of the Gaussian that PCA maximises (Tipping and Bishop), by which held-out rows can
    choose K. All is computed in float64, float32 rows too; answers have the rows' type. For N > D it is that
    of the triangular factor of the rows, so the memory is a float64 copy of X and D^2.

    Source: Pearson 1901; Tipping and Bishop: Probabilistic principal component analysis, 1999, equations 3 to 8.

    >>> pca = PCA(n_components=1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    >>> pca.components_.round(4).tolist(), pca.explained_variance_ratio_.round(4).tolist()
    ([[0.7071, 0.7071]], [1.0])
    >>> pca.inverse_transform(pca.transform([[3.0, 5.0]])).round(4).tolist()
    [[4.0, 4.0]]
    """

    def __init__(self, *, n_components: int | float | None = None, whiten: bool = False, device: str = "cpu") -> None:
        self.n_components, self.whiten, self.device = n_components, whiten, device

    def fit(self, X: Any, y: Any = None, world: World = ONE_PROCESS) -> PCA:
        """Fits rows X (N, D); y is not looked at. Processes share the work."""
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        N, D = X.shape
        x = dense_rows(X[world.share(N)], self.device).double()
        mean = column_mean(x, N, world)
        x = rows_of_the_factor(x - mean, world)
        if len(x) > D:
            x = torch.linalg.qr(x, mode="r").R  # it has the singular values and right vectors of x, and D rows
        _, singular, axes = torch.linalg.svd(x, full_matrices=False)
        singular, axes = singular[:N], axes[:N]
        largest = axes.abs().argmax(1, keepdim=True)
        axes = axes * axes.gather(1, largest).sign()
        variance = singular.square() / (N - 1)
        expect_finite(float(variance.sum()), "the variance of the rows")
        ratio = variance / variance.sum() if float(variance.sum()) > 0 else torch.zeros_like(variance)
        K = self._count(ratio)
        if self.whiten and not float(variance[K - 1]) > RANK_TOLERANCE * float(variance[0]):
            raise UserError(
                "nothing varies along a component, so it cannot be whitened",
                where=f"component {K - 1}",
                cure=f"n_components of {int((variance > RANK_TOLERANCE * variance[0]).sum())} or fewer",
            )
        self.mean_, self.components_ = mean.cpu().numpy(), axes[:K].contiguous().cpu().numpy()
        self.explained_variance_ = variance[:K].cpu().numpy()
        self.explained_variance_ratio_ = ratio[:K].cpu().numpy()
        self.singular_values_ = singular[:K].cpu().numpy()
        self.n_components_ = K
        self.noise_variance_ = float(variance[K:].mean()) if len(variance) > K else 0.0
        return self

    def _count(self, ratio: Tensor) -> int:
        """K, from the setting and the shares of variance (min(N, D),)."""
        wanted, most = self.n_components, len(ratio)
        if wanted is None:
            return most
        if isinstance(wanted, (float, np.floating)) and 0 < wanted < 1:
            return min(int((ratio.cumsum(0) <= wanted).sum()) + 1, most)
        if isinstance(wanted, bool) or wanted != int(wanted) or not 1 <= wanted <= most:
            raise UserError(
                "the setting n_components is out of range",
                found=wanted,
                expected=f"1 to {most}, the lesser of rows and columns; a share between 0 and 1; or none",
            )
        return int(wanted)

    def decide(self, x: Tensor) -> Tensor:
        """Coordinates (N, K) of rows x (N, D)."""
        rows = x.double()  # float32 would lose digits of columns far from 0
        found = (rows - like(rows, self.mean_)) @ like(rows, self.components_).T
        return (found / like(rows, np.sqrt(self.explained_variance_)) if self.whiten else found).to(x.dtype)

    def transform(self, X: Any) -> NDArray[Any]:
        """Coordinates (N, K) of rows X (N, D)."""
        return self.decide(self._rows(X)).cpu().numpy()

    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """The rows (N, D), within the span of the components, that have coordinates X (N, K)."""
        check_is_fitted(self)
        z = dense_rows(check_array(X, dtype=[np.float64, np.float32]), self.device)
        if self.whiten:
            z = z * like(z, np.sqrt(self.explained_variance_))
        return (z @ like(z, self.components_) + like(z, self.mean_)).cpu().numpy()

    def log_density(self, x: Tensor) -> Tensor:
        """log N(x; mean, C) (N,) in nats of rows x (N, D), where C = V (L - s I) V^T + s I.

        L are the variances of the components, s is noise_variance_. Where the components hold all that varies, the density
        is that within their span.
        """
        lowest = RANK_TOLERANCE * self.explained_variance_[0]
        varies = self.explained_variance_ > lowest
        dtype, x = x.dtype, x.double()
        variance, axes = like(x, self.explained_variance_[varies]), like(x, self.components_[varies])
        centred = x - like(x, self.mean_)
        z = centred @ axes.T
        log_density = -0.5 * ((z.square() / variance).sum(1) + variance.log().sum() + len(variance) * LOG_2PI)
        if self.noise_variance_ <= lowest:
            return log_density.to(dtype)
        missed, dimensions = (centred - z @ axes).square().sum(1), x.shape[1] - len(variance)
        outside = missed / self.noise_variance_ + dimensions * (math.log(self.noise_variance_) + LOG_2PI)
        return (log_density - 0.5 * outside).to(dtype)

    def score_samples(self, X: Any) -> NDArray[Any]:
        """`log_density` of rows X (N, D)."""
        return self.log_density(self._rows(X)).cpu().numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, in nats a row; y is not looked at."""
        return float(self.score_samples(X).mean())

    def measure(self, x: Tensor, y: Tensor | None = None) -> dict[str, float]:
        """Of rows x (N, D): the share of their variance that the components miss, and the mean -log density in nats."""
        x = x.double()
        mean, axes = like(x, self.mean_), like(x, self.components_)
        missed = (x - mean - ((x - mean) @ axes.T) @ axes).square().sum()
        return {
            "unexplained": float(missed / (x - mean).square().sum()),
            "nll_nats": float(-self.log_density(x).double().mean()),
        }

    def answers(self, x: Tensor) -> list[dict[str, Any]]:
        """The coordinates of each row x (N, D)."""
        return [{"coordinates": [round(float(v), 6) for v in row]} for row in self.decide(x)]

    def _rows(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return dense_rows(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), self.device)


PCA_CARD = Card(
    name="pca",
    source="Pearson: On lines and planes of closest fit to systems of points in space, 1901; Tipping and Bishop 1999",
    build=PCA,
    example=lambda count: (torch.randn(count, 4, dtype=torch.float64),),
    topics=(
        Topic("Principal components, whitening", "主成分分析、白化", lectures=(2, 3), command="chainrule train pca"),
    ),
)
