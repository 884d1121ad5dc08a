"""Batch normalisation whose batch is that of all processes that train together, on the CPU as on GPUs.

Each process has a part of the batch; sums over the parts are all-reduced, and their gradients are all-reduced on the
way back. So outputs, gradients and running averages are those of one process with the whole batch.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.functional.normalization import batch_dims, check_channels, normalize, scale_channels
from chainrule.nn.normalization.batch_norm import BatchNorm, CaffeBatchNorm


class _Sum(torch.autograd.Function):
    """The sum of every process's tensor; the gradient of the sum of their losses is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _all_reduced(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _all_reduced(gradients[0])


def _all_reduced(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def synchronize_batch_norm(module: nn.Module) -> None:
    """Has every batch normalisation in `module`, torch's and ours, take the batch of all processes in training. In place.

    The layers stay the objects that they are, for an optimiser or a list of frozen parts may hold them already: their
    `forward` alone is replaced.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNorm)):
            layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]
        elif isinstance(layer, CaffeBatchNorm):
            layer.forward = MethodType(_caffe_forward, layer)  # type: ignore[method-assign]


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and the count of numbers a channel () of x (B, C, ...), over all processes."""
    dims, own = batch_dims(x), x.numel() // x.shape[1]
    sums = _Sum.apply(torch.cat([x.sum(dims), x.new_tensor([own])]))  # (C + 1,): one message
    mean, count = sums[:-1] / sums[-1], sums[-1].detach()
    squares = (x - _as_channels(mean, x)).square().sum(dims)  # of what is centred: right for large offsets
    return mean, _Sum.apply(squares) / count, count


def _forward(layer: Any, x: Tensor) -> Tensor:
    """Torch's batch normalisation, and ours."""
    if not layer.training and layer.running_mean is not None:
        return type(layer).forward(layer, x)
    check_channels(x, layer.num_features)
    wide = _wide(x)
    mean, variance, count = _moments(wide)
    if layer.training and layer.running_mean is not None:
        with torch.no_grad():
            layer.num_batches_tracked.add_(1)
            share = 1.0 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
            layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
            layer.running_var.lerp_(_unbiased(variance, count).to(layer.running_var.dtype), share)
    out = normalize(wide, _as_channels(mean, x), _as_channels(variance, x), layer.eps)
    return scale_channels(out, layer.weight, layer.bias).to(x.dtype)


def _caffe_forward(layer: CaffeBatchNorm, x: Tensor) -> Tensor:
    if not layer.training:
        return type(layer).forward(layer, x)
    check_channels(x, layer.num_features)
    wide = _wide(x)
    mean, variance, count = _moments(wide)
    with torch.no_grad():
        for blob, new in ((layer.mean_sum, mean), (layer.var_sum, _unbiased(variance, count))):
            blob.mul_(layer.moving_average_fraction).add_(new.to(blob.dtype))
        layer.scale_factor.mul_(layer.moving_average_fraction).add_(1)
    return normalize(wide, _as_channels(mean, x), _as_channels(variance, x), layer.eps).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _unbiased(variance: Tensor, count: Tensor) -> Tensor:
    """v n / (n - 1) with n numbers a channel; v itself where n is 1."""
    return variance * (count / (count - 1).clamp_min(1))


def _as_channels(of: Tensor, x: Tensor) -> Tensor:
    return of.view(-1, *[1] * (x.dim() - 2))  # (C,) -> (C, 1, ...)


TOPICS = (Topic("Batch normalisation", code=("synchronize_batch_norm",)),)
