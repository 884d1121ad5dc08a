"""The shape of the package, read from its own text: what may import what, and what is in no file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import chainrule

ROOT = Path(chainrule.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {file: ast.parse(file.read_text("utf-8")) for file in FILES}
PARTS = (
    "functional",
    "backprop",
    "nn",
    "optim",
    "caffe",
    "data",
    "run",
    "inspect",
    "loops",
    "systems",
    "models",
    "recipes",
    "api",
    "cli",
)

# What each part may not import. functional <- nn <- models <- recipes <- cli, and nothing below recipes knows a model;
# a card is a plain record, which `inspect` shows.
CARD = "chainrule.core.card"
FORBIDDEN = {
    "functional": set(PARTS) - {"functional"},
    "backprop": set(PARTS) - {"functional", "backprop"},
    "nn": set(PARTS) - {"functional", "nn"},
    "optim": set(PARTS) - {"functional", "nn", "optim"},
    "caffe": set(PARTS) - {"functional", "nn", "optim", "caffe"},
    "models": set(PARTS) - {"functional", "backprop", "nn", "optim", "caffe", "models"},
    "data": {"models", "loops", "systems", "inspect", "api", "cli"},
    "run": {"models", "loops", "inspect", "api", "cli"},
    "loops": {"models", "systems", "inspect", "recipes", "api", "cli"},
    "inspect": {"models", "loops", "api", "cli"},
    "systems": {"models", "recipes", "api", "cli"},
    "recipes": {"inspect", "api", "cli"},
    "api": {"cli"},
}
HEAVY = {"torch", "numpy", "matplotlib", "sklearn", "scipy", "PIL", "safetensors", "gymnasium", "pandas", "torchvision"}


def name_of(file: Path) -> str:
    return ".".join(("chainrule", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(node: ast.AST, inside: bool = False, types: bool = False) -> Iterator[tuple[str, int, bool, bool]]:
    """(module, line, whether inside a function, whether for types alone) of every import below `node`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno, inside, types) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"line {child.lineno}: a relative import"
            base = child.module or ""
            deeper = [f"{base}.{alias.name}" for alias in child.names] if base.startswith("chainrule") else [base]
            yield from ((module, child.lineno, inside, types) for module in deeper)
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports(child, inside or is_function, types or for_types_only(child))


@pytest.mark.parametrize("part", FORBIDDEN)
def test_imports_go_one_way(part: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for file, tree in TREES.items()
        if part_of(name_of(file)) == part
        for module, line, _, _ in imports(tree)
        if module.startswith("chainrule.")
        and part_of(module) in FORBIDDEN[part]
        and not (part == "inspect" and module.startswith(CARD))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_model_imports_a_sibling() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for file, tree in TREES.items()
        if part_of(name_of(file)) == "models" and file.name != "__init__.py"
        for module, line, _, _ in imports(tree)
        if module.startswith("chainrule.models") and not module.startswith(CARD)
    ]
    assert not wrong, "\n".join(wrong)


def test_recipes_are_listed_without_what_is_heavy() -> None:
    light = [file for file in FILES if part_of(name_of(file)) in ("recipes", "cli")]
    light += [ROOT / name for name in ("__init__.py", "__main__.py", "settings.py", "errors.py")]
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {module} at its top"
        for file in light
        for module, line, inside, types in imports(TREES[file])
        if not inside and not types and module.split(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert not [file for file in FILES if file.name in drawers]


def classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for file, tree in TREES.items():
        yield from ((file, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def test_no_class_is_subclassed_twice() -> None:
    """A class of ours that has a base of ours is no base itself."""
    ours = {node.name for _, node in classes()}
    bases = {
        node.name: {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases} & ours
        for _, node in classes()
    }
    wrong = [f"{name} < {base} < {', '.join(bases[base])}" for name in bases for base in bases[name] if bases[base]]
    assert not wrong, "\n".join(wrong)


def test_constructors_name_what_they_take() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{function.lineno} {node.name}"
        for file, node in classes()
        if not node.name.startswith("_")
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name == "__init__" and function.args.kwarg is not None
    ]
    assert not wrong, "\n".join(wrong)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def test_nothing_can_run_a_users_text_or_file() -> None:
    """No pickle in any of its disguises, and `eval` on our own annotations alone."""
    wrong = []
    for file, tree in TREES.items():
        place = file.relative_to(ROOT)
        hidden = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        wrong += [
            f"{place}:{line} imports {module}" for module, line, _, _ in imports(tree) if module.split(".")[0] in hidden
        ]
        for name, call in calls(tree):
            line = f"{place}:{call.lineno} {name}"
            bad = (
                (name in ("eval", "exec", "compile", "__import__") and line.split(":")[0] != "settings.py")
                or name in ("os.system", "os.popen", "yaml.load")
                or (name == "torch.load" and keyword(call, "weights_only") != "True")
                or (name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != "False")
                or keyword(call, "shell") == "True"
                or name in ("torch.save", "pandas.read_pickle", "pd.read_pickle")
            )
            wrong += [line] if bad else []
    assert not wrong, "\n".join(wrong)
    evaluations = [
        (name, ast.unparse(call)) for name, call in calls(TREES[ROOT / "settings.py"]) if name in ("eval", "exec")
    ]
    assert evaluations == [("eval", "eval(annotation, module_globals)")]


def test_what_this_file_would_find() -> None:
    """The readers of imports see through functions, conditions and aliases."""
    text = "import torch\nif TYPE_CHECKING:\n    import numpy\ndef f():\n    from chainrule import models as m\n    import a.b"
    assert list(imports(ast.parse(text))) == [
        ("torch", 1, False, False),
        ("numpy", 3, False, True),
        ("chainrule.models", 5, True, False),
        ("a.b", 6, True, False),
    ]
