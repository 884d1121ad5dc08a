"""Windows of a long sequence, read by parallel streams from beginning to end: for what carries state along it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.core.course import Topic


class Windows:
    """The positions (S, T) of each window, for truncated back-propagation through time.

    Stream s reads its own stretch of the sequence from beginning to end in one epoch, a window a batch, so that the state
    behind one batch is that before the next. Nothing is shuffled. Each position is read once an epoch (where the sequence
    does not divide, up to S - 1 of them by two streams). The windows are equally long, or one position less.

    Args:
        size: the positions N of the sequence. Where the next item is predicted, that is one less than it has items.
        streams: S, over all processes together; each of them takes some.
        length: the most positions of a window.
        device: where the positions lie.

    Source: Williams, Peng: An efficient gradient-based algorithm for on-line training of recurrent network trajectories,
    1990.

    >>> [window.tolist() for window in Windows(10, streams=2, length=3).epoch(0)]
    [[[0, 1], [5, 6]], [[2, 3, 4], [7, 8, 9]]]
    """

    def __init__(self, size: int, streams: int, length: int, *, device: torch.device | str = "cpu") -> None:
        self.size = stream_size(size, streams)
        self.count = -(-self.size // length)
        self.starts = stream_starts(size, streams).to(device)

    def __len__(self) -> int:
        return self.count

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        for number in range(start, len(self)):
            begin, end = number * self.size // self.count, (number + 1) * self.size // self.count
            yield self.starts[:, None] + torch.arange(begin, end, device=self.starts.device)  # (S, T)


def stream_size(size: int, streams: int) -> int:
    """How many of `size` positions each stream reads."""
    return -(-size // streams)


def stream_starts(size: int, streams: int) -> Tensor:
    """Where each stream begins (S,): evenly along the sequence, the last so that it ends with it."""
    return torch.arange(streams) * size // streams


TOPICS = (Topic("Back-propagation through time, truncated", code=("Windows",)),)
