"""Local derivatives in symbols: what each operation does to a small change of each of its arguments.

The numbers of a graph come from autograd. The rules here say in symbols where they come from, and a test holds every
one of them against autograd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from chainrule.core.course import Topic
from chainrule.introspection.graph.elementwise import RULES as RULES
from chainrule.introspection.graph.elementwise import Rule, rule_of

# Operations on whole tensors: what becomes of the arriving gradient g, for each argument in turn.
WORDS: dict[str, tuple[str, ...]] = {
    "as_strided": ("g at the places that were taken, 0 elsewhere",),
    "as_strided_scatter": ("g, 0 at the places that were written", "g at the places that were written"),
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
    "complex": ("the real part of g", "the imaginary part of g"),
    "real": ("g",),
    "imag": ("i g",),
    "conj": ("the conjugate of g",),
}


def _affine(left: str, right: str, alpha: str, beta: str) -> tuple[str, ...]:
    """beta * c + alpha * a b: what becomes of g for c, a and b."""
    a, b = "" if alpha == "1" else f"{alpha} * ", "" if beta == "1" else f"{beta} * "
    return (f"{b}g, summed over what c was copied to", f"{a}{left}", f"{a}{right}")


_FACTORS = ("g times the second factor transposed", "the first factor transposed times g")
_AFFINE = {
    **dict.fromkeys(("addmm", "addbmm", "baddbmm"), _FACTORS),
    "addmv": ("g as a column times the vector as a row", "the matrix transposed times g"),
    "addr": ("g times the second vector", "g transposed times the first vector"),
}


def words_for(op: str, arguments: Sequence[object]) -> tuple[str, ...]:
    """What becomes of the arriving gradient g for each argument of an operation on whole tensors, as it was called.

    >>> words_for("addmm", [0, 1, 2, "alpha=2"])[1], words_for("mse_loss", [0, 1, "reduction=sum"])[0]
    ('2 * g times the second factor transposed', '2 (prediction - target), times g')
    """
    told = dict(word.split("=", 1) for word in arguments if isinstance(word, str) and "=" in word)
    if op in _AFFINE:
        return _affine(*_AFFINE[op], told.get("alpha", "1"), told.get("beta", "1"))
    words = WORDS.get(op, ())
    if op in ("mse_loss", "cross_entropy"):
        if "sum" in arguments or "none" in arguments or told.get("reduction", "mean") != "mean":
            words = tuple(word.replace(" / n", "").replace("(2 (", "2 (") for word in words)
        if op == "cross_entropy" and (told.keys() & {"label_smoothing", "weight"} or _tensors_among(arguments) > 2):
            words = ("(p - target) with its weights and smoothing, p = softmax of the logits, times g",)
    if op == "avg_pool2d" and ("divisor_override" in told or len(arguments) > 6):
        words = ("g / the divisor to every number of the field",)
    return words


def _tensors_among(arguments: Sequence[object]) -> int:
    return sum(isinstance(argument, int) for argument in arguments)


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
    "clip": "clamp",
    "swapaxes": "transpose",
    "swapdims": "transpose",
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


def written(op: str, operands: Sequence[str], options: Mapping[str, Any] | None = None) -> str:
    """An operation on named operands, as a person writes it.

    >>> written("mul", ["h1", "x"]), written("add", ["w * x", "b"], {"alpha": 2}), written("conv2d", ["x", "weight"])
    ('h1 * x', '(w * x) + 2 * b', 'conv2d(x, weight)')
    """
    rule = _rule_with(op, operands, options)
    if rule is None:
        words = [word for word in operands if len(word) <= 24 and word not in ("True", "False")]
        return f"{op}({', '.join(words)})"
    return rule.written.format(*map(bracketed, operands), y="")


def partial(
    op: str, argument: int, operands: Sequence[str], result: str, options: Mapping[str, Any] | None = None
) -> str:
    """The local derivative of an element-wise operation with respect to one argument, in symbols; else nothing.

    >>> partial("mul", 0, ["h1", "h2"], "f"), partial("exp", 0, ["x"], "h1"), partial("sub", 1, ["x", "y"], "f", {"alpha": 2})
    ('h2', 'h1', '-2')
    """
    rule = _rule_with(op, operands, options)
    if rule is not None and argument < len(rule.partials):
        return rule.partials[argument].format(*map(bracketed, operands), y=result)
    return ""


def _rule_with(op: str, operands: Sequence[str], options: Mapping[str, Any] | None) -> Rule | None:
    rule = rule_of(op, options)
    return rule if rule is not None and len(rule.partials) <= len(operands) else None


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


def saturated_share(op: str, value: Tensor, options: Mapping[str, Any] | None = None) -> float | None:
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
        told = options or {}
        flat = (y >= told.get("max_val", 1)) | (y <= told.get("min_val", -1 if op == "hardtanh" else 0))
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
