"""How numbers, shapes and tensors stand in the figure, the text and the page."""

from __future__ import annotations

from torch import Tensor

from chainrule.introspection.graph.record import Node


def short(number: float | None) -> str:
    """Four digits, as a person writes them.

    >>> [short(x) for x in (2.0, -0.19661193, 1.5e-9, 12345.678, 0.0, None)]
    ['2', '-0.1966', '1.5e-09', '1.235e+04', '0', 'none']
    """
    if number is None:
        return "none"
    return f"{0.0 if number == 0 else number:.4g}"


def listed(tensor: Tensor, most: int = 6) -> str:
    """A small tensor in brackets, its first numbers.

    >>> import torch
    >>> listed(torch.tensor([1.0, 0.5])), listed(torch.tensor(3 - 2j)), listed(torch.arange(9))
    ('[1, 0.5]', '3-2i', '[0, 1, 2, 3, 4, 5, …]')
    """
    values = tensor.flatten().tolist()
    if tensor.dim() == 0:
        return _value(values[0])
    return "[" + ", ".join([*map(_value, values[:most]), *(["…"] if len(values) > most else [])]) + "]"


def _value(value: object) -> str:
    if isinstance(value, complex):
        return f"{short(value.real)}{'-' if value.imag < 0 else '+'}{short(abs(value.imag))}i"
    return short(value) if isinstance(value, float) else str(value)


def shape_of(node: Node) -> str:
    """Shape, and the kind of number where it is not a floating-point one."""
    shape = " × ".join(map(str, node.shape)) if node.shape else "scalar"
    return shape if node.dtype.startswith("float") else f"{shape} {node.dtype}"


def brief(node: Node) -> str:
    """The value in one line: the number, or mean ± deviation and share of zeros."""
    if node.value is not None and node.value.numel() <= 4 and node.value.dim() <= 1:
        return listed(node.value)
    s = node.statistics
    if s is None:
        return "not a dense tensor"
    if s.unusual:
        return f"{s.unusual} nan or infinite"
    zeros = f" · {100 * s.zeros:.0f} % zeros" if s.zeros >= 0.005 else ""
    return f"{s.mean:.3g} ± {s.std:.3g}{zeros}"
