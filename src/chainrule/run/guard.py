"""The guard against NaN: where a loss is not finite, it names the first layer or input where that appeared."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from chainrule.core.errors import RunFailed
from chainrule.core.records import leaves


def _bad(value: Tensor) -> bool:
    dense = value.is_floating_point() and value.layout == torch.strided
    return dense and not bool(torch.isfinite(value).all())


def bad_samples(batch: object, samples: Tensor | None = None) -> str | None:
    """Names the first field of a batch, and the sample in it, that is not finite: "the input 'x', sample 17 of the data".

    Args:
        batch: any record, dict or list of tensors, at any depth. A row of a tensor and an entry of a list is a sample;
            where a batch has `lengths` (b,), rows that are as many as their sum belong to the samples one after another.
        samples: their numbers in the data (b,); those of the batch, its `index`, unless they are given.
    """
    samples = _held(batch, "index") if samples is None else samples
    for name, entry, value in leaves(batch):
        if _bad(value):
            return f"the input {name!r}{_sample(value, entry, samples, _held(batch, 'lengths'))}"
    return None


def _held(batch: object, name: str) -> Tensor | None:
    value = getattr(batch, name, None)  # a method, of a NamedTuple without such a field
    return value if isinstance(value, Tensor) and value.dim() else None


def _sample(value: Tensor, entry: int | None, samples: Tensor | None, lengths: Tensor | None) -> str:
    """Which sample has the first number that is not finite, as far as that can be told."""
    row, rows = entry, -1 if samples is None else len(samples)
    if row is None and value.dim():
        row = int((~torch.isfinite(value.reshape(len(value), -1)).all(1)).nonzero()[0])
        if lengths is not None and len(lengths) == rows != len(value) == int(lengths.sum()):
            row = int((lengths.cumsum(0) <= row).sum())  # of rows in one tensor, sample after sample
        elif len(value) != rows:
            return f", row {row} of {len(value)}"
    if row is None:
        return ""
    if samples is None or row >= rows:
        return f", entry {row}"
    return f", sample {int(samples[row].flatten()[0])} of the data"


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
            if not found and any(_bad(tensor) for _, _, tensor in leaves(output)):
                came_in = any(_bad(tensor) for _, _, tensor in leaves(inputs))
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


CRITERION = "the criterion: every layer's output is finite"


class Guard:
    """Looks at losses, and stops the run at the first that is NaN or infinite."""

    def __init__(self) -> None:
        self._unchecked: list[tuple[int, int, int, Tensor]] = []

    def remember(self, step: int, epoch: int, position: int, loss: Tensor) -> None:
        """The loss of a step, the one at this position of the epoch."""
        self._unchecked.append((step, epoch, position, loss.detach()))

    def check(
        self,
        modules: Mapping[str, nn.Module],
        rerun: Callable[[], object] | None,
        batch: object,
        batch_at: Callable[[int, int], object],
    ) -> None:
        """Waits for the losses since the last check and looks at them together.

        Args:
            modules: where a parameter or an output may have been spoiled.
            rerun: computes the last loss again; None where this process cannot do so alone.
            batch: of the last loss.
            batch_at: makes the batch of another step again, of its epoch and position.

        Raises:
            RunFailed: one is not finite; its batch is looked through first, then the layers, by `rerun`.
        """
        values = torch.stack([loss for *_, loss in self._unchecked])
        finite = torch.isfinite(values).tolist()
        if not all(finite):
            index = finite.index(False)
            step, epoch, position, _ = self._unchecked[index]
            where = (
                bad_samples(batch if index == len(finite) - 1 else batch_at(epoch, position))
                or (first_bad_layer(modules, rerun) if rerun is not None else first_bad_parameter(modules))
                or (
                    CRITERION if rerun is not None else "this process's part of the batch: a run of one names the layer"
                )
            )
            raise RunFailed(
                f"the loss became {float(values[index])} at step {step} (epoch {epoch + 1})\n"
                f"  first in: {where}\n"
                "  cure:     a smaller lr, a clip=1 on the gradient, or data without such values; "
                "the last good checkpoint is kept"
            )
        self._unchecked.clear()
