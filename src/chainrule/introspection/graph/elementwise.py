"""Element-wise operations: how each is written, and its derivative for each argument, with what it was told besides.

`x.add(y, alpha=2)` is x + 2 y, so its derivative by y is 2: a rule is made for the options of a call.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Number = Callable[..., Tensor]  # of the operands and then the result


@dataclass(frozen=True)
class Rule:
    """An element-wise operation: how it is written, and the derivative for each argument.

    `{0}`, `{1}`, `{2}` stand for the arguments and `{y}` for the result; `numbers` compute the same from their values:
    of (a, b, y) where there are two arguments or one, then with any b, and of (a, b, c, y) where there are three.
    """

    written: str
    partials: tuple[str, ...]
    numbers: tuple[Number, ...]


def _rule(written: str, *pairs: tuple[str, Number]) -> Rule:
    return Rule(written, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def _step(condition: Tensor) -> Tensor:
    return condition.double()


# As they are without options. The second argument `b` is unused where an operation has one; `y` is the result.
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
    "abs": _rule("|{0}|", ("sign {0}", lambda a, b, y: a.sgn())),
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


# -- rules that depend on options ---------------------------------------------------------------------------------------


def _n(value: Any) -> str:
    """An option's number, in brackets where it is negative."""
    text = f"{value:g}" if isinstance(value, (int, float)) else str(value)
    return f"({text})" if text.startswith("-") else text


def _times(value: Any) -> str:
    return "" if value == 1 else f"{_n(value)} * "


def _add(alpha: Any = 1) -> Rule:
    return _rule(
        f"{{0}} + {_n(alpha)} * {{1}}", ("1", lambda a, b, y: 1 + 0 * a), (_n(alpha), lambda a, b, y: alpha + 0 * b)
    )


def _sub(alpha: Any = 1) -> Rule:
    return _rule(
        f"{{0}} - {_n(alpha)} * {{1}}",
        ("1", lambda a, b, y: 1 + 0 * a),
        (f"-{_n(alpha)}", lambda a, b, y: 0 * b - alpha),
    )


def _div(rounding_mode: str) -> Rule:
    return _rule(
        f"{rounding_mode}({{0}} / {{1}})",
        ("0: a step has no slope", lambda a, b, y: 0 * a),
        ("0: a step has no slope", lambda a, b, y: 0 * b),
    )


def _softplus(beta: float = 1, threshold: float = 20) -> Rule:
    linear = "" if threshold == 20 else f", 1 if {_n(beta)} * {{0}} > {_n(threshold)}"
    return _rule(
        f"ln(1 + exp({_n(beta)} * {{0}})) / {_n(beta)}",
        (
            f"sigmoid({_n(beta)} * {{0}}){linear}",
            lambda a, b, y: torch.where(beta * a > threshold, 1.0, (beta * a).sigmoid()),
        ),
    )


def _hardtanh(min_val: float = -1, max_val: float = 1) -> Rule:
    return _rule(
        f"clip({{0}}, {_n(min_val)}, {_n(max_val)})",
        (f"1 if {_n(min_val)} < {{0}} < {_n(max_val)}, else 0", lambda a, b, y: _step((a > min_val) & (a < max_val))),
    )


def _elu(alpha: float = 1) -> Rule:
    return _rule(
        f"{{0}} if {{0}} > 0, else {_times(alpha)}(exp {{0}} - 1)",
        (f"1 if {{0}} > 0, else {_times(alpha)}exp {{0}}", lambda a, b, y: torch.where(a > 0, 1.0, alpha * a.exp())),
    )


def _celu(alpha: float = 1) -> Rule:
    return _rule(
        f"{{0}} if {{0}} > 0, else {_times(alpha)}(exp({{0}} / {_n(alpha)}) - 1)",
        (f"1 if {{0}} > 0, else exp({{0}} / {_n(alpha)})", lambda a, b, y: torch.where(a > 0, 1.0, (a / alpha).exp())),
    )


def _leaky_relu(negative_slope: float = 0.01) -> Rule:
    return _rule(
        f"{{0}} if {{0}} > 0, else {_n(negative_slope)} * {{0}}",
        (f"1 if {{0}} > 0, else {_n(negative_slope)}", lambda a, b, y: torch.where(a > 0, 1.0, negative_slope + 0 * a)),
    )


def _threshold(threshold: float, value: float) -> Rule:
    return _rule(
        f"{{0}} if {{0}} > {_n(threshold)}, else {_n(value)}",
        (f"1 if {{0}} > {_n(threshold)}, else 0", lambda a, b, y: _step(a > threshold)),
    )


def _gelu(approximate: str = "none") -> Rule:
    if approximate == "none":

        def slope(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
            density = torch.exp(-(a**2) / 2) / math.sqrt(2 * math.pi)
            return (1 + torch.erf(a / math.sqrt(2))) / 2 + a * density

        return _rule("{0} Phi({0})", ("Phi({0}) + {0} phi({0}), the normal distribution and its density", slope))
    root, cubic = math.sqrt(2 / math.pi), 0.044715

    def slope_of_tanh(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
        t = torch.tanh(root * (a + cubic * a**3))
        return (1 + t) / 2 + a * (1 - t**2) * root * (1 + 3 * cubic * a**2) / 2

    return _rule(
        "{0} (1 + tanh u) / 2, u = 0.7979 ({0} + 0.04472 {0}^3)",
        (
            "(1 + t) / 2 + {0} (1 - t^2) 0.7979 (1 + 0.1341 {0}^2) / 2, t = tanh(0.7979 ({0} + 0.04472 {0}^3))",
            slope_of_tanh,
        ),
    )


def _addc(sign: str, value: Any = 1) -> Rule:
    """a + value b c, and a + value b / c."""
    v = _times(value)
    if sign == "*":
        return _rule(
            f"{{0}} + {v}{{1}} * {{2}}",
            ("1", lambda a, b, c, y: 1 + 0 * a),
            (f"{v}{{2}}", lambda a, b, c, y: value * c),
            (f"{v}{{1}}", lambda a, b, c, y: value * b),
        )
    return _rule(
        f"{{0}} + {v}{{1}} / {{2}}",
        ("1", lambda a, b, c, y: 1 + 0 * a),
        (f"{v}1 / {{2}}", lambda a, b, c, y: value / c),
        (f"-{v}{{1}} / {{2}}^2", lambda a, b, c, y: -value * b / c**2),
    )


def _clamp(bounds: str) -> Rule:
    """min({0}, upper), max({0}, lower), or both; on a bound the gradient goes to {0}."""
    if bounds == "min":
        return _rule(
            "max({0}, {1})",
            ("1 if {0} >= {1}, else 0", lambda a, b, y: _step(a >= b)),
            ("1 if {0} < {1}, else 0", lambda a, b, y: _step(a < b)),
        )
    if bounds == "max":
        return _rule(
            "min({0}, {1})",
            ("1 if {0} <= {1}, else 0", lambda a, b, y: _step(a <= b)),
            ("1 if {0} > {1}, else 0", lambda a, b, y: _step(a > b)),
        )
    return _rule(
        "clip({0}, {1}, {2})",
        ("1 if {1} <= {0} <= {2}, else 0", lambda a, b, c, y: _step((a >= b) & (a <= c))),
        ("1 if {0} < {1} < {2}, else 0", lambda a, b, c, y: _step((a < b) & (b < c))),
        ("1 if {0} > {2} or {1} > {2}, else 0", lambda a, b, c, y: _step((a > c) | (b > c))),
    )


_LERP = _rule(
    "{0} + {2} * ({1} - {0})",
    ("1 - {2}", lambda a, b, c, y: 1 - c),
    ("{2}", lambda a, b, c, y: c),
    ("{1} - {0}", lambda a, b, c, y: b - a),
)
_LOG_SIGMOID = _rule("ln sigmoid {0}", ("1 - sigmoid {0}", lambda a, b, y: (-a).sigmoid()))

# For each operation its operands, what it can be told beside them in the order of its arguments, and the rule for it.
OPERATIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Rule] | None]] = {
    **{name: (("input", "other")[: len(rule.partials)], (), None) for name, rule in RULES.items()},
    "add": (("input", "other"), ("alpha",), _add),
    "sub": (("input", "other"), ("alpha",), _sub),
    "div": (("input", "other"), ("rounding_mode",), _div),
    "pow": (("input", "exponent"), (), None),
    "softplus": (("input",), ("beta", "threshold"), _softplus),
    "hardtanh": (("input",), ("min_val", "max_val", "inplace"), _hardtanh),
    "relu": (("input",), ("inplace",), None),
    "relu6": (("input",), ("inplace",), None),
    "silu": (("input",), ("inplace",), None),
    "elu": (("input",), ("alpha", "inplace"), _elu),
    "celu": (("input",), ("alpha", "inplace"), _celu),
    "leaky_relu": (("input",), ("negative_slope", "inplace"), _leaky_relu),
    "threshold": (("input",), ("threshold", "value", "inplace"), _threshold),
    "gelu": (("input",), ("approximate",), _gelu),
    "log_sigmoid": (("input",), (), lambda: _LOG_SIGMOID),
    "addcmul": (("input", "tensor1", "tensor2"), ("value",), lambda value=1: _addc("*", value)),
    "addcdiv": (("input", "tensor1", "tensor2"), ("value",), lambda value=1: _addc("/", value)),
    "lerp": (("input", "end", "weight"), (), lambda: _LERP),
    "clamp": (("input", "min", "max"), (), _clamp),
    "clamp_min": (("input", "min"), (), lambda: _clamp("min")),
    "clamp_max": (("input", "max"), (), lambda: _clamp("max")),
}
ELEMENTWISE = frozenset(OPERATIONS)


def rule_of(op: str, options: Mapping[str, Any] | None = None) -> Rule | None:
    """The rule of an operation as it was called; None where it is not element-wise or not known.

    >>> rule_of("add").partials, rule_of("add", {"alpha": 2}).partials, rule_of("conv2d")
    (('1', '1'), ('1', '2'), None)
    """
    known = OPERATIONS.get(op)
    if known is None:
        return None
    build = known[2]
    if build is None or (not options and op in RULES):
        return RULES[op]
    return build(**(options or {}))


def operands_of(
    op: str, args: Sequence[Any], kwargs: Mapping[str, Any], places: Sequence[int]
) -> tuple[list[int | str], dict[str, Any]] | None:
    """The operands in order, each as the place of its edge or as a number in words, and the options that are set.

    None for what is not element-wise. `places` are those of the tensors among the arguments, in their order.

    >>> x = torch.ones(1)
    >>> operands_of("sub", (x, 3), {"alpha": 2.0}, [0]), operands_of("clamp", (x,), {"max": 1}, [0])
    (([0, '3'], {'alpha': 2.0}), ([0, '1'], {'bounds': 'max'}))
    """
    if op not in OPERATIONS:
        return None
    operands, possible, _ = OPERATIONS[op]
    names, remaining = (*operands, *possible), iter(places)
    labels: dict[str, int | str] = {}
    options: dict[str, Any] = {}
    for key, value in _named(args, kwargs, names):
        place = next(remaining) if isinstance(value, Tensor) else None
        if key in operands and value is not None:
            labels[key] = place if place is not None else f"{value:g}" if isinstance(value, float) else str(value)
        elif key in possible and key != "inplace" and value is not None and value != _default(op, key):
            options[key] = value
    if op == "clamp":
        options["bounds"] = "both" if len(labels) == 3 else "min" if "min" in labels else "max"
    return [labels[name] for name in operands if name in labels], options


def _default(op: str, option: str) -> Any:
    build = OPERATIONS[op][2]
    return inspect.signature(build).parameters[option].default if build is not None else None


def _named(args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for place, value in enumerate(args):
        yield names[place] if place < len(names) else "", value
    for name, value in kwargs.items():
        yield "input" if name == "self" else name, value
