"""The chain rule done by hand on a finished graph, to be compared with what autograd said."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.introspection.graph.record import WRITTEN, Edge, Graph, Node


def vector_jacobian_product(node: Node, edge: Edge) -> Tensor | None:
    """dL/dy dy/dv for one use of a value v in y, a vector-Jacobian product; None where a factor is not kept.

    Of a complex y real and imaginary part count as two numbers: dL/dRe y times what it hands back, and the same of Im.
    """
    if node.gradient is None or edge.local is None:
        return None
    by_hand = _product(node.gradient.real if node.gradient.is_complex() else node.gradient, edge.local, edge)
    if edge.local_imaginary is not None and node.gradient.is_complex():
        by_hand = by_hand + _product(node.gradient.imag, edge.local_imaginary, edge)
    return by_hand


def _size(node: Node, edge: Edge) -> float:
    """The largest sum of the sizes of the terms that make up a number of the product: what its rounding goes by."""
    if node.gradient is None or edge.local is None:
        return 0.0
    terms = _product(node.gradient.abs(), edge.local.abs(), edge)
    return float(terms.abs().max()) if terms.numel() else 0.0


def _product(gradient: Tensor, local: Tensor, edge: Edge) -> Tensor:
    gradient, local = _wide(gradient), _wide(local)
    if edge.elementwise:
        return gradient * local
    return torch.tensordot(
        gradient.to(local.dtype), local, dims=gradient.dim()
    )  # (y's shape) x (y's shape + v's shape)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def check(graph: Graph) -> float:
    """The largest relative error of the chain rule done by hand, over all nodes whose numbers are kept.

    Relative to the gradient or, where its terms cancel as those of a normalisation do, to the sum of their sizes. At each operation arriving gradient times local derivative is compared with what autograd handed back, and at each
    value the sum over its uses with what autograd says arrives. In float64 it is a few units of rounding.

    >>> from chainrule.introspection.graph.trace import graph
    >>> check(graph(lambda x, y: x * y + x, 2.0, 3.0))
    0.0
    """
    worst = 0.0
    sums: dict[int, Tensor] = {
        node.index: _wide(node.seed) for node in graph.nodes if node.seed is not None and node.gradient is not None
    }
    # Over edges: the product by hand against what autograd passed; summed up for the nodes.
    unknown: set[int] = set()
    sizes = dict.fromkeys(sums, 0.0)
    for node in graph.nodes:
        if node.op == WRITTEN:  # views of it may hand back to it what no edge shows
            unknown.add(node.index)
        for edge in node.edges:
            by_hand = vector_jacobian_product(node, edge)
            size = _size(node, edge)
            sizes[edge.source] = sizes.get(edge.source, 0.0) + size
            if by_hand is not None and edge.passed is not None:
                worst = max(worst, _difference(by_hand, edge.passed, size))
            part = by_hand if by_hand is not None else edge.passed
            part = None if part is None else _wide(part)
            if (edge.passed_norm is not None and part is None) or (
                node.kind == "hidden" or not _is_complete(node, edge)
            ):
                unknown.add(edge.source)
            elif part is not None:
                sums[edge.source] = sums[edge.source] + part if edge.source in sums else part
    # Over nodes: the sum over the uses against the gradient that arrived, where every use is known.
    for index, total in sums.items():
        gradient = graph.nodes[index].gradient
        if index not in unknown and gradient is not None:
            worst = max(worst, _difference(total, gradient, sizes[index]))
    return worst


def _is_complete(node: Node, edge: Edge) -> bool:
    """Whether it is known what this use contributes: nothing, where no gradient came to the node at all."""
    return edge.sibling or edge.passed_norm is not None or node.gradient_norm is None or not node.differentiable


def _difference(by_hand: Tensor, autograd: Tensor, size: float) -> float:
    if not autograd.numel():
        return 0.0
    smallest = torch.finfo(autograd.dtype).tiny  # below it digits are lost, and then the number itself
    autograd = _wide(autograd)
    return float((by_hand - autograd).abs().max() / autograd.abs().max().clamp_min(max(smallest, size)))
