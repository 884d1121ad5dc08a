"""Layers, shapes, parameters and cost of any module, by running it once on an example."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from chainrule.core.course import Topic
from chainrule.core.discovery import all_kinds
from chainrule.core.recipe import Recipe
from chainrule.introspection.tensors import first_tensor
from chainrule.nn.cost import MultiplyAdds, recurrent_cost

if TYPE_CHECKING:
    from chainrule.core.card import Card


@dataclass(frozen=True)
class Layer:
    """One call of one layer.

    `shape` is its first output's, without the batch. `parameters` are its own that no row above has counted, so that
    the column adds up; `shared` those that one above has. `multiply_adds` are those of matrix products, convolutions
    and attention done by itself and not by layers inside it; element-wise work is not counted.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    shared: int = 0
    called: bool = True


def runs_as_one_call(module: nn.Module) -> bool:
    """Whether the module has a `forward`; a mixture or a graphical model answers by other methods."""
    return type(module).forward is not nn.Module.forward


def layers(module: nn.Module, inputs: tuple[Any, ...]) -> list[Layer]:
    """Every layer, in the order in which the calls end, for a batch of one; then those with parameters never called.

    A container has a row only where it holds parameters or multiplies by itself. The cost of nn.RNN, GRU and LSTM comes
    from their equations: one kernel does the whole sequence, and no counter looks into it.

    >>> [(layer.name, layer.parameters, layer.multiply_adds) for layer in layers(nn.Linear(3, 2), (torch.zeros(1, 3),))]
    [('', 8, 6)]
    """
    found: list[Layer] = []
    counter = MultiplyAdds()
    inside: list[int] = [0]  # multiply-adds of the calls that ended within each open one
    starts: list[int] = []
    counted: set[int] = set()

    def before(layer: nn.Module, args: object) -> None:
        starts.append(counter.total)
        inside.append(0)

    def after(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> None:
            start, within = starts.pop(), inside.pop()
            spent = counter.total - start
            own = spent - within
            if isinstance(layer, nn.RNNBase):
                own = recurrent_cost(layer, args[0] if args else kwargs["input"])
            inside[-1] += spent
            new, shared = _own_parameters(layer, counted)
            if own or new or shared or not any(True for _ in layer.children()):
                found.append(Layer(name, type(layer).__name__, _shape(output), new, own, shared))

        return hook

    with contextlib.ExitStack() as hooks, torch.no_grad(), evaluating(module), counter:
        for name, layer in module.named_modules():
            hooks.enter_context(layer.register_forward_pre_hook(before))
            hooks.enter_context(layer.register_forward_hook(after(name), with_kwargs=True))
        module(*inputs)
    return found + _never_called(module, counted)


def parameter_rows(module: nn.Module) -> list[Layer]:
    """The layers that hold parameters, for a module that cannot run as one call."""
    return [replace(layer, called=False) for layer in _never_called(module, set())]


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode for a while, without PyTorch's fused Transformer and attention: no hook and no counter sees inside."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    modes = {child: child.training for child in module.modules()}
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    module.eval()
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for child, training in modes.items():
            child.training = training


def _own_parameters(layer: nn.Module, counted: set[int]) -> tuple[int, int]:
    """The layer's own parameters that are new, and those counted before; marks them as counted."""
    new = shared = 0
    for p in layer.parameters(recurse=False):
        if id(p) in counted:
            shared += p.numel()
        else:
            new += p.numel()
            counted.add(id(p))
    return new, shared


def _never_called(module: nn.Module, counted: set[int]) -> list[Layer]:
    """Layers whose parameters others use directly, as a scan over time does with a cell's weights."""
    rest = []
    for name, layer in module.named_modules():
        new, _ = _own_parameters(layer, counted)
        if new:
            rest.append(Layer(name, type(layer).__name__, (), new, 0, called=False))
    return rest


def _shape(output: object) -> tuple[int, ...]:
    tensor = first_tensor(output)
    return tuple(tensor.shape[1:]) if tensor is not None else ()


def card_text(recipe: Recipe, card: Card | None) -> str:
    """A recipe's card as text: what `chainrule show` prints above the settings. An experiment may have no card."""
    module, example = _to_look_at(card) if card is not None else (None, ())
    lines = [f"{recipe.name}: {recipe.summary_told}", "", f"task:       {recipe.task}"]
    lines.append(f"source:     {card.source if card is not None else recipe.source}")
    if card is not None:
        lines += [f"deviation:  {text}" for text in card.deviations] or ["deviations: none known"]
    if recipe.target:
        t = recipe.target
        lines.append(f"target:     {t.metric} {t.value:g} on {t.data} ({t.source}; {t.protocol})")
    lines.append(f"data:       {recipe.data} unless --data names other")
    if recipe.kinds:
        lines.append(f"takes:      {', or '.join(all_kinds()[kind].noun for kind in recipe.kinds)}")
    lines.append(f"command:    chainrule train {recipe.name}")
    if card is not None and isinstance(module, nn.Module):
        shapes = ", ".join(" x ".join(map(str, x.shape[1:])) for x in example if isinstance(x, Tensor))
        lines += [
            "",
            f"An example, the network {card.name} for an input of {shapes}; a run has the sizes of its data and",
        ]
        lines += ["settings: chainrule explain RUN", *_layer_lines(module, example)]
    return "\n".join(lines)


def model_text(card: Card, command: str | None) -> str:
    """The card of a model that is no recipe's own, as text; `command` is how it is trained."""
    module, example = _to_look_at(card)
    lines = [card.name, "", f"source:     {card.source}"]
    lines += [f"deviation:  {text}" for text in card.deviations] or ["deviations: none known"]
    lines += [f"weights:    --weights {publisher} ({each.file})" for publisher, each in card.weights.items()]
    lines += [f"command:    {command}"] if command else []
    return "\n".join(lines + (_layer_lines(module, example) if isinstance(module, nn.Module) else []))


class _ConstantWeights(TorchFunctionMode):
    """Weights get a constant where they would get random numbers: drawing a hundred million takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWS:
            weight = args[0] if args else kwargs["tensor"]
            weight.detach().fill_(0.01)
            return weight
        return func(*args, **(kwargs or {}))


LARGE = 100_000_000  # parameters; to fill them, and to multiply by them, takes longer than the import that shapes alone need
_DRAWS = {
    Tensor.normal_,
    Tensor.uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.xavier_normal_,
    nn.init.xavier_uniform_,
    nn.init.trunc_normal_,
}


def _to_look_at(card: Card) -> tuple[Any, tuple[Any, ...]]:
    """The model of a card and its canonical input, to be looked at from outside only; large ones have shapes alone."""
    place = torch.device("meta") if (card.parameters or 0) > LARGE else contextlib.nullcontext()
    with _ConstantWeights(), place:
        return card.build(), card.example(1)


def network_rows(cards: Mapping[str, Card]) -> list[tuple[str, ...]]:
    """A table of networks for images: name, the input and the parameters that they are published with, source."""
    rows: list[tuple[str, ...]] = [("network", "input", "parameters", "source")]
    for name, card in cards.items():
        shape = " x ".join(map(str, card.example(1)[0].shape[1:]))
        rows.append((name, shape, f"{card.parameters:,}" if card.parameters else "-", card.source))
    return rows


def _layer_lines(module: nn.Module, inputs: tuple[Any, ...]) -> list[str]:
    """The table of layers as text, and its total."""
    rows = layers(module, inputs) if runs_as_one_call(module) else parameter_rows(module)
    total = sum(p.numel() for p in module.parameters() if p.requires_grad)
    if not total:
        held = sum(b.numel() for b in module.buffers())
        return ["", f"  no trainable parameters; {held:,} numbers are estimated"] if held else []
    cells = [("layer", "kind", "output", "parameters", "multiply-adds")]
    for row in rows:
        shape = " x ".join(map(str, row.shape)) if row.called else "(not called)"
        parameters = f"{row.parameters:,}" if row.parameters or not row.shared else "shared"
        cells.append((row.name or "(itself)", row.kind, shape, parameters, f"{row.multiply_adds:,}"))
    widths = [max(len(cell[i]) for cell in cells) for i in range(5)]
    table = [
        "  " + "  ".join(c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(cell, widths, strict=True)))
        for cell in cells
    ]
    cost = sum(row.multiply_adds for row in rows)
    counted = f", {cost:,} multiply-adds a sample" if runs_as_one_call(module) else ""
    return ["", *table, f"  {total:,} trainable parameters{counted}"]


TOPICS = (
    Topic(
        "Shapes, parameters and cost of layers",
        "各层的形状、参数量和计算量",
        lectures=(1, 2, 3, 4),
        code=("layers",),
        command="chainrule show resnet20",
    ),
)
