"""A net description to look at: its layers, what each makes of what, and how many numbers it learns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.files import kind_of_file, read_text
from chainrule.interop.caffe.description.graph import CaffeGraph
from chainrule.interop.caffe.description.rules import PHASES
from chainrule.interop.caffe.description.sources import Source
from chainrule.interop.caffe.net import parse_net, parse_sources
from chainrule.interop.caffe.solver import net_of, read_solver
from chainrule.interop.caffe.weights import blob_tensors

DECIDED_BY_DATA = ("Data", "ImageData", "WindowData", "HDF5Data")  # layers whose files say how large images are


def read_to_look_at(
    file: str | Path, words: Sequence[str] = (), *, empty: bool = False
) -> tuple[CaffeGraph, list[str]]:
    """The network of a description, and what was taken for granted, a line each.

    Args:
        file: the description; or a solver, for the network that it trains.
        words: `phase=TRAIN` for the layers of training instead of those of the test (a solver's are those of training);
            `stage=deploy` and `level=1` for the layers that are there then; `NAME=1,28,28` for the sizes of the input
            NAME, channels, height and width, where the description leaves them to the data.
        empty: without memory for the weights: enough to list layers.

    Raises:
        UserError: see `chainrule.interop.caffe.net.read_net`; a word of another form; or sizes that nobody says.
    """
    asked, phase, place = _words(words), "TEST", file
    stages, level, shapes = asked.stages, asked.level, asked.shapes
    if kind_of_file(file) == "Solver":
        solver, found, phase = read_solver(file), net_of(file), "TRAIN"
        if found is None:
            raise UserError("the solver names no network", where=file, expected='net: "train_val.prototxt"')
        text, place = found
        stages, level = (*solver.stages, *stages), level or solver.level
    else:
        text = read_text(file, "Net")[1]
    phase = asked.phase or phase
    notes = []
    for source in parse_sources(text, phase, place, level=level, stages=stages):
        if source.tops and source.kind in DECIDED_BY_DATA and source.tops[0] not in shapes:
            shapes[source.tops[0]], note = _likely(source, place)
            notes += [note] if note else []
    with torch.device("meta") if empty else contextlib.nullcontext():
        net = parse_net(text, phase, level=level, stages=stages, shapes=shapes, where=place)
    return net, [*notes, *net.notes]


def solver_rows(file: str | Path) -> tuple[list[tuple[str, str]], tuple[str, ...]] | None:
    """The settings of a solver, as they stand in its file, and what of them is not read; None of a net description.

    Raises:
        UserError: see `chainrule.interop.caffe.solver.read_solver`.
    """
    if kind_of_file(file) != "Solver":
        return None
    notes = read_solver(file).notes
    rows = [
        (name, ", ".join(values))
        for name, values in (
            (said.name, _written(said, value)) for said, value in read_text(file, "Solver")[0].ListFields()
        )
        if values
    ]
    return rows, notes


def _written(said: Any, value: Any) -> list[str]:
    """The values of a field as its file has them; none of a message."""
    if said.message_type is not None:
        return []
    values = [value] if isinstance(value, (str, int, float)) else list(value)
    if said.enum_type is not None:
        return [said.enum_type.values_by_number[number].name for number in values]
    return [f"{number:g}" if isinstance(number, float) else str(number) for number in values]


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


@dataclass(frozen=True)
class _Asked:
    """What the words beside a file ask for."""

    phase: str = ""
    level: int = 0
    stages: tuple[str, ...] = ()
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def _words(words: Sequence[str]) -> _Asked:
    asked = _Asked()
    for word in words:
        name, equals, value = word.partition("=")
        numbers = value.replace("x", ",").split(",")
        if name == "phase" and value.upper() in PHASES:
            asked = replace(asked, phase=value.upper())
        elif name == "stage" and value:
            asked = replace(asked, stages=(*asked.stages, *filter(None, value.split(","))))
        elif name == "level" and value.removeprefix("-").isdecimal():
            asked = replace(asked, level=int(value))
        elif equals and name and all(_is_size(number) for number in numbers):
            asked.shapes[name] = (1, *map(int, numbers))
        else:
            raise UserError(
                "a word beside the description is not understood",
                found=word,
                expected="NAME=CHANNELS,HEIGHT,WIDTH of an input, such as data=3,224,224; or phase=TRAIN, phase=TEST, "
                "stage=NAME, level=1",
            )
    return asked


def _is_size(number: str) -> bool:
    return number.strip().isdecimal() and 0 < int(number) < 2**31


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
