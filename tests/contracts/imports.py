"""The imports of the package, read from its own text; nothing is imported for it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import chainrule

ROOT = Path(chainrule.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def name_of(file: Path) -> str:
    """The module of a file.

    >>> name_of(ROOT / "run" / "run.py"), name_of(ROOT / "run" / "__init__.py")
    ('chainrule.run.run', 'chainrule.run')
    """
    return ".".join(("chainrule", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


@functools.cache
def trees() -> dict[Path, ast.Module]:
    return {file: ast.parse(file.read_text("utf-8")) for file in FILES}


@functools.cache
def modules() -> dict[str, ast.Module]:
    return {name_of(file): tree for file, tree in trees().items()}


def imports(node: ast.AST) -> Iterator[tuple[str, int]]:
    """(module or name in it, line) of every import below `node`: in functions and for annotations alone as well."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"line {child.lineno}: a relative import"
            base = child.module or ""
            yield from ((f"{base}.{alias.name}", child.lineno) for alias in child.names)


def module_in(name: str) -> str | None:
    """The module of the package that an imported name is or is in; None where it is somebody else's.

    >>> module_in("chainrule.run.run.Run"), module_in("chainrule.run"), module_in("torch.nn")
    ('chainrule.run.run', 'chainrule.run', None)
    """
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def imported(module: str) -> dict[str, int]:
    """The modules of the package that a module imports, with the line."""
    found = {module_in(name): line for name, line in imports(modules()[module])}
    return {name: line for name, line in found.items() if name is not None and name != module}
