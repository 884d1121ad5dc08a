"""Minibatch stochastic gradient descent on an objective: the loop of all supervised learning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.loops.memory import expect_room
from chainrule.run.distributed.parallel import align_buffers
from chainrule.run.protocols import Loader, Stateful
from chainrule.run.run import Run

Record = TypeVar("Record")  # a batch: any dataclass or NamedTuple of tensors, see `chainrule.data.batches`
Objective = Callable[[Record], Tensor]


def fit(
    run: Run,
    *,
    modules: Mapping[str, nn.Module],
    objective: Objective[Record],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    train: Loader[Record],
    epochs: int,
    validate: Callable[[], dict[str, float]],
    choose_by: tuple[str, bool] | None,
    clip_norm: float | None = None,
    keep: Mapping[str, Stateful] | None = None,
    patience: int = 0,
) -> None:
    """Minimises the mean of `objective` over the batches of `train`.

    Args:
        run: checkpoints, metrics, signals.
        modules: the networks by name; their weights are what is learnt.
        objective: the loss of a batch, a scalar; a mean over its samples is `batch.mean(losses)`.
        optimizer, schedule: the update rule, and the schedule of its rate, which is stepped once a batch.
        train: the batches.
        epochs: passes over them.
        validate: metrics on the validation split, after each epoch.
        choose_by: the validation metric that chooses the weights to keep, and whether lower is better;
            None where nothing was held out to choose by: the last weights are kept.
        clip_norm: bound of the gradient's norm over all parameters, if any.
        keep: further state that the objective carries from batch to batch, by name.
        patience: epochs without a better value of `choose_by` after which it stops (early stopping); 0 is never.
    """
    expect_room(run, modules, [optimizer], train)
    run.keep(**modules, optimizer=optimizer, schedule=schedule, **(keep or {}))
    parameters = [p for module in modules.values() for p in module.parameters()]

    def loss_of(batch: Record) -> Tensor:
        with run.autocast():
            return objective(batch)

    for _ in run.epochs(epochs):
        for module in modules.values():
            module.train()
        for batch in run.batches(train):
            # 1. Forward: the loss of the batch; training ends here, with an explanation, if it is NaN or infinite.
            loss = loss_of(batch)
            run.guard(loss, modules, rerun=partial(loss_of, batch), batch=batch)
            # 2. Backward: its gradient, clipped by norm if asked.
            optimizer.zero_grad()
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, clip_norm)
            # 3. Update the weights, then the learning rate.
            optimizer.step()
            schedule.step()
            run.track(loss=loss, lr=optimizer.param_groups[0]["lr"])
        # 4. After each epoch: validate, keep the best weights, stop early where they have not improved for long.
        align_buffers(modules, run.world)
        metrics = validate()
        run.log(**{f"val_{name}": value for name, value in metrics.items()})
        if choose_by is not None:
            run.keep_best(modules, f"val_{choose_by[0]}", metrics[choose_by[0]], lower_is_better=choose_by[1])
            if patience and run.best is not None and run.epoch - run.best["epoch"] >= patience:
                run.stop()


TOPICS = (
    Topic("Model, criterion, optimisation", code=("fit",)),
    Topic(
        "Mini-batch stochastic gradient descent, momentum",
        "小批量随机梯度下降、动量",
        lectures=(2, 3),
        code=("fit",),
        command="chainrule train lenet-caffe momentum=0.5",
    ),
)
