"""Splits that are made where the publisher made none: stratified by class, decided by the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic


def stratified(y: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Sorted indices (kept, held out) with about `fraction` of each class held out; every class keeps one.

    A fraction above zero holds out one sample at least, of the largest class, where that has another to keep.

    Args:
        y: classes (N,), int64.
        fraction: the share to hold out, in [0, 1).
        seed: decides the draw.

    >>> kept, held = stratified(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, seed=0)
    >>> len(kept), sorted(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])[held].tolist())
    (6, [0, 1])
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=generator)
    held: list[Tensor] = []
    for label in y.unique():
        members = order[y[order] == label]
        held.append(members[: min(round(len(members) * fraction), len(members) - 1)])
    if fraction > 0 and len(y) and not sum(map(len, held)):
        members = order[y[order] == y.mode().values]
        held.append(members[: min(1, len(members) - 1)])
    mask = torch.zeros(len(y), dtype=torch.bool)
    if held:
        mask[torch.cat(held)] = True
    return (~mask).nonzero()[:, 0], mask.nonzero()[:, 0]


def random_split(count: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Sorted indices (kept, held out) of `count` samples without classes."""
    return stratified(torch.zeros(count, dtype=torch.int64), fraction, seed)


def hold_out(
    y: Tensor, given: Collection[str], *, test_fraction: float, val_fraction: float, seed: int, by_class: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Test and validation samples out of the training part, where the publisher gives no such splits.

    Args:
        y: classes (N,) of the training part; any numbers where `by_class` is off.
        given: the splits that there are.
        test_fraction, val_fraction: the share of the test split, and then that of the validation split in the rest.
        seed: decides the draw.
        by_class: whether the share is that of each class.

    Returns:
        Sorted indices into the training part: of what stays in `train`, and of each split that was made; and how each
        split came about, in words.
    """
    made = dict.fromkeys(given, "as published")
    rest, indices = torch.arange(len(y)), {}
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if name in given:
            continue
        kept, held = stratified(y[rest], fraction, seed) if by_class else random_split(len(rest), fraction, seed)
        how = ", stratified" if by_class else ""
        made |= {"train": "the rest", name: f"{fraction:.4g} of train{how}, seed {seed}, indices {fingerprint(held)}"}
        indices[name], rest = rest[held], rest[kept]
    return {**indices, "train": rest}, made


def held_out_counts(
    labels: dict[str, np.ndarray], fractions: dict[str, float], by_class: bool = True
) -> dict[str, Any]:
    """What training would hold out of `train` where val or test are not given, and the counts that result."""
    left = torch.from_numpy(labels["train"]).long()
    counts = {name: len(part) for name, part in labels.items()}
    made = {}
    for name, fraction in fractions.items():
        if name not in labels:
            kept, held = stratified(left, fraction, 0)
            left, counts[name] = left[kept], len(held)
            made[name] = f"{fraction:.3g} of train{', stratified' if by_class else ''}, by the seed"
    counts["train"] = len(left)
    after = {name: counts[name] for name in ("train", "val", "test")}
    empty = [name for name in made if not after[name]]
    warning = {
        "warning": f"too few samples: {' and '.join(empty)} would be empty; give more, or a folder for each split"
    }
    return {"made": made or "none", "after": after, **(warning if empty else {})}


CHUNK = 2**21  # bytes that a fingerprint looks at at a time


def fingerprint(*tensors: Tensor) -> str:
    """Twelve hex digits that change when any value changes.

    >>> fingerprint(torch.tensor([1, 2])) == fingerprint(torch.tensor([1, 3]))
    False
    """
    digest = hashlib.blake2b(digest_size=6)
    for tensor in tensors:
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        for part in tensor.split(max(1, CHUNK // max(1, tensor[:1].nbytes))) if tensor.dim() else [tensor]:
            digest.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


TOPICS = (
    Topic(
        "Validation split and test split, choice of a model",
        "验证集、测试集与模型选择",
        lectures=(3,),
        code=("stratified", "hold_out"),
        command="chainrule train lenet5 val_fraction=0.2",
    ),
)
