"""The graph of a network: which layer's output reaches which layer, found by following tensors through one call."""

from __future__ import annotations

import contextlib
import html
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from chainrule.core.course import Topic
from chainrule.introspection.layers import evaluating
from chainrule.introspection.tensors import first_tensor, tensors

MOST_NODES = 140  # a graph of more, a network unrolled over time for instance, is not drawn
# Functions that only look at a tensor or lay it out anew: not worth a word on an edge.
_SILENT = {
    "__get__",
    "size",
    "dim",
    "view",
    "reshape",
    "contiguous",
    "to",
    "detach",
    "permute",
    "transpose",
    "unsqueeze",
    "squeeze",
    "expand",
    "clone",
    "float",
    "numel",
    "stride",
    "is_floating_point",
    "requires_grad_",
    "__len__",
}


@dataclass
class Node:
    """A call of a layer, an input, or a function that brings several branches together."""

    name: str
    kind: str
    shape: tuple[int, ...]
    sources: dict[int, tuple[str, ...]] = field(default_factory=dict)  # node -> functions applied on the way


class _Follow(TorchFunctionMode):
    """Remembers for each tensor the node that it comes from and the functions since."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.origin: dict[int, tuple[int, tuple[str, ...]]] = {}
        self.alive: list[Tensor] = []  # as long as they live, no other tensor gets their id
        self.depth = 0  # inside a layer, its own functions say nothing

    def mark(self, tensor: Tensor, origin: tuple[int, tuple[str, ...]]) -> None:
        self.alive.append(tensor)
        self.origin[id(tensor)] = origin

    def add(self, name: str, kind: str, shape: tuple[int, ...], tensors: list[Tensor]) -> int:
        sources = dict(self.origin[id(t)] for t in tensors if id(t) in self.origin)
        self.nodes.append(Node(name, kind, shape, sources))
        return len(self.nodes) - 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))
        sources = [t for t in tensors((args, kwargs or {})) if id(t) in self.origin]
        outputs = list(tensors(result))
        if not sources or not outputs:
            return result
        distinct = {self.origin[id(t)][0] for t in sources}
        if len(distinct) > 1 and self.depth == 0 and name not in _SILENT:
            made = self.add(name.strip("_"), "", tuple(outputs[0].shape[1:]), sources)
            origin: tuple[int, tuple[str, ...]] = (made, ())
        else:
            node, on_the_way = self.origin[id(sources[0])]
            quiet = name in _SILENT or self.depth > 0
            origin = (node, on_the_way if quiet else (*on_the_way, name.strip("_")))
        for tensor in outputs:
            self.mark(tensor, origin)
        return result


def trace_graph(module: nn.Module, inputs: tuple[Any, ...]) -> list[Node]:
    """The nodes in the order of the calls; layers that call no other layer are nodes, those that do are seen through.

    >>> [(n.name, sorted(n.sources)) for n in trace_graph(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), (torch.ones(1, 2),))]
    [('input', []), ('0', [0]), ('1', [1])]
    """
    follow = _Follow()
    for tensor in tensors(inputs):
        follow.mark(tensor, (follow.add("input", "", tuple(tensor.shape[1:]), []), ()))
    innermost = {name for name, layer in module.named_modules() if _innermost(layer)}
    entering: list[list[Tensor]] = []

    def before(layer: nn.Module, args: Any, kwargs: Any) -> None:
        entering.append(list(tensors((args, kwargs))))
        follow.depth += 1

    def after(name: str) -> Any:
        def hook(layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            follow.depth -= 1
            first = first_tensor(output)
            shape = tuple(first.shape[1:]) if first is not None else ()
            made = follow.add(name or type(layer).__name__, type(layer).__name__, shape, entering.pop())
            for tensor in tensors(output):
                follow.mark(tensor, (made, ()))

        return hook

    with contextlib.ExitStack() as hooks, torch.no_grad(), evaluating(module), follow:
        for name, layer in module.named_modules():
            if name in innermost:
                hooks.enter_context(layer.register_forward_pre_hook(before, with_kwargs=True))
                hooks.enter_context(layer.register_forward_hook(after(name), with_kwargs=True))
        module(*inputs)
    return follow.nodes


def _innermost(layer: nn.Module) -> bool:
    """A layer without layers inside, or one of PyTorch's own that never calls those it has."""
    return not any(True for _ in layer.children()) or isinstance(layer, (nn.MultiheadAttention, nn.RNNBase))


def draw(module: nn.Module, inputs: tuple[Any, ...]) -> str | None:
    """The graph as SVG in the colours of the page, top to bottom; None where it is too large to be of use."""
    nodes = trace_graph(module, inputs)
    if len(nodes) > MOST_NODES:
        return None
    rank: list[int] = []
    for node in nodes:  # a source always stands before
        rank.append(1 + max((rank[s] for s in node.sources), default=-1))
    width, height, across, down = 190, 40, 214, 78
    widest = max(Counter(rank).values(), default=1)
    taken: Counter[int] = Counter()
    place = []
    for r in rank:
        row = Counter(rank)[r]
        place.append((across * (taken[r] + (widest - row) / 2) + 12, down * r + 6))
        taken[r] += 1
    skips = max((rank[i] - rank[s] for i, node in enumerate(nodes) for s in node.sources), default=1)
    margin = 0 if skips < 2 else 40 + 12 * min(skips, 8)
    parts = []
    for index, node in enumerate(nodes):
        x, y = place[index]
        for source, functions in node.sources.items():
            sx, sy = place[source]
            label = html.escape(", ".join(functions[-3:]))
            if rank[index] - rank[source] == 1:
                parts.append(
                    f'<path class="edge" marker-end="url(#tip)" d="M{sx + width / 2:.0f} {sy + height} L{x + width / 2:.0f} {y - 3}"/>'
                )
                spot = (sx + x + width) / 2 + 7, (sy + height + y) / 2 + 3
            else:  # past the layers between, on the right
                bulge = max(sx, x) + width + 28 + 12 * min(rank[index] - rank[source], 8)
                parts.append(
                    f'<path class="edge" marker-end="url(#tip)" d="M{sx + width:.0f} {sy + height / 2:.0f} C{bulge:.0f} {sy + height:.0f} '
                    f'{bulge:.0f} {y:.0f} {x + width + 4:.0f} {y + height / 2:.0f}"/>'
                )
                spot = bulge - 12, (sy + y + height) / 2
            if label:
                parts.append(f'<text class="on" x="{spot[0]:.0f}" y="{spot[1]:.0f}">{label}</text>')
        shape = " × ".join(map(str, node.shape))
        words = " ".join(part for part in (node.kind, shape) if part)
        kind = "node" if node.kind else "node plain"
        parts.append(
            f'<g class="{kind}"><rect x="{x:.0f}" y="{y}" width="{width}" height="{height}" rx="7"/>'
            f'<text x="{x + width / 2:.0f}" y="{y + 17}">{html.escape(node.name[-26:])}</text>'
            f'<text class="soft" x="{x + width / 2:.0f}" y="{y + 32}">{html.escape(words[:34])}</text></g>'
        )
    tall = down * (max(rank, default=0) + 1) - 24
    wide = max(across * widest + margin, width + 160)
    tip = '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8z"/></marker></defs>'
    return f'<svg class="graph" role="img" aria-label="graph of the layers" width="{wide:.0f}" height="{tall}" viewBox="0 0 {wide:.0f} {tall}">{tip}{"".join(parts)}</svg>'


TOPICS = (
    Topic("Graph of a network", "网络的计算图", lectures=(1, 3, 4), code=("draw",), command="chainrule explain lenet5"),
)
