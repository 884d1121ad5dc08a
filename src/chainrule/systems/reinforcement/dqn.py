"""Deep Q-learning with experience replay: the agent of Algorithm 1 of Mnih et al. 2015, in several environments at once."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.run.protocols import Stateful
from chainrule.systems.reinforcement.agent import Learnt, is_due
from chainrule.systems.reinforcement.environments import Environments, Step
from chainrule.systems.reinforcement.replay import ReplayMemory


@dataclass(frozen=True)
class DQNConfig:
    """The hyper-parameters of Algorithm 1, and what was added to it since.

    Attributes:
        total_steps: steps in the environment over all copies of it.
        learning_starts: steps by uniformly random actions before the first update.
        train_every: steps between two learning phases; a multiple of the number of environments.
        gradient_steps: updates in a learning phase.
        batch_size: transitions in a minibatch.
        gamma: discount of a reward one step later.
        target_every: updates of Q between two of the target network (C of the paper).
        tau: the weight of Q in the new target network: 1 copies, less mixes (Lillicrap et al. 2016).
        epsilon: probability of a random action: at the beginning and at the end of its fall.
        epsilon_fraction: share of total_steps over which epsilon falls, linearly.
        double: the online network chooses the action that the target network values (van Hasselt et al. 2016).
        loss: huber, whose derivative is the TD error clipped to [-1, 1], as in the paper; or mse.
        clip_norm: bound of the gradient's norm over all parameters; 0 is none.
    """

    total_steps: int
    learning_starts: int
    train_every: int
    gradient_steps: int
    batch_size: int
    gamma: float
    target_every: int
    tau: float
    epsilon: tuple[float, float]
    epsilon_fraction: float
    double: bool
    loss: str
    clip_norm: float

    def epsilon_at(self, step: int) -> float:
        """The probability of a random action after `step` steps in the environment."""
        if step < self.learning_starts:
            return 1.0
        start, end = self.epsilon
        done = min(1.0, step / max(1.0, self.epsilon_fraction * self.total_steps))
        return start + (end - start) * done

    def updates_before(self, step: int) -> int:
        """How many updates come before the learning phase at `step`."""
        return (step // self.train_every - self._first_phase) * self.gradient_steps

    @property
    def _first_phase(self) -> int:
        """The number of the first learning phase, counted in units of train_every from 1."""
        return max(1, -(-self.learning_starts // self.train_every))

    def remarks(self, environments: int) -> list[str]:
        """What is odd about a training of so many environments, in words; UserError where nothing would be learnt."""
        last = -(-self.total_steps // environments) * environments  # rounds are whole
        updates = self.updates_before(last) + self.gradient_steps
        first = self._first_phase * self.train_every
        if updates <= 0:
            raise UserError(
                "the training ends before the first update: nothing would be learnt",
                expected=f"total_steps={first} or more: the first multiple of train_every from learning_starts on",
                found=f"total_steps={self.total_steps} learning_starts={self.learning_starts} "
                f"train_every={self.train_every}",
                cure="more total_steps, or a smaller learning_starts",
            )
        found = []
        if updates < self.target_every:
            found.append(
                f"of its {updates} updates none reaches target_every={self.target_every}: the target network stays as it began"
            )
        if self.epsilon[0] != self.epsilon[1] and self.epsilon_fraction * self.total_steps <= self.learning_starts:
            found.append(
                f"epsilon falls over the first {self.epsilon_fraction * self.total_steps:g} steps, before learning_starts="
                f"{self.learning_starts}: from there on it is {self.epsilon[1]:g} at once"
            )
        return found


class DQNAgent:
    """Learns Q(obs, action) from its own experience (Mnih et al. 2015, Algorithm 1), and takes the largest.

    Args:
        q: the network of action values, from observations (B, D) to (B, A).
        optimizer: the update rule of q's parameters.
        config: of the algorithm.
        memory_size: transitions that the replay memory holds.
        device: where all of it lies.
    """

    def __init__(
        self,
        q: nn.Module,
        *,
        optimizer: torch.optim.Optimizer,
        config: DQNConfig,
        memory_size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.q, self.optimizer, self.config = q, optimizer, config
        self.memory_size, self.device = memory_size, device

    def modules(self) -> dict[str, nn.Module]:
        return {"q": self.q}

    def example(self, obs: Tensor) -> dict[str, tuple[Tensor, ...]]:
        return {"q": (obs.to(self.device),)}

    def expect(self, environments: int) -> None:
        """UserError where the algorithm does not fit so many environments."""
        if self.config.train_every % environments:
            raise UserError(
                "a learning phase would begin in the middle of a round of the environments",
                expected=f"train_every a multiple of envs={environments}",
                found=f"train_every={self.config.train_every}",
                cure=f"train_every={-(-self.config.train_every // environments) * environments}",
            )
        if self.memory_size < environments:
            raise UserError(
                "the memory is smaller than one round of the environments",
                expected=f"memory={environments} or more",
                found=f"memory={self.memory_size}",
            )

    def foresee(self, environments: int) -> list[str]:
        """UserError where the training would end before the first update; else what is odd about it, in words."""
        if self.memory_size < self.config.batch_size:
            raise UserError(
                "the memory is smaller than a minibatch",
                expected=f"memory={self.config.batch_size} or more",
                found=f"memory={self.memory_size} batch_size={self.config.batch_size}",
            )
        return self.config.remarks(environments)

    def start(self, environments: Environments) -> dict[str, Stateful]:
        """Initialises the replay memory D, empty, and the target network Q-hat with the weights of Q."""
        capacity = min(self.memory_size, self.config.total_steps + environments.count)
        self.target = copy.deepcopy(self.q)
        self.memory = ReplayMemory(capacity, environments.obs.shape[1], self.device)
        return {"q": self.q, "target": self.target, "optimizer": self.optimizer, "memory": self.memory}

    @torch.inference_mode()
    def values(self, obs: Tensor) -> Tensor:
        """The value of each action (n, A) for observations (n, D), on the CPU."""
        return self.q(obs.to(self.device)).cpu()

    def act(self, obs: Tensor) -> Tensor:
        return self.values(obs).argmax(1)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        """With probability epsilon selects a random action a_t, otherwise a_t = argmax_a Q(s_t, a)."""
        return epsilon_greedy(self.q, obs.to(self.device), self.config.epsilon_at(step))

    def learn(self, obs: np.ndarray, action: Tensor, seen: Step, step: int) -> Learnt | None:
        """Stores the transitions (s_t, a_t, r_t, s_t+1) in D, and learns from minibatches of D where that is due."""
        count, config = len(action), self.config
        self.memory.add(obs, action, seen.reward, seen.terminated, seen.next_obs)
        if step < config.learning_starts or not is_due(config.train_every, step, count):
            return None
        loss = improve(self.q, self.target, self.optimizer, self.memory, config, config.updates_before(step))
        metrics: dict[str, Any] = {"epsilon": config.epsilon_at(step - count)}
        stored = self.memory.stored()
        return Learnt(loss, metrics, rerun=lambda: self.q(stored.obs[:1]), batch=stored)

    def deployable(self) -> tuple[nn.Module, str, dict[str, Any]]:
        return self.q, "q_values", {"q_values": "the action to take is the index of the largest"}


@torch.inference_mode()
def epsilon_greedy(q: nn.Module, obs: Tensor, epsilon: float) -> Tensor:
    """Actions int64 (n,), on the CPU: each random with probability epsilon, else the one of the largest value."""
    values = q(obs).cpu()  # (n, A)
    random = torch.randint(values.shape[1], (len(values),))
    return torch.where(torch.rand(len(values)) < epsilon, random, values.argmax(1))


def improve(
    q: nn.Module,
    target: nn.Module,
    optimizer: torch.optim.Optimizer,
    memory: ReplayMemory,
    config: DQNConfig,
    updates: int,
) -> Tensor:
    """A learning phase: `gradient_steps` minibatches, an update for each. Gives the mean loss.

    `updates` counts those made before. Between two updates of the target network its values do not change, so the
    minibatches up to the next one are drawn, and evaluated by it, together.
    """
    criterion = nn.functional.smooth_l1_loss if config.loss == "huber" else nn.functional.mse_loss
    parameters = list(q.parameters())
    losses: list[Tensor] = []
    end = updates + config.gradient_steps
    while updates < end:
        count = min(end - updates, config.target_every - updates % config.target_every)
        # Sample random minibatches of transitions (s_j, a_j, r_j, s_j+1) from D: all of those up to the next update of Q-hat.
        drawn = memory.sample(count * config.batch_size)
        with torch.no_grad():
            target_values = target(drawn.next_obs)  # Q-hat(s_j+1, .), (count B, A)
        parts = (tensor.split(config.batch_size) for tensor in (*drawn, target_values))
        for obs, action, reward, terminated, next_obs, values in zip(*parts, strict=True):
            # y_j = r_j where the episode terminates at step j+1, else r_j + gamma max_a' Q-hat(s_j+1, a').
            with torch.no_grad():
                choice = (q(next_obs) if config.double else values).argmax(1)
                y = bellman_target(reward, terminated, values, choice, config.gamma)
            # A gradient step on (y_j - Q(s_j, a_j))^2 with respect to the weights of Q.
            loss = criterion(q(obs).gather(1, action[:, None]).squeeze(1), y)  # (B, A) -> (B, 1) -> (B,)
            optimizer.zero_grad()
            loss.backward()
            if config.clip_norm:
                nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimizer.step()
            losses.append(loss.detach())
        # Every C updates reset Q-hat = Q.
        updates += count
        if updates % config.target_every == 0:
            update_target(target, q, config.tau)
    return torch.stack(losses).mean()


def bellman_target(reward: Tensor, terminated: Tensor, next_values: Tensor, choice: Tensor, gamma: float) -> Tensor:
    """y = reward + gamma * next_values[choice], and the reward alone where the episode terminated.

    An episode that was only truncated by its time limit would have continued, so its next value counts: it is not among
    `terminated` (Pardo et al. 2018).

    Args:
        reward: (B,).
        terminated: bool (B,).
        next_values: the target network's values of the next observation (B, A).
        choice: the next action (B,): the largest of them, or in Double DQN that of the online network.
        gamma: the discount.

    >>> values = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    >>> bellman_target(torch.ones(2), torch.tensor([False, True]), values, values.argmax(1), gamma=0.5)
    tensor([2., 1.])
    """
    following = next_values.gather(1, choice[:, None]).squeeze(1)  # (B, A) -> (B,)
    return reward + gamma * following.masked_fill(terminated, 0.0)


@torch.no_grad()
def update_target(target: nn.Module, q: nn.Module, tau: float) -> None:
    """target = (1 - tau) target + tau q; a copy where tau is 1."""
    for old, new in zip(target.parameters(), q.parameters(), strict=True):
        old.lerp_(new, tau)


TOPICS = (
    Topic("Return, discount, policy, Bellman target", code=("bellman_target",)),
    Topic(
        "Q-learning, exploration",
        "Q 学习、探索",
        lectures=(3,),
        code=("DQNAgent", "epsilon_greedy", "DQNConfig"),
        command="chainrule train dqn epsilon_fraction=0.2",
    ),
)
