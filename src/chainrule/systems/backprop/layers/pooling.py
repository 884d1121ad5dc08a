"""Pooling of images (B, C, H, W): a maximum sends its delta to the cell that won, a mean spreads it over all cells."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.systems.backprop.layers.layer import Layer, without_graph
from chainrule.systems.backprop.layers.windows import Sizes, cells, each, output_size, padded, unpadded


def _check_padding(layer: Layer, kernel: tuple[int, ...], padding: tuple[int, ...]) -> None:
    fits = all(2 * p <= k for p, k in zip(padding, kernel, strict=True))
    layer.require(fits, "the padding is larger than half the window", f"at most half of {kernel}", padding)


class MaxPool2d(Layer):
    """The largest value of each window. The forward pass keeps the *switches*, the places where the largest stood; the
    backward pass adds each window's delta there, and an input that won in several overlapping windows gets their sum.

    Of equal values the first in reading order wins, as in PyTorch; padding never wins. A window that lies wholly in padding
    (which a dilation makes possible) is minus infinity, and its delta goes nowhere.

    Args:
        kernel_size: height and width of a window, in pixels.
        stride: from window to window; by default the kernel size.
        padding: pixels around the image, at most half of the kernel.
        dilation: from cell to cell of a window.
        ceil_mode: whether a last window may hang over the edge, as Caffe has it.

    Raises:
        UserError: where a size is too small, the padding too large, or the input is no image.

    >>> layer = MaxPool2d((1, 2), stride=1)
    >>> layer(torch.tensor([[[[1.0, 7.0, 7.0]]]])), layer.backward(torch.tensor([[[[1.0, 10.0]]]]))
    (tensor([[[[7., 7.]]]]), tensor([[[[ 0., 11.,  0.]]]]))
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel = each(kernel_size, 2, "kernel_size", 1)
        self.stride = each(kernel_size if stride is None else stride, 2, "stride", 1)
        self.padding, self.dilation = each(padding, 2, "padding", 0), each(dilation, 2, "dilation", 1)
        self.ceil_mode = ceil_mode
        _check_padding(self, self.kernel, self.padding)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(x.dim() == 4, "the input does not fit", "(B, C, H, W)", tuple(x.shape))
        axes = zip(x.shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        out = tuple(output_size(*axis, self.ceil_mode) for axis in axes)  # H', W'
        wide = padded(x, self.kernel, self.stride, self.padding, self.dilation, out, -torch.inf)
        # The largest value so far and where it stood, of all windows at once: (B, C, H', W').
        largest = wide.new_full((*x.shape[:2], *out), -torch.inf)
        switches = self._first_cells(out, x).expand(largest.shape)
        corners = self._corners(out, x)
        # Cell after cell of the window, in reading order: a later one wins only if it is larger.
        for (row, column), at in cells(self.kernel, self.stride, self.dilation, out):
            value = wide[at]  # (B, C, H', W'): what each window has in this cell
            wins = (value > largest) | value.isnan()
            largest = torch.where(wins, value, largest)
            index = corners + (row * self.dilation[0] * x.shape[3] + column * self.dilation[1])  # row * W + column
            switches = torch.where(wins, index, switches)
        return self.keep(largest, switches, x.shape)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        switches, shape = self.recall(delta)
        # Each delta is added where its switch points; windows that share a winner meet there.
        total = delta.new_zeros(shape).flatten(2)  # (B, C, H W)
        lost = switches < 0  # of a window without a cell in the image
        delta, switches = delta.masked_fill(lost, 0.0).flatten(2), switches.clamp(min=0).flatten(2)
        return total.scatter_add_(2, switches, delta).reshape(shape)  # (B, C, H, W)

    def _corners(self, out: tuple[int, ...], x: Tensor) -> Tensor:
        """The index row * W + column of each window's first cell (H', W'); outside the image where that is padding."""
        top = torch.arange(out[0], device=x.device) * self.stride[0] - self.padding[0]
        left = torch.arange(out[1], device=x.device) * self.stride[1] - self.padding[1]
        return top[:, None] * x.shape[3] + left

    def _first_cells(self, out: tuple[int, ...], x: Tensor) -> Tensor:
        """The index of each window's first cell that is no padding (H', W'): the winner where all are minus infinity.

        It is below 0 where the window has none.
        """
        firsts, have = [], []
        for size, n, k, s, p, d in zip(
            x.shape[2:], out, self.kernel, self.stride, self.padding, self.dilation, strict=True
        ):
            begin = torch.arange(n, device=x.device) * s - p
            first = begin + (-begin).clamp(min=0).add(d - 1).div(d, rounding_mode="floor") * d
            firsts.append(first)
            have.append(first < torch.clamp(begin + d * (k - 1) + 1, max=size))
        index = firsts[0][:, None] * x.shape[3] + firsts[1]
        return torch.where(have[0][:, None] & have[1], index, -1)


class AvgPool2d(Layer):
    """The mean of each window; backward, each cell of a window gets the window's delta divided by the count of cells.

    Args:
        kernel_size, stride, padding, ceil_mode: as `MaxPool2d`; padding counts as zeros.
        count_include_pad: what the sum is divided by. True, PyTorch's default and Caffe's rule: the cells of the window
            within the padded image (cells beyond it, which `ceil_mode` brings, never count). False: those of the image.

    Raises:
        UserError: where a size is too small, the padding too large, or the input is no image.

    >>> layer = AvgPool2d((1, 2))
    >>> layer(torch.tensor([[[[1.0, 3.0]]]])), layer.backward(torch.tensor([[[[1.0]]]]))
    (tensor([[[[2.]]]]), tensor([[[[0.5000, 0.5000]]]]))
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel = each(kernel_size, 2, "kernel_size", 1)
        self.stride = each(kernel_size if stride is None else stride, 2, "stride", 1)
        self.padding = each(padding, 2, "padding", 0)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        _check_padding(self, self.kernel, self.padding)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(x.dim() == 4, "the input does not fit", "(B, C, H, W)", tuple(x.shape))
        axes = zip(x.shape[2:], self.kernel, self.stride, self.padding, strict=True)
        out = tuple(output_size(*axis, 1, self.ceil_mode) for axis in axes)  # H', W'
        wide = padded(x, self.kernel, self.stride, self.padding, (1, 1), out)
        # The sum of each window, cell after cell of all windows at once: (B, C, H', W').
        total = wide.new_zeros(*x.shape[:2], *out)
        for _, at in cells(self.kernel, self.stride, (1, 1), out):
            total = total + wide[at]
        return self.keep(total / self._counts(out, x), x, wide.shape)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        x, wide = self.recall(delta)
        # Every cell of a window gets the same share of its delta; cells of several windows get the sum.
        share = delta / self._counts(tuple(delta.shape[2:]), x)  # (B, C, H', W')
        total = delta.new_zeros(wide)
        for _, at in cells(self.kernel, self.stride, (1, 1), tuple(delta.shape[2:])):
            total[at] += share
        return unpadded(total, tuple(x.shape[2:]), self.padding)

    def _counts(self, out: tuple[int, ...], x: Tensor) -> Tensor:
        """How many cells each window's sum is divided by, (H', W')."""
        counts = []
        for n, size, k, s, p in zip(out, x.shape[2:], self.kernel, self.stride, self.padding, strict=True):
            first = torch.arange(n, device=x.device) * s - p
            low, high = (-p, size + p) if self.count_include_pad else (0, size)
            counts.append((first + k).clamp(max=high) - first.clamp(min=low))
        return (counts[0][:, None] * counts[1]).to(x.dtype)


class GlobalAvgPool2d(Layer):
    """The mean of each channel, (B, C, H, W) to (B, C); every pixel gets delta / (H W)."""

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(x.dim() == 4 and min(x.shape[2:]) > 0, "the input does not fit", "(B, C, H, W)", tuple(x.shape))
        return self.keep(x.mean((2, 3)), x.shape)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (shape,) = self.recall(delta)
        return (delta / (shape[2] * shape[3]))[:, :, None, None].expand(shape).clone()  # (B, C) -> (B, C, H, W)


class GlobalMaxPool2d(Layer):
    """The largest value of each channel, (B, C, H, W) to (B, C); the first pixel that has it gets the whole delta."""

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(x.dim() == 4 and min(x.shape[2:]) > 0, "the input does not fit", "(B, C, H, W)", tuple(x.shape))
        flat = x.flatten(2)  # (B, C, H W)
        switches = flat.argmax(2, keepdim=True)  # (B, C, 1)
        return self.keep(flat.gather(2, switches)[..., 0], switches, x.shape)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        switches, shape = self.recall(delta)
        return delta.new_zeros(shape).flatten(2).scatter_(2, switches, delta[..., None]).reshape(shape)


TOPICS = (Topic("Convolution, pooling, sub-sampling", code=("MaxPool2d",)),)
