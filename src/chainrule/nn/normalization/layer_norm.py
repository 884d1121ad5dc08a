"""Layer normalisation with its scale and shift."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainrule.functional.normalization import layer_norm


class LayerNorm(nn.Module):
    """w (x - m) / sqrt(v + eps) + b over the last dimensions of each sample: `functional.normalization.layer_norm`.

    Args:
        normalized_shape: the sizes of those dimensions; one number is one dimension.
        eps: added to the variance.
        affine: whether there are w and b, of shape `normalized_shape`.

    Takes (..., *normalized_shape) and gives the same shape. Weights are interchangeable with torch's LayerNorm.

    Source: Ba, Kiros, Hinton 2016 (arXiv 1607.06450), equation 3.

    >>> LayerNorm(2)(torch.tensor([[1.0, 3.0]])).round(decimals=3).tolist()
    [[-1.0, 1.0]]
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = nn.Parameter(torch.ones(shape)) if affine else None
        self.bias = nn.Parameter(torch.zeros(shape)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, affine={self.weight is not None}"
