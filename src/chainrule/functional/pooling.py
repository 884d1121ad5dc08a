"""Pooling: output sizes by torch's and by Caffe's rule, Caffe's maximum and mean, switches, feature maps.

Shapes: B samples, C channels (maps), H x W positions; n positions of input, k of the window, s of the stride, p of the
padding at each end. A pair is (vertical, horizontal); one number is both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

Pair = int | tuple[int, int]


def pool_output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1, *, ceil_mode: bool = False
) -> int:
    """How many windows torch's convolution and pooling lay over a line: floor((n + 2p - d(k-1) - 1) / s) + 1.

    With `ceil_mode` the quotient is rounded up, and a last window that would begin in the padding on the right or
    beyond is dropped: if (out - 1) s >= n + p, out is one less.

    Raises:
        UserError: a size, kernel, stride or dilation below 1, a negative padding, a window that does not fit.

    Source: PyTorch, documentation of MaxPool2d and Conv2d.

    >>> pool_output_size(112, 3, 2), pool_output_size(112, 3, 2, ceil_mode=True), pool_output_size(32, 5)
    (55, 56, 28)
    """
    _check_window(size, kernel_size, stride, padding, dilation)
    reach = dilation * (kernel_size - 1) + 1
    room = size + 2 * padding - reach
    out = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + padding:
        out -= 1
    return _at_least_one(out, size, padding, reach)


def caffe_pool_output_size(size: int, kernel_size: int, stride: int = 1, padding: int = 0) -> int:
    """How many windows Caffe's pooling lays over a line: ceil((n + 2p - k) / s) + 1.

    One less where p > 0 and the last window would begin beyond the image, (out - 1) s >= n + p. Without padding Caffe
    keeps such a window, although nothing lies in it (it needs s > k); the poolings here refuse it.

    Raises:
        UserError: a size, kernel or stride below 1, a negative padding, p >= k, a window that does not fit.

    Source: Caffe, pooling_layer.cpp, Reshape.

    >>> caffe_pool_output_size(112, 3, 2), caffe_pool_output_size(7, 2, 2, 1), caffe_pool_output_size(3, 1, 3)
    (56, 4, 2)
    """
    _check_window(size, kernel_size, stride, padding, 1)
    if padding >= kernel_size:
        raise UserError("the padding is as large as the window", expected=f"below {kernel_size}", found=padding)
    out = -(-(size + 2 * padding - kernel_size) // stride) + 1
    if padding > 0 and (out - 1) * stride >= size + padding:
        out -= 1
    return _at_least_one(out, size, padding, kernel_size)


def caffe_max_pool2d(x: Tensor, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0) -> Tensor:
    """The largest number in each of Caffe's windows, which may hang over the right and lower edge.

    Args:
        x: (B, C, H, W) or (C, H, W), floating.
        kernel_size, stride, padding: the stride is 1 unless given, as in Caffe (torch's is the kernel).

    Returns:
        (B, C, H', W') with the sizes of `caffe_pool_output_size`.

    Raises:
        UserError: as there; or a window that covers nothing of the image.

    Source: Caffe, pooling_layer.cpp.

    >>> caffe_max_pool2d(torch.arange(5.0).view(1, 1, 1, 5), (1, 2), stride=2).tolist()
    [[[[1.0, 3.0, 4.0]]]]
    """
    (top, bottom, kh, sh), (left, right, kw, sw) = _caffe_windows(x, kernel_size, stride, padding)
    if 2 * top <= kh and 2 * left <= kw:  # torch's own padding gives the same, and saves a copy
        return F.max_pool2d(x, (kh, kw), (sh, sw), (top, left), ceil_mode=True)
    # torch pads by at most half a window: pad here, with what never wins.
    return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-torch.inf), (kh, kw), (sh, sw))


def caffe_avg_pool2d(x: Tensor, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0) -> Tensor:
    """The mean in each of Caffe's windows: padding counts as zeros, what hangs over the padding does not count.

    Args:
        x, kernel_size, stride, padding: as for `caffe_max_pool2d`.

    Source: Caffe, pooling_layer.cpp.

    >>> caffe_avg_pool2d(torch.ones(1, 1, 1, 5), (1, 2), stride=2).tolist()  # of the last window half is there
    [[[[1.0, 1.0, 1.0]]]]
    >>> x = torch.ones(1, 1, 4, 4)  # of the padding at the left corner three of four count
    >>> caffe_avg_pool2d(x, 2, stride=2, padding=1)[0, 0, 0].tolist()
    [0.25, 0.5, 0.25]
    """
    (top, bottom, kh, sh), (left, right, kw, sw) = _caffe_windows(x, kernel_size, stride, padding)
    if 2 * top <= kh and 2 * left <= kw:
        return F.avg_pool2d(x, (kh, kw), (sh, sw), (top, left), ceil_mode=True)
    # The sum of each window over its count: what lies within the padded image, not what hangs over it.
    sums = F.avg_pool2d(F.pad(x, (left, right, top, bottom)), (kh, kw), (sh, sw), divisor_override=1)
    counts = [  # (H',) and (W',)
        torch.tensor([min(i * s + k, n + 2 * p) - i * s for i in range(out)], dtype=x.dtype, device=x.device)
        for out, n, k, s, p in zip(sums.shape[-2:], x.shape[-2:], (kh, kw), (sh, sw), (top, left), strict=True)
    ]
    return sums / (counts[0][:, None] * counts[1])  # (B, C, H', W') / (H', W')


def max_pool2d_with_switches(
    x: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, *, ceil_mode: bool = False
) -> tuple[Tensor, Tensor]:
    """The largest number of each window, and where it stood: its switch, the index row * W + column in its map.

    Args:
        x: (B, C, H, W), floating.
        stride: the kernel where it is None, as in torch.

    Returns:
        values (B, C, H', W') and switches, int64, of the same shape; of equal numbers the first in reading order.

    Source: Zeiler and Fergus: Visualizing and understanding convolutional networks, 2014 (arXiv 1311.2901), section 2.1.

    >>> values, switches = max_pool2d_with_switches(torch.tensor([[[[1.0, 9.0], [4.0, 2.0]]]]), 2)
    >>> values.item(), switches.item()
    (9.0, 1)
    """
    _check_maps(x)
    (kh, kw), (ph, pw) = _pair(kernel_size), _pair(padding)
    sh, sw = _pair(stride) if stride is not None else (kh, kw)
    for n, k, s, p in ((x.shape[-2], kh, sh, ph), (x.shape[-1], kw, sw, pw)):
        pool_output_size(n, k, s, p, ceil_mode=ceil_mode)
        if 2 * p > k:
            raise UserError("the padding is more than half the window", expected=f"at most {k // 2}", found=p)
    return F.max_pool2d(x, (kh, kw), (sh, sw), (ph, pw), ceil_mode=ceil_mode, return_indices=True)


def unpool2d(x: Tensor, switches: Tensor, output_size: tuple[int, int]) -> Tensor:
    """Puts each number back where its switch points, zeros elsewhere; numbers that meet in one place are added.

    It is the transpose of pooling with these switches, so also the gradient of max pooling. With windows that do not
    overlap no two numbers meet, and it equals torch's `max_unpool2d`. With windows that overlap that function keeps
    one of the numbers, undefined which, and its gradient is wrong for the others; here they are added, as in the
    transpose of the forward pass.

    Args:
        x: (B, C, H', W').
        switches: int64, of the same shape, from `max_pool2d_with_switches`.
        output_size: (H, W) of what was pooled.

    Returns:
        (B, C, H, W).

    Raises:
        UserError: shapes that differ, or a switch outside the map (checked on the CPU).

    Source: Zeiler and Fergus 2014, section 2.1; Noh et al.: Learning deconvolution network, 2015 (arXiv 1505.04366),
    section 3.2.1.

    >>> unpool2d(torch.tensor([[[[9.0]]]]), torch.tensor([[[[1]]]]), (2, 2)).tolist()
    [[[[0.0, 9.0], [0.0, 0.0]]]]
    """
    _check_maps(x)
    if switches.shape != x.shape:
        raise UserError(
            "there must be one switch for each number",
            expected=f"switches {tuple(x.shape)}",
            found=f"switches {tuple(switches.shape)}",
        )
    if switches.dtype != torch.int64:
        raise UserError("switches must be indices", expected="torch.int64", found=switches.dtype)
    height, width = output_size
    if switches.device.type == "cpu" and not torch.compiler.is_compiling() and switches.numel():
        low, high = int(switches.min()), int(switches.max())
        if low < 0 or high >= height * width:
            raise UserError(
                "a switch points outside the map",
                expected=f"0 to {height * width - 1} for {height} x {width}",
                found=low if low < 0 else high,
                cure="output_size is the (H, W) that was pooled",
            )
    flat = x.new_zeros(*x.shape[:-2], height * width).scatter_add(-1, switches.flatten(-2), x.flatten(-2))
    return flat.unflatten(-1, (height, width))  # (B, C, H W) -> (B, C, H, W)


def max_pool_channels(x: Tensor, kernel_size: int, stride: int | None = None) -> Tensor:
    """The largest over groups of feature maps, at each place: from C maps (C - k) // s + 1.

    Args:
        x: (B, C, ...).
        stride: in maps; the kernel where it is None, so that groups do not overlap (maxout's form).

    Raises:
        UserError: a window larger than the number of maps, or a size below 1.

    >>> max_pool_channels(torch.tensor([[1.0, 5.0, 3.0, 2.0]]), 2).tolist()
    [[5.0, 3.0]]
    """
    return _channel_windows(x, kernel_size, stride).max(-1).values


def avg_pool_channels(x: Tensor, kernel_size: int, stride: int | None = None) -> Tensor:
    """The mean over groups of feature maps, at each place; arguments as for `max_pool_channels`.

    >>> avg_pool_channels(torch.tensor([[1.0, 5.0, 3.0, 2.0]]), 2, stride=1).tolist()
    [[3.0, 4.0, 2.5]]
    """
    return _channel_windows(x, kernel_size, stride).mean(-1)


def _channel_windows(x: Tensor, kernel_size: int, stride: int | None) -> Tensor:
    if x.dim() < 2:
        raise UserError("there are no maps to pool", expected="x (B, C, ...)", found=tuple(x.shape))
    stride = kernel_size if stride is None else stride
    pool_output_size(x.shape[1], kernel_size, stride)
    return x.unfold(1, kernel_size, stride)  # (B, C', ..., k): a view


def _caffe_windows(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Vertically, then horizontally: padding before, padding and overhang after, kernel, stride."""
    _check_maps(x)
    lines = list(zip(x.shape[-2:], _pair(kernel_size), _pair(stride), _pair(padding), strict=True))
    found = []
    for n, k, s, p in lines:
        out = caffe_pool_output_size(n, k, s, p)
        if (out - 1) * s >= n + p:
            if not any(pad for *_, pad in lines):
                raise UserError(
                    "the last window lies wholly outside the image",
                    expected="a stride of at most the kernel, or a size of which the last window sees a part",
                    found=f"size {n}, kernel {k}, stride {s}: window {out} begins at {(out - 1) * s}",
                )
            out -= 1  # padding in one direction makes Caffe clip in both
        found.append((p, max((out - 1) * s + k - n - p, 0), k, s))
    return found[0], found[1]


def _check_maps(x: Tensor) -> None:
    if x.dim() not in (3, 4):
        raise UserError("x must be feature maps", expected="(B, C, H, W) or (C, H, W)", found=tuple(x.shape))
    if not x.is_floating_point():
        raise UserError("x must be floating-point numbers", found=x.dtype, cure="x.float()")


def _check_window(size: int, kernel_size: int, stride: int, padding: int, dilation: int) -> None:
    for name, value, least in (
        ("size", size, 1),
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if value < least:
            raise UserError(f"{name} is out of range", expected=f"{least} or more", found=value)


def _at_least_one(out: int, size: int, padding: int, reach: int) -> int:
    if out < 1:
        raise UserError(
            "the window is larger than the input",
            expected=f"at most {size + 2 * padding} ({size} and padding {padding} at each end)",
            found=reach,
        )
    return out


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


TOPICS = (
    Topic(
        "Unpooling with switches, pooling in Caffe's form",
        "带开关的反池化、Caffe 形式的池化",
        lectures=(4,),
        code=("max_pool2d_with_switches", "unpool2d", "caffe_max_pool2d"),
        command="chainrule train lenet-caffe",
    ),
)
