"""Activations: y = f(x) element by element, so the delta is multiplied by f'(x)."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.systems.backprop.layers.layer import Layer, without_graph


class Sigmoid(Layer):
    """The logistic function y = 1 / (1 + exp(-x)); y' = y (1 - y), at most 1/4.

    >>> layer = Sigmoid()
    >>> layer(torch.tensor([0.0])), layer.backward(torch.tensor([1.0]))
    (tensor([0.5000]), tensor([0.2500]))
    """

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(x)
        return self.keep(y, y)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (y,) = self.recall(delta)
        return delta * y * (1 - y)


class Tanh(Layer):
    """y = a tanh(b x); y' = a b - (b / a) y^2, which for a = b = 1 is 1 - y^2.

    Args:
        scale: a, the value that y approaches.
        slope: b; LeCun et al. 1998 (Appendix A) take a = 1.7159 and b = 2/3, so that f(1) = 1 and f(-1) = -1.

    Raises:
        UserError: where `scale` or `slope` is zero: the output is then constant, and nothing can flow back.

    >>> layer = Tanh(1.7159, 2 / 3)
    >>> layer(torch.tensor([1.0]))
    tensor([1.0000])
    """

    def __init__(self, scale: float = 1.0, slope: float = 1.0) -> None:
        super().__init__()
        self.require(
            scale != 0 and slope != 0, "the activation is constant", "scale and slope other than 0", f"{scale}, {slope}"
        )
        self.scale, self.slope = scale, slope

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        t = torch.tanh(x * self.slope)
        return self.keep(t * self.scale, t)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (t,) = self.recall(delta)
        return delta * (self.scale * self.slope) * (1 - t * t)


class ReLU(Layer):
    """y = max(x, 0); y' = 1 where x > 0, else 0. At the kink itself it is 0, as in PyTorch.

    >>> layer = ReLU()
    >>> layer(torch.tensor([-2.0, 0.0, 3.0])), layer.backward(torch.ones(3))
    (tensor([0., 0., 3.]), tensor([0., 0., 1.]))
    """

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        y = x.clamp(min=0)
        return self.keep(y, y)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (y,) = self.recall(delta)
        return delta * (y > 0)


class LeakyReLU(Layer):
    """y = x where x > 0, else s x; y' = 1 or s. At the kink it is s, as in PyTorch.

    Args:
        negative_slope: s.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        return self.keep(torch.where(x > 0, x, x * self.negative_slope), x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (x,) = self.recall(delta)
        return torch.where(x > 0, delta, delta * self.negative_slope)


class ELU(Layer):
    """y = x where x > 0, else a (exp(x) - 1); y' = 1 or a exp(x) (Clevert et al. 2016, equation 15).

    Args:
        alpha: a, the depth of the left branch; above 0.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.require(alpha > 0, "the left branch has no depth", "alpha above 0", alpha)
        self.alpha = alpha

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        return self.keep(torch.where(x > 0, x, self.alpha * torch.expm1(x.clamp(max=0))), x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (x,) = self.recall(delta)
        return delta * torch.where(x > 0, 1.0, self.alpha * torch.exp(x.clamp(max=0)))


class Softplus(Layer):
    """y = log(1 + exp(x)), computed as max(x, 0) + log(1 + exp(-|x|)); y' is the logistic function."""

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        return self.keep(x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())), x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (x,) = self.recall(delta)
        return delta * torch.sigmoid(x)


class HardTanh(Layer):
    """y = x cut to [-1, 1]; y' = 1 strictly inside, else 0."""

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        return self.keep(x.clamp(-1, 1), x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (x,) = self.recall(delta)
        return delta * (x.abs() < 1)


class Softmax(Layer):
    """y_k = exp(x_k) / sum_j exp(x_j) over the last axis; dy_k/dx_j = y_k ((k = j) - y_j), so

        dE/dx_j = y_j (delta_j - sum_k delta_k y_k)

    An output is not a function of its own input alone: the sum takes from every unit what the others won.

    >>> layer = Softmax()
    >>> layer(torch.zeros(1, 2)), layer.backward(torch.tensor([[1.0, 0.0]]))
    (tensor([[0.5000, 0.5000]]), tensor([[ 0.2500, -0.2500]]))
    """

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        y = torch.softmax(x, -1)
        return self.keep(y, y)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (y,) = self.recall(delta)
        return y * (delta - (delta * y).sum(-1, keepdim=True))
