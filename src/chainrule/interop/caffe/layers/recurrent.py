"""Caffe's LSTM and RNN: sequences (T, N, ...) beside marks of where each begins, unrolled step by step.

Source: Caffe, recurrent_layer.cpp, lstm_layer.cpp, lstm_unit_layer.cpp, rnn_layer.cpp; Donahue et al. 2015, LRCN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from chainrule.core.errors import UserError
from chainrule.interop.caffe.layers.settings import Shapes, positive

STATES = {"LSTM": 2, "RNN": 1}  # h and c; h


class Recurrent(nn.Module):
    """An LSTM or a plain recurrent network over sequences, with the weights in the order of Caffe's blobs.

    LSTM: i, f, o = sigmoid and g = tanh of the four blocks of W_h (cont h) + W_x x + b; c = cont f c + i g, and the output
    is h = o tanh(c). RNN: h = tanh(W_h (cont h) + W_x x + b), and the output is tanh(W_o h + b_o).

    The bottoms are x (T, N, ...), `cont` (T, N), 0 at the first step of a sequence and 1 at the others, then perhaps a
    blob (N, ...) that every step sees, and with `expose_hidden` the states to begin with, (1, N, D) each. The top is
    (T, N, D); with `expose_hidden` the last states follow.

    Without `expose_hidden` a call begins with the states in which the one before ended, as in Caffe, so that a long
    sequence may come in parts; where `cont` is 0 that has no effect, and no gradient goes back into it.

    Args:
        kind: LSTM or RNN.
        in_features: how many numbers a step of x holds.
        static_features: those of the blob that every step sees, or 0.
        num_output: D.
        expose_hidden: whether states are bottoms and tops.

    >>> Recurrent("LSTM", 5, 0, 2)(torch.ones(3, 4, 5), torch.ones(3, 4)).shape
    torch.Size([3, 4, 2])
    """

    def __init__(
        self, kind: str, in_features: int, static_features: int, num_output: int, *, expose_hidden: bool = False
    ) -> None:
        super().__init__()
        self.kind, self.num_output, self.expose_hidden = kind, num_output, expose_hidden
        self.states = STATES[kind]
        self.carried: tuple[Tensor, ...] = ()
        size = num_output * (4 if kind == "LSTM" else 1)
        self.weight_x = nn.Parameter(torch.zeros(size, in_features))
        self.bias = nn.Parameter(torch.zeros(size))
        self.has_static = static_features > 0
        if self.has_static:
            self.weight_static = nn.Parameter(torch.zeros(size, static_features))
        self.weight_h = nn.Parameter(torch.zeros(size, num_output))
        if kind == "RNN":
            self.weight_o = nn.Parameter(torch.zeros(num_output, num_output))
            self.bias_o = nn.Parameter(torch.zeros(num_output))

    def forward(self, x: Tensor, cont: Tensor, *others: Tensor) -> Any:
        steps, batch = x.shape[:2]
        static, begun = (others[:1], others[1:]) if self.has_static else ((), others)
        if x.is_meta:  # shapes alone are asked for
            tops = [x.new_empty(steps, batch, self.num_output)]
            tops += [x.new_empty(1, batch, self.num_output) for _ in range(self.states if self.expose_hidden else 0)]
            return tuple(tops) if len(tops) > 1 else tops[0]
        states = self._begin(x, begun)
        # 1. What x and the blob that every step sees give, for all steps at once: (T, N, gates D).
        inputs = linear(x.flatten(2), self.weight_x, self.bias)
        for blob in static:
            inputs = inputs + linear(blob.flatten(1), self.weight_static)
        # 2. Step by step: the state before, cut off where a sequence begins; then the step's own rule.
        outputs = []
        for given, keep in zip(inputs, cont.reshape(steps, batch, 1).to(x.dtype), strict=True):
            output, states = self.step(given + linear(keep * states[0], self.weight_h), keep, states)
            outputs.append(output)
        made = torch.stack(outputs)
        if not self.expose_hidden:
            self.carried = tuple(state.detach() for state in states)
            return made
        return (made, *(state[None] for state in states))

    def _begin(self, x: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The states (N, D) before the first step."""
        if self.expose_hidden:
            return tuple(state.reshape(x.shape[1], self.num_output) for state in given)
        like = [(s.shape[0], s.dtype, s.device) for s in self.carried]
        if like == [(x.shape[1], x.dtype, x.device)] * self.states:
            return self.carried
        return tuple(x.new_zeros(x.shape[1], self.num_output) for _ in range(self.states))

    def step(self, given: Tensor, keep: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """From what the weights make of a step (N, 4 D or D), 1 or 0 (N, 1) and the states before to output and states."""
        if self.kind == "RNN":
            h = given.tanh()
            return linear(h, self.weight_o, self.bias_o).tanh(), (h,)
        i, f, o, g = given.chunk(4, 1)
        c = keep * f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)

    def extra_repr(self) -> str:
        return f"{self.kind}, {self.weight_x.shape[1]}, {self.num_output}, expose_hidden={self.expose_hidden}"


def recurrent(layer: Any, shapes: Shapes) -> nn.Module:
    """The builder of both."""
    settings = layer.recurrent_param
    size, exposed = positive(settings, "num_output"), settings.expose_hidden
    begun = STATES[layer.type] if exposed else 0
    x, cont, *others = shapes
    if len(others) not in (begun, begun + 1) or len(layer.top) != 1 + begun:
        raise UserError(
            "the bottoms and tops do not fit",
            expected=f"x, cont, perhaps a blob that every step sees{f', {begun} states' if begun else ''}; {1 + begun} tops",
            found=f"{len(shapes)} bottoms, {len(layer.top)} tops",
        )
    if len(x) < 3 or tuple(cont) != tuple(x[:2]):
        raise UserError("the blobs are no sequences", expected="x (T, N, ...) and cont (T, N)", found=f"{x}, {cont}")
    static = others[0] if len(others) > begun else ()
    for shape in (static, *others[len(others) - begun :]):
        if shape and x[1] not in (shape[0], *shape[1:2]):
            raise UserError("a blob has another batch than x", expected=f"{x[1]} sequences", found=shape)
    seen = math.prod(static[1:]) if static else 0
    return Recurrent(layer.type, math.prod(x[2:]), seen, size, expose_hidden=exposed)
