"""Normalisation: every value depends on the mean and the deviation of a group, and so does its delta.

For a group of m values, with x^ = (x - mean) / s, s = sqrt(var + eps) and g the delta of x^, the derivative goes back
along three paths, through x itself, through the mean and through the variance. Together they are

    dE/dx = (g - mean(g) - x^ mean(g x^)) / s

The part of g that all values share, and the part along x^, fall away: moving or stretching the whole group changes
nothing in the output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.systems.backprop.layers.layer import Layer, without_graph


def through_moments(g: Tensor, normalized: Tensor, scale: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The equation above: the delta of x from g, x^ and s, for groups that extend over `axes`."""
    along = (g * normalized).mean(axes, keepdim=True)
    return (g - g.mean(axes, keepdim=True) - normalized * along) / scale


class BatchNorm(Layer):
    """y = weight x^ + bias, each channel normalised over the batch and all places: (B, C), (B, C, L) or (B, C, H, W).

    In training, mean and (biased) variance are the batch's own, and running averages of mean and unbiased variance are
    kept. In evaluation the running ones are used; they are constants, so there dE/dx = weight delta / s.

        dE/dweight = sum delta x^      dE/dbias = sum delta      both over the batch and all places

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the part of the new moment in the running average.

    Raises:
        UserError: where the input has other channels, or a training batch has a single value a channel.

    Source: Ioffe, Szegedy: Batch normalization, 2015, section 3 and algorithm 1.

    >>> layer = BatchNorm(1)
    >>> layer(torch.tensor([[0.0], [2.0]]))
    tensor([[-1.0000],
            [ 1.0000]])
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.require(
            num_features > 0 and eps > 0 and 0 <= momentum <= 1,
            "the settings are out of range",
            "num_features and eps above 0, momentum in [0, 1]",
            f"{num_features}, {eps}, {momentum}",
        )
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(num_features)), nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        fits = x.dim() >= 2 and x.shape[1] == self.num_features
        self.require(fits, "the input does not fit", f"(B, {self.num_features}, ...)", tuple(x.shape))
        axes, count = (0, *range(2, x.dim())), x.numel() // self.num_features
        if self.training:
            self.require(count > 1, "one value a channel has no variance", "at least 2 in a training batch", count)
            mean, var = x.mean(axes, keepdim=True), x.var(axes, unbiased=False, keepdim=True)
            self._remember(mean.flatten(), var.flatten() * (count / (count - 1)))
        else:
            mean, var = (self._channels(moment, x) for moment in (self.running_mean, self.running_var))
        scale = torch.sqrt(var + self.eps)
        normalized = (x - mean) / scale
        y = normalized * self._channels(self.weight, x) + self._channels(self.bias, x)
        return self.keep(y, normalized, scale, axes if self.training else None)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        normalized, scale, axes = self.recall(delta)
        places = (0, *range(2, delta.dim()))
        self.add_gradients(weight=(delta * normalized).sum(places), bias=delta.sum(places))
        g = delta * self._channels(self.weight, delta)
        return g / scale if axes is None else through_moments(g, normalized, scale, axes)

    def _remember(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (var - self.running_var)
        self.num_batches_tracked += 1

    def _channels(self, values: Tensor, like: Tensor) -> Tensor:
        return values.reshape(1, -1, *[1] * (like.dim() - 2))  # (C,) -> (1, C, 1, ...)


class LayerNorm(Layer):
    """y = weight x^ + bias, each sample normalised over its last axis, in training as in evaluation.

    Args:
        normalized_shape: size of the last axis of x (*, normalized_shape).
        eps: added to the variance.

    Raises:
        UserError: where the input has another last axis.

    Source: Ba, Kiros, Hinton: Layer normalization, 2016, equation 4.

    >>> LayerNorm(2)(torch.tensor([[3.0, 5.0]]))
    tensor([[-1.0000,  1.0000]])
    """

    def __init__(self, normalized_shape: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.require(
            normalized_shape > 0 and eps > 0,
            "the settings are out of range",
            "both above 0",
            f"{normalized_shape}, {eps}",
        )
        self.normalized_shape, self.eps = normalized_shape, eps
        self.weight, self.bias = nn.Parameter(torch.ones(normalized_shape)), nn.Parameter(torch.zeros(normalized_shape))

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        fits = x.dim() > 0 and x.shape[-1] == self.normalized_shape
        self.require(fits, "the input does not fit", f"(*, {self.normalized_shape})", tuple(x.shape))
        centred = x - x.mean(-1, keepdim=True)
        scale = torch.sqrt(centred.square().mean(-1, keepdim=True) + self.eps)
        normalized = centred / scale
        return self.keep(normalized * self.weight + self.bias, normalized, scale)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        normalized, scale = self.recall(delta)
        samples = tuple(range(delta.dim() - 1))
        weight, bias = delta * normalized, delta
        self.add_gradients(
            weight=weight.sum(samples) if samples else weight, bias=bias.sum(samples) if samples else bias
        )
        return through_moments(delta * self.weight, normalized, scale, (-1,))


TOPICS = (Topic("Batch normalisation", code=("BatchNorm",)),)
