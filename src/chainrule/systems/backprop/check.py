"""The gradient check: is a derivative that somebody wrote down the derivative?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.systems.backprop.layers.layer import Layer


@dataclass(frozen=True)
class GradientCheck:
    """What a gradient check found, at the element that differs most.

    Attributes:
        passed: whether every element is within the tolerance.
        difference: |given - numeric| / max(1, |given|, |numeric|) at that element; it has no unit.
        name: the input or parameter that it belongs to.
        index: its place there.
        given, numeric: the two derivatives.
        count: how many elements were compared.
    """

    passed: bool
    difference: float
    name: str
    index: tuple[int, ...]
    given: float
    numeric: float
    count: int

    def __str__(self) -> str:
        verdict = "holds" if self.passed else "is wrong"
        place = f"{self.name}[{', '.join(map(str, self.index))}]"
        return (
            f"the gradient {verdict}: of {self.count} elements, {place} differs most, by {self.difference:.2g} "
            f"(given {self.given:.9g}, by differences {self.numeric:.9g})"
        )


@torch.no_grad()
def gradient_check(
    function: Callable[..., Tensor | float],
    inputs: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    *,
    step: float = 1e-5,
    tolerance: float = 1e-6,
) -> GradientCheck:
    """Compares given derivatives of a scalar function with central differences in float64:

        df/dx_i = (f(x + h e_i) - f(x - h e_i)) / (2 h) + O(h^2),      h = step max(1, |x_i|)

    Args:
        function: takes the inputs as keyword arguments, in float64, and gives one number.
        inputs: floating-point tensors by the names of those arguments; the caller's own are left as they are.
        gradients: for each input to be checked, what is claimed to be its derivative, in the same shape.
        step: h for values of about 1. The error of the formula grows with h^2, that of rounding with 1 / h.
        tolerance: largest allowed difference, relative to the derivative where that is above 1.

    Returns:
        The verdict, and the element that differs most. At a kink (a ReLU at 0, a tie of maxima) no derivative exists,
        so the check fails there.

    Raises:
        UserError: where a gradient has no input or another shape, nothing is to be checked, or the function gives no
            single number.

    >>> x = torch.tensor([1.0, 2.0])
    >>> print(gradient_check(lambda x: (x ** 2).sum(), {"x": x}, {"x": 2 * x}).passed)
    True
    >>> print(gradient_check(lambda x: (x ** 2).sum(), {"x": x}, {"x": torch.tensor([2.0, 5.0])}))
    the gradient is wrong: of 2 elements, x[1] differs most, by 0.2 (given 5, by differences 4)
    """
    if not gradients or not any(g.numel() for g in gradients.values()):
        raise UserError("there is no gradient to check", expected="at least one element", found=list(gradients))
    if not step > 0 or not tolerance > 0:
        raise UserError("step and tolerance are above 0", found=f"step {step}, tolerance {tolerance}")
    for name, gradient in gradients.items():
        if name not in inputs or inputs[name].shape != gradient.shape:
            found = "no such input" if name not in inputs else str(tuple(inputs[name].shape))
            raise UserError(f"the gradient of {name} does not fit", expected=tuple(gradient.shape), found=found)
        if not inputs[name].is_floating_point():
            raise UserError(f"{name} cannot be varied", expected="a floating-point tensor", found=inputs[name].dtype)
    values = {k: v.detach().to(torch.float64, copy=True) if v.is_floating_point() else v for k, v in inputs.items()}

    def at() -> float:
        result = torch.as_tensor(function(**values))
        if result.numel() != 1:
            raise UserError("the function is not scalar", expected="one number", found=f"shape {tuple(result.shape)}")
        return float(result)

    worst: GradientCheck | None = None
    for name, gradient in gradients.items():
        flat, claims = values[name].contiguous(), gradient.detach().double().flatten().tolist()
        values[name] = flat
        for number, claim in enumerate(claims):
            # the element moved to both sides, everything else as it is
            numeric = _central_difference(at, flat.view(-1), number, step)
            difference = abs(claim - numeric) / max(1.0, abs(claim), abs(numeric))
            if worst is None or not difference <= worst.difference:  # NaN is worse than any number
                index = tuple(int(i) for i in torch.unravel_index(torch.tensor(number), gradient.shape))
                worst = GradientCheck(difference <= tolerance, difference, name, index, claim, numeric, 0)
                if difference != difference:
                    return worst
    assert worst is not None
    count = sum(g.numel() for g in gradients.values())
    return GradientCheck(worst.passed, worst.difference, worst.name, worst.index, worst.given, worst.numeric, count)


def _central_difference(at: Callable[[], float], flat: Tensor, number: int, step: float) -> float:
    value = float(flat[number])
    h = step * max(1.0, abs(value))
    flat[number] = value + h
    above = at()
    flat[number] = value - h
    below = at()
    flat[number] = value
    return (above - below) / ((value + h) - (value - h))


def layer_check(
    layer: Layer, *inputs: Tensor, step: float = 1e-5, tolerance: float = 1e-6, seed: int = 0
) -> GradientCheck:
    """Checks a layer's own `backward`, for its first input and every parameter, with `gradient_check`.

    The scalar is a weighted sum of the layer's outputs with random weights, so that no output can hide behind another.
    A copy of the layer in float64 is checked, in the mode (training or evaluation) that the layer is in; the layer
    itself is left alone. What it draws, it draws anew from the same seed each time.

    Args:
        layer: any layer, chain or criterion of this room.
        inputs: what its `forward` takes; the first is varied if it is of floating point.
        step, tolerance: as for `gradient_check`.
        seed: of the weights of the sum, and of what the layer draws.

    Raises:
        UserError: as `gradient_check`, and what the layer itself raises.

    >>> from chainrule.systems.backprop.layers.linear import Linear
    >>> layer_check(Linear(3, 2), torch.randn(4, 3)).passed
    True
    """
    copied = copy.deepcopy(layer).double()
    x = inputs[0].detach().double() if inputs[0].is_floating_point() else inputs[0]
    names = {name.replace(".", "__"): parameter for name, parameter in copied.named_parameters()}

    def output(value: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return copied(value, *inputs[1:])

    # The scalar: a weighted sum of all outputs. Its delta at the output is the weights themselves.
    first = output(x)
    weights = torch.randn(first.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    copied.zero_grad(set_to_none=True)
    delta = copied.backward(weights)

    def weighted_sum(**values: Tensor) -> Tensor:
        for name, parameter in names.items():
            parameter.copy_(values[name])
        return (output(values.get("input", x)) * weights).sum()

    # What the layer claims: the gradients that it left, and the delta of its input.
    gradients = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in names.items()}
    points: dict[str, Tensor] = {n: p.detach() for n, p in names.items()}
    if x.is_floating_point():
        gradients["input"], points["input"] = delta, x
    return gradient_check(weighted_sum, points, gradients, step=step, tolerance=tolerance)


TOPICS = (
    Topic(
        "Gradient check by differences",
        "用差分检查梯度",
        code=("gradient_check", "GradientCheck"),
        command='chainrule explain "1/(1+exp(-w*x))" w=2 x=-1',
    ),
)
