"""The target of an attribution: the score of a class, or the activation of a unit in a layer, one number an image."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.introspection.layers import evaluating
from chainrule.introspection.tensors import first_tensor


@dataclass(frozen=True)
class Unit:
    """A unit of a target layer by the name of the layer, its feature map, and its position there.

    Without a position it is the unit of the map that an image excites most. In a layer without maps (B, F) `channel` is
    the number of the unit.
    """

    layer: str
    channel: int
    row: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class ResolvedTarget:
    """One number an image in the output of a layer, or of the network where `layer` is None: `index` (B,), flat."""

    layer: str | None
    index: Tensor


# A class, a class an image (B,), a unit, one that was resolved before, the top class.
Target = int | Tensor | Unit | ResolvedTarget | None


@contextlib.contextmanager
def eval_with_grad(module: nn.Module) -> Iterator[None]:
    """Eval mode and gradients for a while, whatever the mode outside."""
    with evaluating(module), torch.inference_mode(False), torch.enable_grad():
        yield


def image_leaf(x: Tensor) -> Tensor:
    """The images as a leaf of a graph of their own: (B, C, H, W), floating-point.

    Raises:
        UserError: x is anything else.
    """
    if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point() or not x.numel():
        found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise UserError("x must be images", expected="floating-point numbers (B, C, H, W), normalised", found=found)
    with torch.inference_mode(False):
        return x.detach().clone().requires_grad_()


def forward_with_activations(
    module: nn.Module, x: Tensor, layers: Collection[str] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """One forward pass: what the network gives, and what the named layers gave, with autograd's history.

    What leaves a named layer is a copy, so an operation that works in place does not overwrite what is recorded.
    Of a layer that is called more than once the last output is kept.

    Raises:
        UserError: no such layer, a layer that is not called, one that gives no tensor.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> output, activations = forward_with_activations(net, torch.ones(3, 1, 2, 2), ["0"])
    >>> output.shape, activations["0"].shape
    (torch.Size([3, 2]), torch.Size([3, 4]))
    """
    known = dict(module.named_modules())
    seen: dict[str, Tensor] = {}

    def recording(name: str) -> Any:
        def hook(layer: nn.Module, args: object, output: object) -> Tensor | None:
            tensor = first_tensor(output)
            if tensor is None:
                return None
            seen[name] = tensor
            return tensor.clone() if isinstance(output, Tensor) else None

        return hook

    with contextlib.ExitStack() as hooks:
        for name in layers:
            if name not in known:
                raise unknown("there is no layer", name, [key for key in known if key])
            hooks.enter_context(known[name].register_forward_hook(recording(name)))
        output = first_tensor(module(x))
    for name in layers:
        if name not in seen:
            raise UserError("the layer gives no tensor in this network's forward pass", where=name)
    if output is None:
        raise UserError("the network gives no tensor", where=type(module).__name__)
    return output, seen


@dataclass(frozen=True)
class Score:
    """The target's score of each image (B,), with autograd's history; the target as an index; activations of layers."""

    values: Tensor
    target: ResolvedTarget
    activations: dict[str, Tensor]


def target_score(module: nn.Module, x: Tensor, target: Target = None, layers: Collection[str] = ()) -> Score:
    """One forward pass, and the score of the target in it, one number an image.

    Call it within `eval_with_grad`. Given the resolved target of one pass, another scores the very same units.

    Args:
        module: gives logits (B, K) where the target is a class.
        x: (B, C, H, W).
        target: a class, a class an image (B,), a `Unit`, a `ResolvedTarget`; None is the class with the largest logit.
        layers: names of layers whose outputs are wanted as well.

    Raises:
        UserError: no logits, no such class, layer or unit; nothing that autograd can follow.

    >>> target_score(nn.Flatten(), torch.tensor([[[[1.0, 5.0]]], [[[4.0, 2.0]]]])).values.tolist()
    [5.0, 4.0]
    """
    name = target.layer if isinstance(target, (Unit, ResolvedTarget)) else None
    output, seen = forward_with_activations(module, x, {*layers, *([] if name is None else [name])})
    values = output if name is None else seen[name]
    if name is None and values.dim() != 2:
        raise UserError("the network gives no logits", expected="(B, K)", found=tuple(values.shape))
    if values.shape[:1] != x.shape[:1]:
        raise UserError(
            "the layer's output has no batch dimension",
            where=name,
            expected=f"({len(x)}, ...)",
            found=tuple(values.shape),
        )
    if x.requires_grad and not values.requires_grad:
        raise UserError(
            "no gradient reaches the image",
            where=type(module).__name__,
            expected="a network that autograd follows",
            found="one whose backward pass is written out, or a constant",
        )
    index = _index(values.detach(), target, len(x))
    return Score(values.flatten(1).gather(1, index[:, None])[:, 0], ResolvedTarget(name, index), seen)


def _index(values: Tensor, target: Target, count: int) -> Tensor:
    """The index of the target in each image's output, flattened, (B,)."""
    if isinstance(target, ResolvedTarget):
        return target.index.expand(count) if len(target.index) == 1 else target.index
    if isinstance(target, Unit):
        return _index_of_unit(values, target)
    if target is None:
        return values.argmax(1)
    chosen = torch.as_tensor(target, device=values.device).long().expand(count)
    if int(chosen.min()) < 0 or int(chosen.max()) >= values.shape[1]:
        raise UserError("there is no such class", expected=f"0 to {values.shape[1] - 1}", found=target)
    return chosen


def _index_of_unit(values: Tensor, unit: Unit) -> Tensor:
    channels = values.shape[1] if values.dim() > 1 else 0
    if not 0 <= unit.channel < channels:
        raise UserError("there is no such map", where=unit.layer, expected=f"0 to {channels - 1}", found=unit.channel)
    if values.dim() == 2:
        return torch.full((len(values),), unit.channel, device=values.device)
    maps = values[:, unit.channel]
    size = maps[0].numel()
    if unit.row is None or unit.column is None or values.dim() != 4:
        return unit.channel * size + maps.flatten(1).argmax(1)
    height, width = maps.shape[-2:]
    if not (0 <= unit.row < height and 0 <= unit.column < width):
        raise UserError(
            "the unit lies outside its map",
            where=unit.layer,
            expected=f"row below {height}, column below {width}",
            found=f"row {unit.row}, column {unit.column}",
        )
    return torch.full((len(values),), unit.channel * size + unit.row * width + unit.column, device=values.device)


def layers_with_maps(module: nn.Module, x: Tensor, least: int = 1) -> dict[str, tuple[int, int, int]]:
    """The layers that give maps (B, C, H, W), by name in the order in which their calls end: (C, H, W).

    Args:
        least: pixels that the longer side of a map has at least.

    >>> layers_with_maps(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1)), torch.zeros(1, 1, 5, 5), least=2)
    {'0': (4, 3, 3)}
    """
    found: dict[str, tuple[int, int, int]] = {}

    def noting(name: str) -> Any:
        def hook(layer: nn.Module, args: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tensor.dim() == 4 and len(tensor) == len(x) and max(tensor.shape[2:]) >= least:
                found.pop(name, None)  # called again, it stands where its last call ended
                found[name] = (tensor.shape[1], tensor.shape[2], tensor.shape[3])

        return hook

    with contextlib.ExitStack() as hooks, torch.no_grad(), evaluating(module):
        for name, layer in module.named_modules():
            if name:
                hooks.enter_context(layer.register_forward_hook(noting(name)))
        module(x)
    return found
