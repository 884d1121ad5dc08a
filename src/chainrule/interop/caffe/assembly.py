"""From the layers of a description to the parts of a `CaffeGraph`: which are there, what they read, what they are.

Source: Caffe, net.cpp, Init, FilterNet, AppendTop, AppendBottom, AppendParam.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.interop.caffe.description.graph import Blob, CaffeGraph, Multiplier, Step
from chainrule.interop.caffe.description.sources import SOURCES, Shape, Source, shapes_of, source_of
from chainrule.interop.caffe.description.upgrade import layers_of
from chainrule.interop.caffe.layers.fillers import fill_layer
from chainrule.interop.caffe.layers.layers import MANY, TYPES

PHASES = {"TRAIN": 0, "TEST": 1}


class Assembly:
    """A network in the making; `graph` makes it.

    Args:
        described: the message Net.
        lines: where its layers begin, of `layer_lines`.
        where: the file, for errors.
        phase, level, stages: the state that the rules of layers ask for.
        shapes: sizes of inputs by name.
    """

    def __init__(
        self,
        described: Any,
        lines: Mapping[str, list[int]],
        where: object,
        phase: str,
        level: int,
        stages: Sequence[str],
        shapes: Mapping[str, Sequence[int]],
    ) -> None:
        if phase not in PHASES:
            raise unknown("there is no phase", phase, PHASES)
        self.described, self.where, self.phase, self.given = described, where, phase, shapes
        self.lines = lines["layers" if described.layers else "layer"]
        self.state = (PHASES[phase], level, set(stages))
        self.line: int | None = None
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
            raise UserError(
                f"the network has no input in the phase {self.phase}",
                where=self.where,
                expected="a layer of type " + ", ".join(SOURCES),
                cure="phase='TRAIN' or phase='TEST'",
            )
        strange = [name for name in self.given if name not in self.inputs]
        if strange:
            raise unknown("shapes names an input that is not there:", strange[0], self.inputs)
        net = CaffeGraph(
            self.described.name or "without a name",
            self.phase,
            self.inputs,
            self.sources,
            self.steps,
            self.modules,
            self.multipliers,
            {blob: tuple(meta.shape) for blob, meta in self.metas.items()},
        )
        return net.train(self.phase == "TRAIN")

    def layers(self) -> Iterator[Any]:
        """The layers that the rules let in, in order; `line` is that of the last one."""
        layers = layers_of(self.described)
        if not layers:
            raise UserError("the description has no layer", where=self.where, expected='layer { name: "conv1" ... }')
        offset = len(layers) - len(self.lines)  # the inputs of the older form are no layers of the text
        for index, layer in enumerate(layers):
            self.line = self.lines[index - offset] if index >= offset else None
            if self._is_there(layer):
                yield layer

    def data_layers(self) -> list[Source]:
        """What the description says of its data, without building the network."""
        found = []
        for layer in self.layers():
            if layer.type in SOURCES:
                with self._named(layer):
                    found.append(source_of(layer))
        return found

    @contextlib.contextmanager
    def _named(self, layer: Any) -> Iterator[None]:
        """Errors inside bear the name of the layer, and its line."""
        try:
            yield
        except UserError as error:
            raise UserError(f"{self._place(layer)}: {error}") from None

    def _place(self, layer: Any) -> str:
        file = f" of {self.where}" if self.where is not None else ""
        line = f", line {self.line}" if self.line is not None else ""
        return f"layer {layer.name!r} ({layer.type or 'without a type'}){file}{line}"

    def _is_there(self, layer: Any) -> bool:
        """Whether the rules of the layer let it into this phase, level and these stages."""
        if layer.include and layer.exclude:
            raise UserError(f"{self._place(layer)}: rules are either include or exclude", found="both")
        if layer.include:
            return any(self._meets(rule) for rule in layer.include)
        return not any(self._meets(rule) for rule in layer.exclude)

    def _meets(self, rule: Any) -> bool:
        phase, level, stages = self.state
        return (
            (not rule.HasField("phase") or rule.phase == phase)
            and (not rule.HasField("min_level") or level >= rule.min_level)
            and (not rule.HasField("max_level") or level <= rule.max_level)
            and stages.issuperset(rule.stage)
            and stages.isdisjoint(rule.not_stage)
        )

    def _add(self, layer: Any) -> None:
        if layer.type in SOURCES:
            source = source_of(layer)
            self.sources.append(source)
            for name, shape in shapes_of(layer, source, self.given).items():
                self.inputs[name] = shape
                self.metas[self._made(name, in_place=False)] = torch.empty(shape, device="meta")
            return
        if layer.type not in TYPES:
            raise unknown("there is no type of layer", layer.type, [*SOURCES, *TYPES])
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
        self.metas.update(zip(tops, results, strict=True))
        self._parameters(layer, key, module)
        self.steps.append(Step(layer.name, layer.type, key, tuple(bottoms), tops, _loss_weights(layer)))

    def _read(self, name: str) -> Blob:
        if name not in self.blobs:
            raise unknown("no layer before it makes the blob", name, self.blobs)
        return self.blobs[name]

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
        module.to_empty(device=torch.get_default_device())
        for buffer in module.buffers():
            buffer.zero_()
        if kind.settings:
            fill_layer(module, getattr(layer, kind.settings), kind.unset)
        return module, made if isinstance(made, tuple) else (made,)

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
