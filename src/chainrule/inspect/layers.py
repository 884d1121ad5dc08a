"""Layers, shapes, parameters and cost of any module, by running it once on an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.models import get_card
from chainrule.recipes import Recipe


@dataclass(frozen=True)
class Layer:
    """One call of one layer: its output's shape without the batch, its own parameters, multiply-adds a sample."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def layers(module: nn.Module, inputs: tuple[Any, ...]) -> list[Layer]:
    """Every layer that holds no others or parameters of its own, in the order of the calls, for a batch of one.

    >>> [(layer.name, layer.parameters, layer.multiply_adds) for layer in layers(nn.Linear(3, 2), (torch.zeros(1, 3),))]
    [('', 8, 6)]
    """
    from torch.utils.flop_counter import FlopCounterMode

    found: list[Layer] = []
    handles = []
    counter = FlopCounterMode(display=False)
    starts: dict[str, int] = {}

    def before(name: str) -> Any:
        def hook(layer: nn.Module, args: object) -> None:
            starts[name] = counter.get_total_flops()

        return hook

    def after(name: str) -> Any:
        def hook(layer: nn.Module, args: object, output: object) -> None:
            own = sum(p.numel() for p in layer.parameters(recurse=False))
            cost = (counter.get_total_flops() - starts[name]) // 2
            found.append(Layer(name, type(layer).__name__, _shape(output), own, cost))

        return hook

    for name, layer in module.named_modules():
        if not any(layer.children()) or any(True for _ in layer.parameters(recurse=False)):
            handles += [layer.register_forward_pre_hook(before(name)), layer.register_forward_hook(after(name))]
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), counter:
            module(*inputs)
    finally:
        module.train(was_training)
        for handle in handles:
            handle.remove()
    return found


def _shape(output: object) -> tuple[int, ...]:
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    return tuple(output.shape[1:]) if isinstance(output, Tensor) else ()


def card_text(recipe: Recipe) -> str:
    """A recipe's card as text: what `chainrule show` prints above the settings."""
    card = get_card(recipe.model)
    module = card.build()
    rows = layers(module, card.example(1)) if isinstance(module, nn.Module) else []
    lines = [f"{recipe.name}: {recipe.summary}", "", f"task:       {recipe.task}", f"source:     {card.source}"]
    lines += [f"deviation:  {text}" for text in card.deviations] or ["deviations: none known"]
    if recipe.target:
        t = recipe.target
        lines.append(f"target:     {t.metric} {t.value:g} on {t.data} ({t.source}; {t.protocol})")
    lines += [f"data:       {recipe.data} unless --data names other", f"command:    chainrule train {recipe.name}", ""]
    width = max((len(row.name) for row in rows), default=0)
    lines += [
        f"  {row.name:<{width}}  {row.kind:<16} {' x '.join(map(str, row.shape)):<14} {row.parameters:>10,}  {row.multiply_adds:>14,}"
        for row in rows
    ]
    if rows:
        lines.insert(
            -len(rows), f"  {'layer':<{width}}  {'kind':<16} {'output':<14} {'parameters':>10}  {'multiply-adds':>14}"
        )
        total = sum(p.numel() for p in module.parameters() if p.requires_grad)
        lines.append(
            f"  {total:,} trainable parameters, {sum(row.multiply_adds for row in rows):,} multiply-adds a sample"
        )
    return "\n".join(lines)
