"""Whether a run multiplies in bfloat16: decided once, when it begins, by a rule and not by a clock, and kept in run.json.

Under autocast products and convolutions take their factors in bfloat16 (8 digits of 24) and add in float32. Weights,
gradients of weights, the optimiser, batch normalisation's statistics and losses stay float32.

What a training step of 128 images gained on two cores of a Xeon with AMX (`benchmarks/steps.py`, whose table is in
benchmarks/results/steps.md), channels-last in float32 over the same in bfloat16, beside the multiply-adds of its forward
pass and the mean length of the sums that these make:

    network        million   length    gain
    LeNet-5             53       64    1.1
    LeNet (Caffe)      294      151    1.3
    cifar-net        4,232      319    1.8
    ResNet-20        5,191      215    1.6

So it takes work enough to pay for the casts of the weights, and sums so long that a layer waits for arithmetic and not for
memory. Both bounds lie between the first row and the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from chainrule.core.device import bfloat16_units
from chainrule.nn.cost import Cost, cost

if TYPE_CHECKING:
    from chainrule.run.run import Run

ENOUGH = 100_000_000  # multiply-adds of a batch
LONG = 100  # multiply-adds to a value


def choose(setting: str, device: torch.device, batch: Cost) -> tuple[str, str]:
    """The dtype of products, and the reason in words.

    Args:
        setting: auto, yes or no.
        device: that trains.
        batch: what a forward pass of one batch costs; a CPU's `auto` asks for it.

    >>> choose("no", torch.device("cpu"), Cost())
    ('float32', 'autocast=no')
    """
    if setting != "auto":
        return ("bfloat16" if setting == "yes" else "float32"), f"autocast={setting}"
    if device.type == "cuda":
        there = torch.cuda.is_bf16_supported()
        return ("bfloat16" if there else "float32"), f"this GPU has {'' if there else 'no '}bfloat16"
    units = bfloat16_units() if device.type == "cpu" else None
    if units is None:
        return "float32", f"this {device.type} has no units for bfloat16 that are known to be faster"
    said = f"{batch.multiply_adds / 1e6:,.0f} million multiply-adds a batch, in sums of {batch.length:,.0f}"
    if batch.multiply_adds >= ENOUGH and batch.length >= LONG:
        return "bfloat16", f"{units}; {said}"
    return "float32", f"{units}, but {said}: it takes {ENOUGH / 1e6:,.0f} million, and sums of {LONG}"


def choose_autocast(
    run: Run, modules: Mapping[str, nn.Module], example: Mapping[str, tuple[Any, ...]], batch_size: int
) -> None:
    """Decides for the run what `Run.autocast` is, before its first step; a resumed run repeats what was decided.

    A task calls it whose steps were measured on CPUs. Where none calls it, a CPU computes in float32 unless
    `autocast=yes`.

    Args:
        run: whose setting `autocast` counts, and whose record keeps the choice.
        modules: the networks of a step.
        example: inputs of one sample for each of them.
        batch_size: samples of a step, over all processes.
    """
    if "autocast" in run.record:
        if run.record["autocast"]["dtype"] == "bfloat16" and run.device.type == "cpu" and bfloat16_units() is None:
            run.progress.line("the run began in bfloat16, and resumes in it; this CPU has no units for it and is slow")
        return
    if not run.fresh:  # an earlier version began it, and decided by the setting alone
        return
    spent = Cost()
    if run.common["autocast"] == "auto" and run.device.type == "cpu" and bfloat16_units() is not None:
        spent = _batch_cost(run, modules, example, batch_size)
    dtype, why = run.world.broadcast(choose(run.common["autocast"], run.device, spent))
    run.record["autocast"] = {"dtype": dtype, "why": why}
    run.write_record()
    if dtype == "bfloat16":
        run.progress.line(f"products in bfloat16: {why}")


def _batch_cost(
    run: Run, modules: Mapping[str, nn.Module], example: Mapping[str, tuple[Any, ...]], batch_size: int
) -> Cost:
    """The forward pass of a batch; of sharded weights, which no counter looks into, nothing."""
    if run.common["parallel"] == "fsdp" and run.world.size > 1:
        return Cost()
    costs = [cost(module, example[name]) for name, module in modules.items() if name in example]
    return Cost(batch_size * sum(c.multiply_adds for c in costs), batch_size * sum(c.values for c in costs))


def in_float32(answer: Any) -> Any:
    """What a network gave, its bfloat16 tensors in float32; tuples, lists and dictionaries of them alike.

    >>> in_float32((torch.ones(2, dtype=torch.bfloat16), torch.arange(2)))
    (tensor([1., 1.]), tensor([0, 1]))
    """
    return tree_map(lambda x: x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x, answer)
