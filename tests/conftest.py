"""Shared by all tests: few threads, the folder of real data where there is one, no writing outside tmp_path."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # small networks: a second thread waits more than it works

LONG = ("test_recipes.py", "test_tutorial.py", "test_kill_and_resume.py", "test_processes.py")  # minutes each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files begin first: each runs on one process, and begun last it would be waited for by all others."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own, so that a default `runs/` lands there."""
    monkeypatch.chdir(tmp_path)


def mirror(name: str) -> Path:
    """The folder of a real data set below CHAINRULE_DATA; skips the test where it is absent."""
    root = os.environ.get("CHAINRULE_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"needs the data set {name} below CHAINRULE_DATA")
    return Path(root) / name
