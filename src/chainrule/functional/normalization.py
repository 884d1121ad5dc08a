"""Normalisation written out: activations over their own mean and variance, or over the energy of their neighbours.

Shapes: B samples, C channels, ... positions. m is the mean and v the mean squared deviation over what each function
names. Half precision is computed in float32 and given back in its own type.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from chainrule.core.errors import UserError


def moments(x: Tensor, dims: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean m and biased variance v of x over `dims`, each with those dimensions kept as 1; of half precision in float32.

    >>> [t.tolist() for t in moments(torch.tensor([[1.0, 3.0]]), [1])]
    [[[2.0]], [[1.0]]]
    """
    wide = _wide(x)
    mean = wide.mean(tuple(dims), keepdim=True)
    return mean, (wide - mean).square().mean(tuple(dims), keepdim=True)  # of what is centred: right for large offsets


def normalize(x: Tensor, mean: Tensor, variance: Tensor, eps: float = 1e-5) -> Tensor:
    """(x - m) / sqrt(v + eps), in the type of x.

    >>> normalize(torch.tensor([5.0]), torch.tensor([1.0]), torch.tensor([4.0]), eps=1e-12).tolist()
    [2.0]
    """
    if not eps > 0:
        raise UserError("eps is out of range", expected="above 0", found=eps)
    return ((_wide(x) - mean) * (variance + eps).rsqrt()).to(x.dtype)


def standardize(x: Tensor, dims: Sequence[int], eps: float = 1e-5) -> Tensor:
    """(x - m) / sqrt(v + eps) with x's own mean and biased variance over `dims`: what the four below have in common.

    Args:
        x: any shape, floating.
        dims: over which to average.
        eps: above 0, keeps a constant from being divided by zero; it becomes zeros.

    >>> standardize(torch.tensor([[1.0, 3.0]]), [1]).round(decimals=3).tolist()
    [[-1.0, 1.0]]
    """
    return normalize(x, *moments(x, dims), eps)


def batch_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """w (x - m) / sqrt(v + eps) + b, where m, v are of a channel over the batch and all positions (training's form).

    Args:
        x: (B, C, ...), with two or more numbers a channel.
        weight, bias: (C,), or None.

    Source: Ioffe and Szegedy: Batch normalization, 2015 (arXiv 1502.03167), algorithm 1.

    >>> batch_norm(torch.tensor([[1.0], [3.0]])).round(decimals=3).flatten().tolist()
    [-1.0, 1.0]
    """
    check_channels(x, None)
    check_batch_statistics(x)
    return scale_channels(standardize(x, batch_dims(x), eps), weight, bias)


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """w (x - m) / sqrt(v + eps) + b, where m, v are of one sample (or step) over its last dimensions.

    Args:
        x: (..., *normalized_shape).
        normalized_shape: the sizes of the dimensions to average over.
        weight, bias: of shape `normalized_shape`, or None.

    Source: Ba, Kiros, Hinton: Layer normalization, 2016 (arXiv 1607.06450), equation 3.

    >>> layer_norm(torch.tensor([[1.0, 3.0], [10.0, 30.0]]), [2]).round(decimals=3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """
    shape = tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise UserError(
            "x does not end in the dimensions to normalise",
            expected=f"(..., {', '.join(map(str, shape))})",
            found=tuple(x.shape),
        )
    out = standardize(x, range(-len(shape), 0), eps)
    out = out if weight is None else out * weight.to(out.dtype)
    return out if bias is None else out + bias.to(out.dtype)


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """w (x - m) / sqrt(v + eps) + b, where m, v are of one sample over a group of channels and their positions.

    One group is layer normalisation over (C, ...); as many groups as channels is instance normalisation.

    Args:
        x: (B, C, ...).
        num_groups: a divisor of C.
        weight, bias: (C,), or None.

    Source: Wu and He: Group normalization, 2018 (arXiv 1803.08494), equations 1, 2 and 7.

    >>> group_norm(torch.tensor([[1.0, 3.0, 10.0, 30.0]]), 2).round(decimals=3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    check_channels(x, None)
    if num_groups < 1 or x.shape[1] % num_groups:
        raise UserError(
            "the channels do not divide into these groups", expected=f"a divisor of {x.shape[1]}", found=num_groups
        )
    # (B, C, ...) -> (B, G, C/G, ...): each sample's group by itself
    grouped = x.reshape(x.shape[0], num_groups, x.shape[1] // num_groups, *x.shape[2:])
    out = standardize(grouped, range(2, grouped.dim()), eps)
    return scale_channels(out.reshape(x.shape), weight, bias)  # back to (B, C, ...)


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """w (x - m) / sqrt(v + eps) + b, where m, v are of one channel of one sample over its positions.

    Args:
        x: (B, C, ...), with two or more positions.
        weight, bias: (C,), or None.

    Source: Ulyanov, Vedaldi, Lempitsky: Instance normalization, 2016 (arXiv 1607.08022), equation 2.

    >>> instance_norm(torch.tensor([[[1.0, 3.0], [10.0, 30.0]]])).round(decimals=3).tolist()
    [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    check_channels(x, None)
    if x.shape[2:].numel() < 2 or x.dim() == 2:
        raise UserError("instance normalisation needs more than one position", found=f"x {tuple(x.shape)}")
    return scale_channels(standardize(x, range(2, x.dim()), eps), weight, bias)


def lrn_across_channels(x: Tensor, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x_c / (k + alpha / n sum_j x_j^2)^beta, j over the n channels around c; there are zeros beyond the first and last.

    As in Caffe and torch, alpha is divided by n. The paper of 2012 does not divide: its n = 5, alpha = 1e-4, beta =
    0.75, k = 2 are size=5, alpha=5e-4, beta=0.75, k=2 here. Caffe's AlexNet has k = 1 and alpha = 1e-4, divided.

    Args:
        x: (B, C, ...), floating.
        size: n; of an even number the longer side lies before c, as in torch. Caffe takes odd numbers alone.
        alpha, beta: 0 or more.
        k: above 0.

    Raises:
        UserError: a number out of range, or x without channels.

    Source: Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural networks, 2012,
    section 3.3; Caffe, lrn_layer.cpp.

    >>> x = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> lrn_across_channels(x, size=3, alpha=3.0, beta=1.0).flatten().mul(210).round().tolist()  # 1/6, 2/15, 3/14 of 210
    [35.0, 28.0, 45.0]
    """
    check_channels(x, None)
    _check_lrn(size, alpha, beta, k)
    wide = _wide(x)
    lines = wide.square().reshape(x.shape[0], 1, x.shape[1], -1)  # (B, 1, C, positions)
    padded = F.pad(lines, (0, 0, size // 2, (size - 1) // 2))  # (B, 1, C + n - 1, positions)
    energy = F.avg_pool2d(padded, (size, 1), stride=1).reshape(x.shape)  # mean of x_j^2 over n channels, (B, C, ...)
    return (wide * (k + alpha * energy) ** -beta).to(x.dtype)


def lrn_within_channel(x: Tensor, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha / n^2 sum x^2)^beta, the sum over the n x n positions around each, in its own channel.

    Beyond the edges there are zeros, and they count: the divisor is n^2 everywhere.

    Args:
        x: (B, C, H, W), floating.
        size: n, odd.
        alpha, beta: 0 or more.
        k: above 0; Caffe has 1 here, whatever its `k` says.

    Raises:
        UserError: a number out of range, an even size, or x of another number of dimensions.

    Source: Caffe, lrn_layer.cpp, WITHIN_CHANNEL.

    >>> lrn_within_channel(torch.ones(1, 1, 1, 2), size=3, alpha=9.0, beta=1.0).flatten().tolist()  # 1 / (1 + 2)
    [0.3333333432674408, 0.3333333432674408]
    """
    if x.dim() != 4:
        raise UserError("x must be feature maps", expected="(B, C, H, W)", found=tuple(x.shape))
    _check_lrn(size, alpha, beta, k)
    if size % 2 == 0:
        raise UserError("size must be odd, so that a position has as many neighbours on each side", found=size)
    wide = _wide(x)
    energy = F.avg_pool2d(wide.square(), size, stride=1, padding=size // 2)  # mean over n x n positions, (B, C, H, W)
    return (wide * (k + alpha * energy) ** -beta).to(x.dtype)


def scale_channels(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """w x + b with w, b (C,) a channel of x (B, C, ...), each where it is given (Caffe's Scale layer).

    >>> scale_channels(torch.ones(1, 2), torch.tensor([2.0, 3.0]), torch.tensor([0.5, 0.0])).tolist()
    [[2.5, 3.0]]
    """
    for name, of in (("weight", weight), ("bias", bias)):
        if of is not None and of.shape != (x.shape[1],):
            raise UserError(f"{name} must have one number a channel", expected=(x.shape[1],), found=tuple(of.shape))
    shape = (-1, *[1] * (x.dim() - 2))  # (C,) -> (C, 1, ...)
    x = x if weight is None else x * weight.to(x.dtype).view(shape)
    return x if bias is None else x + bias.to(x.dtype).view(shape)


def check_channels(x: Tensor, num_channels: int | None) -> None:
    """UserError where x is not (B, C, ...), or C is not what a layer was built for."""
    if x.dim() < 2 or (num_channels is not None and x.shape[1] != num_channels):
        wanted = "C" if num_channels is None else num_channels
        raise UserError("x does not have the expected channels", expected=f"(B, {wanted}, ...)", found=tuple(x.shape))


def check_batch_statistics(x: Tensor) -> None:
    """UserError where there is one number a channel, which has no variance, or none."""
    if x.numel() <= x.shape[1]:
        raise UserError(
            "batch normalisation needs more than one number a channel in training",
            found=f"x {tuple(x.shape)}",
            cure="larger batches (drop the last one if it has a single sample), or eval()",
        )


def batch_dims(x: Tensor) -> list[int]:
    """All dimensions of (B, C, ...) but that of the channels."""
    return [0, *range(2, x.dim())]


def _wide(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        raise UserError("x must be floating-point numbers", found=x.dtype, cure="x.float()")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _check_lrn(size: int, alpha: float, beta: float, k: float) -> None:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not value >= 0:
            raise UserError(f"{name} is out of range", expected="0 or more", found=value)
    if size < 1:
        raise UserError("size is out of range", expected="1 or more", found=size)
    if not k > 0:
        raise UserError("k is out of range", expected="above 0", found=k)
