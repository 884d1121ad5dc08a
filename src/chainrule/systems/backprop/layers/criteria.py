"""Criteria: the loss of each sample, and the delta at the output, where the backward pass begins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chainrule.systems.backprop.layers.layer import Layer, without_graph


class CrossEntropy(Layer):
    """Softmax and cross entropy in one: E = -log p_y with p = softmax(z), for logits z and the true class y.

    Each alone has a derivative with a division in it; together it is the difference of the prediction and the
    truth:

        dE/dz_k = p_k - (k = y)

    `forward(logits, target)` takes logits (*, K) and classes (*) in 0 ... K-1 and gives losses in nats (*).
    `backward(delta)` takes the delta of the losses (*), for a mean over n of them 1/n each, and gives that of the
    logits (*, K).

    Raises:
        UserError: where the shapes do not fit, the target is not whole numbers, or (checked on the CPU, where
            it costs nothing) a class is out of range.

    >>> criterion = CrossEntropy()
    >>> criterion(torch.zeros(1, 4), torch.tensor([2]))
    tensor([1.3863])
    >>> criterion.backward(torch.ones(1))
    tensor([[ 0.2500,  0.2500, -0.7500,  0.2500]])
    """

    @without_graph
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        fits = logits.dim() > 0 and target.shape == logits.shape[:-1]
        self.require(fits, "the target does not fit the logits", f"{tuple(logits.shape[:-1])}", tuple(target.shape))
        self.require(target.dtype == torch.int64, "the target is not classes", "torch.int64", target.dtype)
        if target.device.type == "cpu" and target.numel():
            low, high, count = int(target.min()), int(target.max()), logits.shape[-1]
            self.require(low >= 0 and high < count, "a class is out of range", f"0 to {count - 1}", f"{low} to {high}")
        log_probs = torch.log_softmax(logits, -1)
        losses = -log_probs.gather(-1, target[..., None])[..., 0]  # (*, K) -> (*, 1) -> (*)
        return self.keep(losses, log_probs, target)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        log_probs, target = self.recall(delta)
        difference = log_probs.exp()  # p_k - (k = y), (*, K)
        difference.scatter_add_(-1, target[..., None], difference.new_full((*target.shape, 1), -1.0))
        return difference * delta[..., None]


class SquaredError(Layer):
    """Half the squared distance: E = 1/2 sum_k (y_k - t_k)^2 a sample, and dE/dy_k = y_k - t_k.

    `forward(y, target)` takes two tensors (B, ...) of one shape and gives losses (B,); `backward(delta)` takes the delta
    of the losses (B,) and gives that of y.

    Raises:
        UserError: where the shapes differ.

    >>> criterion = SquaredError()
    >>> criterion(torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]])), criterion.backward(torch.ones(1))
    (tensor([2.]), tensor([[2., 0.]]))
    """

    @without_graph
    def forward(self, y: Tensor, target: Tensor) -> Tensor:
        self.require(
            y.dim() > 0 and y.shape == target.shape,
            "the target does not fit the answer",
            tuple(y.shape),
            tuple(target.shape),
        )
        difference = y - target
        flat = difference.square().reshape(len(y), math.prod(y.shape[1:]))  # (B, K), also where B is 0
        return self.keep(flat.sum(1) / 2, difference)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (difference,) = self.recall(delta)
        return difference * delta.reshape(-1, *[1] * (difference.dim() - 1))  # (B, ...) * (B, 1, ...)
