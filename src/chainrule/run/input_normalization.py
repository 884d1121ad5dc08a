"""By which mean and deviation a run brings pixels to its network: those that its weights were learnt with."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.nn.normalization.normalize import Normalize
from chainrule.run.run import Run
from chainrule.run.weights.provenance import record_of

Pixels = tuple[Sequence[float], Sequence[float]]


def input_normalization(run: Run, data: Pixels, published: Pixels | None = None) -> tuple[list[float], list[float]]:
    """Mean and deviation a channel that a run brings pixels to its network by: those that its weights were learnt with.

    They are the published ones, or those of the run whose weights it starts from, or else those of its data. The record
    keeps them, so that the run answers when that other is gone; a run of a record without them has learnt on its data's.

    Args:
        run: the run.
        data: mean and deviation of its training images, or of photographs.
        published: those that belong to published weights, where it starts from such.
    """
    if "pixels" not in run.record:
        before = (record_of(run.record["weights"]) or {}) if run.record["weights"] and run.fresh else {}
        spec = before.get("data", {}).get("spec") or {}
        learnt = published or before.get("pixels") or (spec.get("mean", []), spec.get("std", []))
        fits = len(learnt[0]) == len(data[0])
        run.record["pixels"] = [list(part) for part in (learnt if fits else data)]
    mean, std = run.record["pixels"]
    return mean, std


def pixel_normalization(
    run: Run, data: Pixels, published: Pixels | None = None, *, contiguous: bool = False
) -> Normalize:
    """The same as a module on the run's device: bytes (B, C, H, W) to what the network takes."""
    return Normalize(*input_normalization(run, data, published), contiguous).to(run.device)
