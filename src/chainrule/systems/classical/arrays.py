"""NumPy arrays as tensors: the rows an estimator is given, and what it holds in the type and place of rows."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def dense_rows(array: NDArray[Any], device: torch.device | str = "cpu") -> Tensor:
    """An array as a tensor on the device, in its dtype; it shares memory on the CPU where the array may be written.

    >>> import numpy as np
    >>> dense_rows(np.eye(2)).dtype
    torch.float64
    """
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(
        device
    )  # torch warns of what it may not write


def like(x: Tensor, values: NDArray[Any]) -> Tensor:
    """Values as a tensor of the dtype and on the device of x.

    >>> import numpy as np
    >>> like(torch.zeros(1), np.ones(2))
    tensor([1., 1.])
    """
    return torch.as_tensor(values, dtype=x.dtype, device=x.device)
