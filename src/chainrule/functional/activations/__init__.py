"""Activation functions: pure functions of a tensor of any shape.

`ACTIVATIONS` has them by name. `derivative` and `saturation` are computed from the function, not looked up.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.functional.activations.calculus import Saturation, derivative_of, saturation_of
from chainrule.functional.activations.deterministic import (
    crelu,
    elu,
    hard_sigmoid,
    hard_tanh,
    leaky_relu,
    linear,
    maxout,
    mpelu,
    prelu,
    ramp,
    relu,
    scaled_tanh,
    sigmoid,
    sign,
    softplus,
    square,
    step,
    tanh,
)
from chainrule.functional.activations.stochastic import noisy, rrelu

__all__ = [
    "ACTIVATIONS",
    "Saturation",
    "activation",
    "crelu",
    "derivative",
    "derivative_of",
    "elementwise",
    "elu",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "maxout",
    "mpelu",
    "noisy",
    "prelu",
    "ramp",
    "relu",
    "rrelu",
    "saturation",
    "saturation_of",
    "scaled_tanh",
    "sigmoid",
    "sign",
    "softplus",
    "square",
    "step",
    "tanh",
]

Elementwise = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        linear,
        ramp,
        step,
        sign,
        sigmoid,
        tanh,
        scaled_tanh,
        hard_sigmoid,
        hard_tanh,
        relu,
        leaky_relu,
        prelu,
        rrelu,
        elu,
        mpelu,
        softplus,
        noisy,
        square,
        maxout,
        crelu,
    )
}

_NOT_ELEMENTWISE = {
    "maxout": "it takes the largest of several channels: every piece is linear, none saturates",
    "crelu": "it gives two values for each x, relu(x) and relu(-x): each saturates where the other does not",
}


def activation(name: str) -> Callable[..., Tensor]:
    """The activation function of that name. Errors: a UserError that suggests similar names.

    >>> import torch
    >>> activation("tanh")(torch.tensor([0.0])).tolist()
    [0.0]
    """
    if name not in ACTIVATIONS:
        raise unknown("there is no activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def elementwise(function: str | Elementwise) -> Elementwise:
    """An elementwise activation by its name, or the function itself. Errors: a UserError for maxout and crelu.

    >>> elementwise("relu") is relu
    True
    """
    name = next((n for n, f in ACTIVATIONS.items() if f is function or n == function), None)
    if name in _NOT_ELEMENTWISE:
        raise UserError(
            f"{name} is not an elementwise function",
            where=f"the derivative or saturation of {name}",
            expected="one of " + ", ".join(n for n in ACTIVATIONS if n not in _NOT_ELEMENTWISE),
            found=_NOT_ELEMENTWISE[name],
        )
    return activation(function) if isinstance(function, str) else function


def derivative(function: str | Elementwise) -> Elementwise:
    """The derivative of an activation, with its default settings, as a function of x; computed by differentiation.

    Args:
        function: a name of `ACTIVATIONS`, or an elementwise function: `functools.partial(elu, alpha=2.0)`.

    Errors: a UserError for a name that does not exist, and for maxout and crelu.

    >>> import torch
    >>> derivative("tanh")(torch.tensor([0.0])).tolist(), derivative("relu")(torch.tensor([-1.0, 2.0])).tolist()
    ([1.0], [0.0, 1.0])
    """
    return derivative_of(elementwise(function))


def saturation(function: str | Elementwise) -> Saturation:
    """Where an activation saturates, left and right, and whether softly or hard; see `saturation_of`.

    Args:
        function: a name of `ACTIVATIONS`, or an elementwise function.

    Errors: a UserError for a name that does not exist, and for maxout and crelu.

    >>> saturation("relu")
    Saturation(left='hard', right='none', left_point=0.0, right_point=None)
    >>> saturation("sigmoid")
    Saturation(left='soft', right='soft', left_point=None, right_point=None)
    """
    return saturation_of(elementwise(function))


TOPICS = (
    Topic(
        "Activation functions, derivatives, saturation",
        "激活函数、导数、饱和性",
        lectures=(1, 2, 3, 4, 5),
        code=("activation", "derivative", "saturation"),
        command="chainrule show activations",
    ),
)
