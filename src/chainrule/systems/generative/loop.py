"""Two players, two optimisers: Algorithm 1 of Goodfellow et al. 2014 (Generative adversarial nets).

The objectives are the caller's, so that games of another kind (Wasserstein, conditional, image to image) share
the loop; those of the paper stand here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.data.batches import Batch
from chainrule.run.protocols import Loader, Stateful
from chainrule.run.run import Run

# A batch to the loss that one player lowers, a scalar, and what else of it to track.
Objective = Callable[[Batch], tuple[Tensor, Mapping[str, Tensor]]]


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-mean log D(x) - mean log(1 - D(G(z))), where D is the sigmoid of the logit; what Algorithm 1 ascends, negated.

    >>> round(float(discriminator_loss(torch.zeros(3), torch.zeros(3))), 4)  # a fair coin: 2 log 2
    1.3863
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def non_saturating_loss(fake_logits: Tensor) -> Tensor:
    """-mean log D(G(z)): the generator's loss of section 3, whose gradient does not vanish while D still wins.

    >>> round(float(non_saturating_loss(torch.zeros(3))), 4)
    0.6931
    """
    return F.softplus(-fake_logits).mean()


def play(
    run: Run,
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    generator_objective: Objective,
    discriminator_objective: Objective,
    generator_optimizer: torch.optim.Optimizer,
    discriminator_optimizer: torch.optim.Optimizer,
    train: Loader,
    steps: int,
    discriminator_steps: int = 1,
    keep: Mapping[str, Stateful] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Every batch is a step of the discriminator, and every `discriminator_steps`-th one of the generator too.

    Args:
        run: minds everything around the loop.
        generator, discriminator: the players.
        generator_objective, discriminator_objective: the loss that each of them lowers, of a batch.
        generator_optimizer, discriminator_optimizer: their update rules.
        train: the batches.
        steps: how many batches in all.
        discriminator_steps: k of Algorithm 1.
        keep: further state that the game carries from step to step, by name.
        after_step: called after each step with the number of steps made.
    """
    run.keep(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        **(keep or {}),
    )
    players = {"generator": generator, "discriminator": discriminator}

    def descend(player: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        with run.autocast():
            loss, others = objective(batch)
        run.guard(loss, players, rerun=partial(objective, batch), inputs={"x": batch.x}, samples=batch.index)
        optimizer.zero_grad()
        loss.backward(inputs=list(player.parameters()))  # the other player's gradients are not computed
        optimizer.step()
        run.track(**others)
        return loss

    generator.train()
    discriminator.train()
    batches = endless(train, run.step)
    for step in run.steps(steps):
        batch = next(batches)
        d_loss = descend(discriminator, discriminator_objective, discriminator_optimizer, batch)
        run.track(d_loss=d_loss)
        if (step + 1) % discriminator_steps == 0:
            g_loss = descend(generator, generator_objective, generator_optimizer, batch)
            run.track(g_loss=g_loss)
        if after_step is not None:
            after_step(step + 1)


def endless(loader: Loader, start: int = 0) -> Iterator[Batch]:
    """Batches, epoch after epoch, from number `start` of all of them on."""
    epoch, position = divmod(start, len(loader))
    while True:
        yield from loader.epoch(epoch, position)
        epoch, position = epoch + 1, 0


TOPICS = (
    Topic(
        "Generative adversarial network, the k-step algorithm",
        "生成对抗网络及其 k 步算法",
        lectures=(1, 3),
        code=("discriminator_loss", "non_saturating_loss"),
        command="chainrule train dcgan discriminator_steps=2",
    ),
)
