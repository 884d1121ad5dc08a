"""Group normalisation with its scale and shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.functional.normalization import check_channels, group_norm


class GroupNorm(nn.Module):
    """w (x - m) / sqrt(v + eps) + b over groups of channels of each sample; the same in training and eval.

    Args:
        num_groups: a divisor of `num_channels`.
        num_channels: C.
        eps: added to the variance.
        affine: whether there are w and b, (C,).

    Takes (B, C, ...) and gives the same shape. Weights are interchangeable with torch's GroupNorm.

    Raises:
        UserError: the groups do not divide the channels.

    Source: Wu and He 2018 (arXiv 1803.08494).

    >>> GroupNorm(2, 4)(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).round(decimals=3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise UserError(
                "the channels do not divide into these groups",
                expected=f"a divisor of {num_channels}",
                found=num_groups,
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_channels)
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"
