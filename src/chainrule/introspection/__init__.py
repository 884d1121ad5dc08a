"""What looks inside: graphs with values and gradients, layers, reports, figures. Importing it loads no PyTorch.

`graph` and `diagnose` are loaded when first used; everything else is imported from its module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.introspection.graph.diagnose import diagnose as diagnose
    from chainrule.introspection.graph.graph import graph as graph

__all__ = ["diagnose", "graph"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module(f"chainrule.introspection.graph.{name}"), name)
    raise AttributeError(f"module 'chainrule.introspection' has no attribute {name!r}")
