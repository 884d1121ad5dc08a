"""Kernel density estimation.

Shapes: N training rows, B rows asked, D columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.systems.classical.arrays import dense_rows

Kernel = Literal["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"]
WIDE = 1e8  # a squared length in bandwidths from which on a product of matrices loses the digits of a bump
BLOCK_NUMBERS = 2**22  # most distances of a block

# log k(r) for a distance r in bandwidths, up to the constant of `log_volume`; outside its support a kernel is 0.
LOG_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": lambda r: -0.5 * r.square(),
    "tophat": lambda r: torch.where(r < 1, 0.0, -math.inf).to(r.dtype),
    "epanechnikov": lambda r: torch.where(r < 1, 1 - r.square(), 0.0).log(),
    "exponential": lambda r: -r,
    "linear": lambda r: (1 - r).clamp_min(0).log(),
    "cosine": lambda r: torch.where(r < 1, torch.cos(0.5 * math.pi * r), 0.0).log(),
}


class KernelDensity(BaseEstimator):
    """p(x) = 1/N sum_n k(|x - x_n| / h) / (h^D V): a bump around every training row, V the integral of k in D dimensions.

    Args:
        bandwidth: h, above 0; `scott`, N^(-1 / (D + 4)); or `silverman`, (N (D + 2) / 4)^(-1 / (D + 4)). Both suppose columns of
            deviation 1.
        kernel: gaussian exp(-r^2/2), exponential exp(-r), and within r < 1 tophat 1, epanechnikov 1 - r^2, linear 1 - r,
            cosine cos(pi r / 2).
        device: where it is computed.

    Attributes:
        bandwidth_: h as a number; fit_X_ (N, D), the training rows.

    Raises:
        UserError: for settings out of range.

    Distances are computed in blocks of 2^22, by a matrix product of the rows less the training mean, in float64, of float32
    rows too; answers have the rows' type.

    Source: Parzen 1962; Silverman: Density estimation for statistics and data analysis, 1986, sections 3.4 and 4.3.

    >>> model = KernelDensity(bandwidth=1.0).fit([[0.0]])
    >>> float(np.exp(model.score_samples([[0.0]])[0]).round(4))  # 1 / sqrt(2 pi)
    0.3989
    """

    def __init__(
        self,
        *,
        bandwidth: float | Literal["scott", "silverman"] = 1.0,
        kernel: Kernel = "gaussian",
        device: str = "cpu",
    ) -> None:
        self.bandwidth, self.kernel, self.device = bandwidth, kernel, device

    def fit(self, X: Any, y: Any = None) -> KernelDensity:
        """Keeps rows X (N, D); y is not looked at."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        N, D = X.shape
        if self.kernel not in LOG_KERNELS:
            raise unknown("there is no kernel", self.kernel, LOG_KERNELS)
        if self.bandwidth == "scott":
            self.bandwidth_ = N ** (-1 / (D + 4))
        elif self.bandwidth == "silverman":
            self.bandwidth_ = (N * (D + 2) / 4) ** (-1 / (D + 4))
        elif isinstance(self.bandwidth, str) or not (self.bandwidth > 0 and math.isfinite(self.bandwidth)):
            raise UserError(
                "the setting bandwidth is out of range",
                expected="a number above 0, scott or silverman",
                found=self.bandwidth,
            )
        else:
            self.bandwidth_ = float(self.bandwidth)
        self.fit_X_ = X.copy()
        return self

    def _is_wide(self) -> bool:
        """Whether rows lie so far from their mean that the expanded square would lose the small distances between them."""
        scaled = (self.fit_X_ - self.fit_X_.mean(0)) / self.bandwidth_
        return bool((scaled**2).sum(1).max() > WIDE)

    def decide(self, x: Tensor) -> Tensor:
        """log p(x) (B,) in nats of rows x (B, D)."""
        rows, known = x.double(), torch.as_tensor(self.fit_X_, dtype=torch.float64, device=x.device)
        N, D = known.shape
        mean = known.mean(0)
        rows, known = (rows - mean) / self.bandwidth_, (known - mean) / self.bandwidth_
        lengths = known.square().sum(1)
        if self._is_wide():
            squares = sum((rows[:, d, None] - known[:, d]).square() for d in range(D))
        else:
            squares = torch.addmm(lengths, rows, known.T, alpha=-2) + rows.square().sum(1, keepdim=True)
        bumps = LOG_KERNELS[self.kernel](squares.clamp_min(0).sqrt())
        log_density = bumps.logsumexp(1) - (math.log(N) + D * math.log(self.bandwidth_) + log_volume(self.kernel, D))
        return log_density.to(x.dtype)

    def score_samples(self, X: Any) -> NDArray[Any]:
        """log p(x) (B,) in nats of rows X (B, D), for any number of rows."""
        check_is_fitted(self)
        x = dense_rows(validate_data(self, X, dtype=[np.float64, np.float32], reset=False), self.device)
        return self._log_density(x).cpu().numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The sum of log p over rows X (B, D), as scikit-learn has it; y is not looked at."""
        return float(self.score_samples(X).sum(dtype=np.float64))

    def sample(self, n_samples: int = 1, random_state: int = 0) -> NDArray[Any]:
        """Rows (n_samples, D) drawn from p, for the gaussian and the tophat kernel."""
        check_is_fitted(self)
        if self.kernel not in ("gaussian", "tophat"):
            raise UserError("this kernel cannot be drawn from", expected="gaussian or tophat", found=self.kernel)
        generator = torch.Generator().manual_seed(random_state)
        row = torch.randint(len(self.fit_X_), (n_samples,), generator=generator)
        step = torch.randn(n_samples, self.fit_X_.shape[1], generator=generator, dtype=torch.float64)
        if self.kernel == "tophat":  # a direction, and a radius whose D-th power is uniform
            radius = torch.rand(n_samples, 1, generator=generator, dtype=torch.float64) ** (1 / step.shape[1])
            step = step / step.norm(dim=1, keepdim=True) * radius
        return self.fit_X_[row.numpy()] + self.bandwidth_ * step.numpy()

    def measure(self, x: Tensor, y: Tensor | None = None) -> dict[str, float]:
        """The mean of -log p over rows x (B, D), in nats; y is not looked at."""
        return {"nll_nats": float(-self._log_density(x).double().mean())}

    def answers(self, x: Tensor) -> list[dict[str, Any]]:
        """log p of each row x (B, D)."""
        return [{"log_density": round(value, 6)} for value in self._log_density(x).tolist()]

    def _log_density(self, x: Tensor) -> Tensor:
        return torch.cat([self.decide(block) for block in x.split(max(1, BLOCK_NUMBERS // len(self.fit_X_)))])


def log_volume(kernel: str, dim: int) -> float:
    """log of the integral of a kernel of bandwidth 1 over `dim` dimensions.

    With S the surface of the unit sphere it is S int_0^inf k(r) r^(dim - 1) dr.

    >>> round(math.exp(log_volume("tophat", 2)), 10)  # the unit disc
    3.1415926536
    """
    surface = math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)
    radial = {
        "gaussian": lambda: (0.5 * dim - 1) * math.log(2) + math.lgamma(0.5 * dim),
        "tophat": lambda: -math.log(dim),
        "epanechnikov": lambda: math.log(2 / (dim * (dim + 2))),
        "exponential": lambda: math.lgamma(dim),
        "linear": lambda: -math.log(dim * (dim + 1)),
        "cosine": lambda: math.log(_cosine_moment(dim - 1)),
    }
    return surface + radial[kernel]()


def _cosine_moment(power: int) -> float:
    """The integral of cos(pi r / 2) r^power over 0 to 1, from its power series; no term cancels more than a digit or two."""
    total, term, n = 0.0, 1.0, 0
    while abs(term) > 1e-20:
        total += term / (power + 2 * n + 1)
        n += 1
        term *= -((math.pi / 2) ** 2) / ((2 * n - 1) * (2 * n))
    return total


KERNEL_DENSITY = Card(
    name="kernel-density",
    source="Parzen: On estimation of a probability density function and mode, 1962; Silverman 1986",
    build=KernelDensity,
    example=lambda count: (torch.randn(count, 4, dtype=torch.float64),),
    deviations=(
        "The cosine kernel integrates to one in any dimension; that of scikit-learn 1.9 does so in one dimension alone.",
    ),
    topics=(Topic("Kernel density", "核密度估计", lectures=(3,), command="chainrule train kernel-density"),),
)
