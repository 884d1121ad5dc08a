"""Replay memory: the last transitions of an agent, from which it learns more than once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from chainrule.core.course import Topic
from chainrule.core.errors import RunFailed


class Transitions(NamedTuple):
    """B transitions: obs (B, D), action int64 (B,), reward (B,), terminated bool (B,), next_obs (B, D)."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    terminated: Tensor
    next_obs: Tensor


class ReplayMemory:
    """The last `capacity` transitions in a ring buffer: D, of capacity N, in Algorithm 1 of Mnih et al. 2015.

    Of how an episode ended only `terminated` is kept: where a time limit truncated it, the value of `next_obs` still
    counts.

    Args:
        capacity: how many transitions it holds.
        obs_size: numbers in an observation.
        device: where it lies; the network's, so that no sample is copied between devices.

    >>> memory = ReplayMemory(capacity=3, obs_size=1)
    >>> for x in range(5):
    ...     memory.add(np.array([[x]]), torch.tensor([0]), np.array([1.0]), np.array([False]), np.array([[x + 1]]))
    >>> len(memory), memory.stored().obs[:, 0].tolist()
    (3, [3.0, 4.0, 2.0])
    """

    def __init__(self, capacity: int, obs_size: int, device: torch.device | str = "cpu") -> None:
        self.capacity, self.size, self.position = capacity, 0, 0
        self._parts = Transitions(
            torch.zeros(capacity, obs_size, device=device),
            torch.zeros(capacity, dtype=torch.int64, device=device),
            torch.zeros(capacity, device=device),
            torch.zeros(capacity, dtype=torch.bool, device=device),
            torch.zeros(capacity, obs_size, device=device),
        )

    def __len__(self) -> int:
        return self.size

    def add(
        self, obs: np.ndarray, action: Tensor, reward: np.ndarray, terminated: np.ndarray, next_obs: np.ndarray
    ) -> None:
        """Stores n transitions, n at most the capacity; where the end is reached, the rest goes to the beginning."""
        count = len(action)
        values = Transitions(torch.from_numpy(obs), action, *map(torch.from_numpy, (reward, terminated, next_obs)))
        # Up to the end of the buffer; the rest overwrites the oldest, at its beginning.
        first = min(count, self.capacity - self.position)
        for part, value in zip(self._parts, values, strict=True):
            part[self.position : self.position + first] = value[:first]
            if first < count:
                part[: count - first] = value[first:]
        self.position = (self.position + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def sample(self, count: int) -> Transitions:
        """`count` transitions, each drawn uniformly from all that are stored, by torch's generator."""
        device = self._parts.obs.device
        index = torch.randint(self.size, (count,)).to(device)  # with replacement, drawn on the CPU: devices agree
        return Transitions(*(part.index_select(0, index) for part in self._parts))

    def stored(self) -> Transitions:
        """What is stored, as views, in the order of the slots."""
        return Transitions(*(part[: self.size] for part in self._parts))

    def state_dict(self) -> dict[str, Any]:
        """The filled part alone: an early checkpoint is small."""
        return {"position": self.position, **self.stored()._asdict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position, self.size = state["position"], len(state["action"])
        if self.size > self.capacity:
            raise RunFailed(f"the replay memory of the checkpoint holds {self.size} transitions, not {self.capacity}")
        for name, part in self._parts._asdict().items():
            part[: self.size] = state[name]


TOPICS = (Topic("Deep Q-network, replay memory, target network, Double DQN", code=("ReplayMemory",)),)
