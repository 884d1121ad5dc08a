"""A character-level language model: LSTM layers that read a text and predict its next character.

Shapes: B streams, T characters, V distinct characters, H hidden units, L layers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.card import Card
from chainrule.core.course import Topic
from chainrule.systems.language.lstm import FastDropout, LayerwiseLSTM, State


class CharLSTM(nn.Module):
    """Stacked LSTM over one-hot characters, and a linear layer to logits of the next one.

    Each layer, at each time t, with input x (the character, or h of the layer below):

        i, f, o = sigmoid(W x_t + U h_{t-1} + b)        input, forget and output gate, a row of W, U, b each
        g       = tanh   (W x_t + U h_{t-1} + b)        the candidate
        c_t     = f * c_{t-1} + i * g                   the cell: what is kept, and what is new
        h_t     = o * tanh(c_t)

    Args:
        vocabulary_size: V.
        hidden_size, num_layers: H and L.
        embedding_size: length of a learnt vector for each character in place of one-hot input; 0: one-hot.
        dropout: share of each layer's outputs that is zeroed in training; never along time.

    >>> logits, (h, c) = CharLSTM(vocabulary_size=5, hidden_size=8)(torch.tensor([[0, 4, 2]]))
    >>> tuple(logits.shape), tuple(h.shape)
    ((1, 3, 5), (2, 1, 8))
    """

    def __init__(
        self,
        vocabulary_size: int = 65,
        hidden_size: int = 256,
        num_layers: int = 2,
        embedding_size: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.vocabulary_size, self.hidden_size, self.num_layers = vocabulary_size, hidden_size, num_layers
        self.embedding = nn.Embedding(vocabulary_size, embedding_size) if embedding_size else None
        between = dropout if num_layers > 1 else 0.0
        self.lstm = LayerwiseLSTM(embedding_size or vocabulary_size, hidden_size, num_layers, between)
        self.dropout = FastDropout(dropout)
        self.output = nn.Linear(hidden_size, vocabulary_size)
        if self.embedding is None:
            nn.init.uniform_(self.lstm.all_weights[0][0], -1.0, 1.0)  # of its inputs one is not zero: 1 / sqrt(1)
        with torch.no_grad():
            for name, parameter in self.lstm.named_parameters():
                if name.startswith("bias"):  # gates are in the order i, f, g, o; each has two biases
                    parameter.zero_()
                    parameter[hidden_size : 2 * hidden_size] = 1.0 if name.startswith("bias_ih") else 0.0

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Logits (B, T, V) of the character after each of x (B, T), and the state after the last; None: zeros."""
        if state is not None and x.shape[1] == 1 and x.device.type == "cpu" and not self.training:
            logits, state = self.step(x[:, 0], state)  # seven times as fast: oneDNN packs its weights in each call
            return logits[:, None], state
        h, state = self.lstm(self.vectors(x), state)  # (B, T, H)
        return self.output(self.dropout(h)), state

    def vectors(self, x: Tensor) -> Tensor:
        """The characters (B, T) as the first layer sees them: one-hot (B, T, V), or embedded (B, T, E)."""
        if self.embedding is not None:
            return self.embedding(x)
        zeros = self.output.weight.new_zeros(*x.shape, self.vocabulary_size)
        return zeros.scatter_(-1, x.unsqueeze(-1), 1.0)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One character (B,) further, by the equations above: logits (B, V) and the state. Dropout is off.

        The same function as `forward` in eval mode with T = 1, made of plain products, so that it exports anywhere.
        """
        lower, cells, hiddens = None, [], []
        for layer in range(self.num_layers):
            w_ih, w_hh, b_ih, b_hh = (
                getattr(self.lstm, f"{n}_l{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            if lower is not None:
                inputs = F.linear(lower, w_ih)
            elif self.embedding is not None:
                inputs = F.linear(self.embedding(x), w_ih)
            else:
                inputs = F.embedding(x, w_ih.t())  # a matrix times a one-hot vector is one of its columns
            # (B, 4 H) -> four of (B, H)
            i, f, g, o = (inputs + b_ih + F.linear(state[0][layer], w_hh, b_hh)).chunk(4, dim=-1)
            c = torch.sigmoid(f) * state[1][layer] + torch.sigmoid(i) * torch.tanh(g)
            lower = torch.sigmoid(o) * torch.tanh(c)
            hiddens.append(lower)
            cells.append(c)
        return self.output(hiddens[-1]), (torch.stack(hiddens), torch.stack(cells))  # (B, V), each (L, B, H)


CHAR_LSTM = Card(
    name="char-lstm",
    source="Karpathy: The unreasonable effectiveness of recurrent neural networks, and its code char-rnn, 2015; the layer: "
    "Hochreiter, Schmidhuber: Long short-term memory, 1997, with the forget gate of Gers, Schmidhuber, Cummins 2000; text: "
    "Graves: Generating sequences with recurrent neural networks, 2013; truncated back-propagation through time: "
    "Williams, Peng 1990",
    build=CharLSTM,
    example=lambda batch_size: (torch.randint(0, 65, (batch_size, 50)),),
    # 4H(V + H + 2) + 4H(2H + 2) + V(H + 1) with V = 65, H = 256: 330,752 + 526,336 + 16,705
    parameters=873_793,
    tiny={"vocabulary_size": 11, "hidden_size": 16},
    tiny_example=lambda batch_size: (torch.randint(0, 11, (batch_size, 12)),),
    deviations=(
        "256 hidden units by default, where char-rnn has 128.",
        "Trained by Adam with a cosine rate and a bound on the gradient's norm, not by RMSprop with a rate that decays "
        "after ten epochs and a bound on each element.",
        "Weights begin uniform within 1 / sqrt(n), n the inputs that are not zero, where char-rnn has 0.08 for all: of a "
        "one-hot input one is not zero, and the first layer depends on it from the first step. Biases begin at 0, those of the "
        "forget gates at 1, as in char-rnn.",
    ),
    topics=(
        Topic(
            "Long short-term memory",
            "长短期记忆网络",
            lectures=(1, 2, 3, 4),
            code=("CharLSTM", "CharLSTM.step"),
            command="chainrule show char-lstm",
        ),
    ),
)
