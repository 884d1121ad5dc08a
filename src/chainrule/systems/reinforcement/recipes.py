"""Deep Q-learning in an environment of gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Positive, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.reinforcement.task import Acting


@recipe(
    "dqn",
    task="acting in an environment",
    data="CartPole-v1",
    kinds=("environment",),
    source="Mnih et al. 2015",
    model="q-network",
    target=Target(
        "return",
        475.0,
        "CartPole-v1",
        "gymnasium's reward_threshold of CartPole-v1, the definition of solved that OpenAI Gym gave",
        "mean return over 100 episodes",
        lower_is_better=False,
    ),
    tiny={
        "total_steps": 600,
        "learning_starts": 200,
        "hidden": (16,),
        "evaluate_every": 200,
        "evaluation_episodes": 5,
        "stop_at": 0.0,
    },
    summary_zh="深度 Q 网络，带经验回放和目标网络",
    topics=(
        Topic(
            "Deep Q-network, replay memory, target network, Double DQN",
            "深度 Q 网络、经验回放、目标网络、Double DQN",
            lectures=(3,),
            command="chainrule train dqn double=yes",
        ),
    ),
)
def dqn(
    run: Run,
    *,
    total_steps: Count = 25_000,
    envs: Count = 16,
    lr: Positive = 8e-3,
    gamma: Fraction = 0.99,
    batch_size: Count = 128,
    memory: Count = 100_000,
    learning_starts: Size = 500,
    train_every: Count = 128,
    gradient_steps: Count = 64,
    target_every: Count = 16,
    tau: Fraction = 1.0,
    epsilon_start: Fraction = 1.0,
    epsilon_end: Fraction = 0.04,
    epsilon_fraction: Fraction = 0.05,
    double: bool = False,
    loss: Literal["huber", "mse"] = "mse",
    clip_norm: NonNegative = 0.0,
    hidden: tuple[Count, ...] = (64, 64),
    evaluate_every: Count = 500,
    evaluation_episodes: Count = 10,
    stop_at: float = 490.0,
) -> Acting:
    """A deep Q-network: replay memory, a target network, epsilon-greedy exploration; Double DQN by a setting.

    The defaults are for CartPole. The value of a state is near 100 there, and each update of the target network
    adds one step's reward to it, so the network is small, the learning rate high, and these updates are frequent. The error is squared;
    loss=huber is the clipped error of the paper, which bounds the gradient and with it how fast such values are reached.
    """
    import torch

    from chainrule.systems.reinforcement.dqn import DQNAgent, DQNConfig
    from chainrule.systems.reinforcement.environments import load_environment
    from chainrule.systems.reinforcement.q_network import QNetwork
    from chainrule.systems.reinforcement.task import Acting

    data = load_environment(run.data)
    q = run.place(QNetwork(data.spec.obs_size, data.spec.num_actions, hidden))
    config = DQNConfig(
        total_steps=total_steps,
        learning_starts=learning_starts,
        train_every=train_every,
        gradient_steps=gradient_steps,
        batch_size=batch_size,
        gamma=gamma,
        target_every=target_every,
        tau=tau,
        epsilon=(epsilon_start, epsilon_end),
        epsilon_fraction=epsilon_fraction,
        double=double,
        loss=loss,
        clip_norm=clip_norm,
    )
    agent = DQNAgent(
        q,
        optimizer=torch.optim.Adam(q.parameters(), lr, fused=True),
        config=config,
        memory_size=memory,
        device=run.device,
    )
    return Acting(
        run,
        data=data,
        agent=agent,
        environments=envs,
        total_steps=total_steps,
        evaluate_every=evaluate_every,
        evaluation_episodes=evaluation_episodes,
        stop_at=stop_at or None,  # 0 is never
    )
