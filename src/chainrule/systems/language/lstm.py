"""torch's LSTM layers, faster on CPUs: a cheaper dropout mask, and bfloat16 products of an even number of inputs.

What was measured there (`benchmarks/char_lstm.py`). oneDNN's kernel does a layer's products and the point-wise part of its
cell in one: at two layers of 256 it multiplies as fast as a large matrix product, and a cell by hand, with rows of the first
matrix looked up in place of a product with one-hot vectors, was not faster (the product with 65 inputs is a twentieth of
a step). What was slow stood beside it. torch draws the mask of dropout a number at a time, on one core, and that was an
eighth of a step. And in bfloat16 an odd number of inputs falls out of the units that multiply pairs of numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import LSTM as TorchLSTM  # noqa: N811
from torch.nn import Dropout as TorchDropout

State = tuple[Tensor, Tensor]  # hidden state h and cell c, each (L, B, H)

_LEVELS = 1 << 16  # a 16-bit number decides whether a unit stays


class LayerwiseLSTM(TorchLSTM):
    """`torch.nn.LSTM`, batch first, of one direction and with biases; the same equations, parameters and names.

    In training on a CPU the masks between layers are drawn by `dropout`, so a seed gives other masks than torch's.

    >>> _ = torch.manual_seed(0)
    >>> lstm = LayerwiseLSTM(5, 8, 2, dropout=0.5)
    >>> tuple(lstm(torch.randn(3, 7, 5))[0].shape)
    (3, 7, 8)
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, num_layers, batch_first=True, dropout=dropout)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:  # type: ignore[override]
        """Outputs (B, T, H) of the last layer and the state after the last step, for x (B, T, input_size)."""
        if x.device.type != "cpu":
            return super().forward(x, state)
        if state is None:
            zeros = x.new_zeros(self.num_layers, len(x), self.hidden_size)
            state = (zeros, zeros)
        hiddens, cells = [], []
        for layer in range(self.num_layers):
            weights = [getattr(self, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            if layer == 0 and self.input_size % 2 and torch.is_autocast_enabled("cpu"):
                x, weights[0] = F.pad(x, (0, 1)), F.pad(weights[0], (0, 1))  # a zero more in each sum
            if layer > 0 and self.training:
                x = dropout(x, self.dropout)
            before = (state[0][layer : layer + 1], state[1][layer : layer + 1])  # (1, B, H) each
            # biases, one layer, its own dropout: none, one direction, batch first
            x, h, c = torch.lstm(x, before, weights, True, 1, 0.0, self.training, False, True)
            hiddens.append(h)
            cells.append(c)
        return x, (torch.cat(hiddens), torch.cat(cells))


class FastDropout(TorchDropout):
    """`torch.nn.Dropout` with the mask of `dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


def dropout(x: Tensor, p: float) -> Tensor:
    """x with each number zeroed with probability p, and the others divided by 1 - p.

    On a CPU a 64-bit draw of the global generator serves four numbers: each stays where 16 bits, as a whole number, are
    below a threshold. So p is rounded to 1 / 65,536, and the others are divided by exactly the share that stays.

    >>> _ = torch.manual_seed(0)
    >>> dropout(torch.ones(6), 0.5).unique().tolist()
    [0.0, 2.0]
    """
    if x.device.type != "cpu":
        return F.dropout(x, p)
    staying = round((1 - p) * _LEVELS)
    if staying in (0, _LEVELS):
        return x * (staying > 0)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)  # -32,768 to 32,767, each equally likely
    return x * (bits < staying - _LEVELS // 2).to(x.dtype).mul_(_LEVELS / staying)
