"""Net descriptions (.prototxt) as modules: the same network, plain torch.

>>> import torch
>>> net = parse_net('''
...     layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
...     layer { name: "sum" type: "InnerProduct" bottom: "x" top: "y"
...             inner_product_param { num_output: 1 weight_filler { value: 1 } } }
... ''')
>>> net(torch.tensor([[1.0, 3.0]]))["y"].tolist()
[[4.0]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.core.course import Topic
from chainrule.interop.caffe.assembly import Assembly
from chainrule.interop.caffe.description.files import layer_lines, parse_text, read_text
from chainrule.interop.caffe.description.graph import CaffeGraph
from chainrule.interop.caffe.description.rules import State
from chainrule.interop.caffe.description.sources import Source


def read_net(
    prototxt: str | Path,
    phase: str = "TEST",
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> CaffeGraph:
    """The network of a description, with first weights by its fillers, drawn from torch's global generator.

    Args:
        prototxt: a file in Caffe's text form, of any age since 2014 (`layer { ... }` or `layers { ... }`).
        phase: TRAIN or TEST: layers with rules `include` and `exclude` are there accordingly, and the module is in
            training or eval mode.
        level, stages: the rest of the state that such rules ask for.
        shapes: sizes of input blobs by name, batch first, where the description does not say them or others are wanted.

    Raises:
        UserError: no such file, no description, a layer of an unknown type, settings or shapes that do not fit; the
            layer and its line are named.

    Source: Caffe, net.cpp.
    """
    described, text = read_text(prototxt, "Net")
    return _assembled(described, text, prototxt, phase, level, stages, shapes)


def parse_net(
    text: str,
    phase: str = "TEST",
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    shapes: Mapping[str, Sequence[int]] | None = None,
    where: object = None,
) -> CaffeGraph:
    """`read_net` of a text; `where` is what errors name as its place."""
    return _assembled(parse_text(text, "Net", where), text, where, phase, level, stages, shapes)


def _assembled(
    described: Any,
    text: str,
    where: object,
    phase: str,
    level: int,
    stages: Sequence[str],
    shapes: Mapping[str, Sequence[int]] | None,
) -> CaffeGraph:
    state = State(phase, level, tuple(stages))
    return Assembly(described, layer_lines(text), where, state, shapes or {}).graph()


def parse_sources(
    text: str,
    phase: str = "TRAIN",
    where: object = None,
    *,
    level: int = 0,
    stages: Sequence[str] = (),
    needed: bool = False,
) -> list[Source]:
    """What a description says of its data: the data layers of a phase, level and stages.

    Raises:
        UserError: no description, a data layer that contradicts itself, or none although it is `needed`.
    """
    state = State(phase, level, tuple(stages))
    return Assembly(parse_text(text, "Net", where), layer_lines(text), where, state, {}).data_layers(needed)


TOPICS = (Topic("Nets, weights and solvers in Caffe's files", code=("read_net",)),)
