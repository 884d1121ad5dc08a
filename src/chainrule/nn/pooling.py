"""Pooling as layers: Caffe's windows; maxima with switches, and unpooling by them."""

from __future__ import annotations

from torch import Tensor, nn

from chainrule.functional import pooling as F
from chainrule.functional.pooling import Pair


class CaffeMaxPool2d(nn.Module):
    """The largest number in each of Caffe's windows, rounded up: `functional.pooling.caffe_max_pool2d`.

    >>> import torch
    >>> CaffeMaxPool2d(3, stride=2)(torch.zeros(1, 64, 112, 112)).shape
    torch.Size([1, 64, 56, 56])
    """

    def __init__(self, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.caffe_max_pool2d(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class CaffeAvgPool2d(nn.Module):
    """The mean in each of Caffe's windows; padding counts, overhang does not: `functional.pooling.caffe_avg_pool2d`.

    >>> import torch
    >>> CaffeAvgPool2d(2, stride=2)(torch.ones(1, 1, 3, 3)).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.caffe_avg_pool2d(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPoolWithSwitches2d(nn.Module):
    """The largest number of each window and where it stood: `functional.pooling.max_pool2d_with_switches`.

    >>> import torch
    >>> values, switches = MaxPoolWithSwitches2d(2)(torch.tensor([[[[1.0, 9.0], [4.0, 2.0]]]]))
    >>> Unpool2d()(values, switches, (2, 2)).tolist()
    [[[[0.0, 9.0], [0.0, 0.0]]]]
    """

    def __init__(
        self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel_size, stride, padding, ceil_mode

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.max_pool2d_with_switches(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}, ceil_mode={self.ceil_mode}"


class Unpool2d(nn.Module):
    """Puts each number back where its switch points; numbers that meet are added: `functional.pooling.unpool2d`."""

    def forward(self, x: Tensor, switches: Tensor, output_size: tuple[int, int]) -> Tensor:
        return F.unpool2d(x, switches, output_size)
