"""torchvision's Python modules as an oracle, also where its compiled part does not fit the PyTorch that is installed.

`pip install --no-deps torchvision==0.28.0` puts the package beside a CPU build of PyTorch. Its import then asks for
operators that its compiled part would define. They are declared here, empty: no classifier calls one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

OPERATORS = (
    "nms",
    "qnms",
    "roi_align",
    "_roi_align_backward",
    "roi_pool",
    "_roi_pool_backward",
    "ps_roi_align",
    "_ps_roi_align_backward",
    "ps_roi_pool",
    "_ps_roi_pool_backward",
    "deform_conv2d",
    "_deform_conv2d_backward",
)
_declared: list[torch.library.Library] = []  # a library's operators live as long as it does


def torchvision() -> ModuleType:
    """The package; skips the test where it is not installed."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        pytest.skip("needs torchvision: pip install --no-deps torchvision==0.28.0")
    if not _declared and not _compiled_part_loads(Path(found.origin).parent):
        library = torch.library.Library("torchvision", "DEF")
        for name in OPERATORS:
            library.define(f"{name}() -> ()")
        _declared.append(library)
    import torchvision

    return torchvision


def _compiled_part_loads(folder: Path) -> bool:
    for file in folder.glob("_C.*"):
        try:
            torch.ops.load_library(str(file))
        except OSError:  # it was built for another PyTorch
            continue
        return True
    return False
