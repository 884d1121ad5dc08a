"""Fully connected layers, and what lays a tensor out anew before one."""

from __future__ import annotations

from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.systems.backprop.layers.layer import Layer, uniform, without_graph


class Linear(Layer):
    """A fully connected layer: z = x W^T + b, and the delta rule.

    With delta_o the delta of unit o, summed over the samples (and over any axes between):

        dE/dw_oi = sum delta_o x_i      dE/db_o = sum delta_o      dE/dx_i = sum_o w_oi delta_o

    The first is the delta rule: the change of a weight is the error at its end times the signal at its start. The third
    collects the errors of the units above over the same weights that carried the signal up; followed by the backward
    pass of an activation, which multiplies by f'(z), it is the delta of a hidden unit.

    Args:
        in_features: size of the last axis of x (*, in_features).
        out_features: size of the last axis of the output (*, out_features).
        bias: whether b is there.

    Raises:
        UserError: where a size is below one, or x has another last axis.

    Source: Rumelhart, Hinton, Williams: Learning internal representations by error propagation, 1986, equations 2 to 14.

    >>> import torch
    >>> layer = Linear(2, 1)
    >>> _ = layer.load_state_dict({"weight": torch.tensor([[3.0, -1.0]]), "bias": torch.tensor([0.5])})
    >>> layer(torch.tensor([[1.0, 2.0]]))
    tensor([[1.5000]])
    >>> layer.backward(torch.tensor([[2.0]])), layer.weight.grad, layer.bias.grad
    (tensor([[ 6., -2.]]), tensor([[2., 4.]]), tensor([2.]))
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.require(
            min(in_features, out_features) > 0,
            "a layer without units",
            "sizes of at least 1",
            f"{in_features}, {out_features}",
        )
        self.in_features, self.out_features = in_features, out_features
        self.weight = uniform(out_features, in_features, fan_in=in_features)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", uniform(out_features, fan_in=in_features) if bias else None)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(
            x.dim() > 0 and x.shape[-1] == self.in_features,
            "the input does not fit",
            f"(*, {self.in_features})",
            tuple(x.shape),
        )
        z = x @ self.weight.T
        if self.bias is not None:
            z = z + self.bias
        return self.keep(z, x)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (x,) = self.recall(delta)
        rows = delta.reshape(-1, self.out_features)  # (*, O) -> (N, O): samples and any axes between together
        self.add_gradients(weight=rows.T @ x.reshape(-1, self.in_features), bias=rows.sum(0))  # (O, N) @ (N, I); (O,)
        return delta @ self.weight  # (*, O) @ (O, I) -> (*, I)


class Flatten(Layer):
    """(B, ...) to (B, F). Nothing is computed, so the delta is only laid out again."""

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(x.dim() > 1, "the input does not fit", "(B, ...) with an axis beside the batch", tuple(x.shape))
        return self.keep(x.flatten(1), x.shape)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (shape,) = self.recall(delta)
        return delta.reshape(shape)  # (B, F) -> (B, ...)


class Rows(Layer):
    """An image as a sequence of its rows, top to bottom: (B, C, H, W) to (B, H, C W)."""

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(x.dim() == 4, "the input does not fit", "(B, C, H, W)", tuple(x.shape))
        return self.keep(x.transpose(1, 2).flatten(2), x.shape)  # (B, C, H, W) -> (B, H, C, W) -> (B, H, C W)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (shape,) = self.recall(delta)
        # (B, H, C W) -> (B, H, C, W) -> (B, C, H, W)
        return delta.reshape(shape[0], shape[2], shape[1], shape[3]).transpose(1, 2)


class LastStep(Layer):
    """The last step of a sequence, (B, T, F) to (B, F). The delta goes to that step; the others get zero from here."""

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        self.require(
            x.dim() == 3 and x.shape[1] > 0, "the input does not fit", "(B, T, F) with T at least 1", tuple(x.shape)
        )
        return self.keep(x[:, -1], x.shape)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        (shape,) = self.recall(delta)
        full = delta.new_zeros(shape)
        full[:, -1] = delta
        return full


TOPICS = (Topic("Back-propagation by hand, delta rule", code=("Linear",)),)
