"""`chainrule.inspect`: graphs of computations, looked into. The functions live in `chainrule.introspection.graph`.

Importing it loads no PyTorch; a function is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.introspection.graph.diagnose import diagnose as diagnose
    from chainrule.introspection.graph.trace import graph as graph

_HOMES = {"diagnose": "diagnose", "graph": "trace"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"chainrule.introspection.graph.{_HOMES[name]}"), name)
