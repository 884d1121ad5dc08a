"""Where a run computes: one device, or several processes that torchrun has started."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.core.records import fields, is_record, replaced

Value = TypeVar("Value")


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, else MPS, else the CPU; a device that is not there is an error."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    kind = name.partition(":")[0]
    if kind not in available:
        raise UserError("there is no such device", expected="auto, cpu, cuda or mps", found=name)
    if not available[kind]:
        raise UserError(f"this machine offers PyTorch no {kind} device", found=name, cure="--device auto")
    if kind == "cuda" and ":" not in name and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    index = name.partition(":")[2]
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if ":" in name and not (index.isascii() and index.isdigit() and int(index) < count):
        raise UserError("there is no such device", expected=f"{kind}:0 to {kind}:{count - 1}", found=name)
    return torch.device(name)


def check_threads(count: int) -> None:
    """UserError for more threads than help on any account: so many would stall the machine, or could not be started."""
    processors = os.cpu_count() or 1
    most = max(16, 4 * processors)
    if count > most:
        raise UserError(
            "the setting threads is out of range",
            expected=f"{most} at most: this machine has {processors} processor{'s' if processors > 1 else ''}",
            found=f"threads={count}",
            cure="threads=0, as PyTorch chooses",
        )


@dataclass(frozen=True)
class World:
    """The processes that train together; one, of rank 0, unless torchrun started more."""

    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Rank 0 alone writes."""
        return self.rank == 0

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()

    def broadcast(self, value: Value) -> Value:
        """Rank 0's value, on every rank; a tensor must have its shape and type on all of them."""
        if self.size == 1:
            return value
        if isinstance(value, Tensor):
            found = value.detach().clone(memory_format=torch.contiguous_format)
            dist.broadcast(found, src=0)
            return found  # type: ignore[return-value]
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in the order of the ranks, on every rank."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def mean(self, value: Tensor) -> Tensor:
        """The mean of every rank's value."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def sum(self, value: Value) -> Value:
        """The sum of every rank's value, the same to the last bit on all of them.

        A tensor or a number, or a tuple, dictionary or record of such; with one process the value itself.
        """
        return value if self.size == 1 else _summed(value)

    def share(self, count: int) -> slice:
        """This process's part of `count` rows: contiguous, cut as `tensor_split` does.

        >>> [World(rank, 3).share(7) for rank in range(3)]
        [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
        """
        each, more = divmod(count, self.size)
        first = self.rank * each + min(self.rank, more)
        return slice(first, first + each + (self.rank < more))

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Every rank's rows (N, ...), as many on each, in the order of the ranks: (size N, ...) on every rank."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def map_rows(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """`function(rows)` (N, ...), each process computing a part of it; for what treats every row (N, ...) by itself.

        The parts are equally long, filled up with the last row, so that all processes call their networks equally
        often: sharded weights are gathered in every forward pass.
        """
        if self.size == 1 or not len(rows):
            return function(rows)
        each = -(-len(rows) // self.size)
        index = torch.arange(self.rank * each, (self.rank + 1) * each, device=rows.device).clamp_max(len(rows) - 1)
        return self.gather_rows(function(rows[index]))[: len(rows)]

    def any(self, flag: bool, device: torch.device) -> bool:
        """True on every rank where it is true on one of them."""
        if self.size == 1:
            return flag
        value = torch.tensor(int(flag), device=device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value)


ONE_PROCESS = World()


def _summed(value: Any) -> Any:
    if isinstance(value, Tensor):
        total = value.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
    if isinstance(value, (int, float)):
        return type(value)(_summed(torch.tensor(value, dtype=torch.float64)).item())
    if is_record(value):
        return replaced(value, {name: _summed(each) for name, each in fields(value).items()})
    if isinstance(value, dict):
        return {name: _summed(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(_summed(each) for each in value)
    if value is None:
        return None
    raise TypeError(f"a {type(value).__name__} has no sum over processes")


def join_world(device: torch.device) -> World:
    """Joins the other processes where torchrun started them (gloo for what lies on the CPU, NCCL on GPUs)."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        if restarts == "0" or os.environ.get("LOCAL_WORLD_SIZE") != str(size):
            dist.init_process_group(backend)
        else:
            # torchrun keeps its store over restarts, where the addresses of the processes before still stand: this
            # attempt has keys of its own. (The count is that of one machine, so several machines cannot go by it.)
            store, rank, size = next(dist.rendezvous("env://"))
            dist.init_process_group(backend, store=dist.PrefixStore(restarts, store), rank=rank, world_size=size)
    return World(dist.get_rank(), dist.get_world_size())


def leave_world() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def bfloat16_units() -> str | None:
    """What of this CPU multiplies in bfloat16 faster than in float32: AMX or AVX512-BF16; None where it has neither."""
    has = torch.cpu.get_capabilities()
    names = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
    return next((name for key, name in names.items() if has.get(key)), None)


def autocast(
    device: torch.device, setting: str, chosen: str | None = None
) -> contextlib.AbstractContextManager[object]:
    """bfloat16 autocast where that dtype was chosen (`chainrule.run.autocast`).

    Where nothing was, `yes` and `no` decide it, and `auto` is yes on CUDA where the hardware has it.
    """
    if chosen is not None:
        wanted = chosen == "bfloat16"
    else:
        wanted = setting == "yes" or (setting == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
    return torch.autocast(device.type, torch.bfloat16) if wanted else contextlib.nullcontext()


def hardware(device: torch.device) -> str:
    """The machine in words, for run.json and the ledger."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    count = torch.get_num_threads()
    return f"{model}, {count} thread{'s' if count > 1 else ''}"


def cpu_capability() -> str:
    """The widest vector instructions that PyTorch's kernels use here, such as AVX2 or AVX512.

    Sums have another order with another width. So numbers are equal bit for bit from run to run where it is the same.
    """
    return str(torch.backends.cpu.get_cpu_capability())


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Where the global random generators of this process stand."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(device: torch.device, state: dict[str, Tensor]) -> None:
    """Takes up what `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])
