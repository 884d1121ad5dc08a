"""Whether a training fits into the memory, asked before its first step: else the bytes are told, and what would fit."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import nn

from chainrule.core.memory import CURE, expect_memory, memory_bytes, size_in_words
from chainrule.nn.training_memory import StepMemory, activations_memory, surely_fits, weights_memory
from chainrule.run.protocols import Loader
from chainrule.run.run import Run


def expect_room(
    run: Run, modules: Mapping[str, nn.Module], optimizers: Sequence[torch.optim.Optimizer], train: Loader[Any]
) -> None:
    """UserError where a step on a batch of `train` needs more memory than the run's device has.

    What is counted is a lower bound. Weights that several processes share are not looked into.
    """
    there = _memory_of(run.device)
    if there is None or (run.common["parallel"] == "fsdp" and run.world.size > 1):
        return
    weights = weights_memory(modules.values(), optimizers)
    samples, examples = _samples(run, train), run.example_inputs()
    room = there - weights.total
    looked = [(module, examples[name]) for name, module in modules.items() if name in examples]
    if room > 0 and all(surely_fits(module, example, samples, room) for module, example in looked):
        return
    kept = max((activations_memory(module, example, samples) for module, example in looked), default=0)
    kept = kept if isinstance(run.autocast(), contextlib.nullcontext) else kept // 2
    kept = 0 if run.common["compile"] == "yes" else kept  # compiled, a network may compute values once more
    need = StepMemory(weights.parameters, weights.gradients, weights.state, kept)
    parts = [
        f"parameters {size_in_words(need.parameters)}",
        f"gradients {size_in_words(need.gradients)}",
        f"state of the optimiser {size_in_words(need.state)}",
        f"activations of a batch of {samples:,} {size_in_words(need.activations)}",
    ]
    expect_memory(
        need.total, f"a training step ({', '.join(parts)})", where=run.device, cure=_cure(run, need, samples, there),
        there=there,
    )  # fmt: skip


def _cure(run: Run, need: StepMemory, samples: int, there: int) -> str:
    """What would fit: so many samples, or smaller ones."""
    settings = run.record["settings"]
    each = need.activations / max(1, samples)
    fitting = int((there - need.parameters - need.state) / each / 2) if each else 0  # by half: it is a lower bound
    cures = [f"batch_size={fitting * run.world.size}"] if 0 < fitting < samples and "batch_size" in settings else []
    if need.activations > need.parameters + need.state and settings.get("size"):
        cures.append(f"a size below {settings['size']}")
    return ", or ".join(cures) or CURE


def _samples(run: Run, train: Loader[Any]) -> int:
    """How many samples this process has in a batch; 1 where that is not known."""
    sampler = getattr(train, "sampler", None)
    first = next(islice(sampler.epoch(0), 1), ()) if sampler is not None else ()
    return max(1, -(-len(first) // run.world.size))


def _memory_of(device: torch.device) -> int | None:
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else memory_bytes()
