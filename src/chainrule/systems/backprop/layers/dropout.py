"""Dropout: the delta goes back through the units that were kept, and through no other."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.systems.backprop.layers.layer import Layer, without_graph


class Dropout(Layer):
    """y = m x / (1 - p) in training, with m = 0 at a probability of p and 1 else, drawn anew for every element; y = x in
    evaluation. Backward the same factor again: dE/dx = m delta / (1 - p).

    The division keeps the mean of the output at that of the input. The draws come from PyTorch's global generator.

    Args:
        p: the probability that an element is dropped, in [0, 1].

    Raises:
        UserError: where p is no probability.

    Source: Srivastava et al.: Dropout, 2014, section 4, in the form that scales in training (section 10).

    >>> layer = Dropout(0.5).eval()
    >>> layer(torch.ones(2)), layer.backward(torch.ones(2))
    (tensor([1., 1.]), tensor([1., 1.]))
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.require(0 <= p <= 1, "the probability of dropping is out of range", "0 to 1", p)
        self.p = p

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.keep(x, None)
        factor = torch.empty_like(x).bernoulli_(1 - self.p)
        if self.p < 1:
            factor /= 1 - self.p
        return self.keep(x * factor, factor)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (factor,) = self.recall(delta)
        return delta if factor is None else delta * factor
