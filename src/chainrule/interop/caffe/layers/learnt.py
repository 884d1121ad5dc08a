"""Caffe's layers with weights that are not torch's own. Parameters and buffers stand in the order of Caffe's blobs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.nn.normalization.batch_norm import CaffeBatchNorm


class InnerProduct(nn.Module):
    """W x + b of the axes from one on taken together; (N, ...) to (N, num_output) as a rule.

    Args:
        in_features: how many numbers those axes hold.
        num_output: outputs.
        bias: whether there is b.
        axis: the first axis that is taken in.
        transpose: the weight is kept as (in, out), not (out, in).

    Source: Caffe, inner_product_layer.cpp.

    >>> InnerProduct(12, 5)(torch.zeros(2, 3, 2, 2)).shape
    torch.Size([2, 5])
    """

    bias: nn.Parameter | None

    def __init__(
        self, in_features: int, num_output: int, bias: bool = True, axis: int = 1, transpose: bool = False
    ) -> None:
        super().__init__()
        self.axis, self.transpose = axis, transpose
        shape = (in_features, num_output) if transpose else (num_output, in_features)
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(num_output)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.flatten(self.axis), self.weight.T if self.transpose else self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, bias={self.bias is not None}, axis={self.axis}, transpose={self.transpose}"


class ScaleLayer(nn.Module):
    """w x + b, w and b over some axes of x: a channel, as a rule; or w is a second blob.

    Args:
        shape: of w, the sizes of the axes from `axis` on that it covers; None where it is a second bottom.
        axis: the first of these axes.
        bias_shape: of b, or None for none.

    Source: Caffe, scale_layer.cpp.

    >>> ScaleLayer(None)(torch.ones(1, 2, 1), torch.tensor([3.0, 4.0])).flatten().tolist()
    [3.0, 4.0]
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, shape: Sequence[int] | None, axis: int = 1, bias_shape: Sequence[int] | None = None) -> None:
        super().__init__()
        self.axis = axis
        self.weight = None if shape is None else nn.Parameter(torch.ones(tuple(shape)))
        self.bias = None if bias_shape is None else nn.Parameter(torch.zeros(tuple(bias_shape)))

    def forward(self, x: Tensor, by: Tensor | None = None) -> Tensor:
        by = self.weight if by is None else by
        if by is not None:
            x = x * spread(by, x, self.axis)
        return x if self.bias is None else x + spread(self.bias, x, self.axis)

    def extra_repr(self) -> str:
        return f"{self.weight is None or tuple(self.weight.shape)}, axis={self.axis}, bias={self.bias is not None}"


class BiasLayer(nn.Module):
    """x + b, b over some axes of x; or b is a second blob. Source: Caffe, bias_layer.cpp.

    >>> BiasLayer(None)(torch.ones(1, 2, 1), torch.tensor([3.0, 4.0])).flatten().tolist()
    [4.0, 5.0]
    """

    bias: nn.Parameter | None

    def __init__(self, shape: Sequence[int] | None, axis: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.bias = None if shape is None else nn.Parameter(torch.zeros(tuple(shape)))

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        add = self.bias if add is None else add
        return x if add is None else x + spread(add, x, self.axis)


class Embed(nn.Module):
    """Row x of the weight, plus b: indices (...) to (..., num_output). Source: Caffe, embed_layer.cpp."""

    bias: nn.Parameter | None

    def __init__(self, input_dim: int, num_output: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(input_dim, num_output))
        self.bias = nn.Parameter(torch.zeros(num_output)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        rows = nn.functional.embedding(x.long(), self.weight)
        return rows if self.bias is None else rows + self.bias


class FixedBatchNorm(CaffeBatchNorm):
    """Batch normalisation that a description holds to one kind of statistics, whatever `train` and `eval` say.

    Args:
        num_features, eps, moving_average_fraction: those of `CaffeBatchNorm`.
        use_global_stats: true for the averages always, false for those of the batch always.
    """

    def __init__(
        self, num_features: int, eps: float, moving_average_fraction: float, *, use_global_stats: bool
    ) -> None:
        super().__init__(num_features, eps, moving_average_fraction)
        self.use_global_stats = use_global_stats
        self.train()

    def train(self, mode: bool = True) -> FixedBatchNorm:
        """Stays as the description has it."""
        return super().train(not self.use_global_stats)


def spread(of: Tensor, x: Tensor, axis: int) -> Tensor:
    """`of` with axes of size 1 before and behind, so that its axes stand at those of x from `axis` on.

    Raises:
        UserError: the sizes differ.
    """
    start = axis if axis >= 0 else x.dim() + axis
    if tuple(of.shape) != tuple(x.shape[start : start + of.dim()]):
        raise UserError(
            "the factor does not fit the blob",
            expected=f"the sizes of axes {start} and on of {tuple(x.shape)}",
            found=tuple(of.shape),
        )
    return of.reshape(*of.shape, *[1] * (x.dim() - start - of.dim()))
