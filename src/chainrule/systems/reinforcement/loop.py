"""The loop of an agent that learns while it acts, in several environments at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from chainrule.core.course import Topic
from chainrule.run.run import Run
from chainrule.systems.reinforcement.agent import Agent, is_due
from chainrule.systems.reinforcement.environments import Environments

Validate = Callable[[], tuple[dict[str, float], bool]]


def learn_by_acting(
    run: Run, agent: Agent, environments: Environments, *, total_steps: int, evaluate_every: int, validate: Validate
) -> None:
    """The agent acts, sees what follows, and learns from it, round after round.

    Args:
        run: checkpoints, metrics, signals.
        agent: what acts and learns.
        environments: where it acts.
        total_steps: steps in the environment over all copies of it.
        evaluate_every: steps between two validations.
        validate: metrics of the greedy policy, `return` among them, and whether the task is solved.
    """
    parts = agent.start(environments)
    run.keep(**parts, environments=environments)
    count = environments.count
    rounds = -(-total_steps // count)
    for position in run.steps(rounds):  # every round takes a step in each of `count` environments
        # 1. Choose an action for what each environment shows.
        obs = environments.obs
        action = agent.explore(torch.from_numpy(obs), position * count)
        # 2. Take it: observe the reward and what follows.
        seen = environments.step(action)
        # 3. Learn from the transitions.
        step = (position + 1) * count
        learnt = agent.learn(obs, action, seen, step)
        if learnt is not None:
            run.guard(learnt.loss, agent.modules(), rerun=learnt.rerun, batch=learnt.batch)
            run.track(loss=learnt.loss, **learnt.metrics)
        # What is logged, and which weights are kept: no part of the algorithm.
        for episode_return, length in environments.finished:
            run.track(episode_return=episode_return, episode_length=length)
        environments.finished.clear()
        if is_due(evaluate_every, step, count) or position + 1 == rounds:
            metrics, solved = validate()
            run.log(environment_steps=step, **{f"val_{name}": value for name, value in metrics.items()})
            run.keep_best(agent.modules(), "val_return", metrics["return"], lower_is_better=False)
            if solved:
                run.stop()


TOPICS = (Topic("Q-learning, exploration", code=("learn_by_acting",)),)
