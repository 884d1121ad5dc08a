"""Back-propagation by hand: stochastic gradient descent with the backward pass written out, without autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.data.batches import Batch
from chainrule.run.protocols import Loader
from chainrule.run.run import Run

if TYPE_CHECKING:
    from chainrule.systems.backprop.layers.layer import Layer


@torch.no_grad()
def back_propagate(
    run: Run,
    *,
    network: Layer,
    criterion: Layer,
    inputs: Callable[[Batch], Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    train: Loader,
    epochs: int,
    validate: Callable[[], dict[str, float]],
    choose_by: tuple[str, bool],
    clip_norm: float | None = None,
) -> None:
    """Minimises the mean loss over the batches of `train`. A step is the algorithm of Rumelhart, Hinton, Williams 1986:

    1. forward: the answer of the network, and the loss of each sample;
    2. the delta at the output, from the criterion;
    3. backward: each layer turns the delta of its output into that of its input, and leaves its weights' gradients;
    4. update: the optimiser moves the weights against their gradients.

    Beside the loss it tracks `delta_NAME` for each layer with weights: the Euclidean norm, over the whole batch, of the
    derivative of the mean loss with respect to the layer's output.

    Args:
        run: checkpoints, metrics, signals; one process trains.
        network: gives logits (B, ...) from what `inputs` gives; its weights are what is learnt.
        criterion: (logits, targets) to a loss per sample (B,).
        inputs: a batch to the network's input.
        optimizer, schedule: the update rule; the rate moves once a step.
        train: the batches.
        epochs: passes over them.
        validate: metrics on the validation split, after each epoch.
        choose_by: the validation metric that chooses the weights to keep, and whether lower is better.
        clip_norm: bound of the gradient's norm over all weights, if any.

    Raises:
        UserError: where several processes were started: nothing here averages gradients over them.
    """
    run.require_one_process()
    run.keep(model=network, optimizer=optimizer, schedule=schedule)
    parameters = list(network.parameters())
    for _ in run.epochs(epochs):
        network.train()
        for batch in run.batches(train):
            # 1. forward
            x = inputs(batch)
            losses = criterion(network(x), batch.y)  # (B,)
            loss = losses.mean()
            run.guard(loss, {"model": network}, rerun=partial(network, x), batch=batch)
            # 2. the delta at the output: d mean / d loss_i = 1 / B, then through the criterion
            delta = criterion.backward(torch.full_like(losses, 1 / len(losses)))
            # 3. backward
            optimizer.zero_grad()
            network.backward(delta)
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, clip_norm)
            # 4. update
            optimizer.step()
            schedule.step()
            run.track(loss=loss, lr=optimizer.param_groups[0]["lr"], **delta_norms(network))
        metrics = validate()
        run.log(**{f"val_{name}": value for name, value in metrics.items()})
        run.keep_best({"model": network}, f"val_{choose_by[0]}", metrics[choose_by[0]], lower_is_better=choose_by[1])


def delta_norms(network: Layer) -> dict[str, Tensor]:
    """`delta_NAME` for each layer with weights, after a backward pass; tensors, so that no step waits for them."""
    weighted = {name for name, layer in network.named_children() if any(True for _ in layer.parameters())}
    return {
        f"delta_{name.replace('.', '_')}": torch.linalg.vector_norm(delta)
        for name, delta in network.deltas.items()
        if name.partition(".")[0] in weighted
    }


TOPICS = (Topic("Back-propagation by hand, delta rule", code=("back_propagate", "delta_norms")),)
