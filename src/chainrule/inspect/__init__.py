"""`chainrule.inspect`: graphs of computations, looked into. The functions live in `chainrule.introspection.graph`.

`graph` traces a computation; `diagnose`, `check`, `to_text`, `to_svg` and `write_page` are functions of what it gives.
Importing this loads no PyTorch; a function is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.introspection.graph.by_hand import check as check
    from chainrule.introspection.graph.diagnose import diagnose as diagnose
    from chainrule.introspection.graph.drawing.page import write_page as write_page
    from chainrule.introspection.graph.drawing.svg import to_svg as to_svg
    from chainrule.introspection.graph.drawing.text import to_text as to_text
    from chainrule.introspection.graph.trace import graph as graph

_HOMES = {
    "check": "by_hand",
    "diagnose": "diagnose",
    "graph": "trace",
    "to_svg": "drawing.svg",
    "to_text": "drawing.text",
    "write_page": "drawing.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"chainrule.introspection.graph.{_HOMES[name]}"), name)
