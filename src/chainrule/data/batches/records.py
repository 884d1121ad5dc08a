"""What a batch is: any dataclass or NamedTuple of tensors and lists of tensors that says of which samples it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.core.records import fields, is_record, map_tensors, replaced

Record = TypeVar("Record")


class BatchRecord(Protocol):
    """What loops ask of a batch, whatever else it holds.

    A tensor has a sample in each row of its first axis, a list has a sample in each entry, and so has what stands in a
    record, a tuple or a dict within. Numbers, text and tensors without an axis are of the batch as a whole.

    Attributes:
        index: the samples' numbers in the data (b,).
        count: over how many losses the mean of the batch is taken, all processes together: the samples, as a rule.
    """

    @property
    def index(self) -> Tensor: ...

    @property
    def count(self) -> int: ...

    def mean(self, losses: Tensor) -> Tensor: ...


class _Shared(Protocol):
    @property
    def count(self) -> int: ...
    @property
    def processes(self) -> int: ...


def batch_mean(batch: _Shared, losses: Tensor) -> Tensor:
    """The mean over the whole batch of a loss per sample (b,), scaled so that DDP's average of gradients is right.

    With one process this is `losses.mean()`. With P processes each returns P/n * sum of its own, and the average
    over processes is the mean over the n samples also where the parts are not equally long. A dataclass takes it as its
    own method; a NamedTuple has a method `mean` that calls it.

    >>> @dataclass(frozen=True)
    ... class Scenes:
    ...     images: list[Tensor]
    ...     boxes: list[Tensor]
    ...     index: Tensor
    ...     count: int
    ...     processes: int = 1
    ...     mean = batch_mean
    >>> batch = Scenes([torch.ones(3, 4, 5)] * 2, [torch.ones(1, 4), torch.ones(0, 4)], torch.tensor([7, 3]), count=2)
    >>> batch.mean(torch.tensor([1.0, 3.0]))
    tensor(2.)
    """
    return losses.sum() * (batch.processes / batch.count)


@dataclass(frozen=True)
class Batch:
    """This process's part of a batch of pairs.

    Attributes:
        x, y: inputs and targets (b, ...).
        index: the samples' numbers in the data (b,).
        count: how many samples the batch has over all processes.
        processes: how many processes share it.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    count: int
    processes: int = 1
    mean = batch_mean


def move(batch: Record, device: torch.device | str, non_blocking: bool = False) -> Record:
    """The batch with all its tensors on `device`."""
    return map_tensors(batch, lambda tensor: tensor.to(device, non_blocking=non_blocking))


def select(batch: Record, rows: Tensor) -> Record:
    """The batch of the samples in these rows (k,) alone.

    `count` stays, so the means of the parts of a batch add up to its own.

    Raises:
        UserError: a field has not one row, or one entry, for each sample.

    >>> batch = Batch(torch.arange(3.0), torch.zeros(3), torch.tensor([5, 6, 7]), count=3)
    >>> select(batch, torch.tensor([2, 0]))
    Batch(x=tensor([2., 0.]), y=tensor([0., 0.]), index=tensor([7, 5]), count=3, processes=1)
    """
    count = len(batch.index)  # type: ignore[attr-defined]
    return _rows_of(batch, rows, count, type(batch).__name__)


def _rows_of(value: Any, rows: Tensor, count: int, where: str) -> Any:
    if isinstance(value, list) or (isinstance(value, Tensor) and value.dim()):
        if len(value) != count:
            raise UserError(
                "a field of a batch has not one row a sample, so the batch cannot be taken apart",
                where=where,
                expected=f"{count} rows or entries, one a sample",
                found=len(value),
                cure="divide the samples' numbers, and make a batch of each part",
            )
        return value[rows.to(value.device)] if isinstance(value, Tensor) else [value[row] for row in rows.tolist()]
    if is_record(value):
        return replaced(value, {name: _rows_of(v, rows, count, f"{where}.{name}") for name, v in fields(value).items()})
    if isinstance(value, tuple):
        return tuple(_rows_of(part, rows, count, f"{where}[{number}]") for number, part in enumerate(value))
    if isinstance(value, dict):
        return {key: _rows_of(part, rows, count, f"{where}.{key}") for key, part in value.items()}
    return value


def split(batch: Record, world: World) -> Record:
    """This process's part of a batch that every process has whole; the last processes may get a sample less.

    Raises:
        UserError: a field has not one row for each sample, or the record has no field `processes` to scale its mean by.
    """
    if world.size == 1:
        return batch
    if "processes" not in fields(batch):
        raise UserError(
            "a batch has no field `processes`, by which its mean is scaled",
            where=type(batch).__name__,
            expected="processes: int = 1, and mean = batch_mean",
        )
    rows = torch.arange(len(batch.index)).tensor_split(world.size)[world.rank]  # type: ignore[attr-defined]
    return replaced(select(batch, rows), {"processes": world.size})
