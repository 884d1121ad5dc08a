"""Weights that Caffe trained (.caffemodel), into a network and out of it.

The layers of a file are matched by name with those of the network, and the blobs of a layer in order: weight, bias; of a
BatchNorm the two sums and their factor. Source: Caffe, net.cpp, CopyTrainedLayersFrom; blob.cpp, FromProto, ShapeEquals.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError, unknown
from chainrule.interop.caffe.description.files import read_binary
from chainrule.interop.caffe.description.graph import CaffeGraph
from chainrule.interop.caffe.description.schema import message
from chainrule.interop.caffe.numbers import blob_value as blob_value


@dataclass(frozen=True)
class Loaded:
    """Which layers got their weights from a file, which kept their first ones, and which of the file nobody took."""

    layers: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        words = f"{len(self.layers)} layers loaded"
        words += f"; not loaded: {', '.join(self.fresh)}" if self.fresh else ""
        return words + (f"; in the file only: {', '.join(self.unused)}" if self.unused else "")


def load_caffemodel(net: CaffeGraph, file: str | Path, *, fresh: Collection[str] = (), partial: bool = False) -> Loaded:
    """Loads the weights of a file into a network, in place; nothing is changed where anything does not fit.

    Shapes must be those of the network; axes of size 1 in front do not count, since Caffe kept four axes for every
    blob before 2014. Files of that time (V1) are read too. Layers of the file that the network does not have, such as
    the auxiliary heads of training, are passed over and named in what comes back.

    Args:
        net: of `read_net`.
        file: binary, as Caffe wrote it.
        fresh: layers that keep their first weights, although they have some: the head of another number of classes.
        partial: layers that are not in the file keep theirs too, as in Caffe, where a solver names the file.

    Raises:
        UserError: no such file, a file that is cut off or something else, a layer of the network that is not in the
            file, or other shapes.
    """
    stored = read_binary(file)
    blobs = {layer.name: layer.blobs for layer in (stored.layer or stored.layers) if layer.blobs}
    if not blobs:
        raise UserError("the file holds no weights", where=file, expected="a .caffemodel with layers and their blobs")
    own = {step.name: targets for step in net.steps if (targets := blob_tensors(net, step.key))}
    for name in fresh:
        if name not in own:
            raise unknown(f"the network {net.name} has no layer with weights", name, own)
    missing = [name for name in own if name not in blobs and name not in fresh]
    if partial and len(missing) < len(own):
        fresh, missing = [*fresh, *missing], []
    if missing:
        some = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(
            "layers of the network are not in the file",
            where=file,
            expected=some,
            found=", ".join(itertools.islice(blobs, 5)) + (", ..." if len(blobs) > 5 else ""),
            cure="the file of this network; or layers that begin anew are named fresh",
        )
    wanted = {name: targets for name, targets in own.items() if name not in fresh}
    values = {name: _values(name, blobs[name], targets, file) for name, targets in wanted.items()}
    with torch.no_grad():
        for name, targets in wanted.items():
            for target, value in zip(targets, values[name], strict=True):
                target.copy_(value)
    return Loaded(tuple(wanted), tuple(n for n in own if n in fresh), tuple(n for n in blobs if n not in own))


def save_caffemodel(net: CaffeGraph, file: str | Path) -> None:
    """Writes the weights of a network as Caffe does, for Caffe to read."""
    stored = message("Net")(name=net.name)
    for step in net.steps:
        layer = stored.layer.add(name=step.name, type=step.kind)
        for tensor in blob_tensors(net, step.key):
            blob = layer.blobs.add()
            blob.shape.dim.extend(tensor.shape)
            blob.MergeFromString(_packed(tensor.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes()))
    Path(file).write_bytes(stored.SerializeToString())


def blob_tensors(net: CaffeGraph, key: str) -> list[Tensor]:
    """The blobs of a layer, by the key of its module, in Caffe's order."""
    module = net.layers[key]
    return [*module.parameters(), *module.buffers()]


def _packed(numbers: bytes) -> bytes:
    """The field `data` of a Blob on the wire: key, length in groups of seven bits, numbers. One by one they would be slow."""
    field = message("Blob").DESCRIPTOR.fields_by_name["data"].number
    length, prefix = len(numbers), bytearray([field << 3 | 2])
    while length > 127:
        prefix.append(length & 127 | 128)
        length >>= 7
    return bytes([*prefix, length]) + numbers


def _values(name: str, blobs: Any, targets: list[Tensor], file: str | Path) -> list[Tensor]:
    """The blobs of a layer in the shapes of the network."""
    where = f"{file}, layer {name!r}"
    if len(blobs) != len(targets):
        raise UserError(
            "the layer has another number of blobs than the network's",
            where=where,
            expected=len(targets),
            found=len(blobs),
            cure="bias_term as it was in training",
        )
    values = []
    for index, (blob, target) in enumerate(zip(blobs, targets, strict=True)):
        try:
            value = blob_value(blob)
        except UserError as error:
            raise UserError(f"{where}, blob {index}: {error}") from None
        if _without_ones(value.shape) != _without_ones(target.shape):
            raise UserError(
                "a blob has another shape than the network's",
                where=f"{where}, blob {index}",
                expected=tuple(target.shape),
                found=tuple(value.shape),
                cure=f"this layer named fresh: {name}",
            )
        if value.isnan().any():
            raise UserError(
                "the weights are NaN", where=f"{where}, blob {index}", cure="the file of an earlier iteration"
            )
        values.append(value.view(target.shape))
    return values


def _without_ones(shape: torch.Size) -> tuple[int, ...]:
    return tuple(itertools.dropwhile(lambda size: size == 1, shape))


TOPICS = (Topic("Nets, weights and solvers in Caffe's files", code=("load_caffemodel",)),)
