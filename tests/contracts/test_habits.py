"""Habits of the code, read from its own text: no drawer for everything, no pickle, constructors that name what they take."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.contracts.imports import FILES, ROOT, imports, trees


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "misc.py", "common.py"}
    assert not [file for file in FILES if file.name in drawers]


def classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for file, tree in trees().items():
        yield from ((file, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def test_no_class_is_subclassed_twice() -> None:
    """A class of ours that has a base of ours is no base itself; a mixin, as scikit-learn has them, does not count."""
    ours = {node.name for _, node in classes() if not node.name.endswith("Mixin")}
    bases = {
        node.name: {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases} & ours
        for _, node in classes()
        if node.name in ours
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
    for file, tree in trees().items():
        place = file.relative_to(ROOT)
        hidden = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        wrong += [
            f"{place}:{line} imports {module}" for module, line in imports(tree) if module.split(".")[0] in hidden
        ]
        for name, call in calls(tree):
            line = f"{place}:{call.lineno} {name}"
            bad = (
                (name in ("eval", "exec", "compile", "__import__") and line.split(":")[0] != "core/settings.py")
                or name in ("os.system", "os.popen", "yaml.load")
                or (name == "torch.load" and keyword(call, "weights_only") != "True")
                or (name in ("np.load", "numpy.load") and keyword(call, "allow_pickle") != "False")
                or keyword(call, "shell") == "True"
                or name in ("torch.save", "pandas.read_pickle", "pd.read_pickle")
            )
            wrong += [line] if bad else []
    assert not wrong, "\n".join(wrong)
    evaluations = [
        (name, ast.unparse(call))
        for name, call in calls(trees()[ROOT / "core" / "settings.py"])
        if name in ("eval", "exec")
    ]
    assert evaluations == [("eval", "eval(annotation, module_globals)")]
