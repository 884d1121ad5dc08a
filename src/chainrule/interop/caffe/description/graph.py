"""The network of a description as a module: `CaffeGraph` runs it, `CaffeScores` answers x with scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError, unknown
from chainrule.interop.caffe.description.sources import Shape, Source

Blob = tuple[str, int]  # a name, and which of the layers that write it: in-place layers make a blob anew


@dataclass(frozen=True)
class Step:
    """A layer in its place: which module takes which blobs and makes which.

    `loss_weights` holds what each blob that it makes counts in the objective; `key` is the module's name. `blocked` says
    of each bottom whether no gradient goes back to it; it is empty where gradients go back to all.
    """

    name: str
    kind: str
    key: str
    bottoms: tuple[Blob, ...]
    tops: tuple[Blob, ...]
    loss_weights: tuple[float, ...]
    blocked: tuple[bool, ...] = ()

    def taken(self, blobs: Mapping[Blob, Tensor]) -> list[Tensor]:
        """The blobs that it reads, cut from their gradient where it hands none back."""
        found = [blobs[bottom] for bottom in self.bottoms]
        return [x.detach() if cut else x for x, cut in zip(found, self.blocked or [False] * len(found), strict=True)]


@dataclass(frozen=True)
class Multiplier:
    """What a parameter's rate and weight decay are multiplied by."""

    lr: float = 1.0
    decay: float = 1.0


class CaffeGraph(nn.Module):
    """The network of a description. `read_net` and `parse_net` make it.

    `forward` takes the input blobs, by name or in the order of `inputs`, and gives those that no layer takes, by name.
    Any batch does; the other axes are those of the description. Whether dropout and batch normalisation train is
    decided by `train()` and `eval()`, as everywhere in torch; the phase decides which layers there are.

    Args:
        name: of the network.
        phase: TRAIN or TEST.
        inputs: the shape of each input blob.
        sources: its data layers.
        steps: the layers in order.
        modules: the module of each step, by its key.
        multipliers: for the name of a parameter, what its rate and decay are multiplied by.
        shapes: of every blob, for the batch of the description.
        notes: what of the description was not read, and changes no result, a line each.
    """

    def __init__(
        self,
        name: str,
        phase: str,
        inputs: Mapping[str, Shape],
        sources: Sequence[Source],
        steps: Sequence[Step],
        modules: Mapping[str, nn.Module],
        multipliers: Mapping[str, Multiplier],
        shapes: Mapping[Blob, Shape],
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.notes = tuple(notes)
        self.name, self.phase, self.inputs = name, phase, dict(inputs)
        self.sources, self.steps, self.multipliers = tuple(sources), tuple(steps), dict(multipliers)
        self.shapes = dict(shapes)
        self.layers = nn.ModuleDict(modules)
        made = {top: step for step in self.steps for top in step.tops}
        read = {bottom for step in self.steps for bottom in step.bottoms}
        self.outputs = {top[0]: top for top in made if top not in read}
        self.plan = self.steps_for(self.outputs.values())

    def forward(self, *args: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        blobs = self.run(self.plan, self.named(args, inputs))
        return {name: blobs[blob] for name, blob in self.outputs.items()}

    def objective(self, *args: Tensor, **inputs: Tensor) -> Tensor:
        """The sum of all blobs that count as loss, times their weights: what Caffe minimises, without weight decay.

        Raises:
            UserError: there is no loss in this description and phase.
        """
        weights = {
            top: weight
            for step in self.steps
            for top, weight in zip(step.tops, step.loss_weights, strict=True)
            if weight
        }
        if not weights:
            raise UserError(
                f"the network {self.name} has no loss in the phase {self.phase}",
                expected="a layer such as SoftmaxWithLoss",
            )
        blobs = self.run(self.steps_for(weights), self.named(args, inputs))
        return torch.stack([weight * blobs[blob].sum() for blob, weight in weights.items()]).sum()

    def blobs(self, *args: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """Every blob by name, after the last layer that writes it."""
        latest = {top[0]: top for step in self.steps for top in step.tops}
        made = self.run(self.steps_for(latest.values()), self.named(args, inputs))
        return {name: made[blob] for name, blob in latest.items()}

    def layer(self, name: str) -> nn.Module:
        """The module of the layer of that name.

        Raises:
            UserError: there is none.
        """
        for step in self.steps:
            if step.name == name:
                return self.layers[step.key]
        raise unknown(f"the network {self.name} has no layer", name, [step.name for step in self.steps])

    def named(self, args: Sequence[Tensor], inputs: Mapping[str, Tensor]) -> dict[Blob, Tensor]:
        """The inputs as blobs, checked against the shapes of the description.

        Raises:
            UserError: an unknown input, one given twice, or another shape.
        """
        if len(args) > len(self.inputs):
            raise UserError("there are too many inputs", expected=", ".join(self.inputs), found=len(args))
        by_name = dict(zip(self.inputs, args, strict=False))
        for name in inputs:
            if name not in self.inputs:
                raise unknown(f"the network {self.name} has no input", name, self.inputs)
            if name in by_name:
                raise UserError(f"the input {name!r} is given twice", expected="once")
        by_name |= inputs
        for name, x in by_name.items():
            shape = self.inputs[name]
            if len(shape) > 1 and tuple(x.shape[1:]) != shape[1:]:
                raise UserError(
                    f"the input {name!r} has another shape than the description",
                    expected=f"(N, {', '.join(map(str, shape[1:]))})",
                    found=tuple(x.shape),
                    cure=f"read_net(..., shapes={{{name!r}: {tuple(x.shape)}}})",
                )
        return {(name, 0): x for name, x in by_name.items()}

    def steps_for(self, wanted: Any) -> list[tuple[Step, list[Blob]]]:
        """The steps that these blobs need, in order, each with the blobs that nobody needs after it."""
        needed, taken = set(wanted), []
        for step in reversed(self.steps):
            if any(top in needed for top in step.tops):
                taken.append((step, [blob for blob in dict.fromkeys(step.bottoms) if blob not in needed]))
                needed.update(step.bottoms)
        return taken[::-1]

    def run(self, plan: list[tuple[Step, list[Blob]]], given: dict[Blob, Tensor]) -> dict[Blob, Tensor]:
        """The blobs that the plan was made for; others are let go as soon as nobody needs them.

        Raises:
            UserError: an input that a step needs is not given.
        """
        blobs = dict(given)
        for step, over in plan:
            for bottom in step.bottoms:
                if bottom not in blobs:
                    raise UserError(
                        f"the input {bottom[0]!r} is missing; layer {step.name!r} needs it",
                        expected=", ".join(self.inputs),
                        found=", ".join(name for name, _ in given) or "nothing",
                    )
            made = self.layers[step.key](*step.taken(blobs))
            for blob in over:
                del blobs[blob]
            blobs.update(zip(step.tops, made if isinstance(made, tuple) else (made,), strict=True))
        return blobs


class CaffeScores(nn.Module):
    """x to the scores of a network: what its last loss or softmax is given, or its last output where it has neither.

    One tensor in, one out, so it can be exported, explained, and trained by any criterion.

    Args:
        net: the network; its first input is x.

    Raises:
        UserError: the network makes nothing of its first input.

    >>> from chainrule.interop.caffe.net import parse_net
    >>> net = parse_net('''
    ...     layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
    ...     layer { name: "half" type: "Power" bottom: "x" top: "y" power_param { scale: 0.5 } }
    ...     layer { name: "p" type: "Softmax" bottom: "y" top: "p" }
    ... ''')
    >>> CaffeScores(net)(torch.tensor([[2.0, 4.0]]))
    tensor([[1., 2.]])
    """

    def __init__(self, net: CaffeGraph) -> None:
        super().__init__()
        self.net = net
        self.blob = score_blobs(net)[-1][0]
        self.plan = net.steps_for([self.blob])
        if not self.plan:
            raise UserError(f"the network {net.name} makes nothing of its input", found=self.blob[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.net.run(self.plan, self.net.named((x,), {}))[self.blob]


def score_blobs(net: CaffeGraph) -> list[tuple[Blob, Step | None]]:
    """The blobs that losses are computed of, with the layers that do; without losses, the last softmax's or the last output.

    The main one comes last: of several losses, the last of those that weigh most.
    """
    losses = [step for step in net.steps if any(step.loss_weights) and step.bottoms]
    if losses:
        losses.sort(key=lambda step: max(step.loss_weights))  # a stable sort: of equals the last stays last
        return [(step.bottoms[0], step) for step in losses]
    outputs = set(net.outputs.values())
    last = [step for step in net.steps if any(top in outputs for top in step.tops)]
    if not last:
        raise UserError(f"the network {net.name} has no output", expected="a layer whose blob nobody takes")
    softmax = [step for step in last if step.kind == "Softmax"]
    return [(softmax[-1].bottoms[0], None) if softmax else (last[-1].tops[0], None)]
