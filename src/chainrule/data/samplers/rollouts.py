"""Minibatches of what an agent has just experienced, several times over: for on-policy learning."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.data.samplers.sampler import generator_of, shuffle


class Rollouts:
    """Minibatches of a rollout: `steps` of each of `environments`, passed over `passes` times, each in an order of its own.

    An epoch is an iteration of the agent: it acts for so many steps, then learns from these batches alone. What was
    recorded is a tensor (T, E, ...); the numbers are those of its first two axes taken as one, t E + e.

    Args:
        steps: T, how long each environment is acted in.
        environments: E.
        batch_size: how many transitions, or segments, a minibatch has; the last of a pass has what is left.
        passes: how often each transition is learnt from.
        seed: decides the orders.
        segment: cuts each environment's steps into segments of so many, for networks that carry state along them; a
            divisor of T. Then a batch is (B, segment), the steps of a segment in their order; else it is (B,).

    Raises:
        UserError: the segments do not divide the steps, or there are fewer than one minibatch takes.

    Source: Schulman et al.: Proximal policy optimization algorithms, 2017, algorithm 1 (K epochs, minibatch size M <= N T).

    >>> [index.tolist() for index in Rollouts(2, 2, batch_size=2, passes=2, seed=0).epoch(0)]
    [[0, 2], [3, 1], [2, 3], [1, 0]]
    >>> next(Rollouts(4, 2, batch_size=2, passes=1, seed=0, segment=2).epoch(0)).tolist()
    [[0, 2], [4, 6]]
    """

    def __init__(
        self, steps: int, environments: int, *, batch_size: int, passes: int, seed: int, segment: int | None = None
    ) -> None:
        length = segment or 1
        if steps % length:
            raise UserError(
                "segments do not divide the steps of a rollout", expected=f"a divisor of {steps}", found=segment
            )
        # Position t E + e of step t in environment e; a segment is `length` steps of one environment.
        positions = torch.arange(steps * environments).view(steps // length, length, environments)
        self.segments = positions.transpose(1, 2).flatten(0, 1)  # (S, L, E) -> (S, E, L) -> (S E, L)
        if segment is None:
            self.segments = self.segments[:, 0]
        if len(self.segments) < batch_size:
            raise UserError(
                "a rollout is smaller than one minibatch",
                expected=f"{batch_size} or more",
                found=len(self.segments),
                cure=f"batch_size={len(self.segments)} or less, or longer rollouts",
            )
        self.batch_size, self.passes, self.seed = batch_size, passes, seed

    def __len__(self) -> int:
        return self.passes * self._in_a_pass

    @property
    def _in_a_pass(self) -> int:
        return -(-len(self.segments) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        first, skipped = divmod(start, self._in_a_pass)
        for number in range(first, self.passes):
            batches = shuffle(self.segments, generator_of(self.seed, epoch, number)).split(self.batch_size)
            yield from batches[skipped if number == first else 0 :]
