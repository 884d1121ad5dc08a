"""What `data check` says of images with masks."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.data.images.masks.loading import SHORTER, group_numbers, hold_out_groups
from chainrule.data.images.masks.masked_images import MaskedImageSet
from chainrule.data.images.masks.raw import read_masked_images
from chainrule.data.images.masks.values import VOID
from chainrule.data.layout import Layout

ALIKE = 4  # of 64 bits that may differ between near-duplicates
SHOWN = 5


def check_masks(layout: Layout, target: str | None = None) -> dict[str, Any]:
    """All pairs read; classes with their share of pixels and of images, void, sizes, near-duplicates across splits."""
    raw = read_masked_images(layout, target, shorter=SHORTER)
    names, K = raw.meaning.names, len(raw.meaning.names)
    pixels = sum(np.bincount(m.reshape(-1), minlength=256) for part in raw.splits.values() for m in part.masks)
    assert isinstance(pixels, np.ndarray)
    there = {  # of each split (n, K): which classes each image has
        split: torch.stack([torch.from_numpy(np.isin(np.arange(K), np.unique(mask))) for mask in part.masks])
        for split, part in raw.splits.items()
    }
    in_images = torch.cat(list(there.values())).sum(0)
    hashes = {split: torch.stack([difference_hash(x) for x in part.images]) for split, part in raw.splits.items()}
    names_of = {split: [image.name for image, _ in part.files] for split, part in raw.splits.items()}
    total, images = int(pixels.sum()), sum(len(part.files) for part in raw.splits.values())
    counts = {name: len(part.files) for name, part in raw.splits.items()}
    group = layout.options.get("group")
    groups = group_numbers(raw.splits["train"].files, group)
    indices, made = hold_out_groups(
        groups, list(counts), test_fraction=0.2, val_fraction=0.15, seed=0, named=group is not None
    )
    held_out = {name: how for name, how in made.items() if name not in counts}
    for table in (there, hashes):  # as training divides them
        table |= {name: table["train"][index] for name, index in indices.items()}
    names_of |= {name: [names_of["train"][n] for n in index.tolist()] for name, index in indices.items()}
    options = [f"{name}={value}" for name, value in layout.options.items() if value is not None]
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
        "warnings": [*_absent(there, names), *near_duplicates(hashes, names_of), *raw.notes],
        "to train": shlex.join(["chainrule", "train", "unet", *options, "--data"]) + f" {_place(layout)}",
    }
    return found


def _place(layout: Layout) -> str:
    """The data as a command names them: a path that has blanks in quotes."""
    return shlex.quote(str(layout.place)) if isinstance(layout.place, Path) and not layout.title else str(layout)


def _share(count: int, total: int) -> float:
    return round(count / total, 4)


def sizes_of(raw: MaskedImageSet) -> str:
    """Width x height of the images: the one there is, or the smallest and the largest."""
    sizes = sorted({m.shape for part in raw.splits.values() for m in part.masks}, key=lambda s: s[0] * s[1])
    low, high = f"{sizes[0][1]}x{sizes[0][0]}", f"{sizes[-1][1]}x{sizes[-1][0]}"
    return low if len(sizes) == 1 else f"{low} to {high}, {len(sizes)} different"


def _absent(there: Mapping[str, Tensor], names: Sequence[str]) -> list[str]:
    """Classes that a split has and training does not, and that nothing has; of each split (n, K) which each image has."""
    learnt, told = there["train"].any(0), []
    for split in ("val", "test"):
        lacking = there[split].any(0) & ~learnt
        told += [
            f"only {split} has the class {names[k]}: it cannot be learnt" for k in lacking.nonzero()[:, 0].tolist()
        ]
    nowhere = ~torch.cat(list(there.values())).any(0)
    return told + [f"no mask has the class {names[k]}" for k in nowhere.nonzero()[:, 0].tolist()]


def near_duplicates(hashes: Mapping[str, Tensor], names: Mapping[str, Sequence[str]]) -> list[str]:
    """Images of two splits that look alike: a score on the one is no score on new images.

    Args:
        hashes: of each split its images' `difference_hash` (n, 64).
        names: of each split its images' names.
    """
    told, splits = [], list(hashes)
    for position, first in enumerate(splits):
        for second in splits[position + 1 :]:
            a, b = hashes[first].float(), hashes[second].float()
            distance = a.sum(1)[:, None] + b.sum(1) - 2 * a @ b.T  # (n, m): bits that differ
            alike = (distance <= ALIKE).nonzero().tolist()
            if alike:
                shown = "; ".join(f"{names[first][i]} and {names[second][j]}" for i, j in alike[:SHOWN])
                more = f"; and {len(alike) - SHOWN} more" if len(alike) > SHOWN else ""
                told.append(
                    f"near-duplicates in {first} and {second}, {len(alike)} pairs: {shown}{more}; "
                    "group=REGEX keeps frames of one video in one split"
                )
    return told


def difference_hash(image: np.ndarray) -> Tensor:
    """64 bits of an image (H, W, C): whether it grows lighter to the right, at 8 x 8 places of its small grey copy."""
    grey = torch.from_numpy(image.astype(np.float32)).mean(2)[None, None]
    small = F.interpolate(grey, (8, 9), mode="area")[0, 0]
    return (small[:, 1:] > small[:, :-1]).flatten()
