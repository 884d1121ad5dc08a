"""What every layer of this room has: it keeps what its backward pass needs, and adds to its parameters' gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError

Method = TypeVar("Method", bound=Callable[..., Tensor])


def without_graph(method: Method) -> Method:
    """For every `forward` and `backward`: no graph for autograd is recorded.

    During export nothing is recorded either, and switching the mode would be traced into the exported program.
    """

    @functools.wraps(method)
    def by_hand(*args: Any, **kwargs: Any) -> Tensor:
        if torch.compiler.is_exporting():
            return method(*args, **kwargs)
        with torch.no_grad():
            return method(*args, **kwargs)

    return cast(Method, by_hand)


class Layer(nn.Module):
    """A layer whose backward pass is written out. A new one has `forward(x)` and `backward(delta)`:

    - `forward` ends with `return self.keep(y, ...)`, naming what `backward` will need beside the delta;
    - `backward` begins with `... = self.recall(delta)`, hands its parameters' gradients to `add_gradients`, and returns
      the delta of its input.

    Both are marked `@without_graph`, so no graph is recorded anywhere. The parameters are ordinary `nn.Parameter`s with the
    names and shapes that PyTorch's layer of the same name has, so weights go from one to the other, and any
    `torch.optim` optimiser reads the gradients from `.grad`.

    Attributes:
        deltas: after a backward pass, the deltas that a layer made of others, or of steps in time, has inside, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deltas: dict[str, Tensor] = {}
        self._kept: tuple[Any, ...] | None = None
        self._output_shape: torch.Size | None = None

    def keep(self, output: Tensor, *needed: Any) -> Tensor:
        """Keeps what `backward` needs, and returns `output`. As with autograd, nothing is kept in inference mode."""
        if not (torch.is_inference_mode_enabled() or torch.compiler.is_exporting()):
            self._kept, self._output_shape = needed, output.shape
        return output

    def recall(self, delta: Tensor) -> tuple[Any, ...]:
        """What `forward` kept; it is released, so that a second call fails.

        Raises:
            UserError: where no forward pass came before, or `delta` has another shape than its output.
        """
        if self._kept is None:
            raise UserError(
                f"{type(self).__name__} has no forward pass to go back through",
                expected="one forward pass before each backward pass",
                cure="call the layer, outside torch.inference_mode(), and then backward once",
            )
        if delta.shape != self._output_shape:
            raise UserError(
                f"the delta of {type(self).__name__} does not fit its output",
                expected=str(tuple(self._output_shape or ())),
                found=str(tuple(delta.shape)),
            )
        kept, self._kept = self._kept, None
        return kept

    def add_gradients(self, **gradients: Tensor | None) -> None:
        """Adds to the `.grad` of the parameters so named, as autograd does; one that is None is skipped."""
        for name, gradient in gradients.items():
            parameter = getattr(self, name)
            if parameter is not None and gradient is not None:
                gradient = gradient.to(parameter.dtype)
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def backward(self, delta: Tensor) -> Tensor:
        """The delta of the input from the delta of the output, both of the shape of what they are derivatives by."""
        raise NotImplementedError(f"{type(self).__name__} has no backward pass written out")

    def require(self, holds: bool, what: str, expected: object, found: object) -> None:
        """UserError that names this layer, where a condition on its arguments does not hold."""
        if not holds:
            raise UserError(what, where=type(self).__name__, expected=expected, found=found)


def uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """A parameter drawn uniformly from plus or minus 1 / sqrt(fan_in), as PyTorch draws those of its layers."""
    bound = fan_in**-0.5 if fan_in else 0.0
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
