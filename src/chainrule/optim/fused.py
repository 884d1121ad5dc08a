"""Where PyTorch's one kernel for a whole update is used, and where its foreach arithmetic, a kernel an operation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_DEVICES = {"sgd": ("cpu", "cuda"), "adam": ("cpu", "cuda"), "adagrad": ("cpu",)}
# Half precision stays out: the CPU's fused SGD leaves whole blocks of such weights as they are
# (pytorch/pytorch#191763, in 2.13 and before).
_TYPES = (torch.float32, torch.float64)
_SHARDED = ("adam",)  # the kernels that PyTorch knows how to run on the shards of FSDP


def has_fused(rule: str, params: Sequence[Tensor]) -> bool:
    """Whether the fused kernel of a rule takes these parameters, which are of one device and type."""
    first = params[0]
    sharded = hasattr(first, "full_tensor")
    return first.device.type in _DEVICES[rule] and first.dtype in _TYPES and (rule in _SHARDED or not sharded)
