"""Batch normalisation in torch's form and in Caffe's, and Caffe's Scale, which is the half that Caffe leaves out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.functional.normalization import (
    batch_dims,
    check_batch_statistics,
    check_channels,
    moments,
    normalize,
    scale_channels,
)


class BatchNorm(nn.Module):
    """w (x - m) / sqrt(v + eps) + b: of the batch in training, of running averages in eval. Torch's form.

    In training m and v are mean and biased variance of the batch, and the averages move by
    running <- (1 - momentum) running + momentum (m, or v n / (n - 1)), n numbers a channel. One class for any number
    of positions; the names of parameters and buffers are torch's, so weights are interchangeable with its
    BatchNorm1d, 2d, 3d.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the new batch in the averages, from 0 to 1.
        affine: whether there are w and b.

    Takes (B, C, ...) and gives the same shape.

    Raises:
        UserError: other channels, or in training a single number a channel.

    Source: Ioffe and Szegedy 2015 (arXiv 1502.03167), algorithms 1 and 2.

    >>> norm = BatchNorm(1)
    >>> _ = norm(torch.tensor([[0.0], [2.0]]))
    >>> round(norm.running_mean.item(), 4), round(norm.running_var.item(), 4)  # 0.9 * 0 + 0.1 * 1; 0.9 * 1 + 0.1 * 2
    (0.1, 1.1)
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise UserError("momentum is out of range", expected="0 to 1", found=momentum)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        if self.training:
            check_batch_statistics(x)
            # Algorithm 1: mean and variance of the minibatch, each (1, C, 1, ...).
            mean, variance = moments(x, batch_dims(x))
            # For algorithm 2: running averages, of the variance the unbiased one.
            with torch.no_grad():
                for running, new in ((self.running_mean, mean), (self.running_var, _unbiased(variance, x))):
                    running.lerp_(new.flatten().to(running.dtype), self.momentum)
                self.num_batches_tracked.add_(1)
        else:
            mean, variance = _as_channels(self.running_mean, x), _as_channels(self.running_var, x)
        # Normalise, then scale and shift.
        return scale_channels(normalize(x, mean, variance, self.eps), self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}"


class CaffeBatchNorm(nn.Module):
    """(x - m) / sqrt(v + eps), Caffe's BatchNorm: no w and b (they are a `Scale` after it), averages kept as sums.

    In training, with f = `moving_average_fraction`: mean_sum <- f mean_sum + m, var_sum <- f var_sum + v n / (n - 1),
    scale_factor <- f scale_factor + 1. In eval m = mean_sum / scale_factor and v = var_sum / scale_factor: an average
    of the batches seen with weights 1, f, f^2, ... backwards, without the pull towards a starting value that torch's
    form has. Before the first batch the factor is 0, and m = v = 0. The buffers are the layer's three blobs.

    Args:
        num_features: C.
        eps: added to the variance.
        moving_average_fraction: f, from 0 to 1; one minus what torch calls momentum.

    Takes (B, C, ...) and gives the same shape. A single number a channel gives 0 in training, as in Caffe.

    Source: Caffe, batch_norm_layer.cpp.

    >>> norm = CaffeBatchNorm(1, moving_average_fraction=0.5)
    >>> _ = norm(torch.tensor([[0.0], [2.0]])), norm(torch.tensor([[4.0], [4.0]]))
    >>> norm.mean_sum.item(), norm.var_sum.item(), norm.scale_factor.item()  # 0.5 * 1 + 4; 0.5 * 2 + 0; 0.5 * 1 + 1
    (4.5, 1.0, 1.5)
    """

    mean_sum: Tensor
    var_sum: Tensor
    scale_factor: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, moving_average_fraction: float = 0.999) -> None:
        super().__init__()
        if not 0 <= moving_average_fraction <= 1:
            raise UserError("moving_average_fraction is out of range", expected="0 to 1", found=moving_average_fraction)
        self.num_features, self.eps, self.moving_average_fraction = num_features, eps, moving_average_fraction
        self.register_buffer("mean_sum", torch.zeros(num_features))
        self.register_buffer("var_sum", torch.zeros(num_features))
        self.register_buffer("scale_factor", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        if self.training:
            if not x.numel():
                raise UserError("an empty batch has no mean", found=f"x {tuple(x.shape)}")
            mean, variance = moments(x, batch_dims(x))
            # Each sum decays by f before the new batch is added; scale_factor is the sum of the weights.
            with torch.no_grad():
                for blob, new in ((self.mean_sum, mean), (self.var_sum, _unbiased(variance, x))):
                    blob.mul_(self.moving_average_fraction).add_(new.flatten().to(blob.dtype))
                self.scale_factor.mul_(self.moving_average_fraction).add_(1)
        else:
            divisor = torch.where(self.scale_factor == 0, 1.0, self.scale_factor)
            mean, variance = _as_channels(self.mean_sum / divisor, x), _as_channels(self.var_sum / divisor, x)
        return normalize(x, mean, variance, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, moving_average_fraction={self.moving_average_fraction}"


class Scale(nn.Module):
    """w x + b with one w and one b a channel: Caffe's Scale, with its bias_term.

    Args:
        num_features: C.
        bias: whether there is b.

    Takes (B, C, ...) and gives the same shape.

    Source: Caffe, scale_layer.cpp.

    >>> Scale(2)(torch.tensor([[3.0, 4.0]])).tolist()
    [[3.0, 4.0]]
    """

    bias: nn.Parameter | None

    def __init__(self, num_features: int, bias: bool = True) -> None:
        super().__init__()
        self.num_features = num_features
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        return scale_channels(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.num_features}, bias={self.bias is not None}"


@torch.no_grad()
def single_value_layer(network: nn.Module, x: Tensor) -> str | None:
    """The name of the first batch normalisation that sees a single value a channel of each sample; None where none does.

    In training such a layer cannot take a batch of one sample: a single value has no variance.

    Args:
        network: in eval mode, so that its averages stay.
        x: a batch, for example of one.

    >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).eval()
    >>> single_value_layer(net, torch.zeros(1, 3, 4, 4)), single_value_layer(net[1:], torch.zeros(1, 3, 4, 4))
    ('1', None)
    """
    found: list[str] = []

    def recorder(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].shape[2:].numel() == 1:
                found.append(name)

        return hook

    with contextlib.ExitStack() as hooks:
        for name, layer in network.named_modules():
            if isinstance(layer, (BatchNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
                hooks.enter_context(layer.register_forward_pre_hook(recorder(name)))
        network(x)
    return found[0] if found else None


def _unbiased(variance: Tensor, x: Tensor) -> Tensor:
    """v n / (n - 1) with n numbers a channel; v itself where n is 1."""
    n = x.numel() // x.shape[1]
    return variance * (n / (n - 1)) if n > 1 else variance


def _as_channels(of: Tensor, x: Tensor) -> Tensor:
    return of.view(-1, *[1] * (x.dim() - 2))  # (C,) -> (C, 1, ...)


TOPICS = (
    Topic(
        "Batch normalisation",
        "批量归一化",
        lectures=(2, 3, 4),
        code=("BatchNorm", "CaffeBatchNorm"),
        command="chainrule train batch-norm-speed",
    ),
)
