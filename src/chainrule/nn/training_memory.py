"""How many bytes a training step takes at least: parameters, gradients, the optimiser's state, what the backward pass keeps."""

from __future__ import annotations

import contextlib
import copy
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_SMALL = 2**20  # numbers of a sample up to which a pass of two samples takes little
_MOST_PER_POSITION = 16  # bytes of a sample that are kept for each parameter at each number of its input, at most


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step.

    Attributes:
        parameters, gradients, state: of the networks, of what is learnt of them, of the optimisers.
        activations: what the forward pass of a batch leaves for the backward pass.

    >>> StepMemory(parameters=4, gradients=4, state=8, activations=100).total
    112
    """

    parameters: int
    gradients: int
    state: int
    activations: int = 0

    @property
    def total(self) -> int:
        """The most that is there at once: gradients come as activations go."""
        return self.parameters + self.state + max(self.gradients, self.activations)


def weights_memory(modules: Iterable[nn.Module], optimizers: Iterable[torch.optim.Optimizer]) -> StepMemory:
    """What a step takes whatever the batch is.

    >>> layer = nn.Linear(9, 1)
    >>> weights_memory([layer], [torch.optim.Adam(layer.parameters())])
    StepMemory(parameters=40, gradients=40, state=80, activations=0)
    """
    optimizers = list(optimizers)
    whole = {id(t): t.nbytes for module in modules for t in (*module.parameters(), *module.buffers())}
    learnt = {id(p): p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    gradients = sum(p.nbytes for p in learnt.values() if p.requires_grad)
    return StepMemory(sum(whole.values()), gradients, sum(map(_state_memory, optimizers)))


def activations_memory(module: nn.Module, example: Sequence[Any], samples: int) -> int:
    """Bytes that the forward pass of so many samples like the `example` of one keeps for the backward pass.

    A copy of the module is tried: on two samples and on four, or where a sample is large on all of them without content.
    0 where it cannot be tried. The parameters are not counted, nor the inputs.

    >>> activations_memory(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), (torch.zeros(1, 4),), 10)
    320
    """
    large = sum(each.numel() for each in example if isinstance(each, Tensor)) > _SMALL
    with contextlib.suppress(Exception):  # whatever a network does: then nothing is known
        network = copy.deepcopy(module)
        for layer in network.modules():  # what watches the layers of the module counts no trial
            layer._forward_hooks.clear()
            layer._forward_pre_hooks.clear()
        if large:
            return _kept(network.to("meta"), example, samples)
        two, four = _kept(network, example, 2), _kept(network, example, 4)
        return two + (four - two) * (samples - 2) // 2  # some of it may be there once for all samples
    return 0


def _kept(network: nn.Module, example: Sequence[Any], samples: int) -> int:
    """Bytes that a forward pass of so many samples of zeros keeps, where the network is."""
    kept: dict[int, Tensor] = {}
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    inputs = [_as_many(each, samples, device) if isinstance(each, Tensor) else each for each in example]

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        network(*inputs)
    own = [*network.parameters(), *network.buffers(), *(each for each in inputs if isinstance(each, Tensor))]
    counted = {tensor.untyped_storage()._cdata for tensor in own}
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in counted)


def surely_fits(module: nn.Module, example: Sequence[Any], samples: int, room: int) -> bool:
    """Whether activations are within `room` whatever the network does: so that most trainings need no closer look."""
    numbers = sum(each.numel() for each in example if isinstance(each, Tensor))
    return _MOST_PER_POSITION * samples * numbers * sum(p.numel() for p in module.parameters()) <= room


def _as_many(one: Tensor, samples: int, device: torch.device) -> Tensor:
    """So many samples of zeros in the place of one."""
    shape = (samples, *one.shape[1:]) if one.dim() and len(one) == 1 else one.shape
    return torch.zeros(shape, dtype=one.dtype, device=device)


def _state_memory(optimizer: torch.optim.Optimizer) -> int:
    """What an optimiser keeps of all its parameters: tried on a matrix of four numbers for each group."""
    found = 0
    for group in optimizer.param_groups:
        trial = nn.Parameter(torch.zeros(2, 2))
        trial.grad = torch.zeros(2, 2)
        probe: torch.optim.Optimizer = copy.copy(optimizer)
        probe.param_groups, probe.state = [{**group, "params": [trial]}], defaultdict(dict)
        with contextlib.suppress(Exception):  # a rule that needs more than a gradient: then it is not known
            type(optimizer).step(probe)
        each = [t for t in _tensors(probe.state.get(trial, {})) if t.shape == trial.shape]
        found += sum(math.prod(p.shape) * t.element_size() for p in group["params"] for t in each if p.requires_grad)
    return found


def _tensors(state: Mapping[str, Any]) -> list[Tensor]:
    return [value for value in state.values() if isinstance(value, Tensor)]
