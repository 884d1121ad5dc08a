"""A network of action values: one number for each action, from an observation.

Shapes: B batch, D numbers in an observation, A actions.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from chainrule.core.card import Card
from chainrule.core.course import Topic


class QNetwork(nn.Module):
    """Q(obs, .), the expected discounted return of each action, by a multilayer perceptron with ReLU.

    The network has an output for each action, so that one forward pass values them all (Mnih et al. 2015, Methods).

    Args:
        obs_size: numbers in an observation.
        num_actions: actions to choose from.
        hidden: sizes of the hidden layers.

    >>> q = QNetwork(obs_size=4, num_actions=2, hidden=(32,))
    >>> q(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    """

    def __init__(self, obs_size: int = 4, num_actions: int = 2, hidden: tuple[int, ...] = (64, 64)) -> None:
        super().__init__()
        sizes = (obs_size, *hidden)
        layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(sizes[-1], num_actions)

    def forward(self, obs: Tensor) -> Tensor:  # (B, D) -> (B, A)
        return self.head(self.body(obs))


Q_NETWORK = Card(
    name="q-network",
    source="Mnih et al.: Human-level control through deep reinforcement learning, Nature 518, 2015, Methods",
    build=QNetwork,
    example=lambda batch_size: (torch.randn(batch_size, 4),),
    tiny={"obs_size": 4, "num_actions": 3, "hidden": (16, 16)},
    deviations=(
        "The observation is a vector of physical quantities, not a stack of images, so the layers are fully "
        "connected; the paper's convolutions have nothing to convolve here.",
        "Weights begin as torch.nn.Linear draws them; the paper names no initialisation.",
    ),
    topics=(Topic("Deep Q-network, replay memory, target network, Double DQN"),),
)
