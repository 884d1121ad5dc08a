"""Spaces: the way between an agent's numbers and gymnasium's, and environments of every kind restored exactly."""

from __future__ import annotations

import json
import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from chainrule.core.errors import UserError
from chainrule.systems.reinforcement.environments import ANYTHING, EnvironmentSpec, Episodes, Takes, environment_spec
from chainrule.systems.reinforcement.spaces import ContinuousSpace, DiscreteSpace, space_from_json, space_of

pytestmark = pytest.mark.usefixtures("no_report")


class Scale(gymnasium.Env):
    """Shows the action that it was given, of float64 and shape (2, 1), and refuses one beyond its uneven bounds."""

    observation_space = Box(-np.inf, np.inf, (2, 1), np.float64)
    action_space = Box(np.array([[-1.0], [0.0]]), np.array([[1.0], [5.0]]), (2, 1), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((2, 1)), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return action, float(action.sum()), False, False, {}


class Offset(gymnasium.Env):
    """Counts from 3, in a discrete space that begins there."""

    observation_space = Discrete(4, start=3)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 3
        return self.count, {}

    def step(self, action):
        self.count += 1
        return self.count, 1.0, self.count == 6, False, {}


class Pair(Offset):
    observation_space = Dict({"a": Discrete(2)})


@pytest.fixture(autouse=True)
def registered():
    for kind in (Scale, Offset, Pair):
        gymnasium.register(f"{kind.__name__}-v0", entry_point=kind, max_episode_steps=5)
    yield
    for kind in (Scale, Offset, Pair):
        del gymnasium.registry[f"{kind.__name__}-v0"]


@pytest.mark.parametrize(
    "space",
    [
        DiscreteSpace(3, start=-1),
        ContinuousSpace((3,)),
        ContinuousSpace((2, 2), -1.0, math.inf),
        ContinuousSpace((2,), (-1.0, -math.inf), (1.0, 2.5), "float64"),
    ],
)
def test_json_and_back(space):
    assert space_from_json(json.loads(json.dumps(space.to_json(), allow_nan=False))) == space


def test_spaces_of_gymnasium():
    assert space_of(Discrete(2, start=5), "actions", "x") == DiscreteSpace(2, 5)
    assert space_of(Box(-2.0, 2.0, (1,), np.float32), "actions", "x") == ContinuousSpace((1,), -2.0, 2.0)
    uneven = Box(np.array([-1.0, -np.inf]), np.array([1.0, 2.0]), dtype=np.float64)
    assert space_of(uneven, "actions", "x") == ContinuousSpace((2,), (-1.0, -math.inf), (1.0, 2.0), "float64")


def test_draws_lie_within_and_cover():
    torch.manual_seed(0)
    space = ContinuousSpace((2,), (-1.0, 3.0), (1.0, math.inf))
    drawn = space.draw(4000)
    assert drawn[:, 0].abs().max() <= 1 and drawn[:, 0].mean().abs() < 0.05 and drawn[:, 1].min() >= 3
    assert DiscreteSpace(3, 7).draw(500).unique().tolist() == [0, 1, 2]


def test_actions_are_brought_within_the_bounds_in_the_type_of_the_environment():
    envs = Episodes(environment_spec("Scale-v0", ANYTHING), "train", 0).environments(2)
    seen = envs.step(torch.tensor([[[-7.0], [9.0]], [[0.5], [1.5]]]))
    assert seen.next_obs[:, :, 0].tolist() == [[-1.0, 5.0], [0.5, 1.5]] and seen.next_obs.dtype == np.float32
    assert seen.reward.tolist() == [4.0, 2.0]


def test_discrete_observations_count_from_zero():
    episodes = Episodes(environment_spec("Offset-v0", ANYTHING), "val", 0)
    envs, shown = episodes.environments(1), []
    for _ in range(4):
        shown.append(int(envs.obs[0]))
        envs.step([0])
    assert shown == [0, 1, 2, 0] and envs.obs.dtype == np.int64 and envs.finished == [(3.0, 3)]
    asked = []
    episodes.play(lambda obs: (asked.append(obs.tolist()), torch.zeros(len(obs), dtype=torch.int64))[1], range(2))
    assert asked == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("name", ["Pendulum-v1", "MountainCarContinuous-v0", "FrozenLake-v1", "Scale-v0"])
def test_a_replay_is_exact(name):
    """Pendulum's 200 steps end an episode; a lake's are slippery, by numbers that the reset's seed decides."""
    spec = environment_spec(name, ANYTHING)
    torch.manual_seed(1)
    actions = [spec.actions.draw(3) * (1 if spec.actions.kind == "discrete" else 3) for _ in range(260)]
    original = Episodes(spec, "train", 7).environments(3)
    for action in actions[:230]:
        original.step(action)
    copy = Episodes(EnvironmentSpec.from_json(json.loads(json.dumps(spec.to_json()))), "train", 7).environments(3)
    copy.load_state_dict(original.state_dict())
    for action in actions[230:]:
        for one, other in zip(original.step(action), copy.step(action), strict=True):
            assert np.array_equal(one, other)
    assert original.finished == copy.finished and np.array_equal(original.obs, copy.obs)


def test_specs_of_every_kind():
    pendulum, lake = environment_spec("Pendulum-v1", ANYTHING), environment_spec("FrozenLake-v1", ANYTHING)
    assert (pendulum.obs_size, pendulum.num_actions) == (3, 1) and pendulum.actions == ContinuousSpace((1,), -2.0, 2.0)
    assert (lake.obs_size, lake.num_actions) == (16, 4) and lake.observations == DiscreteSpace(16)
    assert "action" not in environment_spec("CartPole-v1").to_json(), (
        "what a run of an earlier version says is the same"
    )


def test_what_an_agent_cannot_take():
    for name, takes, words in (
        ("CartPole-v1", Takes(("continuous",)), "the action space of CartPole-v1 is not continuous"),
        ("Pair-v0", ANYTHING, "the observations of Pair-v0 are of a kind"),
        ("FrozenLake-v1", Takes(vectors=True), "the observations of FrozenLake-v1 are not vectors"),
    ):
        with pytest.raises(UserError, match=words):
            environment_spec(name, takes)
