"""`skip_broken=yes`: image files that cannot be read are left out, and named."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chainrule.core.data.option import Option

if TYPE_CHECKING:
    from chainrule.data.images.raw import RawImageSet

SKIP_BROKEN = Option(
    "skip_broken",
    kinds=("images", "images without classes"),
    type=bool,
    default=False,
    text="Leaves out image files that cannot be read, and names them; without it the first ends the run.",
    text_zh="跳过读不出来的图像文件并列出它们；不写则遇到第一个就停止。",
)
_NAMED = 5  # broken files that one line names


def without_broken(raw: RawImageSet) -> RawImageSet:
    """The same images without those that cannot be decoded; a note says how many, and names the first of them."""
    from chainrule.data.images.decoding import decoding_error, ignore_warnings

    found = []
    for split in raw.splits.values():
        with ignore_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
            reasons = list(pool.map(decoding_error, split.files))
        found += [(file, why) for file, why in zip(split.files, reasons, strict=True) if why is not None]
        kept = [index for index, why in enumerate(reasons) if why is None]
        if split.files:
            split.files, split.labels = [split.files[index] for index in kept], split.labels[kept]
    if found:
        named = "; ".join(f"{file}: {why}" for file, why in found[:_NAMED])
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raw.notes.append(f"left out as broken: {len(found):,}: {named}{more}")
    return raw
