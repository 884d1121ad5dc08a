"""A net description to look at: its layers, what each makes of what, and how many numbers it learns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.files import read_text
from chainrule.interop.caffe.description.graph import CaffeGraph
from chainrule.interop.caffe.description.sources import Source
from chainrule.interop.caffe.net import parse_net, parse_sources
from chainrule.interop.caffe.weights import blob_tensors

DECIDED_BY_DATA = ("Data", "ImageData", "WindowData", "HDF5Data")  # layers whose files say how large images are


def read_to_look_at(
    file: str | Path, words: Sequence[str] = (), *, empty: bool = False
) -> tuple[CaffeGraph, list[str]]:
    """The network of a description, and what was taken for granted, a line each.

    Args:
        file: the description.
        words: `phase=TRAIN` for the layers of training instead of those of the test; `NAME=1,28,28` for the sizes of
            the input NAME, channels, height and width, where the description leaves them to the data.
        empty: without memory for the weights: enough to list layers.

    Raises:
        UserError: see `chainrule.interop.caffe.net.read_net`; a word of another form; or sizes that nobody says.
    """
    text = read_text(file, "Net")[1]
    phase, shapes = _words(words)
    notes = []
    for source in parse_sources(text, phase, file):
        if source.tops and source.kind in DECIDED_BY_DATA and source.tops[0] not in shapes:
            shapes[source.tops[0]], note = _likely(source, file)
            notes += [note] if note else []
    with torch.device("meta") if empty else contextlib.nullcontext():
        net = parse_net(text, phase, shapes=shapes, where=file)
    return net, notes


def layer_rows(net: CaffeGraph) -> list[tuple[str, ...]]:
    """Layers in order: name, type, blobs that it takes, the blob that it makes and its shape without the batch, parameters.

    What a layer shares with one before it is counted there. The last row has the sum.

    >>> net = parse_net('''
    ...     layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
    ...     layer { name: "sum" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 3 } }
    ... ''')
    >>> [row[3:] for row in layer_rows(net)]
    [('makes', 'parameters'), ('x (2)', ''), ('y (3)', '9'), ('', '9')]
    """
    rows = [("layer", "type", "takes", "makes", "parameters"), *_input_rows(net)]
    total, seen = 0, set()
    for step in net.steps:
        own = {id(p): p.numel() for p in blob_tensors(net, step.key) if isinstance(p, nn.Parameter)}
        count = sum(number for key, number in own.items() if key not in seen)
        seen |= set(own)
        total += count
        made = ", ".join(f"{top[0]} {_size(net.shapes[top])}" for top in step.tops)
        rows.append(
            (step.name, step.kind, ", ".join(blob[0] for blob in step.bottoms), made, f"{count:,}" if count else "")
        )
    return [*rows, ("", "", "", "", f"{total:,}")]


def _input_rows(net: CaffeGraph) -> Iterator[tuple[str, ...]]:
    """Data layers, and inputs that stand in no layer, as descriptions of 2014 had them."""
    named = {top: source for source in net.sources for top in source.tops}
    for name, shape in net.inputs.items():
        source = named.get(name)
        yield (source.name if source else name, source.kind if source else "input", "", f"{name} {_size(shape)}", "")


def _size(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape[1:]))})"


def _words(words: Sequence[str]) -> tuple[str, dict[str, tuple[int, ...]]]:
    phase, shapes = "TEST", {}
    for word in words:
        name, equals, value = word.partition("=")
        numbers = value.replace("x", ",").split(",")
        if name == "phase" and value.upper() in ("TRAIN", "TEST"):
            phase = value.upper()
        elif equals and name and all(number.strip().isdecimal() and int(number) > 0 for number in numbers):
            shapes[name] = (1, *map(int, numbers))
        else:
            raise UserError(
                "a word beside the description is not understood",
                found=word,
                expected="NAME=CHANNELS,HEIGHT,WIDTH of an input, such as data=3,224,224; or phase=TRAIN or phase=TEST",
            )
    return phase, shapes


def _likely(source: Source, file: str | Path) -> tuple[tuple[int, ...], str]:
    """The shape of a data layer's images, where it says their side; and what of it was taken for granted."""
    name, side = source.tops[0], source.crop_size or source.size
    if not side:
        raise UserError(
            f"the description leaves the size of the input {name!r} to the data",
            where=f"{file}, layer {source.name!r}",
            expected="a layer of type Input, a crop_size, or the sizes beside the file",
            cure=f"{name}=3,224,224, or what the images have",
        )
    shape = (1, source.channels or 3, side, side)
    note = f"the channels of {name} are not said; taken are 3 (otherwise {name}=1,{side},{side})"
    return shape, "" if source.channels else note
