"""Local response normalisation, across the channels or within each."""

from __future__ import annotations

from torch import Tensor, nn

from chainrule.functional.normalization import lrn_across_channels, lrn_within_channel


class LocalResponseNorm(nn.Module):
    """x_c / (k + alpha / n sum_j x_j^2)^beta over the n = `size` channels around c: `lrn_across_channels`.

    >>> import torch
    >>> LocalResponseNorm(size=1, alpha=3.0, beta=1.0)(torch.ones(1, 2, 1, 1)).flatten().tolist()
    [0.25, 0.25]
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:  # (B, C, ...) -> the same
        return lrn_across_channels(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LocalResponseNormWithin(nn.Module):
    """x / (k + alpha / n^2 sum x^2)^beta over the n x n positions around, n = `size`: `lrn_within_channel`.

    >>> import torch
    >>> LocalResponseNormWithin(size=1, alpha=3.0, beta=1.0)(torch.ones(1, 1, 1, 2)).flatten().tolist()
    [0.25, 0.25]
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> the same
        return lrn_within_channel(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
