"""Measure point after point of an experiment; and the plain descent that such a point often needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.run.run import Run

Row = dict[str, Any]


class Rows(nn.Module):
    """What was measured: a row of plain values a point, saved like weights are."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    def get_extra_state(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])


def experiment(
    run: Run, *, rows: Rows, points: Sequence[Mapping[str, Any]], measure: Callable[[Mapping[str, Any]], Row]
) -> None:
    """Measures each point, a step of the run each.

    Every point begins with random numbers of its own, decided by the run's seed and the point's number: so what is
    measured does not depend on the order, nor on where the run was stopped.

    Args:
        run: minds everything around the loop.
        rows: where the results gather.
        points: the settings of each point.
        measure: what one point gives, as plain numbers and text (and lists of them, for curves).
    """
    run.keep(rows=rows)
    for _ in run.epochs(1):
        for number in run.steps(len(points)):
            torch.manual_seed((run.seed + 1) * 1_000_003 + number)
            found = measure(points[number])
            rows.rows.append({**points[number], **found})
            run.log(**{k: v for k, v in rows.rows[-1].items() if isinstance(v, (int, float, str, bool))})


def descend(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    criterion: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    batch_size: int = 0,
    each_step: Callable[[int, Tensor], bool | None] | None = None,
) -> None:
    """Gradient descent on the mean of `criterion` over batches drawn in shuffled passes; over everything with size 0.

    Args:
        network: x to answers.
        x, y: all samples and targets (N, ...).
        criterion: (answers, targets) to a scalar.
        optimizer: the update rule.
        steps: how many updates.
        batch_size: samples of a step; 0 is all of them.
        each_step: is given the number of the step and its loss, after the update; True from it ends the descent.
    """
    order, size = torch.empty(0, dtype=torch.int64), batch_size or len(x)
    for step in range(steps):
        if size < len(x):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(x))])
            index, order = order[:size].to(x.device), order[size:]
            loss = criterion(network(x[index]), y[index])
        else:
            loss = criterion(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if each_step is not None and each_step(step, loss.detach()):
            return
