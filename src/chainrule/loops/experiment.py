"""An experiment measured point by point, and the plain gradient descent that a point often needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.seeds import in_64_bits
from chainrule.run.run import Run

Row = dict[str, Any]


class Rows(nn.Module):
    """What was measured: a row of plain values for each point, saved as weights are."""

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
    """Measures each point; a point is a step of the run.

    Every point has random numbers of its own, which depend on the run's seed and the number of the point alone: so the
    result does not depend on where the run was stopped and resumed.

    Args:
        run: checkpoints, metrics, signals.
        rows: collects the results.
        points: the settings of each point.
        measure: what one point gives, as plain numbers and text (and lists of them, for curves).
    """
    run.keep(rows=rows)
    for _ in run.epochs(1):
        for number in run.steps(len(points)):
            # 1. Random numbers that belong to this point.
            torch.manual_seed(in_64_bits((run.seed + 1) * 1_000_003 + number))
            # 2. Measure it.
            found = measure(points[number])
            # 3. Keep settings and results in one row; numbers and text are logged, curves are not.
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
    """Gradient descent on `criterion` over batches drawn without replacement, reshuffled each pass.

    Args:
        network: x to answers.
        x, y: all samples and targets (N, ...).
        criterion: (answers, targets) of a batch to its mean loss, a scalar.
        optimizer: the update rule.
        steps: how many updates.
        batch_size: samples of a step; 0 is all of them, every step.
        each_step: called with the number of the step and its loss, after the update; True ends the descent.
    """
    order, size = torch.empty(0, dtype=torch.int64), batch_size or len(x)
    for step in range(steps):
        # 1. The next batch; a pass that has too few samples left for one is followed by a new permutation.
        if size < len(x):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(x))])
            index, order = order[:size].to(x.device), order[size:]
            loss = criterion(network(x[index]), y[index])
        else:
            loss = criterion(network(x), y)
        # 2. The gradient of its loss, and the update.
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if each_step is not None and each_step(step, loss.detach()):
            return
