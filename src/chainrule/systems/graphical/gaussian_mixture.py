"""The mixture of Gaussians, estimated by expectation and maximisation (EM).

Shapes: N samples, D columns, K components, B rows of a block, F sufficient statistics of a row.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.core.device import ONE_PROCESS, World
from chainrule.core.errors import RunFailed
from chainrule.functional.kmeans import kmeans

Covariance = Literal["full", "tied", "diagonal", "spherical"]
BLOCK_ELEMENTS = 2**20  # numbers that a block of rows may expand to: what still fits a processor's cache
LOG_2PI = math.log(2 * math.pi)


class Statistics(NamedTuple):
    """What an E-step finds: all that the M-step needs to know of the data.

    `log_likelihood` () is the mean of log p(x) in nats a sample; `counts` (K,) are sums of responsibilities, `means`
    (K, D) and `covariances` (shaped as the model's) the moments weighted by them.
    """

    log_likelihood: Tensor
    counts: Tensor
    means: Tensor
    covariances: Tensor


class GaussianMixture(nn.Module):
    """p(x) = sum_k weight_k N(x; mean_k, covariance_k), with no gradient: its numbers are buffers.

    Args:
        num_components: K. Loading a state of another K takes that K over.
        num_features: D.
        covariance: `full`, a matrix a component (K, D, D); `tied`, one matrix for all (D, D); `diagonal`, a variance
            a column and component (K, D); `spherical`, one variance a component (K,).
        reg_covar: added to every variance, so that a component on a single point stays finite.

    `precision_cholesky` is what densities are computed from: for matrices the upper triangular U with
    U U^T = covariance^-1, for variances 1 / sqrt(variance).

    >>> mixture = GaussianMixture(2, 1, covariance="spherical")
    >>> mixture.update(torch.tensor([0.5, 0.5]), torch.tensor([[-1.0], [1.0]]), torch.tensor([1.0, 1.0]))
    >>> mixture.responsibilities(torch.tensor([[0.0]])).tolist()
    [[0.5, 0.5]]
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    precision_cholesky: Tensor

    def __init__(
        self, num_components: int = 10, num_features: int = 61, covariance: Covariance = "full", reg_covar: float = 1e-6
    ) -> None:
        super().__init__()
        self.covariance, self.reg_covar = covariance, reg_covar
        K, D = num_components, num_features
        unit = {
            "full": torch.eye(D).expand(K, D, D),
            "tied": torch.eye(D),
            "diagonal": torch.ones(K, D),
            "spherical": torch.ones(K),
        }[covariance].double()
        self.register_buffer("weights", torch.full((K,), 1.0 / K, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(K, D, dtype=torch.float64))
        self.register_buffer("covariances", unit.clone())
        self.register_buffer("precision_cholesky", unit.clone())

    @property
    def num_components(self) -> int:
        return len(self.weights)

    @property
    def num_parameters(self) -> int:
        """Free parameters: covariances, means, and K - 1 weights.

        >>> GaussianMixture(3, 4, "full").num_parameters, GaussianMixture(3, 4, "spherical").num_parameters
        (44, 17)
        """
        K, D = self.means.shape
        triangle = D * (D + 1) // 2
        free = {"full": K * triangle, "tied": triangle, "diagonal": K * D, "spherical": K}[self.covariance]
        return free + K * D + K - 1

    # -- densities ----------------------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:  # (B, D) -> (B,)
        """log p(x) in nats."""
        return self.log_joint(x).logsumexp(1)

    def log_joint(self, x: Tensor) -> Tensor:
        """log weight_k + log N(x; mean_k, covariance_k), (B, K), from z = U^T (x - mean): log N = log|U| - |z|^2/2."""
        x, U = x.to(self.means.dtype), self.precision_cholesky
        if self.covariance == "full":  # differences first: products of large numbers would leave few digits of them
            squares = torch.matmul(x - self.means[:, None], U).square().sum(2).T  # (K, B, D) -> (B, K)
        elif self.covariance == "tied":
            centre = self.weights @ self.means
            squares = (((x - centre) @ U)[:, None] - (self.means - centre) @ U).square().sum(2)
        else:
            z = (x[:, None] - self.means) * (U if self.covariance == "diagonal" else U[:, None])
            squares = z.square().sum(2)
        return self._log_scale() - 0.5 * squares

    def _log_scale(self) -> Tensor:
        """log weight_k + log|U_k| - D/2 log 2 pi, (K,) or, where one matrix is shared, broadcast to it."""
        U = self.precision_cholesky
        if self.covariance == "spherical":
            log_det = U.log() * self.means.shape[1]
        else:
            log_det = (U if self.covariance == "diagonal" else U.diagonal(dim1=-2, dim2=-1)).log().sum(-1)
        return self.weights.log() + log_det - 0.5 * self.means.shape[1] * LOG_2PI

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) (N,) in nats, for any number of rows (N, D)."""
        return torch.cat([self(block) for block in self._blocks(x, self.means.numel())])

    def responsibilities(self, x: Tensor) -> Tensor:
        """p(component | x), (N, K)."""
        return torch.cat([self.log_joint(block).softmax(1) for block in self._blocks(x, self.means.numel())])

    def criteria(self, x: Tensor, world: World = ONE_PROCESS) -> dict[str, float]:
        """Schwarz's `bic` -2 log p(x) + P log N and Akaike's `aic` -2 log p(x) + 2 P of P parameters; lower is better.

        x are all N rows; the processes of `world` share the sum over them.
        """
        deviance = -2.0 * float(world.sum(self.log_prob(x[world.share(len(x))]).sum()))
        return {"bic": deviance + self.num_parameters * math.log(len(x)), "aic": deviance + 2.0 * self.num_parameters}

    def bic(self, x: Tensor) -> float:
        return self.criteria(x)["bic"]

    def aic(self, x: Tensor) -> float:
        return self.criteria(x)["aic"]

    def covariance_matrices(self) -> Tensor:
        """The covariance of every component as a matrix, (K, D, D)."""
        K, D = self.means.shape
        if self.covariance in ("full", "tied"):
            return self.covariances.expand(K, D, D)
        return torch.diag_embed(self.covariances.view(K, -1).expand(K, D))

    def sample(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """`count` draws x (N, D) and the component of each (N,), from `generator` or the global one."""
        component = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        z = torch.randn(
            count, self.means.shape[1], dtype=self.means.dtype, device=self.means.device, generator=generator
        )
        U = self.precision_cholesky
        if self.covariance in ("full", "tied"):
            for k in range(self.num_components):
                of_k = component == k
                triangle = U[k] if self.covariance == "full" else U
                z[of_k] = torch.linalg.solve_triangular(triangle, z[of_k], upper=True, left=False)  # x U = z
        else:
            z = z / (U[component] if self.covariance == "diagonal" else U[component, None])
        return self.means[component] + z, component

    # -- EM -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def expectation(self, x: Tensor, world: World = ONE_PROCESS) -> Statistics:
        """E-step over x (N, D), in the dtype of x, with sums between blocks of rows in that of the parameters.

        Where there are several processes each gives its own rows, and gets the statistics of all.

        The Gaussian is an exponential family: log weight_k N_k(x) = bias_k + C_k . t(x), where t(x) are the columns
        of x and their products (full), squares (diagonal) or sum of squares (spherical). So a block costs one matrix
        product to find its responsibilities r and one, r^T t(x), to sum its statistics, and x is read once. Where
        that form would lose half of the digits, or has more numbers than whitened rows have, those are used.
        """
        if not self._products_pay(x.dtype):
            return self._whitened_expectation(x, world)
        centre = (self.weights @ self.means).to(x.dtype).to(self.means.dtype)  # as rows of that type can be moved by it
        coefficients, bias, P = self._natural(centre)
        coefficients, bias = coefficients.to(x.dtype), bias.to(x.dtype)[:, None]
        K, F = coefficients.shape
        log_likelihood, shift = self.means.new_zeros(()), centre.to(x.dtype)
        counts, sums = self.means.new_zeros(K), self.means.new_zeros(K, F)
        scatter = torch.zeros_like(self.covariances) if self.covariance == "tied" else None
        buffer = x.new_empty(0)
        for block in self._blocks(x, F + K):
            columns = (block - shift).T.contiguous()  # (D, B)
            buffer = buffer if buffer.shape == (F, len(block)) else x.new_empty(F, len(block))
            t = self._sufficient(columns, buffer)  # (F, B)
            log_joint = torch.addmm(bias, coefficients, t)  # (K, B)
            total = log_joint.logsumexp(0)
            r = log_joint.sub_(total).exp_()
            log_likelihood += total.sum(dtype=log_likelihood.dtype)
            counts += r.sum(1, dtype=counts.dtype)
            sums += r @ t.T
            if scatter is not None:
                scatter += columns @ columns.T
        count, log_likelihood, counts, sums, scatter = world.sum((len(x), log_likelihood, counts, sums, scatter))
        log_likelihood /= count
        if scatter is not None:  # the part of log N that is the same for all components: -1/2 x^T P x
            log_likelihood -= 0.5 * (P * scatter).sum() / count
        return self._central(log_likelihood, counts, sums, scatter, centre)

    @torch.no_grad()
    def maximisation(self, statistics: Statistics) -> None:
        """M-step: the parameters under which the statistics are most likely (Bishop 9.24 to 9.26), plus `reg_covar`.

        A component that no sample belongs to any more gets weight 0 and keeps its mean and covariance.
        """
        counts = statistics.counts
        alive = counts > 10 * torch.finfo(counts.dtype).eps
        weights = torch.where(alive, counts, 0.0)
        covariances = statistics.covariances.clone()
        if self.covariance in ("full", "tied"):
            covariances.diagonal(dim1=-2, dim2=-1).add_(self.reg_covar)
        else:
            covariances += self.reg_covar
        if self.covariance != "tied":
            shape = (-1,) + (1,) * (covariances.dim() - 1)
            covariances = torch.where(alive.view(shape), covariances, self.covariances)
        means = torch.where(alive[:, None], statistics.means, self.means)
        self.update(weights / weights.sum(), means, covariances)

    @torch.no_grad()
    def update(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Sets the parameters, of any K; RunFailed names the component whose covariance is not positive definite."""
        covariances = covariances.to(like := self.means)
        if self.covariance in ("full", "tied"):
            cholesky, info = torch.linalg.cholesky_ex(covariances)
            broken = (info != 0) | ~torch.isfinite(cholesky).all(-1).all(-1)
            self._refuse(broken.reshape(-1))
            unit = torch.eye(like.shape[1]).to(like)
            precision_cholesky = torch.linalg.solve_triangular(cholesky, unit, upper=False).mT.contiguous()
        else:
            broken = ~((covariances > 0) & torch.isfinite(covariances))
            self._refuse(broken.reshape(len(covariances), -1).any(1))
            precision_cholesky = covariances.rsqrt()
        self.weights, self.means = weights.to(like), means.to(like)
        self.covariances, self.precision_cholesky = covariances, precision_cholesky

    @torch.no_grad()
    def start(self, x: Tensor, num_components: int, generator: torch.Generator) -> None:
        """Parameters to begin EM from: k-means on x (N, D); each component a cluster's mean and share, and all of
        them the covariance of x within its clusters, so that none begins as a spike on a few points.
        """
        centres, labels = kmeans(x, num_components, generator)
        counts = torch.bincount(labels, minlength=num_components).to(self.means)
        within = torch.zeros(x.shape[1], x.shape[1]).to(self.means)
        for rows, of in zip(x.split(4096), labels.split(4096), strict=True):
            difference = rows - centres[of]
            within += difference.T @ difference
        within /= len(x)
        covariances = {
            "full": within.expand(num_components, -1, -1),
            "tied": within,
            "diagonal": within.diagonal().expand(num_components, -1),
            "spherical": within.diagonal().mean().expand(num_components),
        }[self.covariance]
        self._resize(num_components)
        self.maximisation(Statistics(self.means.new_zeros(()), counts, centres.to(self.means), covariances))

    # -- inside -------------------------------------------------------------------------------------------------

    def _blocks(self, x: Tensor, width: int) -> tuple[Tensor, ...]:
        """x in blocks of rows whose `width` numbers a row stay in the cache."""
        return x.split(max(16, BLOCK_ELEMENTS // width))

    def _precisions(self) -> Tensor:
        U = self.precision_cholesky
        return U @ U.mT if self.covariance in ("full", "tied") else U.square()

    def _natural(self, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients (K, F) of t(x - centre), the bias (K,), and the precisions P that they are made of."""
        P, offsets = self._precisions(), self.means - centre
        if self.covariance in ("full", "tied"):
            linear = (P @ offsets[:, :, None])[:, :, 0]
        else:
            linear = offsets * (P if self.covariance == "diagonal" else P[:, None])
        bias = self._log_scale() - 0.5 * (linear * offsets).sum(1)
        if self.covariance == "tied":
            return linear, bias, P
        if self.covariance == "full":
            i, j = torch.triu_indices(self.means.shape[1], self.means.shape[1], device=P.device)
            quadratic = -P[:, i, j] * torch.where(i == j, 0.5, 1.0).to(P)
        else:
            quadratic = -0.5 * P.view(len(P), -1)
        return torch.cat([quadratic, linear], 1), bias, P

    def _sufficient(self, columns: Tensor, out: Tensor) -> Tensor:
        """t of centred columns (D, B), written into `out` (F, B)."""
        D = len(columns)
        if self.covariance == "full":
            place = 0
            for i in range(D):  # the products of column i with itself and those after it, in the order of triu_indices
                torch.mul(columns[i:], columns[i], out=out[place : place + D - i])
                place += D - i
        elif self.covariance == "diagonal":
            torch.mul(columns, columns, out=out[:D])
        elif self.covariance == "spherical":
            torch.sum(columns.square(), 0, keepdim=True, out=out[:1])
        out[-D:] = columns
        return out

    def _central(
        self, log_likelihood: Tensor, counts: Tensor, sums: Tensor, scatter: Tensor | None, centre: Tensor
    ) -> Statistics:
        """Sums of t(x - centre) as moments about each component's mean; those of an empty component are 0."""
        D = self.means.shape[1]
        n = counts.clamp_min(torch.finfo(counts.dtype).tiny)
        offsets, second = sums[:, -D:] / n[:, None], sums[:, :-D] / n[:, None]
        if self.covariance == "full":
            i, j = torch.triu_indices(D, D, device=sums.device)
            covariances = torch.empty_like(self.covariances)
            covariances[:, i, j] = covariances[:, j, i] = second
            covariances -= offsets[:, :, None] * offsets[:, None]
        elif scatter is not None:
            covariances = (scatter - offsets.T @ (counts[:, None] * offsets)) / counts.sum()
        elif self.covariance == "diagonal":
            covariances = second - offsets.square()
        else:
            covariances = (second[:, 0] - offsets.square().sum(1)) / D
        return Statistics(log_likelihood, counts, centre + offsets, covariances)

    def _products_pay(self, dtype: torch.dtype) -> bool:
        """Whether products of columns are no more numbers than whitened rows and exact enough.

        x^T P x is a sum of terms of about |P_ij| s_i s_j, where s^2 are the second moments of the widest component
        about the centre, and comes to about D: the ratio of both is what rounding is multiplied by.
        """
        K, D = self.means.shape
        if self.covariance == "full" and D + 3 > 4 * K:
            return False
        P, spread = self._precisions(), self.covariances
        if self.covariance in ("full", "tied"):
            spread = spread.diagonal(dim1=-2, dim2=-1)  # (K, D), or (D,) where tied
        elif self.covariance == "spherical":
            P, spread = P[:, None], spread[:, None]  # (K, 1)
        second = spread + (self.means - self.weights @ self.means).square()  # (K, D)
        s = second[self.weights > 0].amax(0).sqrt()
        terms = P.abs() @ s @ s if self.covariance in ("full", "tied") else (P * s.square()).sum(1)
        return bool(terms.max() < torch.finfo(dtype).eps ** -0.5)

    def _whitened_expectation(self, x: Tensor, world: World) -> Statistics:
        """E-step from z_k = U_k^T (x - mean_k), (K, B, D), in which component k is a unit sphere.

        The statistics are summed in z, where they are near 0 and I whatever the scales of x and wherever it lies, and are
        then taken back.
        """
        K, D = self.means.shape
        matrices = self.covariance in ("full", "tied")
        scale = self.precision_cholesky[:, None] if self.covariance == "spherical" else self.precision_cholesky
        U = (scale if matrices else scale[:, None]).to(x.dtype)  # (K, D, D), (D, D), (K, 1, D) or (K, 1, 1)
        # Rows of float32 are exact about a centre of float32; the means are what lies at it plus what is left of them.
        centre = (self.weights @ self.means).to(x.dtype)
        left = (self.means - centre.to(self.means)).to(x.dtype)  # (K, D)
        log_scale = self._log_scale().to(x.dtype)[:, None]
        log_likelihood = self.means.new_zeros(())
        counts, first = self.means.new_zeros(K), self.means.new_zeros(K, D)
        second = self.means.new_zeros(K, D, D) if matrices else self.means.new_zeros(K, D)
        for block in self._blocks(x, 2 * K * D):
            z = (block - centre) - left[:, None]
            z = z @ U if matrices else z * U
            log_joint = log_scale - 0.5 * z.square().sum(2)  # (K, B)
            total = log_joint.logsumexp(0)
            r = log_joint.sub_(total).exp_()
            log_likelihood += total.sum(dtype=log_likelihood.dtype)
            counts += r.sum(1, dtype=counts.dtype)
            weighted = z * r[:, :, None]
            first += weighted.sum(1)
            second += z.mT @ weighted if matrices else (z * weighted).sum(1)
        count, log_likelihood, counts, first, second = world.sum((len(x), log_likelihood, counts, first, second))
        n = counts.clamp_min(torch.finfo(counts.dtype).tiny)
        offsets = first / n[:, None]  # of the new means from the old ones, in z
        if matrices:
            within = second - n[:, None, None] * offsets[:, :, None] * offsets[:, None]  # (K, D, D)
            within = within.sum(0) / counts.sum() if self.covariance == "tied" else within / n[:, None, None]
            back = torch.linalg.solve_triangular(scale.mT, torch.eye(D).to(scale).expand_as(scale), upper=False)  # U^-T
            covariances, moved = back @ within @ back.mT, (back @ offsets[:, :, None])[:, :, 0]
            covariances = 0.5 * (covariances + covariances.mT)
        else:
            covariances, moved = (second / n[:, None] - offsets.square()) / scale.square(), offsets / scale
            covariances = covariances.mean(1) if self.covariance == "spherical" else covariances
        means = centre.to(self.means) + left.to(self.means) + moved
        return Statistics(log_likelihood / count, counts, means, covariances)

    def _refuse(self, broken: Tensor) -> None:
        if broken.any():
            of = "all components" if self.covariance == "tied" else f"component {int(broken.int().argmax())}"
            raise RunFailed(
                f"the covariance of {of} is not positive definite: its samples lie on fewer dimensions than there are columns\n"
                f"  found:    reg_covar={self.reg_covar:g}, {self.num_components} components, covariance={self.covariance}\n"
                "  cure:     a larger reg_covar (1e-3), fewer components, or covariance=diagonal"
            )

    def _resize(self, num_components: int) -> None:
        for name in ("weights", "means", "covariances", "precision_cholesky"):
            old = getattr(self, name)
            if not (self.covariance == "tied" and name in ("covariances", "precision_cholesky")):
                setattr(self, name, old.new_zeros(num_components, *old.shape[1:]))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        weights = state_dict.get(f"{prefix}weights")
        if weights is not None and len(weights) != self.num_components:
            self._resize(len(weights))
        super()._load_from_state_dict(state_dict, prefix, *rest)


GAUSSIAN_MIXTURE = Card(
    name="gaussian-mixture",
    source="Dempster, Laird, Rubin: Maximum likelihood from incomplete data via the EM algorithm, 1977; "
    "Bishop: Pattern Recognition and Machine Learning, 2006, section 9.2",
    build=GaussianMixture,
    example=lambda batch_size: (torch.randn(batch_size, 61),),
    deviations=(
        "reg_covar is added to every variance, as scikit-learn does, so that no component collapses onto a point.",
        "EM starts from k-means++ (Arthur and Vassilvitskii 2007) and Lloyd's iterations, with the covariance within "
        "clusters for all components.",
    ),
    tiny={"num_components": 3, "num_features": 4},
    tiny_example=lambda batch_size: (torch.randn(batch_size, 4),),
    skip=dict.fromkeys(("gradient", "overfit", "half_precision"), "estimated by EM: no gradient, float64 inside"),
    topics=(
        Topic(
            "Mixture of Gaussians",
            "高斯混合模型",
            lectures=(2, 3),
            code=("GaussianMixture", "GaussianMixture.expectation", "GaussianMixture.maximisation"),
            command="chainrule train gaussian-mixture components=5",
        ),
    ),
)
