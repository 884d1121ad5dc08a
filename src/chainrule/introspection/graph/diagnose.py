"""What is wrong with a network on a real batch: each finding with its number, its layer and what helps.

The limits, and why they are where they are:

- Vanishing and exploding gradient: the norm of the gradient at the first layer over that at the last. A network at a good
  start keeps it within a factor of a few tens; below 1/1000 the first layers learn a thousand times slower than the last
  (Glorot and Bengio 2010; Bengio, Simard, Frasconi 1994), above 1000 one step throws them out.
- Dead units: zero for the whole batch. In healthy ReLU networks a tenth to a fifth of the units can be silent on one
  batch; from 40 % on something killed them.
- Saturated units: half of the values of a tanh or logistic layer where the slope is below 5 % of the steepest.
- Mean shift: the mean of a rectifier's outputs over their deviation. It is always above 0: of inputs with mean 0 and
  normal it is 0.68 (1 / sqrt(pi - 1)), and the next layer takes it for a bias that moves with every update (Clevert et
  al. 2016, section 2). From 2 on nearly all that the next layer sees is the shift.
- Update to weight: the norm of one step over the norm of the weights. 1e-3 is the rule of thumb, 1e-4 to 1e-2 usual; the
  first steps of Adam are larger and late training smaller, so that a finding is made from ten times beyond on: outside
  1e-5 to 1e-1.
- Batch mixing: the answer for one sample must not move when the others change. Rounding moves it by about 1e-7 of its
  size; the limit is 1e-4.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, overload

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.introspection.graph.finding import Finding
from chainrule.introspection.graph.mixing import batch_mixing
from chainrule.introspection.graph.record import Graph, Node, norm_of
from chainrule.introspection.graph.trace import graph

GRADIENT_RATIO = 1e-3
DEAD_SHARE = 0.4
SATURATED_SHARE = 0.5
MEAN_SHIFT = 2.0
UPDATE_LOW, UPDATE_HIGH = 1e-5, 1e-1
FEWEST_LAYERS = 3  # a gradient vanishes from layer to layer; of two there is no trend


@overload
def diagnose(module: Graph, /) -> list[Finding]: ...


@overload
def diagnose(
    module: nn.Module,
    batch: tuple[Any, Any],
    loss: Callable[[Any, Any], Tensor],
    optimizer: torch.optim.Optimizer | None = None,
) -> list[Finding]: ...


def diagnose(
    module: nn.Module | Graph,
    batch: tuple[Any, Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> list[Finding]:
    """Examines a network on one real batch, as it stands: in training mode if it is in training mode.

    Weights, gradients, buffers and the optimiser are as before when it returns.

    Args:
        module: the network; or, by itself, a finished graph, of which `diagnose_graph` says what it shows.
        batch: (x, y): what the module is called with, a tensor or a tuple of several, and the target. A batch of 16
            samples or more says most about dead units.
        loss: (output, y) to a scalar.
        optimizer: if given, one step is tried, measured, and taken back.

    Raises:
        UserError: the loss is no scalar, the batch is no pair, or a module stands alone.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(*(layer for _ in range(8) for layer in (nn.Linear(16, 16), nn.Sigmoid())), nn.Linear(16, 2))
    >>> found = diagnose(net, (torch.randn(32, 16), torch.zeros(32, dtype=torch.int64)), nn.functional.cross_entropy)
    >>> [(f.what, f.layer) for f in found]
    [('vanishing gradient', '0')]
    """
    if isinstance(module, Graph):
        return diagnose_graph(module)
    if loss is None:
        raise UserError("a module is diagnosed on a batch and its loss", expected="diagnose(module, (x, y), loss)")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise UserError("the batch is no pair", expected="(x, y)", found=type(batch).__name__)
    x, y = batch
    inputs = tuple(x) if isinstance(x, (tuple, list)) else (x,)

    def objective(*given: Any) -> Tensor:
        value = loss(module(*given), y)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UserError("the loss is no scalar", expected="a tensor of one number", found=shape, cure="its mean")
        return value

    found = diagnose_graph(graph(objective, *inputs))
    found += without_gradient(module, objective, inputs)
    if optimizer is not None:
        found += updates(module, optimizer, objective, inputs)
    return found + batch_mixing(module, inputs)


# -- from a graph alone ------------------------------------------------------------------------------------------------


def diagnose_graph(graph: Graph) -> list[Finding]:
    """What the values and gradients of a graph show: NaN, gradients that vanish or explode, dead, saturated, shifted units."""
    return [*_unusual(graph), *_from_layer_to_layer(graph), *_units(graph), *_shifts(graph)]


def layer_name(graph: Graph, node: Node) -> str:
    """A layer's name for a node: its module's, or its own."""
    call = graph.calls[node.call].name
    root = graph.calls[1].name if len(graph.calls) > 1 and not graph.calls[0].kind else ""
    return call.removeprefix(f"{root}.") if call and call != root else node.name


def weight_layers(graph: Graph) -> list[Node]:
    """The operations that multiply by weights, in order: products and convolutions with a parameter of two dimensions."""
    return [
        node
        for node in graph.nodes
        if node.kind == "operation"
        and node.differentiable
        and any(graph.nodes[e.source].kind == "parameter" and len(graph.nodes[e.source].shape) >= 2 for e in node.edges)
        and node.op != "embedding"
    ]


def _unusual(graph: Graph) -> list[Finding]:
    for node in graph.nodes:
        if node.statistics is not None and node.statistics.unusual:
            return [
                Finding(
                    "NaN or infinite value",
                    layer_name(graph, node),
                    node.statistics.unusual,
                    "0 nan or infinite",
                    f"This is the first value with nan or infinity: {node.name}, {node.op or node.kind}.",
                    "Look for a division by 0, a logarithm of 0, an exponential that overflows, or a rate that is too high.",
                )
            ]
    return []


def _from_layer_to_layer(graph: Graph) -> list[Finding]:
    norms = [(node, node.gradient_norm) for node in weight_layers(graph) if node.gradient_norm is not None]
    if len(norms) < FEWEST_LAYERS:
        return []
    (first, low), (last, high) = norms[0], norms[-1]
    if not high > 0:
        return []
    ratio = low / high
    mean = ratio ** (1 / (len(norms) - 1))
    if not GRADIENT_RATIO <= ratio <= 1 / GRADIENT_RATIO:
        steps = [(a / b if b else 0.0, node) for (node, a), (_, b) in pairwise(norms)]
        small = ratio < GRADIENT_RATIO
        _, worst = (min if small else max)(steps, key=lambda step: step[0])
        return [
            Finding(
                "vanishing gradient" if small else "exploding gradient",
                layer_name(graph, first),
                ratio,
                f"{GRADIENT_RATIO:g} to {1 / GRADIENT_RATIO:g}",
                f"The gradient's norm here over that at {layer_name(graph, last)}: a factor of {mean:.3g} a layer over "
                f"{len(norms)} layers, the worst at {layer_name(graph, worst)}.",
                "ReLU or tanh instead of the logistic function, Xavier or He initialisation, batch normalisation, shortcuts."
                if small
                else "Smaller initial weights (Xavier or He), batch normalisation, a lower rate, clipping of the gradient's norm.",
            )
        ]
    return []


def _units(graph: Graph) -> list[Finding]:
    found = []
    feeding = _feeds_a_layer(graph)
    for node in graph.nodes:
        if node.dead is not None and node.dead > DEAD_SHARE and node.shape[0] > 1:
            found.append(
                Finding(
                    "dead units",
                    layer_name(graph, node),
                    node.dead,
                    f"at most {DEAD_SHARE:g}",
                    f"The share of units that are zero for all {node.shape[0]} samples of the batch; they get no gradient.",
                    "A lower rate, biases that begin at 0, He initialisation, or leaky ReLU.",
                )
            )
        if node.saturated is not None and node.saturated > SATURATED_SHARE and node.index in feeding:
            found.append(
                Finding(
                    "saturated units",
                    layer_name(graph, node),
                    node.saturated,
                    f"at most {SATURATED_SHARE:g}",
                    f"The share of values where {node.op} is nearly flat and lets no gradient through.",
                    "Standardised inputs, smaller initial weights (Xavier), batch normalisation, or ReLU.",
                )
            )
    return found


def mean_shifts(graph: Graph) -> dict[str, float]:
    """The mean over the deviation of each rectifier's outputs that a layer with weights takes as they are, by layer.

    What is normalised on the way has no shift any more.
    """
    found: dict[int, float] = {}
    layers = {node.index for node in weight_layers(graph)}
    stack, seen = [edge.source for index in layers for edge in graph.nodes[index].edges], set[int]()
    while stack:
        node = graph.nodes[stack.pop()]
        if node.index in seen:
            continue
        seen.add(node.index)
        if node.op in ("relu", "relu6", "threshold"):
            s = node.statistics
            if s is not None and s.std > 0:
                found[node.index] = s.mean / s.std
        elif "norm" not in node.op and node.index not in layers:
            stack.extend(edge.source for edge in node.edges)
    return {layer_name(graph, graph.nodes[index]): found[index] for index in sorted(found)}


def _shifts(graph: Graph) -> list[Finding]:
    return [
        Finding(
            "mean shift",
            layer,
            shift,
            f"at most {MEAN_SHIFT:g}",
            "The mean of its outputs over their deviation; a rectifier's mean is always above 0, 0.68 deviations where its "
            "inputs have mean 0, and the next layer takes it for a bias that moves with every update.",
            "Batch normalisation, biases that begin at 0, standardised inputs, or ELU, whose mean is nearer to 0.",
        )
        for layer, shift in mean_shifts(graph).items()
        if shift > MEAN_SHIFT
    ]


def _feeds_a_layer(graph: Graph) -> set[int]:
    """The nodes that a layer with weights comes after: an output that is sure of itself is no problem."""
    found: set[int] = set()
    stack = [edge.source for node in weight_layers(graph) for edge in node.edges]
    while stack:
        index = stack.pop()
        if index not in found:
            found.add(index)
            stack.extend(edge.source for edge in graph.nodes[index].edges)
    return found


# -- with the module ------------------------------------------------------------------------------------------------------


def _gradients(module: nn.Module, objective: Callable[..., Tensor], inputs: Sequence[Any]) -> dict[str, Tensor | None]:
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    kept = [(b, b.detach().clone()) for b in module.buffers()]
    try:
        with torch.enable_grad():
            found = torch.autograd.grad(objective(*inputs), list(named.values()), allow_unused=True)
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
    return dict(zip(named, found, strict=True))


def without_gradient(module: nn.Module, objective: Callable[..., Tensor], inputs: Sequence[Any]) -> list[Finding]:
    """Parameters that the loss does not depend on, or whose gradient is zero in every number."""
    found = []
    for name, gradient in _gradients(module, objective, inputs).items():
        if gradient is None:
            found.append(
                Finding(
                    "parameter without gradient",
                    name,
                    0.0,
                    "above 0",
                    "The loss does not depend on it.",
                    "Use it in forward, look for detach(), .data, no_grad() or argmax on the way, or take it out.",
                )
            )
        elif not norm_of(gradient):
            found.append(
                Finding(
                    "gradient of zero",
                    name,
                    0.0,
                    "above 0",
                    "Every number of its gradient is exactly 0 on this batch.",
                    "Look at the units after it: dead, saturated to the last bit, or multiplied by 0.",
                )
            )
    return found


def updates(
    module: nn.Module, optimizer: torch.optim.Optimizer, objective: Callable[..., Tensor], inputs: Sequence[Any]
) -> list[Finding]:
    """Tries one step and takes it back: weights whose change is far too large or too small beside themselves."""
    gradients = _gradients(module, objective, inputs)
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    before = {name: (p.detach().clone(), p.grad) for name, p in named.items()}
    state = copy.deepcopy(optimizer.state_dict())
    ratios: dict[str, float] = {}
    try:
        for name, p in named.items():
            p.grad = gradients[name]
        optimizer.step()
        for name, p in named.items():
            weight = before[name][0].double()
            gradient = gradients[name]
            if p.dim() >= 2 and gradient is not None and norm_of(gradient) and float(weight.norm()) > 0:
                ratios[name] = float((p.detach().double() - weight).norm() / weight.norm())
    finally:
        with torch.no_grad():
            for name, p in named.items():
                p.copy_(before[name][0])
                p.grad = before[name][1]
        optimizer.load_state_dict(state)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found = []
    for name, ratio in ratios.items():
        if id(named[name]) not in held:
            found.append(
                Finding(
                    "parameter not in the optimiser",
                    name,
                    0.0,
                    f"{UPDATE_LOW:g} to {UPDATE_HIGH:g}",
                    "It has a gradient, and no update rule changes it.",
                    "Hand it to the optimiser, or freeze it.",
                )
            )
        elif not UPDATE_LOW <= ratio <= UPDATE_HIGH:
            small = ratio < UPDATE_LOW
            found.append(
                Finding(
                    "update too small" if small else "update too large",
                    name,
                    ratio,
                    f"{UPDATE_LOW:g} to {UPDATE_HIGH:g}",
                    "The norm of one step over the norm of the weights; about 0.001 is usual.",
                    f"{'Raise' if small else 'Lower'} the learning rate, by a factor of about {_factor(ratio)}.",
                )
            )
    return found


def _factor(ratio: float) -> str:
    return (
        f"{1e-3 / ratio:.0g}"
        if 0 < ratio < 1e-3
        else f"{ratio / 1e-3:.0g}"
        if ratio
        else "ten, or look at the gradient"
    )


TOPICS = (Topic("Computational graph with values and gradients", code=("diagnose",)),)
