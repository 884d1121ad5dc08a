"""Weights in Caffe's binary form: bytes made by hand, both ages of the format, and files that do not fit."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.graph import CaffeGraph
from chainrule.interop.caffe.description.schema import message
from chainrule.interop.caffe.net import parse_net
from chainrule.interop.caffe.weights import blob_value, load_caffemodel, save_caffemodel

TEXT = """name: "small" input: "x" input_dim: [1, 2, 4, 4]
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv" convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "scale" scale_param { bias_term: true } }
layer { name: "prelu" type: "PReLU" bottom: "scale" top: "prelu" prelu_param { channel_shared: true } }
layer { name: "fc" type: "InnerProduct" bottom: "prelu" top: "fc" inner_product_param { num_output: 5 } }
"""
SHAPES = {
    "conv": [(3, 2, 3, 3), (3,)],
    "bn": [(3,), (3,), (1,)],
    "scale": [(3,), (3,)],
    "prelu": [(1,)],
    "fc": [(5, 12), (5,)],
}


def small() -> CaffeGraph:
    return parse_net(TEXT)


def random_blobs(seed: int = 0) -> dict[str, list[np.ndarray]]:
    generator = np.random.default_rng(seed)
    return {name: [generator.normal(size=s).astype(np.float32) for s in shapes] for name, shapes in SHAPES.items()}


# -- the wire, by hand: a field is its number and kind, then its value; kind 2 is a length and so many bytes


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def chunk(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def plain(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def blob_bytes(array: np.ndarray, age: str) -> bytes:
    numbers = struct.pack(f"<{array.size}f", *array.flatten())
    if age == "new":  # 7: shape { 1: dim, packed }, 5: data, packed
        return chunk(7, chunk(1, b"".join(map(varint, array.shape)))) + chunk(5, numbers)
    four = (1,) * (4 - array.ndim) + array.shape
    return b"".join(plain(field, size) for field, size in enumerate(four, 1)) + chunk(5, numbers)


def model_bytes(blobs: dict[str, list[np.ndarray]], age: str) -> bytes:
    """Net { 1: name, layer = 100 { 1: name, 2: type, 7: blobs } }, or of old layers = 2 { 4: name, 5: type, 6: blobs }."""
    result = chunk(1, b"small")
    for name, arrays in blobs.items():
        if age == "new":
            result += chunk(
                100, chunk(1, name.encode()) + chunk(2, b"Any") + b"".join(chunk(7, blob_bytes(a, age)) for a in arrays)
            )
        else:
            result += chunk(
                2, chunk(4, name.encode()) + plain(5, 4) + b"".join(chunk(6, blob_bytes(a, age)) for a in arrays)
            )
    return result


def values(net: CaffeGraph) -> dict[str, list[Tensor]]:
    return {name: [*net.layer(name).parameters(), *net.layer(name).buffers()] for name in SHAPES}


def same(net: CaffeGraph, blobs: dict[str, list[np.ndarray]]) -> bool:
    return all(
        torch.equal(tensor.detach(), torch.from_numpy(array).view(tensor.shape))
        for name, tensors in values(net).items()
        for tensor, array in zip(tensors, blobs[name], strict=True)
    )


@pytest.mark.parametrize("age", ["new", "old"])
def test_bytes_made_by_hand(age: str, tmp_path: Path) -> None:
    blobs, file = random_blobs(), tmp_path / "small.caffemodel"
    file.write_bytes(model_bytes(blobs, age))
    net = small()
    loaded = load_caffemodel(net, file)
    assert same(net, blobs) and loaded.layers == tuple(SHAPES) and not loaded.fresh and not loaded.unused
    assert str(loaded) == "5 layers loaded"


def test_a_single_blob() -> None:
    blob = message("Blob")()
    blob.ParseFromString(blob_bytes(np.array([[1.5, -2.0, 0.25]], np.float32), "new"))
    assert blob_value(blob).tolist() == [[1.5, -2.0, 0.25]]
    unpacked = chunk(7, chunk(1, varint(2))) + b"".join(varint(5 << 3 | 5) + struct.pack("<f", v) for v in (3.0, 4.0))
    blob.ParseFromString(unpacked)  # numbers one by one are the same to protobuf
    assert blob_value(blob).tolist() == [3.0, 4.0]
    doubles = message("Blob")(double_data=[0.5, 1e300 * 0 + 2.0])
    doubles.shape.dim.extend([2])
    assert blob_value(doubles).tolist() == [0.5, 2.0] and blob_value(doubles).dtype == torch.float32
    scalar = message("Blob")(data=[7.0])
    scalar.shape.SetInParent()
    assert blob_value(scalar).shape == () and float(blob_value(scalar)) == 7.0
    with pytest.raises(UserError, match="another count of numbers"):
        blob_value(message("Blob")(num=1, channels=1, height=1, width=3, data=[1.0]))


def test_saved_and_read_back(tmp_path: Path) -> None:
    net, other = small(), small()
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.normal_()
    save_caffemodel(net, tmp_path / "s.caffemodel")
    load_caffemodel(other, tmp_path / "s.caffemodel")
    for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    stored = message("Net")()
    stored.ParseFromString((tmp_path / "s.caffemodel").read_bytes())
    assert [(layer.name, layer.type, len(layer.blobs)) for layer in stored.layer] == [
        ("conv", "Convolution", 2),
        ("bn", "BatchNorm", 3),
        ("scale", "Scale", 2),
        ("prelu", "PReLU", 1),
        ("fc", "InnerProduct", 2),
    ]


def test_layers_besides_and_layers_that_begin_anew(tmp_path: Path) -> None:
    blobs, file = random_blobs(), tmp_path / "w.caffemodel"
    head = [np.zeros((1000, 12), np.float32), np.zeros(1000, np.float32)]
    file.write_bytes(model_bytes({**blobs, "aux": blobs["fc"], "fc": head}, "new"))
    net = small()
    before = net.layer("fc").weight.clone()
    with pytest.raises(UserError, match=r"layer 'fc', blob 0[\s\S]*\(5, 12\)[\s\S]*\(1000, 12\)[\s\S]*fresh: fc"):
        load_caffemodel(net, file)
    loaded = load_caffemodel(net, file, fresh=["fc"])
    assert torch.equal(net.layer("fc").weight, before) and loaded.fresh == ("fc",) and loaded.unused == ("aux",)
    assert str(loaded) == "4 layers loaded; not loaded: fc; in the file only: aux"
    assert np.array_equal(net.layer("conv").weight.detach(), blobs["conv"][0])
    with pytest.raises(UserError, match="no layer with weights 'fcc'; did you mean fc"):
        load_caffemodel(net, file, fresh=["fcc"])


def changed(**new: Any) -> bytes:
    return model_bytes({**random_blobs(), **new}, "new")


WHOLE = model_bytes(random_blobs(), "new")
WRONG = {
    "cut off": (WHOLE[:-7], "the file cannot be read"),
    "cut off between layers": (
        model_bytes({k: v for k, v in random_blobs().items() if k != "fc"}, "new"),
        "not in the file",
    ),
    "empty": (b"", "the file is empty"),
    "text": (TEXT.encode(), "a text stands in the place of a binary file"),
    "noise": (bytes(range(256)), "the file cannot be read"),
    "another message": (chunk(1, b"a net without a layer \x01"), "holds no weights"),
    "a bias too many": (changed(prelu=[np.zeros(1, np.float32)] * 2), "another number of blobs"),
    "another shape": (changed(conv=[np.zeros((3, 2, 5, 5), np.float32), np.zeros(3, np.float32)]), "blob 0"),
    "a transposed shape": (changed(fc=[np.zeros((12, 5), np.float32), np.zeros(5, np.float32)]), "another shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_change_nothing(name: str, tmp_path: Path) -> None:
    content, words = WRONG[name]
    file = tmp_path / "w.caffemodel"
    file.write_bytes(content)
    net = small()
    before = [v.clone() for v in net.state_dict().values()]
    with pytest.raises(UserError, match=words) as error:
        load_caffemodel(net, file)
    assert str(file) in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_caffemodel(small(), tmp_path / "no.caffemodel")


def test_layers_that_a_partial_file_lacks_keep_theirs(tmp_path: Path) -> None:
    """As in Caffe, where a solver names the file; a file that shares no layer is told all the same."""
    net, other = small(), parse_net(TEXT.replace('"fc"', '"head"'))
    torch.nn.init.normal_(other.layer("conv").weight)
    before = net.layer("fc").weight.clone()
    save_caffemodel(other, tmp_path / "w.caffemodel")
    loaded = load_caffemodel(net, tmp_path / "w.caffemodel", partial=True)
    assert loaded.fresh == ("fc",) and "not loaded: fc" in str(loaded)
    assert torch.equal(net.layer("conv").weight, other.layer("conv").weight)
    assert torch.equal(net.layer("fc").weight, before)
    bias = parse_net('input: "x" input_dim: [1, 3, 1, 1] layer { name: "b" type: "Bias" bottom: "x" top: "y" }')
    with pytest.raises(UserError, match="layers of the network are not in the file"):
        load_caffemodel(bias, tmp_path / "w.caffemodel", partial=True)


def test_nan_is_named(tmp_path: Path) -> None:
    net = small()
    net.layer("fc").bias.data[2] = float("nan")
    save_caffemodel(net, tmp_path / "w.caffemodel")
    with pytest.raises(UserError, match=r"are NaN(.|\n)*layer 'fc', blob 1"):
        load_caffemodel(net, tmp_path / "w.caffemodel")
