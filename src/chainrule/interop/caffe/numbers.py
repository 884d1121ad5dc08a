"""The numbers in a blob of Caffe's files: weights, mean images, matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.interop.caffe.description.schema import message


def blob_value(blob: Any) -> Tensor:
    """The numbers of a Blob message with its shape; of the four older fields where it has no shape.

    Raises:
        UserError: another count of numbers than the shape has.

    >>> blob_value(message("Blob")(num=1, channels=1, height=1, width=2, data=[0.5, 2.0]))
    tensor([[[[0.5000, 2.0000]]]])
    """
    old = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else old
    name, kind = ("double_data", "<f8") if len(blob.double_data) else ("data", "<f4")
    count = len(getattr(blob, name))
    if count != math.prod(shape) or min(shape, default=1) < 0:
        raise UserError("a blob has another count of numbers than its shape", expected=shape, found=f"{count} numbers")
    # Packed numbers stand in the serialised message as they stand in memory, which is quicker than one by one.
    alone = message("Blob")()
    getattr(alone, name).MergeFrom(getattr(blob, name))
    raw = alone.SerializeToString()
    numbers = np.frombuffer(raw, kind, count, len(raw) - count * np.dtype(kind).itemsize).astype(np.float32)
    return torch.from_numpy(numbers).view(shape)
