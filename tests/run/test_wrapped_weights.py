"""Files of weights as people have them: saved from inside a wrapper, without a head, fetched by halves, spoilt."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from chainrule.core.errors import UserError
from chainrule.models import build
from chainrule.run.weights.files import read_weights
from chainrule.run.weights.loading import load_file

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46830571\n"


class Small(nn.Module):
    """A body and a head, as the networks of this package name theirs."""

    class_layers = ("fc",)

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.norm, self.fc = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, num_classes)


def written(state: dict[str, torch.Tensor], file: Path) -> Path:
    if file.suffix == ".safetensors":
        safetensors.torch.save_file(state, file)
    else:
        torch.save(state, file)
    return file


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "model.", "model._orig_mod.", "net."]
)
def test_prefixes_of_all_names_are_taken_off(prefix: str, name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = Small(), Small()
    file = written({prefix + key: value for key, value in one.state_dict().items()}, tmp_path / name)
    assert load_file(file, {"model": other}, "small") == []
    assert all(torch.equal(value, one.state_dict()[key]) for key, value in other.state_dict().items())


def test_a_prefix_of_some_names_stays(tmp_path: Path) -> None:
    """And so does a first word of the network's own."""
    state = {f"_orig_mod.{key}": value for key, value in Small().state_dict().items()}
    file = written({**state, "criterion.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"unexpected: _orig_mod\.conv1\.weight"):
        load_file(file, {"model": Small()}, "small")
    inner = nn.ModuleDict({"model": nn.Linear(2, 1)})
    assert load_file(written(inner.state_dict(), tmp_path / "v.pth"), {"x": inner}, "mine") == []
    assert read_weights(tmp_path / "v.pth")[0].keys() == {"model.weight", "model.bias"}


def test_a_file_without_the_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = Small(), Small(num_classes=3)
    before = other.fc.weight.clone()
    body = {key: value for key, value in one.state_dict().items() if not key.startswith("fc.")}
    (note,) = load_file(written(body, tmp_path / "w.pth"), {"model": other}, "small")
    assert note == "w.pth: it has no layer fc, which begins anew"
    assert torch.equal(other.fc.weight, before) and torch.equal(other.conv1.weight, one.conv1.weight)
    del body["conv1.weight"]
    with pytest.raises(UserError, match=r"missing: conv1\.weight, fc\.weight, fc\.bias"):
        load_file(written(body, tmp_path / "w.pth"), {"model": other}, "small")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.caffemodel"])
def test_a_pointer_of_git_lfs_is_told(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(POINTER)
    with pytest.raises(UserError, match=r"pointer of git-lfs(.|\n)*git lfs pull"):
        load_file(file, {"model": build("lenet-caffe")}, "lenet-caffe")


def test_nan_is_named(tmp_path: Path) -> None:
    state = Small().state_dict()
    state["conv1.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match=r"are NaN(.|\n)*conv1\.weight"):
        load_file(written(state, tmp_path / "w.safetensors"), {"model": Small()}, "small")


SPOILT = {
    "infinite": (lambda w: w.fill_(torch.inf), r"are infinite(.|\n)*conv1\.weight"),
    "too large": (lambda w: w.double().fill_(1e300), r"are infinite(.|\n)*conv1\.weight"),
    "whole numbers": (lambda w: w.to(torch.int8), r"no real numbers(.|\n)*conv1\.weight \(int8\)"),
    "complex": (lambda w: w.to(torch.complex64), r"no real numbers(.|\n)*conv1\.weight \(complex64\)"),
    "meta": (lambda w: w.to("meta"), r"without its values(.|\n)*conv1\.weight"),
    "of one channel more": (lambda w: torch.cat([w, w], 1), r"of another shape: conv1\.weight"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_spoilt_weights_are_told_and_change_nothing(how: str, tmp_path: Path) -> None:
    spoil, words = SPOILT[how]
    torch.manual_seed(0)
    state, other = Small().state_dict(), Small()
    before = {key: value.clone() for key, value in other.state_dict().items()}
    state["conv1.weight"] = spoil(state["conv1.weight"])
    with pytest.raises(UserError, match=words):
        load_file(written(state, tmp_path / "w.pth"), {"model": other}, "small")
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_parts_that_were_compiled_sparse_and_quantised_weights_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = Small(), Small()
    state = {key.replace("conv1.", "conv1._orig_mod."): value for key, value in one.state_dict().items()}
    state["fc.weight"] = state["fc.weight"].to_sparse()
    state["fc.bias"] = torch.quantize_per_tensor(state["fc.bias"], 0.01, 0, torch.qint8)
    assert load_file(written(state, tmp_path / "w.pth"), {"model": other}, "small") == []
    assert torch.equal(other.conv1.weight, one.conv1.weight) and torch.equal(other.fc.weight, one.fc.weight)
    torch.testing.assert_close(other.fc.bias, one.fc.bias, atol=0.006, rtol=0)


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle(length: int, tmp_path: Path) -> None:
    """The eight bytes of the length come first, and 640 is how a pickle begins, 19,280 how a zip archive does."""
    packed = safetensors.torch.save({"x": torch.ones(2)})
    size = int.from_bytes(packed[:8], "little")
    file = tmp_path / "w.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + packed[8 : 8 + size].ljust(length) + packed[8 + size :])
    assert torch.equal(read_weights(file)[0]["x"], torch.ones(2))
