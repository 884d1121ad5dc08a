"""Local derivatives in symbols: what each operation does to a small change of each of its arguments.

The numbers of a graph come from autograd. The rules here say in symbols where they come from, and a test holds every
one of them against autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from chainrule.core.course import Topic


@dataclass(frozen=True)
class Rule:
    """An element-wise operation: how it is written, and the derivative for each argument.

    `{0}` and `{1}` stand for the arguments and `{y}` for the result; `numbers` compute the same from their values.
    """

    written: str
    partials: tuple[str, ...]
    numbers: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...]


def _rule(written: str, *pairs: tuple[str, Callable[[Tensor, Tensor, Tensor], Tensor]]) -> Rule:
    return Rule(written, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def _step(condition: Tensor) -> Tensor:
    return condition.double()


# The second argument `b` is unused where an operation has one; `y` is the result.
RULES: dict[str, Rule] = {
    "add": _rule("{0} + {1}", ("1", lambda a, b, y: 1 + 0 * a), ("1", lambda a, b, y: 1 + 0 * a)),
    "sub": _rule("{0} - {1}", ("1", lambda a, b, y: 1 + 0 * a), ("-1", lambda a, b, y: 0 * a - 1)),
    "mul": _rule("{0} * {1}", ("{1}", lambda a, b, y: b), ("{0}", lambda a, b, y: a)),
    "div": _rule("{0} / {1}", ("1 / {1}", lambda a, b, y: 1 / b), ("-{0} / {1}^2", lambda a, b, y: -a / b**2)),
    "pow": _rule(
        "{0} ^ {1}",
        ("{1} * {0}^({1} - 1)", lambda a, b, y: b * a ** (b - 1)),
        ("{y} * ln {0}", lambda a, b, y: y * a.log()),
    ),
    "neg": _rule("-{0}", ("-1", lambda a, b, y: 0 * a - 1)),
    "exp": _rule("exp {0}", ("{y}", lambda a, b, y: y)),
    "log": _rule("ln {0}", ("1 / {0}", lambda a, b, y: 1 / a)),
    "log1p": _rule("ln(1 + {0})", ("1 / (1 + {0})", lambda a, b, y: 1 / (1 + a))),
    "expm1": _rule("exp {0} - 1", ("{y} + 1", lambda a, b, y: y + 1)),
    "sqrt": _rule("sqrt {0}", ("1 / (2 {y})", lambda a, b, y: 1 / (2 * y))),
    "rsqrt": _rule("1 / sqrt {0}", ("-{y}^3 / 2", lambda a, b, y: -(y**3) / 2)),
    "reciprocal": _rule("1 / {0}", ("-{y}^2", lambda a, b, y: -(y**2))),
    "square": _rule("{0}^2", ("2 {0}", lambda a, b, y: 2 * a)),
    "abs": _rule("|{0}|", ("sign {0}", lambda a, b, y: a.sign())),
    "sin": _rule("sin {0}", ("cos {0}", lambda a, b, y: a.cos())),
    "cos": _rule("cos {0}", ("-sin {0}", lambda a, b, y: -a.sin())),
    "tan": _rule("tan {0}", ("1 + {y}^2", lambda a, b, y: 1 + y**2)),
    "tanh": _rule("tanh {0}", ("1 - {y}^2", lambda a, b, y: 1 - y**2)),
    "sigmoid": _rule("sigmoid {0}", ("{y} (1 - {y})", lambda a, b, y: y * (1 - y))),
    "softplus": _rule("softplus {0}", ("sigmoid {0}", lambda a, b, y: a.sigmoid())),
    "relu": _rule("relu {0}", ("1 if {0} > 0, else 0", lambda a, b, y: _step(a > 0))),
    "relu6": _rule("relu6 {0}", ("1 if 0 < {0} < 6, else 0", lambda a, b, y: _step((a > 0) & (a < 6)))),
    "hardtanh": _rule("hardtanh {0}", ("1 if -1 < {0} < 1, else 0", lambda a, b, y: _step(a.abs() < 1))),
    "silu": _rule(
        "{0} sigmoid {0}",
        ("s + {0} s (1 - s), s = sigmoid {0}", lambda a, b, y: a.sigmoid() * (1 + a * (1 - a.sigmoid()))),
    ),
    "maximum": _rule(
        "max({0}, {1})",
        ("1 if {0} > {1}, half at a tie, else 0", lambda a, b, y: _step(a > b) + 0.5 * _step(a == b)),
        ("1 if {1} > {0}, half at a tie, else 0", lambda a, b, y: _step(b > a) + 0.5 * _step(a == b)),
    ),
    "minimum": _rule(
        "min({0}, {1})",
        ("1 if {0} < {1}, half at a tie, else 0", lambda a, b, y: _step(a < b) + 0.5 * _step(a == b)),
        ("1 if {1} < {0}, half at a tie, else 0", lambda a, b, y: _step(b < a) + 0.5 * _step(a == b)),
    ),
}

# Operations on whole tensors: what becomes of the arriving gradient g, for each argument in turn.
WORDS: dict[str, tuple[str, ...]] = {
    "matmul": ("g times the second factor transposed", "the first factor transposed times g"),
    "linear": ("g W", "g transposed times the input", "the sum of g over all rows"),
    "conv1d": ("g convolved with the kernels", "the input correlated with g", "the sum of g over batch and positions"),
    "conv2d": ("g convolved with the kernels", "the input correlated with g", "the sum of g over batch and positions"),
    "conv3d": ("g convolved with the kernels", "the input correlated with g", "the sum of g over batch and positions"),
    "max_pool2d": ("g to the place of each maximum, 0 elsewhere",),
    "avg_pool2d": ("g shared equally over each field",),
    "adaptive_avg_pool2d": ("g shared equally over each field",),
    "sum": ("g to every summand",),
    "mean": ("g / n to every one of the n numbers",),
    "flatten": ("g in the former shape",),
    "view": ("g in the former shape",),
    "reshape": ("g in the former shape",),
    "squeeze": ("g in the former shape",),
    "unsqueeze": ("g in the former shape",),
    "transpose": ("g transposed back",),
    "permute": ("g with the axes put back",),
    "T": ("g transposed",),
    "getitem": ("g at the places that were taken, 0 elsewhere",),
    "cat": ("its part of g",) * 8,
    "stack": ("its part of g",) * 8,
    "expand": ("the sum of g over the copies",),
    "clone": ("g",),
    "contiguous": ("g",),
    "to": ("g",),
    "float": ("g",),
    "softmax": ("p (g - sum of p g), p the result",),
    "log_softmax": ("g - p sum of g, p = exp of the result",),
    "cross_entropy": ("(p - target) / n, p = softmax of the logits, times g",),
    "mse_loss": ("2 (prediction - target) / n, times g", "2 (target - prediction) / n, times g"),
    "embedding": ("none: numbers of rows", "g added to the rows that were looked up"),
    "dropout": ("g where it was kept, times 1 / (1 - p); 0 where it was dropped",),
    "detach": ("0: the gradient stops here",),
    "data": ("0: the gradient stops here",),
}

_SAME = {
    "radd": "add",
    "iadd": "add",
    "isub": "sub",
    "imul": "mul",
    "itruediv": "div",
    "idiv": "div",
    "rmul": "mul",
    "rsub": "sub",
    "truediv": "div",
    "rtruediv": "div",
    "rdiv": "div",
    "true_divide": "div",
    "divide": "div",
    "subtract": "sub",
    "multiply": "mul",
    "rpow": "pow",
    "ipow": "pow",
    "negative": "neg",
    "absolute": "abs",
    "mm": "matmul",
    "bmm": "matmul",
    "mv": "matmul",
    "dot": "matmul",
    "rmatmul": "matmul",
    "imatmul": "matmul",
    "concat": "cat",
    "concatenate": "cat",
    "logsigmoid": "log_sigmoid",
}
_SWAPPED = {"rsub", "rtruediv", "rdiv", "rpow", "rmatmul"}


def plain_name(name: str) -> tuple[str, bool, bool]:
    """An operation's name without its clothes, whether its arguments are swapped, whether it writes in place.

    >>> plain_name("__rsub__"), plain_name("mul_"), plain_name("__setitem__"), plain_name("conv2d")
    (('sub', True, False), ('mul', False, True), ('setitem', False, True), ('conv2d', False, False))
    """
    special = name.startswith("__") and name.endswith("__")
    bare = name.strip("_")
    augmented = bare in _SAME and bare.startswith("i")
    in_place = bare == "setitem" or augmented if special else name.endswith("_")
    return _SAME.get(bare, bare), bare in _SWAPPED, in_place


def written(op: str, operands: Sequence[str]) -> str:
    """An operation on named operands, as a person writes it.

    >>> written("mul", ["h1", "x"]), written("add", ["w * x", "b"]), written("conv2d", ["x", "weight"])
    ('h1 * x', '(w * x) + b', 'conv2d(x, weight)')
    """
    rule = RULES.get(op)
    if rule is None or len(operands) < len(rule.partials):
        words = [word for word in operands if len(word) <= 24 and word not in ("True", "False")]
        return f"{op}({', '.join(words)})"
    return rule.written.format(*map(bracketed, operands), y="")


def partial(op: str, argument: int, operands: Sequence[str], result: str) -> str:
    """The local derivative with respect to one argument, in symbols, or what becomes of the gradient in words.

    >>> partial("mul", 0, ["h1", "h2"], "f"), partial("exp", 0, ["x"], "h1"), partial("linear", 2, ["x", "W", "b"], "h1")
    ('h2', 'h1', 'the sum of g over all rows')
    """
    rule = RULES.get(op)
    if rule is not None and argument < len(rule.partials) <= len(operands):
        return rule.partials[argument].format(*map(bracketed, operands), y=result)
    words = WORDS.get(op, ())
    return words[argument] if argument < len(words) else ""


def bracketed(operand: str) -> str:
    """An operand that is more than a name or a number, or negative, in brackets."""
    plain = operand.replace("_", "").replace(".", "").replace("'", "").replace("#", "").replace("e-", "").isalnum()
    return operand if plain else f"({operand})"


# -- activation functions -----------------------------------------------------------------------------------------------

FLAT = 0.05  # a unit is saturated where the slope is below this share of the steepest


def dead_share(op: str, value: Tensor, channels_second: bool) -> float | None:
    """The share of units of a ReLU that are zero for every sample (and place) of the batch; None for other operations.

    A unit is a channel where `channels_second`, else a column of the last dimension.

    >>> import torch
    >>> dead_share("relu", torch.tensor([[0.0, 1.0], [0.0, 0.0]]), False)
    0.5
    """
    if op not in ("relu", "relu6", "threshold") or value.dim() < 2 or not value.numel():
        return None
    unit = 1 if channels_second else value.dim() - 1
    others = [d for d in range(value.dim()) if d != unit]
    return float(_all(value.detach() == 0, others).double().mean())


def _all(mask: Tensor, dims: list[int]) -> Tensor:
    for dim in sorted(dims, reverse=True):
        mask = mask.all(dim)
    return mask


def saturated_share(op: str, value: Tensor) -> float | None:
    """The share of a squashing function's values where its slope is below 5 % of the steepest; None for others.

    The slope of tanh is 1 - y^2, of the logistic function y (1 - y), of the hard forms 0 outside.

    >>> import torch
    >>> saturated_share("tanh", torch.tensor([0.0, 0.99])), saturated_share("sigmoid", torch.tensor([0.5, 0.001]))
    (0.5, 0.5)
    """
    if op not in ("tanh", "sigmoid", "hardtanh", "hardsigmoid") or not value.numel():
        return None
    y = value.detach().double()
    if op == "tanh":
        flat = 1 - y**2 < FLAT
    elif op == "sigmoid":
        flat = 4 * y * (1 - y) < FLAT
    else:
        flat = (y >= 1) | (y <= (-1 if op == "hardtanh" else 0))
    return float(flat.double().mean())


TOPICS = (
    Topic(
        "Computational graph with values and gradients",
        "带数值和梯度的计算图",
        lectures=(1, 3, 4),
        code=("partial",),
        command='chainrule explain "(x+y)*(y-z)" x=-1 y=3 z=2',
    ),
)
