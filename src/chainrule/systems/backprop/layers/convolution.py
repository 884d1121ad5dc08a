"""Convolutions as matrix products: the windows become the columns of a matrix (im2col), the kernels its other factor.

Shapes: B batch, C input channels, O output channels, G groups, k the kernel's axes, n the output's axes.

    columns   X  (G, C/G * prod k, B * prod n)      every window, laid out as a column
    weights   W  (G, O/G, C/G * prod k)
    forward   Z = W X + b                           (G, O/G, B * prod n)
    backward  dE/dW = D X^T,  dE/db = sum of D,  dE/dX = W^T D

where D is the delta of Z. dE/dX has for each window the delta of each of its cells; an input cell lies in several windows,
and its delta is the sum over them (col2im). For stride 1 that sum is the convolution of the delta with
the kernels turned by 180 degrees.

The transposed convolution is the same arithmetic with the two directions exchanged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.systems.backprop.layers.layer import Layer, uniform, without_graph
from chainrule.systems.backprop.layers.windows import Sizes, cells, each, output_size, padded, unpadded


class Geometry:
    """Stride, padding, dilation and groups of a convolution; the three products, for inputs of any dimension."""

    def __init__(self, dimensions: int, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> None:
        self.stride = each(stride, dimensions, "stride", 1)
        self.padding = each(padding, dimensions, "padding", 0)
        self.dilation = each(dilation, dimensions, "dilation", 1)
        self.groups = each(groups, 1, "groups", 1)[0]

    def columns(
        self, x: Tensor, kernel: tuple[int, ...], out: tuple[int, ...] | None = None
    ) -> tuple[Tensor, tuple[int, ...]]:
        """The windows of x (B, C, *size) as a matrix (G, C/G * prod k, B * prod n), and n: `out`, or as many as fit."""
        batch, channels, *size = x.shape
        # How many windows fit along each axis, and the padded input that they reach.
        along = zip(size, kernel, self.stride, self.padding, self.dilation, strict=True)
        out = tuple(output_size(*axis) for axis in along) if out is None else out
        x = padded(x, kernel, self.stride, self.padding, self.dilation, out)
        # Axis by axis, each position becomes a window of k cells, d apart: a view, nothing is copied yet.
        for axis, (k, s, d) in enumerate(zip(kernel, self.stride, self.dilation, strict=True)):
            x = x.unfold(2 + axis, d * (k - 1) + 1, s)[..., ::d]  # in the end (B, C, *n, *k)
        # im2col: what a window holds goes along the rows, which window it is along the columns.
        axes = range(2, 2 + len(size))
        x = x.permute(1, *(axis + len(size) for axis in axes), 0, *axes)  # (B, C, *n, *k) -> (C, *k, B, *n)
        rows = channels // self.groups * math.prod(kernel)
        return x.reshape(self.groups, rows, batch * math.prod(out)), out  # (G, C/G prod k, B prod n)

    def output(self, weight: Tensor, columns: Tensor, batch: int, out: tuple[int, ...]) -> Tensor:
        """W X, as (B, O, *n)."""
        z = weight.reshape(self.groups, len(weight) // self.groups, -1) @ columns  # (G, O/G, B prod n)
        return z.reshape(len(weight), batch, *out).transpose(0, 1)  # (O, B, *n) -> (B, O, *n)

    def weight_gradient(self, delta: Tensor, columns: Tensor, shape: torch.Size) -> Tensor:
        """D X^T, in the weight's shape."""
        # (G, O/G, B prod n) @ (G, B prod n, C/G prod k) -> (G, O/G, C/G prod k) -> (O, C/G, *k)
        return (self._matrix(delta) @ columns.transpose(1, 2)).reshape(shape)

    def input_delta(self, delta: Tensor, weight: Tensor, size: tuple[int, ...]) -> Tensor:
        """W^T D, each cell's share added where the cell lies: (B, C, *size)."""
        kernel, out = tuple(weight.shape[2:]), tuple(delta.shape[2:])
        # W^T D: for each window, the delta of each of its cells.
        # (G, C/G prod k, O/G) @ (G, O/G, B prod n) -> (G, C/G prod k, B prod n)
        shares = weight.reshape(self.groups, len(weight) // self.groups, -1).transpose(1, 2) @ self._matrix(delta)
        channels = weight.shape[1] * self.groups
        shares = shares.reshape(channels, math.prod(kernel), delta.shape[0], *out)  # (C, prod k, B, *n)
        # col2im: an input cell lies in several windows, and its delta is the sum over them.
        reach = (
            (n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(out, kernel, self.stride, self.dilation, strict=True)
        )
        total = delta.new_zeros(channels, delta.shape[0], *reach)  # (C, B, *padded size)
        for number, (_, at) in enumerate(cells(kernel, self.stride, self.dilation, out)):
            total[at] += shares[:, number]  # this cell of the kernel, in all windows at once: (C, B, *n)
        return unpadded(total, size, self.padding).transpose(0, 1)  # (C, B, *size) -> (B, C, *size)

    def _matrix(self, delta: Tensor) -> Tensor:
        """D: (B, O, *n) -> (G, O/G, B prod n), in the order of the columns."""
        batch, channels, *out = delta.shape
        return delta.transpose(0, 1).reshape(self.groups, channels // self.groups, batch * math.prod(out))


def per_channel(bias: Tensor, like: Tensor) -> Tensor:
    """A number a channel, laid along the second axis of `like`."""
    return bias.reshape(-1, *[1] * (like.dim() - 2))  # (C,) -> (C, 1, ...)


def _check(layer: Layer, in_channels: int, out_channels: int, groups: int) -> None:
    layer.require(
        min(in_channels, out_channels) > 0, "a layer without channels", "at least 1", f"{in_channels}, {out_channels}"
    )
    layer.require(
        in_channels % groups == out_channels % groups == 0,
        "the channels do not divide into the groups",
        f"multiples of {groups}",
        f"in_channels {in_channels}, out_channels {out_channels}",
    )


def _convolve(layer: Conv1d | Conv2d, x: Tensor) -> Tensor:
    dimensions = layer.weight.dim() - 2
    fits = x.dim() == 2 + dimensions and x.shape[1] == layer.in_channels
    layer.require(
        fits,
        "the input does not fit",
        f"(B, {layer.in_channels}, {'H, W' if dimensions == 2 else 'L'})",
        tuple(x.shape),
    )
    # Z = W X + b
    columns, out = layer.geometry.columns(x, tuple(layer.weight.shape[2:]))
    z = layer.geometry.output(layer.weight, columns, x.shape[0], out)
    if layer.bias is not None:
        z = z + per_channel(layer.bias, z)
    return layer.keep(z, columns, x.shape[2:])


def _convolve_back(layer: Conv1d | Conv2d, delta: Tensor) -> Tensor:
    columns, size = layer.recall(delta)
    layer.add_gradients(
        weight=layer.geometry.weight_gradient(delta, columns, layer.weight.shape),  # dE/dW = D X^T
        bias=delta.transpose(0, 1).flatten(1).sum(1),  # (B, O, *n) -> (O, B prod n) -> (O,)
    )
    # dE/dX = W^T D
    return layer.geometry.input_delta(delta, layer.weight, size)


class Conv2d(Layer):
    """A convolution of images (really the correlation that networks call so):

        z[o, p] = b[o] + sum over c, i of w[o, c, i] x[c, s p + d i - padding]

    with two-dimensional places p of the output and i of the kernel. The equations of the backward pass are at the top
    of this file.

    Args:
        in_channels: C of the input (B, C, H, W).
        out_channels: O of the output (B, O, H', W').
        kernel_size, stride, padding, dilation: a whole number, or one for each axis, in pixels.
        groups: into how many parts the channels are divided; each output sees the inputs of its part alone.
        bias: whether b is there.

    Raises:
        UserError: where a size is too small, the channels do not divide, or the input does not fit.

    Source: LeCun et al. 1998; the matrix form is of Chellapilla, Puri, Simard 2006.

    >>> layer = Conv2d(1, 1, 2, bias=False)
    >>> _ = layer.load_state_dict({"weight": torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])})
    >>> layer(torch.ones(1, 1, 2, 3)), layer.backward(torch.tensor([[[[1.0, 10.0]]]]))
    (tensor([[[[10., 10.]]]]), tensor([[[[ 1., 12., 20.],
              [ 3., 34., 40.]]]]))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.geometry = Geometry(2, stride, padding, dilation, groups)
        _check(self, in_channels, out_channels, groups)
        self.in_channels = in_channels
        kernel, inputs = each(kernel_size, 2, "kernel_size", 1), in_channels // groups
        fan_in = inputs * math.prod(kernel)
        self.weight = uniform(out_channels, inputs, *kernel, fan_in=fan_in)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", uniform(out_channels, fan_in=fan_in) if bias else None)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        return _convolve(self, x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        return _convolve_back(self, delta)


class Conv1d(Layer):
    """A convolution along sequences (B, C, L): `Conv2d` with one axis.

    Args, errors: as `Conv2d`, with one whole number for each size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.geometry = Geometry(1, stride, padding, dilation, groups)
        _check(self, in_channels, out_channels, groups)
        self.in_channels = in_channels
        (kernel,), inputs = each(kernel_size, 1, "kernel_size", 1), in_channels // groups
        self.weight = uniform(out_channels, inputs, kernel, fan_in=inputs * kernel)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", uniform(out_channels, fan_in=inputs * kernel) if bias else None)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        return _convolve(self, x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        return _convolve_back(self, delta)


class ConvTranspose2d(Layer):
    """A transposed convolution: its forward pass is the backward pass of a convolution, and vice versa.

    Each input cell paints the kernel, times its value, into the output, `stride` pixels from its neighbour's. With X the
    columns of the *delta* and W (C, O/G, k) the weights:

        forward   z = col2im(W^T x) + b      backward  dE/dW = x X^T,  dE/dx = W X

    The output is (H - 1) s - 2 p + d (k - 1) + 1 + output_padding high.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as `Conv2d`; `padding` pixels
            are cut off each side of the output.
        output_padding: pixels more at the end, below stride or dilation, to choose among the sizes that a convolution
            of that stride maps to the same one.

    Raises:
        UserError: where a size is too small, the channels do not divide, or the input does not fit.

    Source: Zeiler, Krishnan, Taylor, Fergus: Deconvolutional networks, 2010; Dumoulin, Visin 2016, chapter 4.

    >>> layer = ConvTranspose2d(1, 1, (1, 2), stride=(1, 2), bias=False)
    >>> _ = layer.load_state_dict({"weight": torch.tensor([[[[1.0, 5.0]]]])})
    >>> layer(torch.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[ 1.,  5.,  2., 10.]]]])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
    ) -> None:
        super().__init__()
        self.geometry = Geometry(2, stride, padding, dilation, groups)
        _check(self, in_channels, out_channels, groups)
        self.in_channels = in_channels
        kernel, outputs = each(kernel_size, 2, "kernel_size", 1), out_channels // groups
        self.output_padding = each(output_padding, 2, "output_padding", 0)
        limits = [max(s, d) for s, d in zip(self.geometry.stride, self.geometry.dilation, strict=True)]
        below = all(more < limit for more, limit in zip(self.output_padding, limits, strict=True))
        self.require(below, "output_padding is too large", f"below {limits}", self.output_padding)
        fan_in = outputs * math.prod(kernel)  # as PyTorch counts it, by the second axis of the weight
        self.weight = uniform(in_channels, outputs, *kernel, fan_in=fan_in)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", uniform(out_channels, fan_in=fan_in) if bias else None)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(
            x.dim() == 4 and x.shape[1] == self.in_channels and min(x.shape[2:]) > 0,
            "the input does not fit",
            f"(B, {self.in_channels}, H, W)",
            tuple(x.shape),
        )
        g, kernel = self.geometry, self.weight.shape[2:]
        axes = zip(x.shape[2:], kernel, g.stride, g.padding, g.dilation, self.output_padding, strict=True)
        size = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 + more for n, k, s, p, d, more in axes)
        self.require(min(size) > 0, "the padding cuts the whole output away", "an output of at least 1 pixel", size)
        # Forward is the backward pass of a convolution: col2im(W^T x).
        z = g.input_delta(x, self.weight, size)
        if self.bias is not None:
            z = z + per_channel(self.bias, z)
        return self.keep(z, x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (x,) = self.recall(delta)
        # Backward is the forward pass of a convolution, with the delta in the place of its input.
        # Its windows are the cells of x: output_padding may leave room for more where it is a stride or above.
        columns, out = self.geometry.columns(delta, tuple(self.weight.shape[2:]), tuple(x.shape[2:]))
        self.add_gradients(
            weight=self.geometry.weight_gradient(x, columns, self.weight.shape),  # dE/dW = x X^T
            bias=delta.transpose(0, 1).flatten(1).sum(1),  # (B, O, H, W) -> (O, B H W) -> (O,)
        )
        return self.geometry.output(self.weight, columns, x.shape[0], out)  # dE/dx = W X


TOPICS = (
    Topic(
        "Convolution, pooling, sub-sampling",
        "卷积、池化、下采样",
        lectures=(1, 2, 3, 4, 5),
        code=("Conv2d",),
        command="chainrule train lenet-backprop",
    ),
)
