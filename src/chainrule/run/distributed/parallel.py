"""Several processes on one model: PyTorch's own DDP and FSDP. With one process, nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.run.checkpoint.sharded import read, whole
from chainrule.run.checkpoint.tree import InParts, is_sharded


def shard(module: nn.Module, world: World, device: torch.device) -> None:
    """FSDP: each process keeps a part of every parameter. In place, before an optimiser sees the parameters."""
    if world.size > 1:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        fully_shard(module, mesh=init_device_mesh(device.type, (world.size,)))


def replicate(
    module: nn.Module, world: World, device: torch.device, *, rests: bool = False, again: bool = False
) -> Any:
    """DDP: the module to call in training, whose gradients are averaged over the processes.

    It waits for the gradient of every parameter; with `rests` it looks in each step which ones there will be. Before
    each call it hands rank 0's buffers to all; not with `again`, where it is called more than once before a backward
    pass, which needs the buffers as they were.
    """
    if world.size == 1:
        return module
    shared = nn.parallel.DistributedDataParallel(
        module, device_ids=[device.index] if device.type == "cuda" else None, find_unused_parameters=rests
    )
    shared.broadcast_buffers = not again  # the argument of this name is deprecated in torch 2.13, the attribute is not
    return shared


@torch.no_grad()
def align_buffers(modules: Mapping[str, nn.Module], world: World) -> None:
    """Rank 0's buffers on every process: running averages, each over its own part of the batches, differ between them.

    To be called before processes share an evaluation, so that all of them evaluate one network.
    """
    if world.size == 1:
        return
    alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for module in modules.values():
        for buffer in module.buffers():
            alike.setdefault((buffer.dtype, buffer.device), []).append(buffer)
    for buffers in alike.values():
        whole = world.broadcast(torch.cat([buffer.reshape(-1) for buffer in buffers]))  # one message
        for buffer, part in zip(buffers, whole.split([b.numel() for b in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))


def load_state(part: Any, state: dict[str, Any]) -> None:
    """Hands a state back to a part; where its parameters are sharded, each process takes, or reads, its share."""
    reads: list[tuple[InParts, Tensor]] = []

    def laid_out(value: Any, own: Any) -> Any:
        if not isinstance(value, InParts):
            return _scattered(value, own)
        alike = is_sharded(own) and tuple(own.shape) == value.shape
        reads.append((value, torch.empty_like(own) if alike else torch.empty(value.shape, dtype=value.dtype)))
        return reads[-1][1]

    if isinstance(part, nn.Module):
        own = part.state_dict()
        state = {name: laid_out(value, own.get(name)) for name, value in state.items()}
    elif isinstance(part, torch.optim.Optimizer):
        parameters = [p.detach() for group in part.param_groups for p in group["params"]]
        slots = {
            number: {name: laid_out(value, parameters[int(number)]) for name, value in of_one.items()}
            for number, of_one in state["state"].items()
        }
        state = {**state, "state": slots}
    else:
        state = whole(state)
    read(reads)
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        if not isinstance(part, nn.Module):
            raise
        raise UserError(
            "these are the weights of another network than that which was built",
            found=" ".join(str(error).split())[:300],
            cure="the network as it was when the run began, the user's own too",
        ) from error


def load_part(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Hands a module those of its tensors that `state` has; the others stay as they are."""
    own = module.state_dict()
    scattered = {name: value if value is own[name] else _scattered(value, own[name]) for name, value in state.items()}
    module.load_state_dict(scattered, strict=False)


def _scattered(value: Any, own: Any) -> Any:
    """`value` as `own` is laid out over the processes; as it is where `own` is not sharded or of another shape."""
    if is_sharded(value) or not (isinstance(value, Tensor) and is_sharded(own) and value.shape == own.shape):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)
