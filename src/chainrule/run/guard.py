"""The guard against NaN: where a loss is not finite, it names the first layer or input where that appeared."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from chainrule.core.errors import RunFailed


def _bad(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    return []


def bad_samples(inputs: Mapping[str, Tensor], samples: Tensor | None) -> str | None:
    """Names the first input, and the sample in it, that is not finite."""
    for name, value in inputs.items():
        if _bad(value):
            row = int((~torch.isfinite(value.reshape(len(value), -1)).all(1)).nonzero()[0])
            number = int(samples[row]) if samples is not None else row
            return f"the input {name!r}, sample {number} of the data"
    return None


def first_bad_parameter(modules: Mapping[str, nn.Module]) -> str | None:
    """The name of the first parameter that is not finite; of a sharded one, this process looks at its own part."""
    for prefix, module in modules.items():
        for name, parameter in module.named_parameters():
            if _bad(parameter.to_local() if hasattr(parameter, "to_local") else parameter):
                return f"{prefix}.{name}"
    return None


def first_bad_layer(modules: Mapping[str, nn.Module], rerun: Callable[[], object]) -> str | None:
    """Runs `rerun` again and names the first layer with a parameter or an output that is not finite."""
    spoiled = first_bad_parameter(modules)
    if spoiled is not None:
        return f"the parameter {spoiled}, which the update before had already spoiled"
    found: list[str] = []

    def watch(label: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: object, output: object) -> None:
            if not found and any(_bad(tensor) for tensor in _tensors(output)):
                came_in = any(_bad(tensor) for tensor in _tensors(inputs))
                found.append(f"the {'input' if came_in else 'output'} of layer {label} ({type(layer).__name__})")

        return hook

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for prefix, module in modules.items():
            for name, layer in module.named_modules():
                if not any(layer.children()):
                    label = f"{prefix}.{name}" if name else prefix
                    hooks.enter_context(layer.register_forward_hook(watch(label)))
        rerun()
    return found[0] if found else None


class Guard:
    """Looks at losses, and stops the run at the first that is NaN or infinite."""

    def __init__(self) -> None:
        self._unchecked: list[tuple[int, Tensor]] = []

    def remember(self, step: int, loss: Tensor) -> None:
        self._unchecked.append((step, loss.detach()))

    def check(
        self,
        epoch: int,
        modules: Mapping[str, nn.Module],
        rerun: Callable[[], object],
        inputs: Mapping[str, Tensor],
        samples: Tensor | None,
    ) -> None:
        """Waits for the losses since the last check and looks at them together.

        Raises:
            RunFailed: one is not finite; `rerun`, which computes it again, finds the layer.
        """
        values = torch.stack([value for _, value in self._unchecked])
        finite = torch.isfinite(values).tolist()
        if not all(finite):
            index = finite.index(False)
            where = (
                bad_samples(inputs, samples)
                or first_bad_layer(modules, rerun)
                or "the criterion: every layer's output is finite"
            )
            raise RunFailed(
                f"the loss became {float(values[index])} at step {self._unchecked[index][0]} (epoch {epoch + 1})\n"
                f"  first in: {where}\n"
                "  cure:     a smaller lr, a clip=1 on the gradient, or data without such values; "
                "the last good checkpoint is kept"
            )
        self._unchecked.clear()
