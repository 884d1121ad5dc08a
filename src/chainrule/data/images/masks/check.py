"""What `data check` says of images with masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from chainrule.data.images.masks.loading import group_numbers, hold_out_groups
from chainrule.data.images.masks.masked_images import MaskedImageSet
from chainrule.data.images.masks.raw import read_masked_images
from chainrule.data.images.masks.values import VOID
from chainrule.data.layout import Layout

ALIKE = 4  # of 64 bits that may differ between near-duplicates
SHOWN = 5


def check_masks(layout: Layout, target: str | None = None) -> dict[str, Any]:
    """All pairs read; classes with their share of pixels and of images, void, sizes, near-duplicates across splits."""
    raw = read_masked_images(layout, target)
    names, K = raw.meaning.names, len(raw.meaning.names)
    pixels = sum(np.bincount(m.reshape(-1), minlength=256) for part in raw.splits.values() for m in part.masks)
    in_images = sum(np.isin(np.arange(K), np.unique(m)).astype(int) for part in raw.splits.values() for m in part.masks)
    assert isinstance(pixels, np.ndarray) and isinstance(in_images, np.ndarray)
    total, images = int(pixels.sum()), sum(len(part.files) for part in raw.splits.values())
    counts = {name: len(part.files) for name, part in raw.splits.items()}
    group = layout.options.get("group")
    groups = group_numbers(raw.splits["train"].files, group)
    indices, made = hold_out_groups(
        groups, list(counts), test_fraction=0.2, val_fraction=0.15, seed=0, named=group is not None
    )
    held_out = {name: how for name, how in made.items() if name not in counts}
    found: dict[str, Any] = {
        "kind": "masks",
        "where": raw.where,
        "form": raw.form,
        "classes": names,
        "values": raw.meaning.values,
        "counts": counts,
        **({"made": held_out, "after": {name: len(index) for name, index in indices.items()}} if held_out else {}),
        "channels": raw.channels,
        "sizes": sizes_of(raw),
        "share of pixels": {name: _share(int(pixels[k]), total) for k, name in enumerate(names)},
        "share of images": {name: _share(int(in_images[k]), images) for k, name in enumerate(names)},
        "void": raw.meaning.void,
        "void_share": _share(int(pixels[VOID]), total),
        "warnings": [*_absent(raw, names), *near_duplicates(raw), *raw.notes],
        "to train": f"chainrule train unet --data {layout}",
    }
    return found


def _share(count: int, total: int) -> float:
    return round(count / total, 4)


def sizes_of(raw: MaskedImageSet) -> str:
    """Width x height of the images: the one there is, or the smallest and the largest."""
    sizes = sorted({m.shape for part in raw.splits.values() for m in part.masks}, key=lambda s: s[0] * s[1])
    low, high = f"{sizes[0][1]}x{sizes[0][0]}", f"{sizes[-1][1]}x{sizes[-1][0]}"
    return low if len(sizes) == 1 else f"{low} to {high}, {len(sizes)} different"


def _absent(raw: MaskedImageSet, names: Sequence[str]) -> list[str]:
    """Classes that a split has and training does not, and that nothing has."""
    learnt = raw.pixels("train") > 0
    told = []
    for split in raw.splits:
        if split != "train":
            there = raw.pixels(split) > 0
            told += [
                f"only {split} has the class {names[k]}: it cannot be learnt"
                for k in np.flatnonzero(there & ~learnt).tolist()
            ]
    anywhere = sum(raw.pixels(split) for split in raw.splits)
    assert isinstance(anywhere, np.ndarray)
    return told + [f"no mask has the class {names[k]}" for k in np.flatnonzero(anywhere == 0).tolist()]


def near_duplicates(raw: MaskedImageSet) -> list[str]:
    """Images of two splits that look alike: a score on the one is no score on new images."""
    hashes = {
        split: torch.stack([difference_hash(image) for image in part.images]) for split, part in raw.splits.items()
    }
    told, names = [], list(hashes)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            distance = (hashes[first][:, None] != hashes[second]).sum(2)  # (n, m)
            alike = (distance <= ALIKE).nonzero().tolist()
            if alike:
                shown = "; ".join(
                    f"{raw.splits[first].files[a][0].name} and {raw.splits[second].files[b][0].name}"
                    for a, b in alike[:SHOWN]
                )
                more = f"; and {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
                told.append(
                    f"near-duplicates in {first} and {second}, {len(alike)} pairs: {shown}{more}; "
                    "group=REGEX keeps frames of one video in one split"
                )
    return told


def difference_hash(image: np.ndarray) -> torch.Tensor:
    """64 bits of an image (H, W, C): whether it grows lighter to the right, at 8 x 8 places of its small grey copy."""
    grey = torch.from_numpy(image.astype(np.float32)).mean(2)[None, None]
    small = F.interpolate(grey, (8, 9), mode="area")[0, 0]
    return (small[:, 1:] > small[:, :-1]).flatten()
