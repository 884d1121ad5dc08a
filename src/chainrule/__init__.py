"""Chainrule: deep learning systems, each implemented once, checked, trained by one command, and open to be looked into.

Importing it loads no PyTorch; what needs it is loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.core import former_names
from chainrule.core.version import __version__ as __version__

if TYPE_CHECKING:
    from chainrule import models
    from chainrule.api import evaluate, explain, export, generate, predict, report, resume, train
    from chainrule.core.errors import RunFailed, UserError
    from chainrule.core.language.choice import set_language
    from chainrule.run.run import Run

__all__ = [
    "Run",
    "RunFailed",
    "UserError",
    "evaluate",
    "explain",
    "export",
    "generate",
    "models",
    "predict",
    "report",
    "resume",
    "set_language",
    "train",
]

former_names.install()


def __getattr__(name: str) -> Any:
    if name in ("train", "resume", "evaluate", "predict", "generate", "explain", "export", "report"):
        return getattr(importlib.import_module("chainrule.api"), name)
    if name == "Run":
        return importlib.import_module("chainrule.run.run").Run
    if name == "set_language":
        return importlib.import_module("chainrule.core.language.choice").set_language
    if name in ("UserError", "RunFailed"):
        return getattr(importlib.import_module("chainrule.core.errors"), name)
    if name in ("models", "functional", "nn", "optim", "data", "inspect", "backprop"):
        return importlib.import_module(f"chainrule.{name}")
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
