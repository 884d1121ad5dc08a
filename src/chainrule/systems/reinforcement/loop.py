"""Deep Q-learning with experience replay: Algorithm 1 of Mnih et al. 2015, in several environments at once."""

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
        """How many updates come before the learning phase at `step`."""
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
    config: DQNConfig,
    validate: Callable[[], tuple[dict[str, float], bool]],
) -> None:
    """Learns Q(obs, action) from the agent's own experience (Mnih et al. 2015, Algorithm 1).

    Args:
        run: checkpoints, metrics, signals.
        q: the network of action values, from observations (B, D) to (B, A).
        target: Q-hat, a network of the same form, by which the targets are computed.
        optimizer: the update rule of q's parameters.
        environments: where the agent acts.
        memory: the replay memory D.
        config: of the algorithm.
        validate: metrics of the greedy policy, `return` among them, and whether the task is solved.
    """
    # Initialise the target network Q-hat with the weights of Q. (The memory D is empty, Q has random weights.)
    target.load_state_dict(q.state_dict())
    run.keep(q=q, target=target, optimizer=optimizer, environments=environments, memory=memory)
    count = environments.count
    rounds = -(-config.total_steps // count)
    for position in run.steps(rounds):  # every round takes a step in each of `count` environments
        # With probability epsilon select a random action a_t, otherwise a_t = argmax_a Q(s_t, a).
        obs, epsilon = environments.obs, config.epsilon_at(position * count)
        action = epsilon_greedy(q, torch.from_numpy(obs).to(run.device), epsilon)
        # Execute a_t, observe the reward r_t and the next observation s_t+1.
        seen = environments.step(action.tolist())
        # Store the transition (s_t, a_t, r_t, s_t+1) in D.
        memory.add(obs, action, seen.reward, seen.terminated, seen.next_obs)

        step = (position + 1) * count
        if step >= config.learning_starts and config.is_due(config.train_every, step, count):
            # Minibatches from D, a gradient step on each; every C updates, Q-hat = Q.
            loss = improve(q, target, optimizer, memory, config, config.updates_before(step))
            run.guard(loss, {"q": q}, rerun=lambda: q(memory.stored().obs[:1]), batch=memory.stored())
            run.track(loss=loss, epsilon=epsilon)
        # What is logged, and which weights are kept: no part of the algorithm.
        for episode_return, length in environments.finished:
            run.track(episode_return=episode_return, episode_length=length)
        environments.finished.clear()
        if config.is_due(config.evaluate_every, step, count) or position + 1 == rounds:
            metrics, solved = validate()
            run.log(environment_steps=step, **{f"val_{name}": value for name, value in metrics.items()})
            run.keep_best({"q": q}, "val_return", metrics["return"], lower_is_better=False)
            if solved:
                run.stop()


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
        code=("q_learning", "epsilon_greedy", "DQNConfig"),
        command="chainrule train dqn epsilon_fraction=0.2",
    ),
)
