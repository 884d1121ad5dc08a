"""What `chainrule explain` is given beside runs and recipes: a formula, or a function or module in the user's file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from chainrule.core.errors import ChainruleError, UserError, unknown
from chainrule.core.own_code.loading import load
from chainrule.core.settings import parse_pairs
from chainrule.introspection.graph.expression import Expression, read_value
from chainrule.introspection.graph.record import Graph
from chainrule.introspection.graph.trace import graph


def graph_of_text(text: str, words: Sequence[str]) -> Graph:
    """The graph of a formula (`(x+y)*(y-z)`) or of `FILE.py:NAME`, on values `x=1 y=[1,2] z=randn(2,3)`.

    Raises:
        UserError: something is unknown, missing, or fails; the message says what there is.
    """
    pairs = parse_pairs(words)
    file, colon, name = text.rpartition(":")
    if colon and file.endswith(".py"):
        function, names = _of_file(Path(file), name, given=list(pairs))
    else:
        function = Expression(text)
        names = function.names
    missing = [n for n in names if n not in pairs]
    for given in pairs:
        if given not in names:
            raise unknown("it has no input", given, names) if names else UserError("it takes no input", found=given)
    if missing:
        raise UserError(
            "a value is missing",
            expected=", ".join(names),
            found=", ".join(pairs) or "no value",
            cure=" ".join([f'chainrule explain "{text}"', *words, *(f"{n}=1" for n in missing)]),
        )
    values = [read_value(n, pairs[n]) for n in names]
    try:
        return graph(function, *values)
    except ChainruleError:
        raise
    except Exception as error:
        raise UserError(
            f"{type(error).__name__}: {error}", where=text, found="; ".join(getattr(error, "__notes__", [])) or None
        ) from error


def _of_file(file: Path, name: str, given: list[str]) -> tuple[Callable[..., Any], list[str]]:
    """The function or module, and the names of the inputs that it takes: those without a default, and those given."""
    found, _ = load(file.resolve(), name)
    if not callable(found):
        raise UserError(f"{name} is no function or module", where=file, found=type(found).__name__)
    if isinstance(found, type) and issubclass(found, nn.Module):
        try:
            found = found()
        except TypeError as error:
            raise UserError(
                f"{name} cannot be built without arguments: {error}",
                where=file,
                cure="NET = MyModule(...) and FILE.py:NET",
            ) from error
    signature = inspect.signature(found.forward if isinstance(found, nn.Module) else found)
    positional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in positional if p.default is p.empty or p.name in given]
    return found, names
