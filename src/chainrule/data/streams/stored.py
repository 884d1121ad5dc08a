"""Images that stay where they are stored: each batch is read by the numbers of its samples, so any order can be had.

A resumed run needs nothing but the numbers, and decodes nothing that it has done already. What is read is what lay in
memory otherwise, byte for byte, so a run's numbers do not depend on where its images lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Item = TypeVar("Item")
Read = Callable[[np.ndarray], Tensor]  # samples' numbers (b,) to their bytes (b, C, H, W)


class StoredImages:
    """Images (N, C, H, W) of bytes that are not in memory: an index gives those asked for as a tensor.

    It stands where a tensor of all images would, for code that takes them a part at a time: `x[index]`, `x[a:b]`,
    `x.split(n)`, `len(x)`, `x.shape`. `to` says where the parts are put.

    Args:
        read: gives the images of these numbers.
        count, shape: how many there are, and (C, H, W).
        numbers: those of this split, in its order; all by default.
        identity: a number for each of all images (N,) that changes when the image does, where one is known without
            reading it.

    >>> images = StoredImages(lambda numbers: torch.from_numpy(numbers).view(-1, 1, 1, 1).byte(), 5, (1, 1, 1))
    >>> images[torch.tensor([3, 0])].flatten().tolist(), [len(part) for part in images.take(torch.arange(3)).split(2)]
    ([3, 0], [2, 1])
    """

    dtype = torch.uint8

    def __init__(
        self,
        read: Read,
        count: int,
        shape: tuple[int, int, int],
        numbers: np.ndarray | None = None,
        device: torch.device | str = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
        identity: Tensor | None = None,
    ) -> None:
        self._identity = identity
        self._read, self._numbers = read, np.arange(count) if numbers is None else numbers
        self._count, self._form = count, memory_format
        self.shape = torch.Size((len(self._numbers), *shape))
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Tensor | slice | int) -> Tensor:
        if isinstance(index, int):
            return self[index : index + 1 or None][0]
        numbers = self._numbers[index if isinstance(index, slice) else index.cpu().numpy()]
        return self._read(numbers).to(self.device, memory_format=self._form)

    def take(self, index: Tensor) -> StoredImages:
        """The images at these places; nothing is read."""
        return self._like(self._numbers[index.numpy()])

    def split(self, count: int) -> Iterator[Tensor]:
        """All of them in order, `count` at a time, the next read while one is in use."""
        return read_ahead(self[first : first + count] for first in range(0, len(self), count))

    def to(
        self, device: torch.device | str, memory_format: torch.memory_format = torch.contiguous_format
    ) -> StoredImages:
        """The same images, of which those that are read come onto this device, laid out so."""
        return self._like(self._numbers, device, memory_format)

    def dim(self) -> int:
        return 4

    @property
    def identity(self) -> Tensor | None:
        """What stands for the content of these images, where something does."""
        return None if self._identity is None else self._identity[torch.from_numpy(self._numbers)]

    def _like(
        self,
        numbers: np.ndarray,
        device: torch.device | str | None = None,
        memory_format: torch.memory_format | None = None,
    ) -> StoredImages:
        shape = (self.shape[1], self.shape[2], self.shape[3])
        place, form = self.device if device is None else device, memory_format or self._form
        return StoredImages(self._read, self._count, shape, numbers, place, form, self._identity)


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items in the same order; a thread makes the next one while this one is in use."""
    nothing = object()
    with ThreadPoolExecutor(1, "read ahead") as pool:
        coming = pool.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = pool.submit(next, items, nothing)
            yield item  # type: ignore[misc]


def rows_of(array: np.ndarray) -> Read:
    """Reads images from an array (N, H, W, C) that is mapped into memory."""

    rows = np.asarray(array)  # without the class of mapped arrays, whose parts are of it too

    def read(numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(rows[numbers]).permute(0, 3, 1, 2)  # (b, H, W, C) -> (b, C, H, W)

    return read
