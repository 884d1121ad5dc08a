"""A perceptron, LeNet and a recurrent net of layers whose backward pass is written out: no autograd in them.

Shapes: B batch, C input channels, S height and width, K classes. All give logits (B, K).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from chainrule.core.card import Card, images
from chainrule.core.errors import unknown
from chainrule.systems.backprop.chain import Chain
from chainrule.systems.backprop.layers.activations import ReLU, Sigmoid, Tanh
from chainrule.systems.backprop.layers.convolution import Conv2d
from chainrule.systems.backprop.layers.layer import Layer
from chainrule.systems.backprop.layers.linear import Flatten, LastStep, Linear, Rows
from chainrule.systems.backprop.layers.pooling import MaxPool2d
from chainrule.systems.backprop.layers.recurrent import GRU, LSTM, RNN

ACTIVATIONS = {"scaled_tanh": lambda: Tanh(1.7159, 2 / 3), "tanh": Tanh, "sigmoid": Sigmoid, "relu": ReLU}
CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def mlp(
    num_classes: int = 10,
    in_channels: int = 1,
    size: int = 28,
    hidden_sizes: tuple[int, ...] = (300, 100),
    activation: Literal["scaled_tanh", "tanh", "sigmoid", "relu"] = "scaled_tanh",
) -> Chain:
    """Pixels, fully connected hidden layers, logits. Weights begin uniform within 2.4 over the fan-in, biases at zero.

    Raises:
        UserError: where there is no such activation, or a size is below one.
    """
    if activation not in ACTIVATIONS:
        raise unknown("there is no activation", activation, ACTIVATIONS)
    layers: dict[str, Layer] = {"flatten": Flatten()}
    width = in_channels * size**2
    for number, hidden in enumerate(hidden_sizes, 1):
        layers[f"fc{number}"] = Linear(width, hidden)
        layers[f"act{number}"] = ACTIVATIONS[activation]()
        width = hidden
    layers["out"] = Linear(width, num_classes)
    network = Chain(layers)
    _draw(network, lambda weight: 2.4 / weight.shape[1])
    return network


def lenet(num_classes: int = 10, in_channels: int = 1) -> Chain:
    """LeNet as Caffe has it, with the names and shapes of the model `lenet-caffe`: weights go from one to the other."""
    network = Chain(
        {
            "conv1": Conv2d(in_channels, 20, 5),  # (B, C, 28, 28) -> (B, 20, 24, 24)
            "pool1": MaxPool2d(2),
            "conv2": Conv2d(20, 50, 5),  # (B, 20, 12, 12) -> (B, 50, 8, 8)
            "pool2": MaxPool2d(2),
            "flatten": Flatten(),
            "ip1": Linear(50 * 4 * 4, 500),
            "relu": ReLU(),
            "ip2": Linear(500, num_classes),
        }
    )
    _draw(network, lambda weight: (3.0 / weight[0].numel()) ** 0.5)  # Caffe's `xavier`: uniform, fan-in alone
    return network


def row_reader(
    num_classes: int = 10,
    in_channels: int = 1,
    size: int = 28,
    hidden_size: int = 128,
    cell: Literal["rnn", "lstm", "gru"] = "rnn",
    truncation: int | None = None,
) -> Chain:
    """Reads an image row by row, top to bottom, and answers after the last: what the first rows showed must be kept.

    Raises:
        UserError: where there is no such cell, or a size or the truncation is below one.
    """
    if cell not in CELLS:
        raise unknown("there is no recurrent cell", cell, CELLS)
    return Chain(
        {
            "rows": Rows(),  # (B, C, S, S) -> (B, S, C S)
            "recurrent": CELLS[cell](in_channels * size, hidden_size, truncation=truncation),
            "last": LastStep(),
            "out": Linear(hidden_size, num_classes),
        }
    )


@torch.no_grad()
def _draw(network: Chain, bound: Callable[[Tensor], float]) -> None:
    """Weights uniform within plus or minus `bound`, biases zero."""
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            parameter.uniform_(-bound(parameter), bound(parameter))
        else:
            parameter.zero_()


_BY_HAND = "records no graph for autograd: the backward pass is written out, and checked in the tests of backprop"
_SKIP = {"gradient": _BY_HAND, "overfit": _BY_HAND, "channels_last": _BY_HAND}

MLP = Card(
    name="mlp-backprop",
    source="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998, section III.C.4",
    build=mlp,
    example=images(28, 1),
    parameters=784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10,
    deviations=(
        "Softmax and cross entropy instead of squared error on codes of the classes.",
        "Images of 28 x 28 pixels without the margin of the paper's 32 x 32.",
    ),
    tiny={"size": 8, "hidden_sizes": (12, 8)},
    tiny_example=images(8, 1),
    skip=_SKIP,
)
LENET = Card(
    name="lenet-backprop",
    source="Caffe, examples/mnist/lenet_train_test.prototxt (Jia et al. 2014)",
    build=lenet,
    example=images(28, 1),
    parameters=431_080,
    skip=_SKIP,
)
ROW_READER = Card(
    name="rnn-backprop",
    source="Rumelhart, Hinton, Williams: Learning internal representations by error propagation, 1986; Werbos 1990",
    build=row_reader,
    example=images(28, 1),
    deviations=(
        "The task, an image read row by row, is none of the sources': it needs memory and any images can be given.",
    ),
    tiny={"size": 8, "hidden_size": 12},
    tiny_example=images(8, 1),
    skip=_SKIP,
)
