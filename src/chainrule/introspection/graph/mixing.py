"""Whether the answer for one sample depends on the other samples of its batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.introspection.graph.finding import Finding
from chainrule.introspection.tensors import first_tensor

LIMIT = 1e-4


def batch_mixing(module: nn.Module, inputs: Sequence[Any]) -> list[Finding]:
    """Changes all samples but the first, and looks whether the first answer moves; first in eval mode, then as it is.

    The first dimension of inputs and outputs must be the batch; where the output has another, nothing is said.
    """
    size = next((len(x) for x in inputs if isinstance(x, Tensor) and x.dim()), 0)
    if size < 2:
        return []
    modes = {child: child.training for child in module.modules()}
    try:
        module.eval()
        moved, layer = _moved(module, inputs, size)
        always = moved > LIMIT
        if not always:
            for child, training in modes.items():
                child.training = training
            moved, layer = _moved(module, inputs, size) if module.training else (0.0, "")
    finally:
        for child, training in modes.items():
            child.training = training
    if not moved > LIMIT:
        return []
    meaning = "How far the first answer moves, beside its size, when the other samples change; first seen here."
    kinds = {name: type(child).__name__ for name, child in module.named_modules()}
    if not always and "BatchNorm" in kinds.get(layer, ""):
        return [
            Finding(
                "batch mixing",
                layer,
                moved,
                f"at most {LIMIT:g}",
                f"{meaning} It is {kinds[layer]} in training mode.",
                "This is how batch normalisation is meant; batches should not be tiny, and eval() is needed to answer.",
                by_design=True,
            )
        ]
    return [
        Finding(
            "batch mixing",
            layer or "(itself)",
            moved,
            f"at most {LIMIT:g}",
            meaning,
            "Look for a view or reshape that crosses the first dimension, a softmax or mean over dimension 0, or inputs that "
            "are not batch-first.",
        )
    ]


def _moved(module: nn.Module, inputs: Sequence[Any], size: int) -> tuple[float, str]:
    """By how much the first answer moved, and the first module whose output for the first sample did."""
    with _as_it_was(module):
        plain, layers_plain = _run(module, inputs, size)
    with _as_it_was(module):
        other, layers_other = _run(module, [_others_changed(x, size) for x in inputs], size)
    if plain is None or other is None or plain.shape != other.shape:
        return 0.0, ""
    moved = _distance(plain, other)
    layer = next(
        (
            a
            for (a, p), (b, q) in zip(layers_plain, layers_other, strict=False)
            if a == b and p.shape == q.shape and _distance(p, q) > LIMIT
        ),
        "",
    )
    return moved, layer


def _distance(one: Tensor, other: Tensor) -> float:
    size = float(one.abs().max()) if one.numel() else 0.0
    moved = float((one - other).abs().max()) if one.numel() else 0.0
    return moved / size if size > 0 else float(moved > 0)


def _run(module: nn.Module, inputs: Sequence[Any], size: int) -> tuple[Tensor | None, list[tuple[str, Tensor]]]:
    """The first answer, and what each innermost module gave for the first sample."""
    seen: list[tuple[str, Tensor]] = []

    def hook(name: str) -> Any:
        def after(layer: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.dim() and len(tensor) == size and tensor.is_floating_point():
                seen.append((name, tensor[0].detach().double().clone()))

        return after

    with ExitStack() as hooks, torch.no_grad():
        for name, child in module.named_modules():
            if not any(True for _ in child.children()):
                hooks.enter_context(child.register_forward_hook(hook(name)))
        output = first_tensor(module(*inputs))
    if output is None or not output.dim() or len(output) != size:
        return None, seen
    return output[0].detach().double(), seen


def _others_changed(x: Any, size: int) -> Any:
    """The same input with all samples but the first replaced by others of the same range."""
    if not isinstance(x, Tensor) or not x.dim() or len(x) != size:
        return x
    changed = x.detach().clone()
    if x.is_floating_point():
        noise = torch.randn(x[1:].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        spread = x.double().std(correction=0).cpu() if x.numel() > 1 else torch.tensor(1.0)
        changed[1:] = (noise * spread.clamp_min(1e-3) + x.double().mean().cpu()).to(x)
    elif x.dtype is torch.bool:
        changed[1:] = ~changed[1:]
    else:
        low, high = int(x.min()), int(x.max())
        changed[1:] = low + (changed[1:] - low + 1) % (high - low + 1)
    return changed


@contextmanager
def _as_it_was(module: nn.Module) -> Iterator[None]:
    """Buffers and random numbers are afterwards what they were before: every run draws the same."""
    kept = [(b, b.detach().clone()) for b in module.buffers()]
    devices = sorted({p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
