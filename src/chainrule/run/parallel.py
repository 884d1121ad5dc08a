"""Several processes on one model: PyTorch's own DDP and FSDP. With one process, nothing here does anything."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from chainrule.run.device import World


def share(module: nn.Module, world: World, device: torch.device, how: str) -> Any:
    """The module as the processes train it together: replicated (`ddp`) or sharded (`fsdp`)."""
    if world.size == 1:
        return module
    if how == "fsdp":
        from torch.distributed.fsdp import fully_shard

        return fully_shard(module)
    return nn.parallel.DistributedDataParallel(module, device_ids=[device.index] if device.type == "cuda" else None)


def full_state(part: Any) -> dict[str, Any]:
    """The whole state of a part on every rank; sharded tensors are gathered."""
    return _gathered(part.state_dict())


def _gathered(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _gathered(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_gathered(value) for value in node)
    return node.full_tensor() if hasattr(node, "full_tensor") else node


def load_state(part: Any, state: dict[str, Any]) -> None:
    """Hands a saved state back to a part."""
    part.load_state_dict(state)
