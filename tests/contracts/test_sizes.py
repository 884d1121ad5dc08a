"""What cannot fit into memory is refused in words with the bytes, before a number of it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import chainrule
from chainrule.core import memory
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import RunFailed, UserError
from chainrule.core.memory import memory_told
from chainrule.nn.built import within_memory

TOO_LARGE = [
    ("mlp", {"hidden": 10**12}),
    ("mlp", {"size": 100_000}),
    ("mlp-table", {"hidden": 10**12}),
    ("char-lstm", {"hidden_size": 10**7}),
    ("rnn-backprop", {"hidden_size": 10**12}),
    ("dcgan", {"width": 10**7}),
    ("lenet5", {"channels": 10**12}),
    ("hidden-layers", {"count": 10**12}),
    ("vanishing-gradient", {"depths": 10**12}),
]


@pytest.mark.parametrize(("name", "sizes"), TOO_LARGE, ids=str)
def test_what_does_not_fit_is_refused(name: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    settings = {**get_recipe(name).tiny, **sizes}
    with pytest.raises(UserError, match="not enough memory"):
        chainrule.train(name, out=tmp_path / "r", device="cpu", **settings)
    assert not (tmp_path / "r").exists()


def test_parameters_are_counted_before_they_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.nn.built.memory_bytes", lambda: 10_000)
    monkeypatch.setattr(memory, "memory_bytes", lambda: 10_000)
    with within_memory():
        for _ in range(9):  # one after the other they fit
            nn.Linear(40, 40)
    with pytest.raises(UserError, match="12,960|1.3e"), within_memory():
        nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40))
    nn.Linear(100, 100)  # afterwards nothing is counted


def test_layers_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.nn.built.MOST_PARAMETERS", 20)
    with pytest.raises(UserError, match="too many layers"), within_memory():
        nn.LSTM(2, 2, num_layers=10**7)


def test_an_error_of_memory_is_told_and_no_other() -> None:
    with (
        pytest.raises(RunFailed, match=r"found:    4000000000000 bytes are asked for at once\n  cure: "),
        memory_told(),
    ):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes.")
    with pytest.raises(RunFailed, match="not enough memory"), memory_told():
        torch.empty(2**61)
    with pytest.raises(RuntimeError, match="shapes"), memory_told():
        raise RuntimeError("the shapes do not fit")
