"""How the model of a task over rows is trained: by a search over candidates, or by gradient descent."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.data.batches import Batch, Batches
from chainrule.data.dataset import Dataset
from chainrule.data.preprocess import Preprocessed
from chainrule.data.tables.loading import TableSplit
from chainrule.data.tables.spec import TableSpec
from chainrule.functional.metrics.classification import class_weights
from chainrule.introspection.watching import watched
from chainrule.loops.selection import select
from chainrule.loops.supervised import fit
from chainrule.nn.fitted import Fitted
from chainrule.nn.normalization.batch_norm import single_value_layer
from chainrule.optim.policies import fixed
from chainrule.optim.schedule import as_schedule
from chainrule.run.run import Run
from chainrule.tasks.own.checks import check_on_batch
from chainrule.tasks.own.choice import Choice

TRIED = 64  # rows that a network of the user's own is tried on


class RowTask(Protocol):
    """What a way of training asks of its task."""

    data: Dataset[TableSpec, TableSplit]
    model: nn.Module

    def modules(self) -> dict[str, nn.Module]: ...
    def measure(self, split: TableSplit) -> dict[str, float]: ...


Learn = Callable[[Run, Any], None]


def grid_search(candidates: Sequence[Mapping[str, Any]] = ({},), choose_by: Choice | None = None) -> Learn:
    """Fits the task's `Fitted` model with each candidate's settings; the validation split chooses among several.

    Args:
        candidates: settings of the estimator's constructor, one dictionary a candidate.
        choose_by: the metric of the task that chooses; needed where there are several.
    """
    if len(candidates) > 1 and choose_by is None:
        raise ValueError("several candidates need a metric that chooses")

    def learn(run: Run, task: RowTask) -> None:
        train, val = task.data.train, task.data.val
        model = task.model.model if isinstance(task.model, Preprocessed) else task.model
        assert isinstance(model, Fitted)
        if not model.shares:
            run.require_one_process()
        x = _fit_preprocess(task.model, train.x)

        def fit_one(settings: Mapping[str, Any]) -> dict[str, Any]:
            model.fit(x, train.y, world=run.world, **settings)
            iterations = getattr(model.estimator, "n_iter_", None)
            return {} if iterations is None else {"iterations": int(torch.as_tensor(iterations).max())}

        select(
            run,
            modules=task.modules(),
            candidates=candidates,
            fit=fit_one,
            validate=lambda: task.measure(val) if len(val) else {},
            choose_by=choose_by if len(val) else None,
        )

    return learn


def fit_by_sgd(
    criterion: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    *,
    epochs: int,
    batch_size: int,
    choose_by: Choice,
    patience: int = 0,
    watch: bool = False,
    balance: bool = False,
) -> Learn:
    """Stochastic gradient descent on `criterion`.

    Args:
        criterion: (answers, targets) to a loss per sample (B,).
        optimizer: the update rule.
        schedule: moves its rate once a step; without one the rate stays.
        epochs, batch_size: how long, and how many rows a step.
        choose_by: the metric of the task on the validation split that chooses the epoch.
        patience: epochs without a better validation metric after which it stops; 0 is never.
        watch: whether the gradient and the saturation of each layer are tracked as well.
        balance: whether the loss of a sample is weighed by N / (K n_k) of its class, see `class_weights`.
    """
    moving = schedule or as_schedule(optimizer, fixed(optimizer.param_groups[0]["lr"]))

    def learn(run: Run, task: RowTask) -> None:
        train, val = task.data.train, task.data.val
        assert train.y is not None
        x, y = train.x.to(run.device), train.y.to(run.device)
        _fit_preprocess(task.model, train.x)
        network = run.wrap_distributed(task.model)
        weights = class_weights(train.y, int(train.y.max()) + 1).to(x) if balance else None
        batches = Batches(x, y, batch_size, seed=run.seed, world=run.world)
        _expect_statistics(task.model, batches)
        with watched(task.model, run.track) if watch else contextlib.nullcontext():
            fit(
                run,
                modules=task.modules(),
                objective=lambda batch: _loss(batch, network, criterion, weights),
                optimizer=optimizer,
                schedule=moving,
                epochs=epochs,
                train=batches,
                patience=patience,
                validate=lambda: task.measure(val) if len(val) else {},
                choose_by=choose_by if len(val) else None,
            )

    return learn


def tried_first(
    learn: Learn, criterion: Callable[[Any, Tensor], Tensor], num_outputs: int, inner: nn.Module | None = None
) -> Learn:
    """The same where network or loss are the user's own: first they are tried on some rows.

    Args:
        learn: how the task learns then.
        criterion: (answers, targets) to a loss per sample (B,).
        num_outputs: the classes; 0 for a number a row.
        inner: the user's part of the network.
    """

    def trying(run: Run, task: RowTask) -> None:
        train = task.data.train
        assert train.y is not None
        if not any(hasattr(p, "full_tensor") for p in task.model.parameters()):  # a sharded one cannot be copied
            x, y = train.x[:TRIED].to(run.device), train.y[:TRIED].to(run.device)
            for note in check_on_batch(task.model, criterion, x, y, num_outputs, run.autocast(), inner):
                run.progress.line(note)
        learn(run, task)

    return trying


@torch.no_grad()
def _expect_statistics(model: nn.Module, batches: Batches) -> None:
    """UserError where the last batch, or a process's part of one, is a single row, and batch normalisation has to see it."""
    if batches.smallest > 1:
        return
    layer = single_value_layer(model.eval(), batches.x[:1])
    if layer is not None:
        larger = next(size for size in itertools.count(batches.batch_size + 1) if len(batches.x) % size != 1)
        raise UserError(
            "a batch of one row cannot be normalised: a single number has no variance",
            where=layer,
            expected="two rows or more in every batch, the last one too",
            found=f"{len(batches.x)} rows in batches of {batches.batch_size}, by {batches.world.size} processes",
            cure=f"batch_size={larger}",
        )


def _fit_preprocess(model: nn.Module, x: Tensor) -> Tensor:
    """Fits the preprocessing that stands before the model, if any, to the training rows; gives them preprocessed."""
    if not isinstance(model, Preprocessed):
        return x
    model.preprocess.fit(x.to(model.preprocess.shift.device))
    return model.preprocess(x.to(model.preprocess.shift.device)).to(x.device)


def _loss(
    batch: Batch, network: Any, criterion: Callable[[Tensor, Tensor], Tensor], weights: Tensor | None = None
) -> Tensor:
    losses = criterion(network(batch.x), batch.y)  # (B,)
    return batch.mean(losses if weights is None else losses * weights[batch.y])
