"""What cannot fit into memory is refused in words with the bytes, before a number of it is drawn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import chainrule
from chainrule.core import memory
from chainrule.core.discovery import get_recipe
from chainrule.core.errors import RunFailed, UserError
from chainrule.core.memory import memory_told
from chainrule.models import build as build_model
from chainrule.nn.built import within_memory
from chainrule.nn.training_memory import activations_memory, weights_memory

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
    with pytest.raises(UserError, match=r"1\.3e"), within_memory():
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


def said_of(name: str, folder: Path, **settings: Any) -> str:
    with pytest.raises(UserError, match="not enough memory for a training step") as error:
        chainrule.train(name, out=folder / "r", device="cpu", **{**get_recipe(name).tiny, **settings})
    assert not (folder / "r").exists()
    return str(error.value)


def test_a_batch_too_large_is_told_the_one_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.loops.memory.memory_bytes", lambda: 40_000_000)
    settings: dict[str, Any] = {"data": "digits", "batch_size": 1000, "momentum": 0.9}
    said = said_of("lenet-caffe", tmp_path, **settings)
    fits = int(re.findall(r"batch_size=(\d+)", said)[0])
    assert 20 < fits < 500 and "activations of a batch of 1,000 10" in said


def test_the_state_of_the_optimiser_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    width = 1000
    weights = 4 * (13 * width + width + width * 3 + 3)
    monkeypatch.setattr("chainrule.loops.memory.memory_bytes", lambda: int(3.2 * weights))
    small: dict[str, Any] = {"data": "wine", "hidden": width, "batch_size": 1, "epochs": 1}
    chainrule.train("mlp-table", out=tmp_path / "sgd", device="cpu", optimizer="sgd", momentum=0.0, **small)
    said_of("mlp-table", tmp_path, optimizer="adam", **small)


@pytest.mark.parametrize(
    ("build", "copies"),
    [
        (lambda p: torch.optim.SGD(p, 0.1), 0),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), 1),
        (lambda p: torch.optim.AdamW(p, 0.1), 2),
        (lambda p: torch.optim.Adam(p, 0.1, amsgrad=True), 3),
        (lambda p: torch.optim.RMSprop(p, 0.1), 1),
    ],
)
def test_what_an_optimiser_keeps(build: Any, copies: int) -> None:
    layer = nn.Linear(7, 5)
    optimizer = build(layer.parameters())
    torch.optim.lr_scheduler.ConstantLR(optimizer)  # which watches the steps of its optimiser
    counted = weights_memory([layer], [optimizer])
    assert not optimizer.state and counted.parameters == counted.gradients == 4 * 40
    layer(torch.ones(1, 7)).sum().backward()
    optimizer.step()
    held = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor) and t.dim()]
    assert counted.state == sum(t.nbytes for t in held) == copies * 4 * 40


def test_activations_are_those_that_the_backward_pass_keeps() -> None:
    """Against the tensors that a forward pass with numbers keeps."""
    network = build_model("lenet-caffe")
    kept: dict[int, int] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.update({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()}) or t, lambda t: t
    ):
        output = network(x := torch.rand(6, 1, 28, 28))
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), x)}
    expected = sum(size for place, size in kept.items() if place not in own)
    assert output.requires_grad
    assert activations_memory(network, (torch.zeros(1, 1, 28, 28),), 6) == pytest.approx(expected, rel=0.01)
    assert activations_memory(nn.Embedding(3, 2), ("no tensor",), 6) == 0  # what cannot be counted


def test_an_image_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (2, 2), (number, 0, 9 * len(name))).save(tmp_path / "d" / name / f"{number}.png")
    with pytest.raises(UserError, match=r"not enough memory for one image in float32"):
        chainrule.train("image-classifier", data=str(tmp_path / "d"), size=300_000, out=tmp_path / "r", device="cpu")
    assert not (tmp_path / "r").exists()
