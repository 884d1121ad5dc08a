"""States as safetensors and JSON: everything comes back as it was, and no file can run code."""

from __future__ import annotations

import collections
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

import chainrule
from chainrule.core.errors import UserError
from chainrule.run.checkpoint.tree import load_tree, pack, read_safetensors, save_tree, unpack
from tests.trained import lenet_run

pytestmark = pytest.mark.usefixtures("no_report")


def same(one: Any, other: Any) -> bool:
    """Equal in kind, value, type of number, shape, and layout in memory."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        last = [t.dim() == 4 and t.is_contiguous(memory_format=torch.channels_last) for t in (one, other)]
        bits = [safetensors.torch.save({"bits": t.contiguous()}) for t in (one, other)]  # a nan equals itself there
        return last[0] == last[1] and bits[0] == bits[1]
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (one != one and other != other)


TREES: dict[str, Any] = {
    "nested": {"a": [1, 2.5, None, True, "text 文"], "b": {"c": (torch.arange(3), {"d": ()})}, "e": [], "f": {}},
    "a tensor alone": torch.randn(2, 3),
    "keys that are numbers": {0: {"step": torch.tensor(3.0)}, 12: torch.zeros(2), "x": 1},
    "keys with dots and dollars": {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}, "$tensor": "no reference", "": 3},
    "numbers that JSON has not": {"nan": float("nan"), "inf": -float("inf"), "large": 2**80, "small": 5e-324},
    "numpy": {
        "x": np.arange(6, dtype=np.int16).reshape(2, 3),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 3)),
    },
    "dtypes": {
        str(d): torch.ones(3).to(d)
        for d in (torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.int64, torch.bool)
    },
    "bits of bf16": torch.tensor([1e-40, float("nan"), -0.0, float("inf")]).to(torch.bfloat16),
    "empty tensors": {"none": torch.zeros(0), "flat": torch.zeros(3, 0), "number": torch.tensor(7)},
    "channels last": {"w": torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last), "v": torch.randn(4, 3, 2, 2)},
    "one channel": torch.randn(4, 1, 5, 5).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("name", TREES)
def test_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    assert same(unpack(*pack(tree)), tree)
    save_tree(tree, tmp_path / "tree")
    assert same(load_tree(tmp_path / "tree"), tree)


def test_views_and_parts_of_tensors_come_back() -> None:
    base = torch.arange(24.0).view(2, 3, 4)
    tree = {"transposed": base.transpose(0, 2), "part": base[:, 1, ::2], "spread": torch.ones(1, 2).expand(3, 2)}
    back = unpack(*pack(tree))
    assert all(torch.equal(back[name], tree[name]) for name in tree)
    back["spread"][0, 0] = 5  # memory of its own
    assert back["spread"][1, 0] == 1


def test_tied_tensors_are_both_there(tmp_path: Path) -> None:
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    save_tree(model.state_dict(), tmp_path / "tree")
    back = load_tree(tmp_path / "tree")
    assert torch.equal(back["a.weight"], model["a"].weight) and torch.equal(back["b.weight"], model["a"].weight)


def test_an_optimizer_and_a_generator_come_back(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), amsgrad=True)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    save_tree(state, tmp_path / "tree")
    assert same(load_tree(tmp_path / "tree"), state)


@pytest.mark.parametrize(
    "thing",
    [object(), {1, 2}, len, Path(), 1j, b"bytes", collections.deque([1])],
    ids=lambda thing: type(thing).__name__,
)
def test_what_is_no_data_is_refused_with_its_place(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"a\.0: .* cannot be saved as data"):
        pack({"a": [thing]})


class Runs:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("it-ran",)


def hostile(kind: str, file: Path) -> Path:
    if kind == "torch.save":
        torch.save({"w": Runs()}, file)
    elif kind == "the old torch.save":
        torch.save({"w": Runs()}, file, _use_new_zipfile_serialization=False)
    else:
        file.write_bytes(pickle.dumps(Runs(), protocol=int(kind[-1])))
    return file


KINDS = ["torch.save", "the old torch.save", "pickle 2", "pickle 4", "pickle 5"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    for read in (read_safetensors, load_tree):
        with pytest.raises(UserError, match=r"weights\.pt is a pickle.*can run code") as caught:
            read(hostile(kind, tmp_path / "weights.pt"))
        assert "weights_only=True" in str(caught.value)
    assert not Path("it-ran").exists()


def test_weights_that_are_a_pickle_are_refused_before_the_first_step(tmp_path: Path) -> None:
    file = hostile("torch.save", tmp_path / "w.pt")
    with pytest.raises(UserError, match="is a pickle") as caught:
        chainrule.train("lenet-caffe", epochs=1, weights=str(file), out="run", device="cpu")
    assert caught.value.exit_status == 2 and not Path("it-ran").exists()


@pytest.mark.parametrize("name", ["weights", "state", "best"])
def test_a_checkpoint_replaced_by_a_pickle_is_refused(name: str, tmp_path_factory: Any, tmp_path: Path) -> None:
    run = Path(shutil.copytree(lenet_run(tmp_path_factory), tmp_path / "r"))
    (file,) = (run / "checkpoint").rglob(f"{name}.safetensors")
    hostile("pickle 4", file)
    if name != "best":
        (run / "checkpoint" / "best.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{name}\.safetensors is a pickle"):
        chainrule.evaluate(run, device="cpu")
    assert not Path("it-ran").exists()


def test_damaged_files_are_told(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match="no such file"):
        read_safetensors(file)
    save_tree({"w": torch.arange(1000.0)}, file)
    whole = file.read_bytes()
    for content in (
        b"",
        whole[:5],
        whole[:40],
        whole[:-1],
        b"\xff" * 200,
        b"text that is no tensor at all",
        whole + b"x",
    ):
        file.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as safetensors") as caught:
            load_tree(file)
        assert str(file) in str(caught.value)


def test_a_file_of_others_is_no_tree(tmp_path: Path) -> None:
    """It has tensors and not the JSON part: weights to start from, but no checkpoint."""
    file = tmp_path / "w.safetensors"
    safetensors.torch.save_file({"w": torch.ones(2)}, file)
    assert read_safetensors(file)[0]["w"].tolist() == [1, 1]
    with pytest.raises(UserError, match=r"w\.safetensors"):
        load_tree(file)
