"""From the layers of a description to the parts of a `CaffeGraph`: which are there, what they read, what they are.

Source: Caffe, net.cpp, Init, FilterNet, AppendTop, AppendBottom, AppendParam.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.interop.caffe.description.fields import HARMLESS, Fields
from chainrule.interop.caffe.description.graph import Blob, CaffeGraph, Multiplier, Step
from chainrule.interop.caffe.description.rules import PHASES, State, belongs
from chainrule.interop.caffe.description.schema import SETTINGS
from chainrule.interop.caffe.description.sources import SOURCES, Shape, Source, shapes_of, source_of
from chainrule.interop.caffe.description.upgrade import layers_of
from chainrule.interop.caffe.layers.fillers import fill_layer
from chainrule.interop.caffe.layers.layers import MANY, TYPES

RULES = frozenset({"include", "exclude", "param"})  # read in parts, by what is there
NOT_HERE = ("Python", "HDF5Output", "Im2col", "Parameter")  # types of layers that Caffe has besides
# Settings that Caffe passes over too, where others are set beside them or another bottom stands for them.
PASSED_OVER = frozenset(
    ["lrn_param.k", "scale_param.num_axes", "bias_param.num_axes", "loss_param.normalize", "infogain_loss_param.source"]
)


class Assembly:
    """A network in the making; `graph` makes it.

    Args:
        described: the message Net.
        lines: where its layers begin, of `layer_lines`.
        where: the file, for errors.
        state: what the rules of layers are asked against.
        shapes: sizes of inputs by name.
    """

    def __init__(
        self,
        described: Any,
        lines: Mapping[str, list[int]],
        where: object,
        state: State,
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        self.described, self.where, self.given = described, where, shapes
        self.lines = lines["layers" if described.layers else "layer"]
        own = described.state  # what the description itself is in, beside what is asked for
        self.state = State(state.phase, state.level or own.level, (*state.stages, *own.stage))
        self.line: int | None = None
        self.left_out: list[Any] = []  # layers that the rules do not let in
        self.unread: dict[str, list[str]] = {}  # what nobody reads, a sentence, and the layers that have it set
        self.bytes = 0  # of all parameters so far
        self.inputs: dict[str, Shape] = {}
        self.sources: list[Source] = []
        self.steps: list[Step] = []
        self.modules: dict[str, nn.Module] = {}
        self.multipliers: dict[str, Multiplier] = {}
        self.blobs: dict[str, Blob] = {}  # the latest blob of each name
        self.metas: dict[Blob, Tensor] = {}  # shapes, as tensors without memory
        self.shared: dict[
            str, tuple[str, str, nn.Parameter, Any]
        ] = {}  # name to layer, parameter's place, it, its settings

    def graph(self) -> CaffeGraph:
        """The network.

        Raises:
            UserError: see `read_net`.
        """
        for layer in self.layers():
            with self._named(layer):
                self._add(layer)
        if not self.inputs:
            raise self._nothing("network has no input")
        strange = [name for name in self.given if name not in self.inputs]
        if strange:
            raise unknown("shapes names an input that is not there:", strange[0], self.inputs)
        net = CaffeGraph(
            self.described.name or "without a name",
            self.state.phase,
            self.inputs,
            self.sources,
            self.steps,
            self.modules,
            self.multipliers,
            {blob: tuple(meta.shape) for blob, meta in self.metas.items()},
            self._notes(),
        )
        return net.train(self.state.phase == "TRAIN")

    def layers(self) -> Iterator[Any]:
        """The layers that the rules let in, in order; `line` is that of the last one."""
        layers = layers_of(self.described)
        if not layers:
            raise UserError("the description has no layer", where=self.where, expected='layer { name: "conv1" ... }')
        offset = len(layers) - len(self.lines)  # the inputs of the older form are no layers of the text
        for index, message in enumerate(layers):
            layer = Fields(message)
            self.line = self.lines[index - offset] if index >= offset else None
            with self._named(layer):
                is_there = self.state.admits(layer)
            if is_there:
                yield layer
            else:
                self.left_out.append(layer)

    def data_layers(self, needed: bool) -> list[Source]:
        """What the description says of its data, without building the network; UserError where nothing, and it is needed."""
        found = []
        for layer in self.layers():
            if layer.type in SOURCES:
                with self._named(layer):
                    found.append(source_of(layer))
        if needed and not any(source.tops for source in found):
            raise self._nothing("description has no data")
        return found

    @contextlib.contextmanager
    def _named(self, layer: Any) -> Iterator[None]:
        """Errors inside bear the name of the layer, and its line; so do torch's, about numbers that give no layer."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{self._place(layer)}: {error}") from None
        except (
            ArithmeticError,
            AssertionError,
            LookupError,
            MemoryError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            words = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UserError(f"{self._place(layer)}: its settings give no layer", found=words) from None

    def _place(self, layer: Any) -> str:
        file = f" of {self.where}" if self.where is not None else ""
        line = f", line {self.line}" if self.line is not None else ""
        return f"layer {layer.name!r} ({layer.type or 'without a type'}){file}{line}"

    def _nothing(self, what: str) -> UserError:
        """The error where no layer brings data in; it names those that do in another state."""
        left = [layer for layer in self.left_out if layer.type in SOURCES]
        return UserError(
            f"the {what} in the {self.state}",
            where=self.where,
            expected="a layer of type " + ", ".join(SOURCES),
            found="; ".join(f"layer {layer.name!r} is there {belongs(layer)}" for layer in left) or None,
            cure=self.state.cure(left) or "phase=TRAIN or phase=TEST",
        )

    def _add(self, layer: Any) -> None:
        if layer.type in SOURCES:
            source = source_of(layer)
            self.sources.append(source)
            for name, shape in shapes_of(layer, source, self.given).items():
                _expect_size(name, shape)
                self.inputs[name] = shape
                self.metas[self._made(name, in_place=False)] = torch.empty(shape, device="meta")
            self._expect_read(layer)
            return
        if layer.type not in TYPES:
            cure = "layers of this type of Caffe's are not read here" if layer.type in NOT_HERE else None
            raise unknown("there is no type of layer", layer.type, [*SOURCES, *TYPES], cure=cure)
        kind = TYPES[layer.type]
        for word, names, (least, most) in (("bottom", layer.bottom, kind.bottoms), ("top", layer.top, kind.tops)):
            if not least <= len(names) <= most:
                wanted = f"{least}" if least == most else f"{least} or more" if most == MANY else f"{least} to {most}"
                raise UserError(f"the layer has another number of {word}s", expected=wanted, found=len(names))
        bottoms = [self._read(name) for name in layer.bottom]
        module, results = self._built(layer, [self.metas[bottom] for bottom in bottoms])
        key = self._key(layer.name, module)
        self.modules[key] = module
        tops = tuple(self._made(name, in_place=name in layer.bottom[i : i + 1]) for i, name in enumerate(layer.top))
        for top, result in zip(tops, results, strict=True):
            _expect_size(top[0], result.shape)
        self.metas.update(zip(tops, results, strict=True))
        self._parameters(layer, key, module)
        self.steps.append(
            Step(layer.name, layer.type, key, tuple(bottoms), tops, _loss_weights(layer), self._blocked(layer))
        )
        self._expect_read(layer)

    def _blocked(self, layer: Any) -> tuple[bool, ...]:
        """Of each bottom whether the layer hands no gradient back to it: `propagate_down: false`."""
        said = list(layer.propagate_down)
        if said and len(said) != len(layer.bottom):
            raise UserError(
                "there must be one propagate_down for each bottom", expected=len(layer.bottom), found=len(said)
            )
        return tuple(not down and not self.described.force_backward for down in said)

    def _expect_read(self, layer: Any) -> None:
        """Every field that is set was read, or changes no result, or is one that Caffe passes over too.

        Raises:
            UserError: Caffe reads a field that nobody read here; or a number is NaN.
        """
        for path in layer.nans():
            raise UserError(f"{path} is NaN", expected="a number")
        if layer.HasField("phase") and layer.phase != PHASES[self.state.phase]:
            raise UserError("a layer in another phase than its network is not read", found=f"phase: {layer.phase}")
        for path, value in layer.unread(RULES):
            first, name = path.partition(".")[0], path.rpartition(".")[2]
            if layer.type in SOURCES:
                continue  # where Caffe has its data from, and which it draws: here they are given
            if name in HARMLESS:
                told = f"{name}: not read; results do not depend on it"
            elif path in PASSED_OVER or "filler" in path or path == first in SETTINGS:
                told = f"{path}: not read; Caffe does not read it here either"
            else:
                raise UserError(
                    f"{path} is not read here, and Caffe reads it",
                    found=" ".join(f"{name}: {value}".split())[:80],
                    cure="leave it out, if the network may do without",
                )
            self.unread.setdefault(told, []).append(layer.name)

    def _notes(self) -> list[str]:
        notes = ["debug_info: not read; results do not depend on it"] if self.described.debug_info else []
        return notes + [
            f"{told} (layer{'s' if len(names) > 1 else ''} {_some(names)})" for told, names in self.unread.items()
        ]

    def _read(self, name: str) -> Blob:
        if name in self.blobs:
            return self.blobs[name]
        left = [layer for layer in self.left_out if name in layer.top]
        if not left and self.blobs:
            raise unknown("no layer before it makes the blob", name, self.blobs)
        raise UserError(
            f"no layer before it makes the blob {name!r} in {self.state}",
            expected="; ".join(f"layer {layer.name!r}, which is there {belongs(layer)}" for layer in left)
            or "an input before it, such as a layer of type Input",
            cure=self.state.cure(left),
        )

    def _made(self, name: str, in_place: bool) -> Blob:
        if name in self.blobs and not in_place:
            raise UserError(
                f"the blob {name!r} is made by two layers", expected="another name, or the same name as bottom and top"
            )
        self.blobs[name] = (name, self.blobs[name][1] + 1) if name in self.blobs else (name, 0)
        return self.blobs[name]

    def _built(self, layer: Any, bottoms: list[Tensor]) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """The module with its first weights, and the blobs it makes, as shapes: it is tried without memory first."""
        kind, shapes = TYPES[layer.type], [tuple(bottom.shape) for bottom in bottoms]
        try:
            with torch.device("meta"):
                module = kind.build(layer, shapes)
            made = module.eval()(*bottoms)
        except (RuntimeError, IndexError) as error:  # torch's words for shapes that do not fit
            raise UserError(
                "the layer does not fit its bottoms",
                found=", ".join(f"{name} {shape}" for name, shape in zip(layer.bottom, shapes, strict=True)),
                cure=error,
            ) from None
        self._expect_memory(module)
        module.to_empty(device=torch.get_default_device())
        for buffer in module.buffers():
            buffer.zero_()
        if kind.settings:
            fill_layer(module, getattr(layer, kind.settings), kind.unset)
        return module, made if isinstance(made, tuple) else (made,)

    def _expect_memory(self, module: nn.Module) -> None:
        """UserError where a weight is larger than Caffe has any, or all so far are more than this machine can hold."""
        for name, parameter in module.named_parameters():
            _expect_size(name, parameter.shape)
        self.bytes += sum(p.numel() * p.element_size() for p in (*module.parameters(), *module.buffers()))
        held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else math.inf
        if torch.get_default_device().type == "cpu" and self.bytes > held:
            raise UserError(
                "the weights are more than the memory holds",
                expected=f"{held / 2**30:.3g} GiB or less",
                found=f"{self.bytes / 2**30:.3g} GiB",
                cure="smaller num_output, or smaller inputs before a layer that takes all of them",
            )

    def _key(self, name: str, module: nn.Module) -> str:
        """A name for the module, as torch takes it: without dots, and different from all others."""
        if any(step.name == name and _blobs(self.modules[step.key]) for step in self.steps) and _blobs(module):
            raise UserError("two layers with weights have one name", expected="a name of its own for each")
        base = name.replace(".", "_") or "layer"
        key, number = base, 1
        while key in self.modules or hasattr(nn.ModuleDict, key) or key in ("training",):
            number += 1
            key = f"{base}_{number}"
        return key

    def _parameters(self, layer: Any, key: str, module: nn.Module) -> None:
        """Keeps the multipliers of each parameter, and makes those one that share a name."""
        names = _blobs(module)
        if len(layer.param) > len(names):
            raise UserError("there are more param than blobs", expected=len(names), found=len(layer.param))
        parameters = dict(module.named_parameters())
        for name, spec in zip(names, layer.param, strict=False):
            if name not in parameters:
                if spec.name:
                    raise UserError("statistics of batches cannot be shared", found=f"param {{ name: {spec.name!r} }}")
                continue
            full = f"layers.{key}.{name}"
            if spec.name and spec.name in self.shared:
                self._share(module, name, spec)
                continue
            if spec.name:
                self.shared[spec.name] = (layer.name, full, parameters[name], spec)
            self.multipliers[full] = Multiplier(spec.lr_mult, spec.decay_mult)
            parameters[name].requires_grad_(spec.lr_mult != 0)

    def _share(self, module: nn.Module, name: str, spec: Any) -> None:
        owner, _, parameter, first = self.shared[spec.name]
        if getattr(module, name).shape != parameter.shape:
            raise UserError(
                f"the shared parameter {spec.name!r} has another shape than in layer {owner!r}",
                expected=tuple(parameter.shape),
                found=tuple(getattr(module, name).shape),
            )
        for field in ("lr_mult", "decay_mult"):
            if spec.HasField(field) and getattr(spec, field) != getattr(first, field):
                raise UserError(
                    f"the shared parameter {spec.name!r} has another {field} than in layer {owner!r}",
                    expected=getattr(first, field),
                    found=getattr(spec, field),
                )
        setattr(module, name, parameter)


def _blobs(module: nn.Module) -> list[str]:
    """Names of a layer's blobs, in Caffe's order."""
    return [name for name, _ in (*module.named_parameters(), *module.named_buffers())]


def _loss_weights(layer: Any) -> tuple[float, ...]:
    """What each top counts in the objective: the first of a loss layer 1, unless it is said."""
    if layer.loss_weight and len(layer.loss_weight) != len(layer.top):
        raise UserError(
            "there must be one loss_weight for each top", expected=len(layer.top), found=len(layer.loss_weight)
        )
    if layer.loss_weight:
        return tuple(layer.loss_weight)
    is_loss = layer.type.endswith("Loss")
    return tuple(1.0 if is_loss and index == 0 else 0.0 for index in range(len(layer.top)))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _expect_size(name: str, shape: Sequence[int]) -> None:
    """Caffe's own bound: a blob has fewer than 2^31 numbers."""
    if math.prod(shape) >= 2**31:
        raise UserError(
            f"the blob {name!r} is too large", expected="fewer than 2^31 numbers", found=" x ".join(map(str, shape))
        )
