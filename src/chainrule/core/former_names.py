"""Names that modules had before there was a room a family: what was written for them still imports.

The module itself is given, not a copy, so that its classes are the same under both names.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_HOMES = {
    "chainrule.errors": "chainrule.core.errors",
    "chainrule.caffe": "chainrule.interop.caffe",
    "chainrule.models.shallow": "chainrule.systems.classical",
    "chainrule.models.linear": "chainrule.systems.linear",
    "chainrule.models.graphical": "chainrule.systems.graphical",
    "chainrule.models.feedforward": "chainrule.systems.feedforward",
    "chainrule.models.generative": "chainrule.systems.generative",
    "chainrule.models.reinforcement": "chainrule.systems.reinforcement",
    "chainrule.models.sequence": "chainrule.systems.language",
    "chainrule.models.vision": "chainrule.systems.image_classification",
}


def home_of(name: str) -> str | None:
    """Where a module lies that once had this name; None where no module had it.

    >>> home_of("chainrule.models.shallow.discriminant"), home_of("chainrule.models")
    ('chainrule.systems.classical.discriminant', None)
    """
    for former, home in _HOMES.items():
        if name == former or name.startswith(f"{former}."):
            return home + name.removeprefix(former)
    return None


class _FormerNames(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.startswith("chainrule.") and home_of(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(str(home_of(spec.name)))
        spec.loader_state = module.__spec__  # import sets that of the former name
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Makes the former names importable; first, else a file below the new home would be loaded again under its old name."""
    if not any(isinstance(finder, _FormerNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FormerNames())
