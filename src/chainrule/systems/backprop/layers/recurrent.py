"""Recurrent layers: back-propagation through time.

Unrolled, a recurrent layer is a deep network whose layers share their weights, one for each step. The delta of a state
h(t) has two sources: the layer above, and the next step, which h(t) entered:

    delta h(t) = delta from above(t) + delta from step t+1

A weight acts at every step, so its gradient is the sum over the steps. Truncation cuts the second source
every so many steps: nothing is passed on there, and the steps before learn from their own deltas alone.

Shapes: B batch, T steps, I inputs, H hidden units. States begin at zero. Weights are named, shaped and ordered as those
of nn.RNN, nn.LSTM and nn.GRU with one layer and `batch_first=True`.

Sources: Werbos: Backpropagation through time, 1990; Hochreiter, Schmidhuber: Long short-term memory, 1997, with the
forget gate of Gers et al. 2000; Cho et al. 2014 (GRU, in the form of PyTorch, reset after the product).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.systems.backprop.layers.layer import Layer, uniform, without_graph


def _set_up(layer: RNN | LSTM | GRU, input_size: int, hidden_size: int, gates: int, truncation: int | None) -> None:
    layer.require(
        min(input_size, hidden_size) > 0, "a layer without units", "sizes of at least 1", f"{input_size}, {hidden_size}"
    )
    layer.require(
        truncation is None or truncation > 0, "the truncation is too short", "at least 1 step, or None", truncation
    )
    layer.input_size, layer.hidden_size, layer.truncation = input_size, hidden_size, truncation
    layer.weight_ih_l0 = uniform(gates * hidden_size, input_size, fan_in=hidden_size)
    layer.weight_hh_l0 = uniform(gates * hidden_size, hidden_size, fan_in=hidden_size)
    layer.bias_ih_l0 = uniform(gates * hidden_size, fan_in=hidden_size)
    layer.bias_hh_l0 = uniform(gates * hidden_size, fan_in=hidden_size)


def _drive(layer: RNN | LSTM | GRU, x: Tensor) -> Tensor:
    """What the inputs of all steps contribute to the net inputs, in one product: W x(t) + b, (B, T, gates H)."""
    fits = x.dim() == 3 and x.shape[1] > 0 and x.shape[2] == layer.input_size
    layer.require(fits, "the input does not fit", f"(B, T, {layer.input_size}) with T at least 1", tuple(x.shape))
    return x @ layer.weight_ih_l0.T + layer.bias_ih_l0  # (B, T, I) @ (I, gates H) -> (B, T, gates H)


def _before(states: Tensor) -> Tensor:
    """The states (B, T, H) one step earlier, zero before the first."""
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], 1)


def _truncated(layer: RNN | LSTM | GRU, step: int) -> bool:
    """Whether truncation cuts the delta off between `step` and the step before."""
    return layer.truncation is not None and step % layer.truncation == 0


def _finish(
    layer: RNN | LSTM | GRU, x: Tensor, states: Tensor, inputs: Tensor, recurrent: Tensor, h_deltas: list[Tensor]
) -> Tensor:
    """Sums the gradients over the steps and gives dE/dx (B, T, I).

    `inputs` and `recurrent` (B, T, gates H) are the deltas of W x(t) + b and of U h(t-1) + c; `h_deltas` is dE/dh(t),
    T times (B, H).
    """
    layer.add_gradients(
        # dE/dW = sum_t delta(t) x(t)^T and dE/dU = sum_t delta(t) h(t-1)^T, over the batch as well
        weight_ih_l0=torch.einsum("btg,bti->gi", inputs, x),  # (gates H, I)
        weight_hh_l0=torch.einsum("btg,bth->gh", recurrent, _before(states)),  # (gates H, H)
        bias_ih_l0=inputs.sum((0, 1)),  # (gates H,)
        bias_hh_l0=recurrent.sum((0, 1)),
    )
    layer.state_deltas = torch.stack(h_deltas, 1)  # (B, T, H)
    layer.deltas = {"first_state": layer.state_deltas[:, 0], "last_state": layer.state_deltas[:, -1]}
    return inputs @ layer.weight_ih_l0  # (B, T, gates H) @ (gates H, I) -> (B, T, I)


class RNN(Layer):
    """The simple recurrent layer, h(t) = f(W x(t) + b + U h(t-1) + c), with f = tanh or ReLU; gives all h (B, T, H).

        delta z(t) = delta h(t) f'(z(t))                 back to the step before: delta h(t-1) += delta z(t) U
        dE/dW = sum_t delta z(t) x(t)^T                  dE/dU = sum_t delta z(t) h(t-1)^T
        dE/db = dE/dc = sum_t delta z(t)                 dE/dx(t) = delta z(t) W

    From step T to step 1 the delta is multiplied T - 1 times by U and f': so it vanishes or explodes.

    Args:
        input_size, hidden_size: I and H.
        nonlinearity: f.
        truncation: how many steps the delta goes back: none is passed from step k (counted from 0) to k - 1 where k is
            a multiple of it. None: through the whole sequence.

    Attributes:
        state_deltas: after `backward`, dE/dh(t) of every step (B, T, H). `deltas` has the first and the last.

    Raises:
        UserError: where a size is below one, or the input is not (B, T, I).

    >>> layer = RNN(1, 1)
    >>> with torch.no_grad():
    ...     for weight in layer.parameters(): _ = weight.fill_(1.0)
    >>> layer(torch.zeros(1, 2, 1)).flatten()
    tensor([0.9640, 0.9947])
    >>> _ = layer.backward(torch.tensor([[[0.0], [1.0]]]))
    >>> layer.state_deltas.flatten()
    tensor([0.0106, 1.0000])
    """

    input_size: int
    hidden_size: int
    truncation: int | None
    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        truncation: int | None = None,
    ) -> None:
        super().__init__()
        self.require(nonlinearity in ("tanh", "relu"), "there is no such nonlinearity", "tanh or relu", nonlinearity)
        self.nonlinearity = nonlinearity
        self.state_deltas: Tensor | None = None
        _set_up(self, input_size, hidden_size, 1, truncation)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        drive = _drive(self, x) + self.bias_hh_l0  # (B, T, H)
        h, states = drive.new_zeros(x.shape[0], self.hidden_size), []
        for step in drive.unbind(1):  # t = 1 ... T
            z = step + h @ self.weight_hh_l0.T  # (B, H): the net input, W x(t) + b + U h(t-1) + c
            h = torch.tanh(z) if self.nonlinearity == "tanh" else z.clamp(min=0)
            states.append(h)
        h_all = torch.stack(states, 1)  # (B, T, H)
        return self.keep(h_all, x, h_all)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        x, h = self.recall(delta)
        slope = 1 - h * h if self.nonlinearity == "tanh" else (h > 0).to(h.dtype)  # f'(z(t)), all steps (B, T, H)
        back = torch.zeros_like(delta[:, 0])  # (B, H): the delta from step t + 1; none at the last step
        h_deltas, z_deltas = [], []
        for t in reversed(range(h.shape[1])):
            # delta h(t): from the layer above, and from step t + 1
            h_deltas.append(delta[:, t] + back)
            # delta z(t) = delta h(t) f'(z(t))
            z_deltas.append(h_deltas[-1] * slope[:, t])
            # passed on to h(t-1): delta z(t) U
            back = torch.zeros_like(back) if _truncated(self, t) else z_deltas[-1] @ self.weight_hh_l0
        z = torch.stack(z_deltas[::-1], 1)  # (B, T, H), in the order of time again
        return _finish(self, x, h, z, z, h_deltas[::-1])


class LSTM(Layer):
    """Long short-term memory: gates i, f, o in (0, 1), candidate g, cell c; gives all h (B, T, H).

        (i, f, g, o) = (s, s, tanh, s)(W x(t) + b + U h(t-1) + c0)        s the logistic function
        c(t) = f c(t-1) + i g        h(t) = o tanh(c(t))

    Backward, with dh and dc what arrives at h(t) and c(t):

        dc += dh o (1 - tanh(c)^2)
        delta of the gates' net inputs:  i: dc g i (1 - i)   f: dc c(t-1) f (1 - f)   g: dc i (1 - g^2)
                                         o: dh tanh(c) o (1 - o)
        passed on:  dc(t-1) = dc f      dh(t-1) = (those four) U

    Through the cell a delta is multiplied by f alone: where the gate is open, it does not vanish.

    Args, attributes, errors: as `RNN`; truncation cuts h and c alike.
    """

    input_size: int
    hidden_size: int
    truncation: int | None
    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(self, input_size: int, hidden_size: int, *, truncation: int | None = None) -> None:
        super().__init__()
        self.state_deltas: Tensor | None = None
        _set_up(self, input_size, hidden_size, 4, truncation)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        drive = _drive(self, x) + self.bias_hh_l0  # (B, T, 4 H)
        h = c = drive.new_zeros(x.shape[0], self.hidden_size)
        states, cells, gates = [], [], []
        for step in drive.unbind(1):  # t = 1 ... T
            # net inputs of input gate, forget gate, candidate and output gate: (B, 4 H) -> four of (B, H)
            i, f, g, o = (step + h @ self.weight_hh_l0.T).chunk(4, 1)
            i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
            # the forget gate decides what the cell keeps, the input gate what it takes from the candidate
            c = f * c + i * g
            # the output gate decides how much of the cell is visible
            h = o * torch.tanh(c)
            states.append(h)
            cells.append(c)
            gates.append((i, f, g, o))
        h_all = torch.stack(states, 1)  # (B, T, H)
        return self.keep(h_all, x, h_all, cells, gates)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        x, h, cells, gates = self.recall(delta)
        back_h = back_c = torch.zeros_like(delta[:, 0])  # (B, H): the deltas from step t + 1 of h(t) and c(t)
        h_deltas, z_deltas = [], []
        for t in reversed(range(h.shape[1])):
            i, f, g, o = gates[t]
            tanh_c = torch.tanh(cells[t])
            c_before = cells[t - 1] if t else torch.zeros_like(cells[t])
            # what arrives at h(t): from the layer above, and from step t + 1
            dh = delta[:, t] + back_h
            # what arrives at c(t): from step t + 1, and from h(t) = o tanh(c(t))
            dc = back_c + dh * o * (1 - tanh_c * tanh_c)
            # deltas of the four net inputs: through the product that each is a factor of, then its own slope
            dz = torch.cat(
                [
                    dc * g * i * (1 - i),  # input gate
                    dc * c_before * f * (1 - f),  # forget gate
                    dc * i * (1 - g * g),  # candidate
                    dh * tanh_c * o * (1 - o),  # output gate
                ],
                1,
            )  # (B, 4 H)
            h_deltas.append(dh)
            z_deltas.append(dz)
            # passed on: to h(t-1) through U, to c(t-1) through the forget gate alone
            if _truncated(self, t):
                back_h = back_c = torch.zeros_like(dh)
            else:
                back_h, back_c = dz @ self.weight_hh_l0, dc * f
        z = torch.stack(z_deltas[::-1], 1)  # (B, T, 4 H), in the order of time again
        return _finish(self, x, h, z, z, h_deltas[::-1])


class GRU(Layer):
    """Gated recurrent unit: reset r, update u, candidate n; gives all h (B, T, H).

        r, u = s(W x(t) + b + U h(t-1) + c0)      n = tanh(W_n x(t) + b_n + r m)      m = U_n h(t-1) + c_n
        h(t) = (1 - u) n + u h(t-1)

    Backward, with dh what arrives at h(t):

        delta of the net inputs:  n: dn = dh (1 - u) (1 - n^2)    r: dr = dn m r (1 - r)
                                  u: du = dh (h(t-1) - n) u (1 - u)    of m: dn r
        passed on:  dh(t-1) = dh u + (dr, du, dn r) U

    Args, attributes, errors: as `RNN`.
    """

    input_size: int
    hidden_size: int
    truncation: int | None
    weight_ih_l0: nn.Parameter
    weight_hh_l0: nn.Parameter
    bias_ih_l0: nn.Parameter
    bias_hh_l0: nn.Parameter

    def __init__(self, input_size: int, hidden_size: int, *, truncation: int | None = None) -> None:
        super().__init__()
        self.state_deltas: Tensor | None = None
        _set_up(self, input_size, hidden_size, 3, truncation)

    @without_graph
    def forward(self, x: Tensor) -> Tensor:
        drive = _drive(self, x)  # (B, T, 3 H)
        h, states, gates = drive.new_zeros(x.shape[0], self.hidden_size), [], []
        for step in drive.unbind(1):  # t = 1 ... T
            # what the input and the state contribute to reset, update and candidate: (B, 3 H) -> three of (B, H)
            (xr, xu, xn), (hr, hu, m) = step.chunk(3, 1), (h @ self.weight_hh_l0.T + self.bias_hh_l0).chunk(3, 1)
            r, u = torch.sigmoid(xr + hr), torch.sigmoid(xu + hu)
            # the reset gate decides how much of the old state enters the candidate
            n = torch.tanh(xn + r * m)
            # the update gate decides how much of the old state stays
            h = (1 - u) * n + u * h
            states.append(h)
            gates.append((r, u, n, m))
        h_all = torch.stack(states, 1)  # (B, T, H)
        return self.keep(h_all, x, h_all, gates)

    @without_graph
    def backward(self, delta: Tensor) -> Tensor:
        x, h, gates = self.recall(delta)
        before = _before(h)  # h(t-1), all steps (B, T, H)
        back = torch.zeros_like(delta[:, 0])  # (B, H): the delta from step t + 1
        h_deltas, inputs, recurrent = [], [], []
        for t in reversed(range(h.shape[1])):
            r, u, n, m = gates[t]
            # what arrives at h(t): from the layer above, and from step t + 1
            dh = delta[:, t] + back
            # deltas of the net inputs of candidate, reset and update gate
            dn = dh * (1 - u) * (1 - n * n)
            dr, du = dn * m * r * (1 - r), dh * (before[:, t] - n) * u * (1 - u)
            h_deltas.append(dh)
            # the input enters all three as they are; the state enters the candidate through the reset gate
            inputs.append(torch.cat([dr, du, dn], 1))  # (B, 3 H)
            recurrent.append(torch.cat([dr, du, dn * r], 1))  # (B, 3 H)
            # passed on to h(t-1): directly through the update gate, and through U
            back = torch.zeros_like(dh) if _truncated(self, t) else dh * u + recurrent[-1] @ self.weight_hh_l0
        return _finish(self, x, h, torch.stack(inputs[::-1], 1), torch.stack(recurrent[::-1], 1), h_deltas[::-1])


TOPICS = (
    Topic(
        "Simple recurrent network, GRU, by hand",
        "简单循环网络、GRU，手写",
        lectures=(1, 3, 4),
        code=("RNN", "GRU", "LSTM"),
        command="chainrule train rnn-backprop cell=gru",
    ),
)
