"""What the package's own text says, read without importing it: files, first lines, topics, imports, what is logged."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chainrule
from chainrule.core.course import Family, Topic

PACKAGE = Path(chainrule.__file__).parent
RECORDS = {"Topic": Topic, "Family": Family}


@dataclass(frozen=True, eq=False)
class SourceFile:
    """A file of the package."""

    name: str  # chainrule.optim.sgd
    path: str  # optim/sgd.py
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def first_line(self) -> str:
        return self.docstring.partition("\n")[0]


@functools.cache
def modules() -> dict[str, SourceFile]:
    """Every file of the package by the name of its module."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE)
        name = ".".join(("chainrule", *path.with_suffix("").parts)).removesuffix(".__init__")
        found[name] = SourceFile(name, path.as_posix(), file.read_text("utf-8"))
    return found


def stated(module: SourceFile, name: str) -> Any:
    """The record, or the tuple of records, that a module states as `name`, which is written with constants; else None."""
    for node in module.tree.body if f"{name} = " in module.text else ():
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            if isinstance(node.value, ast.Tuple):
                return tuple(_record(part) for part in node.value.elts)
            return _record(node.value)
    return None


def _record(node: ast.expr) -> Any:
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name), ast.unparse(node)
    constants = [ast.literal_eval(argument) for argument in node.args]
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return RECORDS[node.func.id](*constants, **named)


@functools.cache
def imports(name: str) -> frozenset[str]:
    """The modules of the package that a module imports, at its top or within a function."""
    found: set[str] = set()
    for node in ast.walk(modules()[name].tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset((found & modules().keys()) - {name})


def reached(names: set[str]) -> set[str]:
    """The modules that these import, directly or not, with themselves."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += imports(name)
    return found


def in_reading_order(names: set[str]) -> list[SourceFile]:
    """Modules so that each comes after those that it imports; of several that may come next, by name."""
    done: dict[str, SourceFile] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in names and name not in begun:
            begun.add(name)
            for other in sorted(imports(name)):
                visit(other)
            done[name] = modules()[name]

    for name in sorted(names):
        visit(name)
    return list(done.values())


@functools.cache
def logged(name: str) -> tuple[str, ...] | None:
    """The names under which a module logs: keywords of `run.log` and `run.track`; `val_*` where they are put together.

    Names that are only known when it runs (`**values`) are not among them; None of a module that logs nothing.
    """
    if not any(call in modules()[name].text for call in ("run.log(", "run.track(")):
        return None
    calls = [node for node in ast.walk(modules()[name].tree) if isinstance(node, ast.Call)]
    found: dict[str, None] = {}
    for call in calls:
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func) in ("run.log", "run.track"):
            for keyword in call.keywords:
                found.update(dict.fromkeys([keyword.arg] if keyword.arg else _keys(keyword.value)))
    return tuple(found)


def _keys(node: ast.expr) -> Iterator[str]:
    """Of `{f"val_{name}": ...}` the beginning and a star."""
    if isinstance(node, ast.DictComp) and isinstance(node.key, ast.JoinedStr):
        start = node.key.values[0]
        if isinstance(start, ast.Constant) and isinstance(start.value, str):
            yield f"{start.value}*"
