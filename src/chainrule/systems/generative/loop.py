"""Generative adversarial training, two networks with an optimiser each: Algorithm 1 of Goodfellow et al. 2014.

The objectives are the caller's, so that GANs of other kinds (Wasserstein, conditional, image to image) share the loop;
those of the paper are here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.loops.memory import expect_room
from chainrule.run.protocols import Loader, Stateful
from chainrule.run.run import Run

Record = TypeVar("Record")
# A batch, which is any record, to the loss that one player minimises, a scalar, and what else to track.
Objective = Callable[[Record], tuple[Tensor, Mapping[str, Tensor]]]


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-mean log D(x) - mean log(1 - D(G(z))), where D is the sigmoid of the logit; Algorithm 1 ascends its negative.

    >>> round(float(discriminator_loss(torch.zeros(3), torch.zeros(3))), 4)  # a fair coin: 2 log 2
    1.3863
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()  # softplus(-x) = -log sigmoid(x)


def non_saturating_loss(fake_logits: Tensor) -> Tensor:
    """-mean log D(G(z)): the generator's loss of section 3, whose gradient does not vanish where D is sure.

    >>> round(float(non_saturating_loss(torch.zeros(3))), 4)
    0.6931
    """
    return F.softplus(-fake_logits).mean()


def train_gan(
    run: Run,
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    generator_objective: Objective[Record],
    discriminator_objective: Objective[Record],
    generator_optimizer: torch.optim.Optimizer,
    discriminator_optimizer: torch.optim.Optimizer,
    train: Loader[Record],
    steps: int,
    discriminator_steps: int = 1,
    keep: Mapping[str, Stateful] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Every batch is a step of the discriminator, and every k-th one of the generator too: Algorithm 1.

    Args:
        run: checkpoints, metrics, signals.
        generator, discriminator: G and D.
        generator_objective, discriminator_objective: the loss that each of them minimises, of a batch.
        generator_optimizer, discriminator_optimizer: their update rules.
        train: the batches.
        steps: the number of batches.
        discriminator_steps: k of Algorithm 1.
        keep: further state that training carries from step to step, by name.
        after_step: called after each step with the number of steps so far.
    """
    players = {"generator": generator, "discriminator": discriminator}
    expect_room(run, players, [generator_optimizer, discriminator_optimizer], train)
    run.keep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        **(keep or {}),
    )

    def descend(
        player: nn.Module, objective: Objective[Record], optimizer: torch.optim.Optimizer, batch: Record
    ) -> Tensor:
        with run.autocast():
            loss, others = objective(batch)
        run.guard(loss, players, rerun=partial(objective, batch), batch=batch)
        optimizer.zero_grad()
        loss.backward(inputs=list(player.parameters()))  # no gradients for the other player
        optimizer.step()
        run.track(**others)
        return loss

    generator.train()
    discriminator.train()
    batches = endless(train, run.step)
    for step in run.steps(steps):
        # Sample a minibatch of m examples x from the data (and of m noise samples z, in the objective).
        batch = next(batches)
        # Update the discriminator by ascending the gradient of mean log D(x) + log(1 - D(G(z))): its loss, negated.
        d_loss = descend(discriminator, discriminator_objective, discriminator_optimizer, batch)
        run.track(d_loss=d_loss)
        # After k such steps, sample m noise samples z and update the generator by descending its loss.
        if (step + 1) % discriminator_steps == 0:
            g_loss = descend(generator, generator_objective, generator_optimizer, batch)
            run.track(g_loss=g_loss)
        if after_step is not None:
            after_step(step + 1)


def endless(loader: Loader[Record], start: int = 0) -> Iterator[Record]:
    """Batches, epoch after epoch, from number `start` (counted from the first of all) on; every epoch has as many."""
    epoch, position = divmod(start, len(loader))
    while True:
        yield from loader.epoch(epoch, position)
        epoch, position = epoch + 1, 0


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of weights and of batch norm's statistics: average <- d average + (1 - d) network.

    d = min(decay, (1 + step) / (10 + step)): smaller in the first steps, so that the average forgets its start.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if value.is_floating_point():
            mean.lerp_(value, share)
        else:
            mean.copy_(value)


TOPICS = (
    Topic(
        "Generative adversarial network, the k-step algorithm",
        "生成对抗网络及其 k 步算法",
        lectures=(1, 3),
        code=("discriminator_loss", "non_saturating_loss"),
        command="chainrule train dcgan discriminator_steps=2",
    ),
)
