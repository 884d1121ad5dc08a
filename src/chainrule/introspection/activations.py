"""What a network does with one input: the activations of each layer, and the gradients of its largest output."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.introspection.layers import evaluating
from chainrule.introspection.tensors import first_tensor


@dataclass(frozen=True)
class Numbers:
    """Mean, deviation, share of zeros, Euclidean norm and a histogram of a tensor."""

    count: int
    mean: float
    std: float
    zeros: float
    norm: float
    low: float
    high: float
    histogram: tuple[int, ...]


def numbers_of(tensor: Tensor, bins: int = 24) -> Numbers:
    """Statistics of any tensor, in double precision; of the finite values, where some are not.

    >>> numbers_of(torch.tensor([0.0, 3.0, 0.0, 4.0])).norm
    5.0
    """
    values = tensor.detach().double().flatten().cpu()
    values = values[values.isfinite()]
    if not len(values):
        nan = float("nan")
        return Numbers(tensor.numel(), nan, nan, nan, nan, nan, nan, (0,) * bins)
    low, high = float(values.min()), float(values.max())
    reach = (low, high) if high > low else (low - 0.5, high + 0.5)
    histogram = torch.histc(values, bins, *reach).long().tolist()
    return Numbers(
        tensor.numel(),
        float(values.mean()),
        float(values.std(correction=0)),
        float((values == 0).double().mean()),
        float(values.norm()),
        low,
        high,
        tuple(histogram),
    )


@dataclass(frozen=True)
class Activation:
    """The output of one call of a layer: its numbers, its first maps (M, H, W) where it has four dimensions, and the
    norms of the gradient of the largest output with respect to it and to the layer's own parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    numbers: Numbers
    maps: Tensor | None
    gradient: float | None
    weight_gradient: float | None


@dataclass(frozen=True)
class Trace:
    """All activations of one forward pass, and where it is a classifier the gradient of the top logit to its input."""

    activations: list[Activation]
    top: int | None
    saliency: Tensor | None


def trace(module: nn.Module, inputs: tuple[Any, ...], maps: int = 16) -> Trace:
    """Runs the module forward on one input, and backward from its largest logit where it gives logits (1, K).

    Saliency is the largest absolute gradient over the channels of an image (Simonyan et al. 2014, section 3).
    """
    seen: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def hook(name: str) -> Any:
        def after(layer: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                if tensor.requires_grad and not tensor.is_leaf:
                    tensor.retain_grad()
                # A copy of the values: the next layer may write over them.
                seen.append((name, layer, tensor, tensor.detach().clone()))

        return after

    source = inputs[0]
    differentiable = isinstance(source, Tensor) and source.is_floating_point()
    if differentiable:
        inputs = (source.detach().clone().requires_grad_(), *inputs[1:])
    own = {name: p for name, p in module.named_parameters() if p.requires_grad}
    kept = {name: p.grad for name, p in own.items()}
    for p in own.values():
        p.grad = None
    try:
        with contextlib.ExitStack() as hooks, evaluating(module), torch.enable_grad():
            for name, layer in module.named_modules():
                if not any(True for _ in layer.children()) or any(True for _ in layer.parameters(recurse=False)):
                    hooks.enter_context(layer.register_forward_hook(hook(name)))
            output = first_tensor(module(*inputs))
            top = None
            if output is not None and output.dim() == 2 and len(output) == 1 and output.requires_grad:
                top = int(output.argmax())
                output[0, top].backward()
        found = [_activation(name, layer, tensor, values, maps) for name, layer, tensor, values in seen]
    finally:
        for name, p in own.items():
            p.grad = kept[name]
    saliency = inputs[0].grad.detach() if differentiable and inputs[0].grad is not None else None
    if saliency is not None and saliency.dim() == 4:
        saliency = saliency[0].abs().amax(0)
    return Trace(found, top, saliency)


def _activation(name: str, layer: nn.Module, tensor: Tensor, values: Tensor, maps: int) -> Activation:
    gradients = [p.grad for p in layer.parameters(recurse=False) if p.grad is not None]
    total = float(torch.stack([g.double().norm() for g in gradients]).norm()) if gradients else None
    to_output = tensor.grad if tensor.requires_grad and not tensor.is_leaf else None
    return Activation(
        name,
        type(layer).__name__,
        tuple(values.shape[1:]),
        numbers_of(values),
        values[0, :maps].float().cpu() if values.dim() == 4 and min(values.shape[2:]) > 1 else None,
        float(to_output.double().norm()) if to_output is not None else None,
        total,
    )


def map_image(values: Tensor, side: int = 72) -> bytes:
    """One map (H, W) as a grey PNG, black its lowest value and white its highest, enlarged to whole multiples."""
    from PIL import Image

    values = values.detach().float().cpu()
    low, high = float(values.min()), float(values.max())
    grey = ((values - low) / (high - low or 1.0) * 255).round().to(torch.uint8).numpy()
    times = max(1, side // max(grey.shape))
    image = Image.fromarray(grey)
    return _png(image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST))


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


TOPICS = (
    Topic(
        "Feature maps and saliency of one input",
        "一个输入的特征图和显著图",
        lectures=(2,),
        code=("trace",),
        command="chainrule explain RUN INPUT",
    ),
)
