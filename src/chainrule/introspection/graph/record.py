"""What the trace of one computation holds: nodes, the edges between them, the calls of modules around them; no more."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import unknown

WRITTEN = "written through a view"  # the operation of a hidden node whose value autograd alone saw change
MAX_NUMBERS = 64  # of a larger tensor only statistics are kept


@dataclass(frozen=True)
class Statistics:
    """A tensor in a few numbers, computed in double precision over its finite values.

    Attributes:
        count: how many numbers it has.
        mean, std: their mean and (population) standard deviation.
        zeros: the share that is exactly zero, 0 to 1.
        norm: the Euclidean norm.
        low, high: the smallest and the largest.
        unusual: how many are nan or infinite.
    """

    count: int
    mean: float
    std: float
    zeros: float
    norm: float
    low: float
    high: float
    unusual: int


def statistics(tensor: Tensor) -> Statistics:
    """The statistics of any dense tensor; complex numbers count by their absolute value.

    >>> s = statistics(torch.tensor([0.0, 3.0, 0.0, -4.0]))
    >>> s.norm, s.zeros, s.low, s.high
    (5.0, 0.5, -4.0, 3.0)
    """
    values = tensor.detach()
    if not values.is_floating_point():
        values = values.abs() if values.is_complex() else values.double()
    count, low, high = values.numel(), math.nan, math.nan
    norm = norm_of(values)
    unusual = 0
    if not math.isfinite(norm):
        values = values[values.isfinite()]
        unusual = count - values.numel()
        norm = norm_of(values)
    if not values.numel():
        return Statistics(count, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, unusual)
    size = values.numel()
    mean = float(values.sum(dtype=torch.float64)) / size
    variance = norm**2 / size - mean**2
    if variance < 1e-6 * mean**2 or not math.isfinite(
        variance
    ):  # the difference of two large numbers: take the long way
        variance = float(values.double().var(correction=0))
    low, high = (float(end) for end in values.aminmax())
    zeros = 1.0 - int(values.count_nonzero()) / size
    return Statistics(count, mean, math.sqrt(variance), zeros, norm, low, high, unusual)


def norm_of(tensor: Tensor) -> float:
    """The Euclidean norm in double precision; of a large tensor without a copy of it."""
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    return float(torch.linalg.vector_norm(tensor.detach(), dtype=wide)) if tensor.numel() else 0.0


@dataclass
class Edge:
    """One use of a value by an operation.

    Attributes:
        source: the index of the node that is used.
        local: the derivative of the operation's value with respect to this argument, by autograd of this one
            operation. For an element-wise operation on equal shapes it has that shape; otherwise it has the shape
            output + argument. None where either is too large, or where the operation is not seen by itself.
        elementwise: which of the two forms `local` has.
        passed: the gradient that the operation hands back along this edge; None where it is too large to keep.
        passed_norm: its Euclidean norm; None where no gradient came.
        rule: the local derivative in symbols.
        sibling: the source is another result of the same operation, which hands its gradient back together with this.
        local_imaginary: of a complex value, what its imaginary part hands back: `local` is for a gradient of 1 and this
            for one of i, by autograd's convention dL/dRe v + i dL/dIm v.
    """

    source: int
    local: Tensor | None = None
    elementwise: bool = False
    passed: Tensor | None = None
    passed_norm: float | None = None
    rule: str = ""
    sibling: bool = False
    local_imaginary: Tensor | None = None


@dataclass
class Node:
    """One value of the computation: an input, a parameter, a constant, or what an operation gave.

    Attributes:
        index: its place in the order of computing; sources stand before.
        kind: input, parameter, constant, operation, or hidden (computed where the trace could not look).
        op: the operation, in PyTorch's word (`mul`, `conv2d`); empty for the other kinds.
        name: the name of an input or a parameter; of a module for what it gave by one operation; else `h1`, `h2` and
            so on for operations, and `f` for the only output.
        expression: what it is computed by, in the names of its sources: `h1 * h2`.
        shape, dtype: of the value.
        value: the numbers, where they are at most 64.
        statistics: of the value.
        gradient: the derivative of the objective with respect to this value, where it has at most 64 numbers.
        gradient_norm: the Euclidean norm of the gradient; None where none arrives.
        differentiable: whether a gradient can arrive at all.
        edges: its uses of other values, in the order of the operation's arguments.
        arguments: for each argument the place of its edge, or what it is in words.
        in_place: it was written over its first argument.
        call: the index of the innermost module call around it, 0 outside of all.
        dead, saturated: for an activation function, the share of units that are zero for the whole batch, and the
            share of values where the function is nearly flat; None for the others.
        seed: for an output, the gradient that starts there.
        options: of an operation that `elementwise` knows, what it was told beside its operands: alpha, beta, bounds.
        own_backward: it is a `torch.autograd.Function`, differentiated by the backward that its author wrote.
    """

    index: int
    kind: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    call: int
    value: Tensor | None
    statistics: Statistics | None
    differentiable: bool
    name: str = ""
    expression: str = ""
    edges: list[Edge] = field(default_factory=list)
    arguments: list[int | str] = field(default_factory=list)
    in_place: bool = False
    gradient: Tensor | None = None
    gradient_norm: float | None = None
    dead: float | None = None
    saturated: float | None = None
    seed: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)
    own_backward: bool = False

    @property
    def number(self) -> float | None:
        """The value as a number, where it is a real one."""
        value = self.value
        return float(value) if value is not None and value.numel() == 1 and not value.is_complex() else None


@dataclass(frozen=True)
class Call:
    """One call of a module: its name in the whole (`layer1.0.conv1`), its class, and the call around it.

    A module that is called again has `#2` after its name, and so on. Call 0 is the whole computation.
    """

    index: int
    name: str
    kind: str
    parent: int


@dataclass(eq=False, repr=False)
class Graph:
    """One computation, forward and backward, as `trace.graph` finds it.

    Beside this record stand the functions of it: `drawing.text.to_text`, `drawing.svg.to_svg`, `drawing.page.write_page`,
    `by_hand.check` and `diagnose.diagnose`; `chainrule.inspect` has them all.

    Attributes:
        title: the function or module.
        nodes: the values in the order of computing; sources stand before.
        calls: the calls of modules around them.
        outputs: the indices of the nodes whose numbers the objective sums.
        objective: what the gradients are gradients of, in words.
        notes: what a reader should know: branches taken, numbers that left the graph, operations without effect.
    """

    title: str
    nodes: list[Node]
    calls: list[Call]
    outputs: list[int]
    objective: str
    notes: list[str]

    def __getitem__(self, name: str) -> Node:
        """The node of that name: an input, a parameter, `h1` and so on, `f` for the only output."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise unknown("there is no node", name, [node.name for node in self.nodes][:60])

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The class of each module that was called, by the name of the call."""
        return {call.name: call.kind for call in reversed(self.calls[1:])}

    @cached_property
    def uses(self) -> dict[int, list[tuple[Node, Edge]]]:
        """For each value the operations that use it, and their edges."""
        found: dict[int, list[tuple[Node, Edge]]] = {}
        for node in self.nodes:
            for edge in node.edges:
                found.setdefault(edge.source, []).append((node, edge))
        return found

    def __repr__(self) -> str:
        operations = sum(node.kind == "operation" for node in self.nodes)
        return f"<Graph of {self.title}: {len(self.nodes)} values, {operations} of them by operations>"
