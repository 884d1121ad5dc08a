"""The multi-layer perceptron: layers of units, each an affine map of the layer below and an activation.

Shapes: B batch, D input features, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from chainrule.core.card import Card, images
from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.functional.activations import activation as find_activation
from chainrule.nn.activations import MPELU, CReLU, MaxoutLinear, NoisyActivation, PReLU, RReLU
from chainrule.nn.dropout import Dropout
from chainrule.optim.initialisers import initialise

NO_GRADIENT = ("step", "sign")  # their derivative is zero everywhere: nothing below them would learn
Normalization = Literal["none", "batch", "layer"]
NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Activation(nn.Module):
    """An activation without parameters, by its name in `chainrule.functional.activations`, as a module.

    >>> Activation("hard_tanh")(torch.tensor([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.function = find_activation(name)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.name


class MLP(nn.Module):
    """Hidden layers h_l = f(W_l h_(l-1) + b_l) over h_0 = x, and a linear output W h_L + b.

    With no hidden layer it is a linear model, and no activation is used. Dropout stands on the input and behind each
    hidden layer.

    Args:
        in_features: D.
        num_outputs: K, the logits of the classes or the numbers to answer with.
        hidden: units of each hidden layer, from the input on; of maxout these are units, each with two pieces.
        activation: f by its name in `chainrule.functional.activations`. Those with parameters (prelu, mpelu: a
            parameter a unit; noisy; rrelu; maxout; crelu, which doubles what the next layer sees) are modules.
        dropout: probability to leave out a hidden unit.
        input_dropout: probability to leave out an input.
        normalization: of each unit over the batch, or of each sample over the units of the layer, between affine map and
            activation: h_l = f(N(W_l h_(l-1) + b_l)). Maxout, whose map and activation are one, has it behind them.
        init: `torch`: as `nn.Linear` begins; else a name of `chainrule.optim.initialisers`, which fills all weights
            and sets biases to 0.

    Takes (B, ...) with D numbers a sample, an image too; gives (B, K).

    Errors: a UserError for an unknown activation, normalisation or initialiser, for a step or sign (no gradient passes them), for a
    layer without units, for a dropout out of range, and for an input of another size.

    Source: Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, 1986, equations 1 and 2;
    Ioffe, Szegedy 2015, section 3.2; Ba, Kiros, Hinton 2016, equation 4.

    >>> MLP(3, 2, hidden=(5,), activation="tanh")(torch.zeros(4, 3)).shape
    torch.Size([4, 2])
    >>> [type(layer).__name__ for layer in MLP(3, 2, hidden=(5,), normalization="batch").layers]
    ['Linear', 'BatchNorm1d', 'Activation', 'Dropout']
    """

    def __init__(
        self,
        in_features: int = 784,
        num_outputs: int = 10,
        hidden: Sequence[int] = (800,),
        activation: str = "relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        init: str = "torch",
        normalization: Normalization = "none",
    ) -> None:
        super().__init__()
        sizes = (in_features, *hidden, num_outputs)
        if min(sizes) < 1:
            raise UserError("a layer of the network is empty", expected="1 or more units in each layer", found=sizes)
        find_activation(activation)
        if normalization not in ("none", *NORMALIZATIONS):
            raise unknown("there is no normalisation", normalization, ("none", *NORMALIZATIONS))
        if activation in NO_GRADIENT and hidden:
            raise UserError(
                f"a hidden layer of {activation} cannot be learnt by gradient descent",
                found=f"activation={activation}",
                expected="an activation with a derivative that is not zero everywhere",
                cure="hard_tanh, or scaled_tanh, which come close to it",
            )
        self.in_features = in_features
        self.input_dropout = Dropout(input_dropout)
        layers: list[nn.Module] = []
        width = in_features
        for units in hidden:
            layers += [*_hidden(activation, width, units, normalization), Dropout(dropout)]
            width = 2 * units if activation == "crelu" else units
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(width, num_outputs)
        if init != "torch":
            initialise(self, init)

    def forward(self, x: Tensor) -> Tensor:  # (B, ...) -> (B, K)
        x = x.flatten(1)  # (B, D)
        if x.shape[1] != self.in_features:
            raise UserError(
                "the input has another size", expected=f"{self.in_features} numbers a sample", found=x.shape[1]
            )
        return self.output(self.layers(self.input_dropout(x)))


def _hidden(activation: str, width: int, units: int, normalization: str) -> list[nn.Module]:
    """The affine map of a hidden layer, its normalisation, and its activation; of maxout map and activation are one."""
    normal = [NORMALIZATIONS[normalization](units)] if normalization != "none" else []
    if activation == "maxout":
        return [MaxoutLinear(width, units), *normal]
    makers: dict[str, Callable[[], nn.Module]] = {
        "prelu": lambda: PReLU(units),
        "mpelu": lambda: MPELU(units),
        "rrelu": RReLU,
        "crelu": CReLU,
        "noisy": NoisyActivation,
    }
    return [nn.Linear(width, units), *normal, makers.get(activation, lambda: Activation(activation))()]


MLP_CARD = Card(
    name="mlp",
    source="Rumelhart, Hinton, Williams 1986; the size 784-800-10 of Simard, Steinkraus, Platt 2003",
    build=MLP,
    example=images(28, 1),
    parameters=636_010,
    deviations=(
        "Rectified linear units, dropout (Srivastava et al. 2014) and Adam where the nets of 2003 had tanh and plain "
        "gradient descent; each is a setting.",
    ),
    tiny={"in_features": 12, "num_outputs": 3, "hidden": (16, 8)},
    tiny_example=lambda batch_size: (torch.randn(batch_size, 12),),
    topics=(Topic("Multi-layer perceptron", "多层感知器", lectures=(1, 2, 3, 4), command="chainrule train mlp"),),
)
