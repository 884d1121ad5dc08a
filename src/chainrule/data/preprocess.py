"""Preprocessing of rows, fitted on the training split: scaling, centring, standardising, PCA and ZCA whitening.

Each is the affine map x -> (x - shift) @ matrix of rows (N, D), or its cheap form with a vector in the place of the
matrix. It is a module: what it learnt of the training rows is saved with the run, and applied where the run predicts.
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.settings import Preprocessing
from chainrule.data.tables.spec import TableSpec
from chainrule.functional.shared_rows import column_deviation, column_mean


class Preprocess(nn.Module):
    """An affine map of rows whose numbers come from the training split.

    With mean m, deviations s, smallest a and largest b a column, and covariance U diag(v) U^T:

    ============  =====================================================  ==========================
    kind          y                                                      on the training split
    ============  =====================================================  ==========================
    none          x                                                      as it was
    scale         (x - a) / (b - a)                                      each column from 0 to 1
    center        x - m                                                  mean 0
    standardize   (x - m) / s                                            mean 0, deviation 1
    pca           (x - m) U diag(v + eps)^(-1/2)                         mean 0, covariance the identity
    zca           (x - m) U diag(v + eps)^(-1/2) U^T                     the same, nearest to x
    ============  =====================================================  ==========================

    A constant column becomes 0 and stays finite. `components` keeps that many of the largest variances of pca.
    Covariances are of N, not of N - 1 samples. Source: Krizhevsky 2009, appendix A (ZCA); Kessy et al. 2018.

    Args:
        kind: which map.
        num_features: D.
        components: for pca, how many axes are kept; 0 is all.
        eps: added to the variances of pca and zca, in squared units of x: directions without variance stay small.

    >>> rows = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 9.0]], dtype=torch.float64)
    >>> white = Preprocess("zca", 2, eps=0.0)
    >>> white.fit(rows)
    >>> y = white(rows)
    >>> (y.T @ y / 3).round(decimals=6).abs().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, kind: Preprocessing, num_features: int, *, components: int = 0, eps: float = 1e-5) -> None:
        super().__init__()
        if kind not in get_args(Preprocessing):
            raise UserError(
                "there is no such preprocessing", expected=f"one of {', '.join(get_args(Preprocessing))}", found=kind
            )
        if components and (kind != "pca" or components > num_features):
            raise UserError(
                "components cannot be kept so",
                expected=f"kind=pca, and {num_features} at most",
                found=f"kind={kind}, components={components}",
            )
        if eps < 0:
            raise UserError("eps is out of range", expected="0 or more", found=eps)
        self.kind, self.eps = kind, eps
        self.register_buffer("shift", torch.zeros(num_features, dtype=torch.float64))
        width = components or num_features
        whole = kind in ("pca", "zca")
        factor = (
            torch.eye(num_features, width, dtype=torch.float64)
            if whole
            else torch.ones(num_features, dtype=torch.float64)
        )
        self.register_buffer("factor", factor)

    @property
    def num_outputs(self) -> int:
        return self.factor.shape[-1]

    def forward(self, x: Tensor) -> Tensor:  # (N, D) -> (N, num_outputs)
        centred = x - self.shift.to(x.dtype)
        factor = self.factor.to(x.dtype)
        return centred @ factor if factor.dim() == 2 else centred * factor

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Learns shift and factor from training rows x (N, D)."""
        if x.dim() != 2 or x.shape[1] != len(self.shift) or not len(x):
            raise UserError(
                "the rows have another shape", expected=f"(N, {len(self.shift)}), N at least 1", found=tuple(x.shape)
            )
        if not bool(torch.isfinite(x).all()):
            raise UserError(
                "the rows hold values that are no finite numbers",
                where=f"row {int((~torch.isfinite(x)).any(1).nonzero()[0])}",
            )
        x = x.double()
        mean = column_mean(x, len(x))
        if self.kind == "scale":
            low, high = x.min(0).values, x.max(0).values
            self._set(low, _inverse(high - low))
        elif self.kind == "center":
            self._set(mean, torch.ones_like(mean))
        elif self.kind == "standardize":
            self._set(mean, _inverse(column_deviation(x, len(x))))
        elif self.kind != "none":
            self._set(mean, self._whitening(x - mean))

    def _whitening(self, centred: Tensor) -> Tensor:
        """U diag(v + eps)^(-1/2), times U^T for zca; a direction without variance at eps = 0 is taken to 0."""
        values, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
        values, axes = values.flip(0).clamp_min(0), axes.flip(1)  # the largest first
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        axes = axes * largest.sign()  # so that the same rows give the same signs everywhere
        empty = values <= values[0] * len(values) * torch.finfo(values.dtype).eps
        white = axes * torch.where(empty & (self.eps == 0), 0.0, (values + self.eps).clamp_min(1e-300).rsqrt())
        return white @ axes.T if self.kind == "zca" else white[:, : self.num_outputs]

    def _set(self, shift: Tensor, factor: Tensor) -> None:
        self.shift.copy_(shift)
        self.factor.copy_(factor)

    def extra_repr(self) -> str:
        return f"{self.kind}, {len(self.shift)} -> {self.num_outputs}"


class Preprocessed(nn.Module):
    """A model over preprocessed rows, as one module: saved, exported and explained together."""

    def __init__(self, preprocess: Preprocess, model: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.model = preprocess, model

    @property
    def num_parameters(self) -> int:
        """Of the model alone, where it says so: what preprocessing found is no parameter."""
        return int(getattr(self.model, "num_parameters", 0))

    def forward(self, x: Tensor) -> Any:
        return self.model(self.preprocess(x))


def preprocessed(model: nn.Module, kind: Preprocessing, spec: TableSpec) -> nn.Module:
    """The model with preprocessing of `kind` before it, for rows of `load_table(standardize=kind == "standardize")`.

    Standardising is the reader's own affair, and `none` is nothing: then it is the model itself.
    """
    if kind in ("none", "standardize"):
        return model
    return Preprocessed(Preprocess(kind, len(spec.mean)), model)


def _inverse(spread: Tensor) -> Tensor:
    """1 / spread, and 0 where there is none."""
    return torch.where(spread > 0, 1 / spread.clamp_min(torch.finfo(spread.dtype).tiny), torch.zeros_like(spread))


TOPICS = (
    Topic(
        "Scaling, standardising and whitening inputs",
        "输入的缩放、标准化与白化",
        lectures=(2, 3),
        code=("Preprocess",),
        command="chainrule train pca whiten=yes",
    ),
)
