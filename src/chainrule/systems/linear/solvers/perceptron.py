"""The perceptron's algorithm: a sum of the rows that were answered wrongly.

Shapes: N rows, D columns, K classes, M mistakes, B rows of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import UserError

BLOCK = 128  # rows whose scores are kept up to date by their inner products, while mistakes are made among them
MOST_NUMBERS = 2**27  # of all weights ever held, which voting keeps: 1 GiB


@dataclass
class Training:
    """What the algorithm found.

    `w` (K, D) the last weights, `mean` (K, D) those after each row averaged, `mistakes` in each epoch; for voting,
    `vectors` (M + 1, K, D) all weights that were held and `survived` (M + 1,) after how many rows each.
    """

    w: NDArray[np.float64]
    mean: NDArray[np.float64]
    mistakes: list[int] = field(default_factory=list)
    vectors: NDArray[np.float64] | None = None
    survived: NDArray[np.int64] | None = None

    @property
    def converged(self) -> bool:
        """Whether the last epoch had no mistake."""
        return bool(self.mistakes) and self.mistakes[-1] == 0


def perceptron(
    x: Tensor, y: Tensor, num_classes: int, *, max_epochs: int, generator: torch.Generator, keep_all: bool = False
) -> Training:
    """Learns weights w_k from rows in a random order, epoch after epoch, until one has no mistake.

    A row is a mistake where w_y . x <= w_k . x for some other class k; then w_y grows by x and the highest of the others
    shrinks by x. For two classes w_1 = -w_0 is the w of the lecture's form: with s = 1 or -1, a row is a mistake where
    s w . x <= 0, and w grows by s x.

    Mistakes alone change weights, so the rows of a block are scored together, and the scores are corrected after each
    mistake by the row's inner products with the rest: the same steps as one row at a time.

    Args:
        x: rows (N, D), with a column of ones for an intercept.
        y: classes (N,), 0 to K - 1.
        num_classes: K.
        max_epochs: most epochs.
        generator: of the orders.
        keep_all: whether all weights that were held are kept, for voting.

    Raises:
        UserError: they would take more than a gibibyte.

    Source: Rosenblatt 1958; Freund and Schapire: Large margin classification using the perceptron algorithm, 1999,
    section 2, for voting and averaging; Collins 2002, for more than two classes.

    >>> x, y = torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), torch.tensor([1, 0])
    >>> found = perceptron(x, y, 2, max_epochs=10, generator=torch.Generator().manual_seed(0))
    >>> found.converged, bool((torch.from_numpy(found.w[1]) @ x.double().T > 0).tolist() == [True, False])
    (True, True)
    """
    x = x.double()
    N, D = x.shape
    w, late = torch.zeros(2, num_classes, D, dtype=torch.float64, device=x.device)
    found = Training(w.cpu().numpy(), w.cpu().numpy())
    changes: list[tuple[int, int, int, int]] = []  # time, row, class that grows, class that shrinks
    time = 0
    for _ in range(max_epochs):
        order = torch.randperm(N, generator=generator)
        before = len(changes)
        for index in order.split(BLOCK):
            part = x[index.to(x.device)]
            mistakes = _mistakes(
                (part @ w.T).cpu().numpy(), (part @ part.T).cpu().numpy(), y[index.to(y.device)].cpu().numpy()
            )
            for place, right, wrong in mistakes:
                w[right] += part[place]
                w[wrong] -= part[place]
                late[right] += (time + place) * part[place]
                late[wrong] -= (time + place) * part[place]
                changes.append((time + place, int(index[place]), right, wrong))
            time += len(index)
        found.mistakes.append(len(changes) - before)
        if keep_all and (len(changes) + 1) * w.numel() > MOST_NUMBERS:
            raise UserError(
                "voting would keep too many weights",
                expected=f"{MOST_NUMBERS:,} numbers at most",
                found=f"{len(changes) + 1:,} times {w.numel():,}",
                cure="average='averaged'",
            )
        if found.converged:
            break
    found.w, found.mean = w.cpu().numpy(), (w - late / max(1, time)).cpu().numpy()
    if keep_all:
        found.vectors, found.survived = _history(x, changes, num_classes, time)
    return found


def _mistakes(
    scores: NDArray[np.float64], gram: NDArray[np.float64], y: NDArray[np.int64]
) -> list[tuple[int, int, int]]:
    """(row of the block, right class, wrong class) of each mistake in turn; changes `scores` (B, K)."""
    found = []
    rows = np.arange(len(y))
    start = 0
    while start < len(y):
        rest = scores[start:].copy()
        own = rest[rows[: len(rest)], y[start:]]
        rest[rows[: len(rest)], y[start:]] = -np.inf
        wrong = np.flatnonzero(own <= rest.max(1))
        if not len(wrong):
            break
        place = start + int(wrong[0])
        right, instead = int(y[place]), int(rest[wrong[0]].argmax())
        scores[:, right] += gram[place]
        scores[:, instead] -= gram[place]
        found.append((place, right, instead))
        start = place + 1
    return found


def _history(
    x: Tensor, changes: list[tuple[int, int, int, int]], num_classes: int, time: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All weights that were held, the zeros of the start first, and after how many rows each was the one held."""
    steps = np.zeros((len(changes) + 1, num_classes, x.shape[1]))
    rows = x.cpu().numpy()
    for number, (_, row, right, wrong) in enumerate(changes, 1):
        steps[number, right] += rows[row]
        steps[number, wrong] -= rows[row]
    moments = np.array([0] + [moment for moment, *_ in changes] + [time])
    return steps.cumsum(0), np.diff(moments)


TOPICS = (Topic("Perceptron, its bound on mistakes", code=("perceptron",)),)
