"""Q-learning with replay memory and a target network: the loop of every agent that values actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chainrule.core.course import Topic
from chainrule.run.run import Run
from chainrule.systems.reinforcement.environments import Environments
from chainrule.systems.reinforcement.replay import ReplayMemory


@dataclass(frozen=True)
class DQNConfig:
    """The numbers of Algorithm 1.

    Attributes:
        total_steps: steps in the environment over all copies of it.
        learning_starts: steps by uniformly random actions before the first update.
        train_every: steps between two phases of learning; a multiple of the number of environments.
        gradient_steps: updates in a phase.
        batch_size: transitions in a minibatch.
        gamma: discount of a reward one step later.
        target_every: updates between two moves of the target network (C of the paper).
        tau: how far the target network moves: 1 copies, less mixes (Lillicrap et al. 2016).
        epsilon: probability of a random action: at the beginning and at the end of its fall.
        epsilon_fraction: share of total_steps over which epsilon falls, linearly.
        double: the online network chooses the action that the target network values (van Hasselt et al. 2016).
        loss: huber, whose derivative is the TD error clipped to [-1, 1], as in the paper; or mse.
        clip_norm: bound of the gradient's norm over all parameters; 0 is none.
        evaluate_every: steps between two validations.
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
    evaluate_every: int

    def epsilon_at(self, step: int) -> float:
        """The probability of a random action after `step` steps in the environment."""
        if step < self.learning_starts:
            return 1.0
        start, end = self.epsilon
        done = min(1.0, step / max(1.0, self.epsilon_fraction * self.total_steps))
        return start + (end - start) * done

    def updates_before(self, step: int) -> int:
        """How many updates come before the phase of learning at `step`."""
        first = max(1, -(-self.learning_starts // self.train_every))
        return (step // self.train_every - first) * self.gradient_steps

    def is_due(self, every: int, step: int, stride: int) -> bool:
        """Whether a multiple of `every` was reached in the last `stride` steps."""
        return step // every > (step - stride) // every


def q_learning(
    run: Run,
    *,
    q: nn.Module,
    target: nn.Module,
    optimizer: torch.optim.Optimizer,
    environments: Environments,
    memory: ReplayMemory,
    numbers: DQNConfig,
    validate: Callable[[], tuple[dict[str, float], bool]],
) -> None:
    """HasTrainingBatch Q(obs, action) from the agent's own experience (Mnih et al. 2015, Algorithm 1).

    Args:
        run: minds everything around the loop.
        q: the network of action values, from observations (B, D) to (B, A).
        target: a network of the same form, by which the targets are computed.
        optimizer: the update rule of q's parameters.
        environments: where the agent acts.
        memory: what it remembers.
        numbers: of the algorithm.
        validate: metrics of the greedy policy, `return` among them, and whether the task is solved.
    """
    target.load_state_dict(q.state_dict())
    run.keep(q=q, target=target, optimizer=optimizer, environments=environments, memory=memory)
    count = environments.count
    rounds = -(-numbers.total_steps // count)
    for position in run.steps(rounds):
        obs, epsilon = environments.obs, numbers.epsilon_at(position * count)
        action = epsilon_greedy(q, torch.from_numpy(obs).to(run.device), epsilon)
        seen = environments.step(action.tolist())
        memory.add(obs, action, seen.reward, seen.terminated, seen.next_obs)

        step = (position + 1) * count
        if step >= numbers.learning_starts and numbers.is_due(numbers.train_every, step, count):
            loss = improve(q, target, optimizer, memory, numbers, numbers.updates_before(step))
            run.guard(loss, {"q": q}, rerun=lambda: q(memory.stored().obs[:1]))
            run.track(loss=loss, epsilon=epsilon)
        for episode_return, length in environments.finished:
            run.track(episode_return=episode_return, episode_length=length)
        environments.finished.clear()
        if numbers.is_due(numbers.evaluate_every, step, count) or position + 1 == rounds:
            metrics, solved = validate()
            run.log(environment_steps=step, **{f"val_{name}": value for name, value in metrics.items()})
            run.keep_best({"q": q}, "val_return", metrics["return"], lower_is_better=False)
            if solved:
                run.stop()


@torch.inference_mode()
def epsilon_greedy(q: nn.Module, obs: Tensor, epsilon: float) -> Tensor:
    """Actions int64 (n,), on the CPU: each random with probability epsilon, else the one of the largest value."""
    values = q(obs).cpu()
    random = torch.randint(values.shape[1], (len(values),))
    return torch.where(torch.rand(len(values)) < epsilon, random, values.argmax(1))


def improve(
    q: nn.Module,
    target: nn.Module,
    optimizer: torch.optim.Optimizer,
    memory: ReplayMemory,
    numbers: DQNConfig,
    updates: int,
) -> Tensor:
    """A phase of learning: `gradient_steps` minibatches, an update for each. Gives the mean loss.

    `updates` counts those made before. Between two moves of the target network its values stand still, so the
    minibatches up to the next move are drawn and valued by it together.
    """
    criterion = nn.functional.smooth_l1_loss if numbers.loss == "huber" else nn.functional.mse_loss
    parameters = list(q.parameters())
    losses: list[Tensor] = []
    end = updates + numbers.gradient_steps
    while updates < end:
        count = min(end - updates, numbers.target_every - updates % numbers.target_every)
        drawn = memory.sample(count * numbers.batch_size)
        with torch.no_grad():
            target_values = target(drawn.next_obs)
        parts = (tensor.split(numbers.batch_size) for tensor in (*drawn, target_values))
        for obs, action, reward, terminated, next_obs, values in zip(*parts, strict=True):
            with torch.no_grad():
                choice = (q(next_obs) if numbers.double else values).argmax(1)
                y = bellman_target(reward, terminated, values, choice, numbers.gamma)
            loss = criterion(q(obs).gather(1, action[:, None]).squeeze(1), y)
            optimizer.zero_grad()
            loss.backward()
            if numbers.clip_norm:
                nn.utils.clip_grad_norm_(parameters, numbers.clip_norm)
            optimizer.step()
            losses.append(loss.detach())
        updates += count
        if updates % numbers.target_every == 0:
            move_towards(target, q, numbers.tau)
    return torch.stack(losses).mean()


def bellman_target(reward: Tensor, terminated: Tensor, next_values: Tensor, choice: Tensor, gamma: float) -> Tensor:
    """y = reward + gamma * next_values[choice], and the reward alone where the episode terminated.

    An episode that was only cut off by its time limit goes on as far as the value is concerned, so it is not among
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
    following = next_values.gather(1, choice[:, None]).squeeze(1)
    return reward + gamma * following.masked_fill(terminated, 0.0)


@torch.no_grad()
def move_towards(target: nn.Module, q: nn.Module, tau: float) -> None:
    """target = (1 - tau) target + tau q; a copy where tau is 1."""
    for old, new in zip(target.parameters(), q.parameters(), strict=True):
        old.lerp_(new, tau)


TOPICS = (
    Topic("Return, discount, policy, Bellman target", code=("bellman_target",)),
    Topic(
        "Q-learning, exploration",
        "Q 学习、探索",
        lectures=(3,),
        code=("q_learning", "epsilon_greedy", "DQNConfig"),
        command="chainrule train dqn epsilon_fraction=0.2",
    ),
)
