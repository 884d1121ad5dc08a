"""How a network learns, layer by layer, while it does: the size of its gradients, and how many units are saturated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from chainrule.functional.activations import ACTIVATIONS, derivative

FLAT = 0.05  # of the steepest slope: below it a unit lets hardly any gradient through


@runtime_checkable
class HasFunction(Protocol):
    """A layer that applies one of the `chainrule.functional.activations`."""

    function: Callable[..., Tensor]


@contextlib.contextmanager
def watched(module: nn.Module, track: Callable[..., None]) -> Iterator[None]:
    """While it lasts, each training pass tracks of every layer what tells whether it learns.

    `gradient_l`: the Euclidean norm of the gradient of the weights of the l-th linear layer, counted from the input.
    `saturated_l`: of the l-th elementwise activation the share of its values where the slope is below 5 % of the
    steepest; so of a relu the share of zeros. Layers without an activation of that kind have no such number.

    Args:
        module: the network.
        track: takes the numbers by name; `Run.track`.

    >>> seen = {}
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> with watched(layer, lambda **values: seen.update(values)):
    ...     layer(torch.tensor([[3.0, 4.0]])).sum().backward()
    >>> seen["gradient_1"].item()
    5.0
    """
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    curved = [layer for layer in module.modules() if slope_of(layer) is not None]

    def gradient(name: str, value: Tensor) -> None:
        track(**{name: value.norm()})

    def saturation(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if layer.training:
            track(**{name: saturated_share(layer, inputs[0].detach())})

    with contextlib.ExitStack() as hooks:
        for number, layer in enumerate(linear, 1):
            hooks.enter_context(
                contextlib.closing(_Closing(layer.weight.register_hook(partial(gradient, f"gradient_{number}"))))
            )
        for number, bent in enumerate(curved, 1):
            hooks.enter_context(bent.register_forward_hook(partial(saturation, f"saturated_{number}")))
        yield


class _Closing:
    """A hook's handle, taken away at the end."""

    def __init__(self, handle: Any) -> None:
        self.close = handle.remove


def slope_of(layer: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The derivative of an elementwise activation without parameters, else None."""
    function = layer.function if isinstance(layer, HasFunction) else None
    name = next((name for name, known in ACTIVATIONS.items() if known is function), None)
    return None if name in (None, "maxout", "crelu", "noisy", "rrelu") else derivative(str(name))


def saturated_share(layer: nn.Module, x: Tensor) -> Tensor:
    """The share of the elements of x where the activation's slope is below 5 % of its steepest, a scalar."""
    slope = slope_of(layer)
    assert slope is not None
    steepest = slope(torch.linspace(-6, 6, 241, dtype=x.dtype, device=x.device)).abs().max()
    return (slope(x).abs() < FLAT * steepest).to(x.dtype).mean()
