"""Neurons that fire or do not: the McCulloch-Pitts neuron, the threshold logic unit, and two layers of them.

Nothing is learnt here: weights are set by hand. `chainrule.systems.linear.separability` proves what no choice of them can do.
Shapes: B rows, D inputs, U units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError


def corners(num_inputs: int) -> Tensor:
    """All rows of zeros and ones (2^D, D), in the order of counting: the left side of a truth table.

    >>> corners(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    if not 1 <= num_inputs <= 20:
        raise UserError("a truth table of that many inputs is not made", expected="1 to 20", found=num_inputs)
    bits = torch.arange(2**num_inputs)[:, None] >> torch.arange(num_inputs - 1, -1, -1)
    return (bits & 1).float()


def mcculloch_pitts(x: Tensor, threshold: int, inhibitory: Sequence[int] = ()) -> Tensor:
    """1 (B,) where no inhibitory input is 1 and at least `threshold` of the others are, else 0.

    The neuron of 1943 has no weights: excitatory inputs count alike, and a single inhibitory one forbids.

    Args:
        x: inputs (B, D) of 0 and 1.
        threshold: how many excitatory inputs it takes.
        inhibitory: the places of the inhibitory inputs.

    Raises:
        UserError: an input is not 0 or 1, or a place is not below D.

    Source: McCulloch and Pitts: A logical calculus of the ideas immanent in nervous activity, 1943, section II.

    >>> x = corners(2)
    >>> mcculloch_pitts(x, 2).tolist(), mcculloch_pitts(x, 1).tolist()  # AND, OR
    ([0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0])
    >>> mcculloch_pitts(corners(1), 0, inhibitory=[0]).tolist()  # NOT
    [1.0, 0.0]
    """
    if x.dim() != 2 or not bool(((x == 0) | (x == 1)).all()):
        raise UserError("the inputs are no logical values", expected="0 and 1, (B, D)", found=f"{tuple(x.shape)}")
    places = list(inhibitory)
    if any(not 0 <= place < x.shape[1] for place in places):
        raise UserError("there is no such input", where="inhibitory", expected=f"0 to {x.shape[1] - 1}", found=places)
    excitatory = [place for place in range(x.shape[1]) if place not in places]
    forbidden = x[:, places].sum(1) > 0
    return ((x[:, excitatory].sum(1) >= threshold) & ~forbidden).to(x.dtype)


def threshold_unit(x: Tensor, weights: Sequence[float] | Tensor, threshold: float | Tensor) -> Tensor:
    """1 where sum_d weight_d x_d >= threshold, else 0: (B,), or (B, U) where weights are (U, D) and thresholds (U,).

    Args:
        x: inputs (B, D), any numbers.
        weights: one unit's (D,), or a layer's (U, D).
        threshold: one number, or a layer's (U,).

    Raises:
        UserError: the weights do not fit the inputs.

    Source: Minsky and Papert: Perceptrons, 1969, section 0.3.

    >>> x = corners(2)
    >>> {name: threshold_unit(x, w, t).int().tolist() for name, (w, t) in UNITS.items() if len(w) == 2}
    {'and': [0, 0, 0, 1], 'or': [0, 1, 1, 1], 'nand': [1, 1, 1, 0], 'nor': [1, 0, 0, 0]}
    >>> threshold_unit(corners(1), *UNITS["not"]).int().tolist()
    [1, 0]

    Exclusive or is the fifth: no weights and threshold compute it, since both of its classes average to one point.

    >>> from chainrule.systems.linear.separability import separable, shared_point
    >>> xor = torch.tensor([0, 1, 1, 0])
    >>> separable(x, xor), shared_point(x, xor).tolist()
    (False, [0.5, 0.5, 0.5, 0.5])
    """
    w = torch.as_tensor(weights, dtype=x.dtype, device=x.device)
    if x.dim() != 2 or w.dim() not in (1, 2) or w.shape[-1] != x.shape[1]:
        raise UserError(
            "the weights do not fit the inputs",
            expected=f"({x.shape[-1]},), or a row of as many a unit",
            found=tuple(w.shape),
        )
    total = torch.nn.functional.linear(x, w)
    return (total >= torch.as_tensor(threshold, dtype=x.dtype, device=x.device)).to(x.dtype)


# Weights and threshold of the logical functions that one unit computes; the threshold lies midway between the sums.
UNITS: dict[str, tuple[tuple[float, ...], float]] = {
    "and": ((1.0, 1.0), 1.5),
    "or": ((1.0, 1.0), 0.5),
    "not": ((-1.0,), -0.5),
    "nand": ((-1.0, -1.0), -1.5),
    "nor": ((-1.0, -1.0), -0.5),
}


def exclusive_or(x: Tensor) -> Tensor:
    """x_1 xor x_2 (B,) by two layers: (x_1 or x_2) and not (x_1 and x_2).

    The hidden units are `or` and `nand`; an `and` of them answers. They move the four corners to three points, which
    a line separates.

    >>> exclusive_or(corners(2)).int().tolist()
    [0, 1, 1, 0]
    >>> hidden = threshold_unit(corners(2), *_HIDDEN)
    >>> hidden.int().tolist()
    [[0, 1], [1, 1], [1, 1], [1, 0]]
    """
    return threshold_unit(threshold_unit(x, *_HIDDEN), *UNITS["and"])


_HIDDEN = (torch.tensor([UNITS["or"][0], UNITS["nand"][0]]), torch.tensor([UNITS["or"][1], UNITS["nand"][1]]))


def parity(x: Tensor) -> Tensor:
    """1 (B,) where an odd number of the D inputs is 1, by two layers: D hidden units and one.

    Hidden unit k fires where k + 1 inputs or more do; the output weighs them +1, -1, +1, ... One unit cannot for D of 2 or
    more, since it could then do it for the first two inputs with the rest at 0.

    Source: Rumelhart, Hinton, Williams: Learning internal representations by error propagation, 1986, section "Parity".

    >>> parity(corners(3)).int().tolist()
    [0, 1, 1, 0, 1, 0, 0, 1]
    """
    D = x.shape[1]
    hidden = threshold_unit(x, torch.ones(D, D), torch.arange(D) + 0.5)
    signs = torch.ones(D)
    signs[1::2] = -1.0
    return threshold_unit(hidden, signs, 0.5)


TOPICS = (
    Topic(
        "McCulloch-Pitts neuron, threshold units, XOR",
        "MP 神经元、阈值单元、异或问题",
        lectures=(1, 2, 3),
        code=("mcculloch_pitts", "threshold_unit", "exclusive_or"),
        command="chainrule train hidden-layers problems=xor",
    ),
)
