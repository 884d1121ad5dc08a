"""Instance normalisation with its scale and shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.functional.normalization import check_channels, instance_norm


class InstanceNorm(nn.Module):
    """w (x - m) / sqrt(v + eps) + b over the positions of each channel of each sample; the same in training and eval.

    Args:
        num_features: C.
        eps: added to the variance.
        affine: whether there are w and b, (C,). Torch's has none by default, and neither has this.

    Takes (B, C, ...) with two or more positions and gives the same shape.

    Source: Ulyanov, Vedaldi, Lempitsky 2016 (arXiv 1607.08022), equation 2.

    >>> InstanceNorm(1)(torch.tensor([[[1.0, 3.0]]])).round(decimals=3).tolist()
    [[[-1.0, 1.0]]]
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__()
        self.num_features, self.eps = num_features, eps
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        return instance_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.weight is not None}"
