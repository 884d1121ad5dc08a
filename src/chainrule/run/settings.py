"""The settings that every recipe has. Without PyTorch, so that a wrong word on the command line is told at once."""

from __future__ import annotations

from typing import Literal

from chainrule.core.settings import Count, NonNegative, Size


def run_settings(
    *,
    log_every: Count = 50,
    checkpoint_s: NonNegative = 30.0,
    autocast: Literal["auto", "yes", "no"] = "auto",
    compile: Literal["auto", "yes", "no"] = "auto",
    parallel: Literal["ddp", "fsdp"] = "ddp",
    sync_batch_norm: bool = False,
    threads: Size = 0,
) -> None:
    """The settings that every recipe has: steps between two log lines, seconds between two checkpoints (0: every
    step), bfloat16 autocast, torch.compile, how several processes share a model, whether batch
    normalisation then takes the batch of all of them, CPU threads (0: as PyTorch chooses).
    """
