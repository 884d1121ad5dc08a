"""Formulas and values as the command is given them, read by a small interpreter: nothing of Python can be reached."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from chainrule.core.errors import UserError, unknown

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": torch.exp,
    "log": torch.log,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "abs": torch.abs,
    "max": torch.maximum,
    "min": torch.minimum,
}
CONSTANTS = {"pi": math.pi, "e": math.e}
_TWO = {"max", "min"}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.BitXor: lambda a, b: a**b,
}
_ALLOWED = f"+ - * / ** ( ), numbers, names, {', '.join(FUNCTIONS)}, pi, e"
_LONGEST = 2000


class Expression:
    """A formula of named scalars or tensors, as a function of them in the order in which they first appear.

    Operators are + - * / and ** (or ^) with Python's precedence, functions those of `FUNCTIONS`, constants pi and e.

    >>> f = Expression("(x+y)*(y-z)")
    >>> f.names, f(2.0, 3.0, 1.0)
    (['x', 'y', 'z'], 10.0)

    Raises:
        UserError: the text is no formula, or uses what is not allowed.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        if len(text) > _LONGEST:
            raise UserError("the expression is too long", expected=f"at most {_LONGEST} characters", found=len(text))
        # With ^ as a power, which binds more tightly than Python's own ^.
        names: dict[str, None] = {}
        try:
            self._tree = ast.parse(self.text.replace("^", "**"), mode="eval").body
            self._check(self._tree, names)
        except (SyntaxError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            where = f"column {error.offset}" if isinstance(error, SyntaxError) and error.offset else None
            raise UserError("this is no expression", where=where, expected=_ALLOWED, found=self.text) from error
        except (RecursionError, MemoryError) as error:
            raise UserError("the expression is nested too deeply", found=self.text[:60]) from error
        self.names = list(names)
        self.__name__ = self.text
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in self.names])

    def __call__(self, *values: Any) -> Any:
        return self._value(self._tree, dict(zip(self.names, values, strict=True)))

    def _check(self, node: ast.AST, names: dict[str, None]) -> None:
        """Refuses before anything is computed, and collects the names from left to right."""
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            self._check(node.left, names)
            self._check(node.right, names)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            self._check(node.operand, names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            name, wanted = node.func.id, 2 if node.func.id in _TWO else 1
            if name not in FUNCTIONS:
                raise unknown("there is no function", name, FUNCTIONS)
            if len(node.args) != wanted:
                raise UserError(
                    f"{name} takes {wanted} argument{'s' * (wanted > 1)}", where=self.text, found=len(node.args)
                )
            for argument in node.args:
                self._check(argument, names)
        elif isinstance(node, ast.Name):
            if node.id not in CONSTANTS:
                names[node.id] = None
        elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
            raise UserError("this is not allowed in an expression", expected=_ALLOWED, found=ast.unparse(node)[:80])

    def _value(self, node: ast.AST, given: Mapping[str, Any]) -> Any:
        if isinstance(node, ast.BinOp):
            left, right = self._value(node.left, given), self._value(node.right, given)
            return _BINARY[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp):
            value = self._value(node.operand, given)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            return FUNCTIONS[node.func.id](*(_tensor(self._value(a, given)) for a in node.args))
        if isinstance(node, ast.Name):
            return given.get(node.id, CONSTANTS.get(node.id))
        assert isinstance(node, ast.Constant) and isinstance(node.value, (int, float))
        return float(node.value)


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)


def read_value(name: str, text: str) -> Any:
    """A number, a list of numbers (also nested), or a tensor to be made: randn(2, 3), zeros(4), ones(4), randint(10, 2, 3).

    >>> read_value("x", "-1.5"), read_value("x", "[1, 2]").tolist(), tuple(read_value("x", "zeros(2, 3)").shape)
    (-1.5, [1.0, 2.0], (2, 3))

    Raises:
        UserError: it is none of them.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.keywords:
            return _made(tree.func.id, [int(ast.literal_eval(argument)) for argument in tree.args])
        value = ast.literal_eval(tree)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, (list, tuple)):
            return torch.tensor(value, dtype=torch.float64)
    except (SyntaxError, ValueError, TypeError, IndexError, RuntimeError, RecursionError, MemoryError):
        pass
    raise UserError(
        "this is no value",
        where=name,
        expected="a number, [1, 2, 3], randn(2, 3), zeros(4), ones(4) or randint(10, 2, 3)",
        found=text,
    )


def _made(kind: str, sizes: list[int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if kind == "randn":
        return torch.randn(sizes, generator=generator)
    if kind == "randint":
        return torch.randint(sizes[0], tuple(sizes[1:]), generator=generator)
    if kind in ("zeros", "ones"):
        return torch.zeros(sizes) if kind == "zeros" else torch.ones(sizes)
    raise ValueError(kind)
