"""Batches: records that are moved, divided and guarded as a whole; padding; and what makes them of a sampler's draws."""

from chainrule.core.records import fields
from chainrule.data.batches.loader import Batches, BatchLoader, pairs
from chainrule.data.batches.padding import keep_mask, pad, pad_images, padding_share, unpad
from chainrule.data.batches.records import Batch, BatchRecord, batch_mean, move, select, split

__all__ = [
    "Batch",
    "BatchLoader",
    "BatchRecord",
    "Batches",
    "batch_mean",
    "fields",
    "keep_mask",
    "move",
    "pad",
    "pad_images",
    "padding_share",
    "pairs",
    "select",
    "split",
    "unpad",
]
