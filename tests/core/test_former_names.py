"""Modules under the names that they had before: the same ones, not copies, and what never was is still an error."""

from __future__ import annotations

import importlib

import pytest

import chainrule.core.errors
import chainrule.systems.classical.discriminant as home


def test_a_former_name_is_the_module_itself() -> None:
    for former, module in (
        ("chainrule.models.shallow.discriminant", home),
        ("chainrule.errors", chainrule.core.errors),
        ("chainrule.caffe", importlib.import_module("chainrule.interop.caffe")),
    ):
        assert importlib.import_module(former) is module
        assert module.__spec__ is not None and module.__spec__.name == module.__name__


@pytest.mark.parametrize("name", ["chainrule.models.nothing", "chainrule.models.shallow.nothing", "chainrule.error"])
def test_what_never_was_is_not_found(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)
