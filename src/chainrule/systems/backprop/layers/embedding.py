"""Embedding: a table of vectors, of which a batch reads some rows; their deltas are added where they were read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chainrule.systems.backprop.layers.layer import Layer, without_graph


class Embedding(Layer):
    """y = weight[index]; dE/dweight[i] is the sum of the deltas of all places where i stood.

    A lookup is the product with a one-hot row, so this is the delta rule of `Linear` without the zeros. An index is no
    quantity that could be varied: the delta of the input that `backward` returns is zero.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: size of a row; an index (*) gives (*, embedding_dim).

    Raises:
        UserError: where an index is no whole number, or (checked on the CPU) out of range.

    >>> layer = Embedding(3, 1)
    >>> _ = layer(torch.tensor([2, 0, 2]))
    >>> _ = layer.backward(torch.tensor([[1.0], [5.0], [10.0]]))
    >>> layer.weight.grad.flatten()
    tensor([ 5.,  0., 11.])
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.require(
            min(num_embeddings, embedding_dim) > 0,
            "an empty table",
            "at least 1 by 1",
            f"{num_embeddings}, {embedding_dim}",
        )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim))

    @without_graph
    def forward(self, index: Tensor) -> Tensor:
        self.require(index.dtype == torch.int64, "the input is no index", "torch.int64", index.dtype)
        if index.device.type == "cpu" and index.numel():
            low, high = int(index.min()), int(index.max())
            self.require(
                low >= 0 and high < self.num_embeddings,
                "an index is out of range",
                f"0 to {self.num_embeddings - 1}",
                f"{low} to {high}",
            )
        return self.keep(self.weight[index].detach(), index)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (index,) = self.recall(delta)
        gradient = torch.zeros_like(self.weight, dtype=delta.dtype)
        gradient.index_add_(0, index.flatten(), delta.reshape(-1, self.embedding_dim))  # row i += delta where i stood
        self.add_gradients(weight=gradient)
        return delta.new_zeros(index.shape)
