"""Environments that are restored, and a memory that holds what a list would."""

from __future__ import annotations

import builtins
import sys

import gymnasium
import numpy as np
import pytest
import torch

from chainrule.core.errors import RunFailed, UserError
from chainrule.systems.reinforcement.environments import SPLITS, Environments, Episodes, environment_spec
from chainrule.systems.reinforcement.replay import ReplayMemory

pytestmark = pytest.mark.usefixtures("no_report")


class Counter(gymnasium.Env):
    """Shows how many steps were taken since the reset; action 6 (of 5 and 6) ends the episode."""

    observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert action in (5, 6)
        self.steps += 1
        return np.full(1, self.steps, np.float32), float(self.steps), action == 6, False, {}


class Fickle(Counter):
    """Draws its observation from numpy's global generator, as no environment should."""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.random.rand(1).astype(np.float32), {}


@pytest.fixture(autouse=True)
def registered():
    gymnasium.register("Counter-v0", entry_point=Counter, max_episode_steps=3)
    gymnasium.register("Fickle-v0", entry_point=Fickle, max_episode_steps=3)
    yield
    del gymnasium.registry["Counter-v0"], gymnasium.registry["Fickle-v0"]


def environments(name: str, count: int, seed: int = 0, split: str = "train") -> Environments:
    return Episodes(environment_spec(name), split, seed).environments(count)


def test_termination_truncation_and_the_last_observation():
    """Lane 0 continues until the limit of three steps truncates it, lane 1 terminates at its second."""
    envs = environments("Counter-v0", 2)
    steps = [envs.step(actions) for actions in ([0, 0], [0, 1], [0, 0], [0, 0])]
    assert [s.next_obs[:, 0].tolist() for s in steps] == [[1, 1], [2, 2], [3, 1], [1, 2]]
    assert [s.terminated.tolist() for s in steps] == [[False, False], [False, True], [False, False], [False, False]]
    assert [s.truncated.tolist() for s in steps] == [[False, False], [False, False], [True, False], [False, False]]
    assert [s.reward.tolist() for s in steps] == [[1, 1], [2, 2], [3, 1], [1, 2]]
    assert envs.obs[:, 0].tolist() == [1, 2]  # a reset is shown in obs, never in next_obs
    assert envs.finished == [(3.0, 2), (6.0, 3)]


def test_one_step_equals_gymnasium_stepped_by_hand():
    """Two lanes of CartPole against two plain environments, through several episodes."""
    episodes = Episodes(environment_spec("CartPole-v1"), "train", 5)
    envs, plain = episodes.environments(2), [gymnasium.make("CartPole-v1") for _ in range(2)]
    number = [0, 0]
    obs = [env.reset(seed=episodes.seed_of(lane, 0))[0] for lane, env in enumerate(plain)]
    draw = np.random.default_rng(0)
    for _ in range(150):
        assert np.array_equal(envs.obs, np.array(obs))
        actions = draw.integers(0, 2, 2).tolist()
        seen = envs.step(actions)
        for lane, env in enumerate(plain):
            row, reward, terminated, truncated, _ = env.step(actions[lane])
            assert np.array_equal(seen.next_obs[lane], row)
            assert (seen.reward[lane], seen.terminated[lane], seen.truncated[lane]) == (reward, terminated, truncated)
            obs[lane] = row
            if terminated or truncated:
                number[lane] += 1
                obs[lane] = env.reset(seed=episodes.seed_of(lane, number[lane]))[0]
    assert min(number) > 2


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"])
def test_a_replay_goes_on_exactly_as_the_original(name):
    original, draw = environments(name, 3, seed=7), np.random.default_rng(1)
    count = original.episodes.spec.num_actions
    for _ in range(130):
        original.step(draw.integers(0, count, 3).tolist())
    copy = environments(name, 3, seed=7)
    copy.load_state_dict(original.state_dict())
    for _ in range(130):
        assert np.array_equal(original.obs, copy.obs)
        actions = draw.integers(0, count, 3).tolist()
        for one, other in zip(original.step(actions), copy.step(actions), strict=True):
            assert np.array_equal(one, other)
    assert original.finished == copy.finished
    assert original.state_dict()["number"] == copy.state_dict()["number"]


def test_an_environment_that_does_not_come_back_is_told():
    envs = environments("Fickle-v0", 1)
    with pytest.raises(RunFailed, match="cannot be resumed"):
        environments("Fickle-v0", 1).load_state_dict(envs.state_dict())


def test_seeds_of_the_splits_are_apart_and_depend_on_everything():
    spec = environment_spec("CartPole-v1")
    seeds = {
        (split, seed): {Episodes(spec, split, seed).seed_of(lane, number) for lane in range(20) for number in range(20)}
        for split in SPLITS
        for seed in (0, 1)
    }
    everything = set.union(*seeds.values())
    assert len(everything) == 6 * 400
    assert all(0 <= s < 2**31 for s in everything)
    for one in SPLITS:
        for other in SPLITS:
            if one != other:
                low = {s >> 29 for s in seeds[one, 0]}
                assert low.isdisjoint({s >> 29 for s in seeds[other, 0]})


def test_play_gives_the_returns_of_episodes_played_one_by_one():
    episodes = Episodes(environment_spec("CartPole-v1"), "val", 0)

    def policy(obs):  # pushes towards where the pole leans, unless the cart is far out
        return (obs[:, 2] + 0.3 * obs[:, 3] - 0.4 * obs[:, 0] > 0).long()

    returns, lengths = episodes.play(policy, range(3, 15))
    again = episodes.play(policy, range(3, 15))
    assert torch.equal(returns, again[0])
    for i, number in enumerate(range(3, 15)):
        env, total, steps, ended = gymnasium.make("CartPole-v1"), 0.0, 0, False
        obs, _ = env.reset(seed=episodes.seed_of(number))
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(int(policy(torch.from_numpy(obs)[None])))
            total, steps, ended = total + float(reward), steps + 1, terminated or truncated
        assert (returns[i], lengths[i]) == (total, steps)
    assert len(set(lengths.tolist())) > 1


def test_play_moves_actions_to_where_they_start():
    returns, lengths = Episodes(environment_spec("Counter-v0"), "test", 0).play(
        lambda obs: torch.ones(len(obs), dtype=torch.int64), range(2)
    )
    assert returns.tolist() == [1.0, 1.0]
    assert lengths.tolist() == [1, 1]


def test_spec():
    spec = environment_spec("CartPole-v1")
    known = {key: getattr(spec, key) for key in ("id", "obs_size", "num_actions", "action_start", "max_episode_steps")}
    assert known == {"id": "CartPole-v1", "obs_size": 4, "num_actions": 2, "action_start": 0, "max_episode_steps": 500}
    assert spec.fingerprint == environment_spec("CartPole-v1").fingerprint
    assert spec.fingerprint != environment_spec("Acrobot-v1").fingerprint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CartPol-v1", "did you mean CartPole-v1"),
        ("CartPole-v9", "there is no environment 'CartPole-v9'"),
        ("no_such_module:Thing-v0", "there is no environment"),
        ("cart pole", "there is no environment"),
        ("Pendulum-v1", "the action space of Pendulum-v1 is not discrete"),
        ("FrozenLake-v1", "the observations of FrozenLake-v1 are not vectors"),
        ("Blackjack-v1", "the observations of Blackjack-v1 are not vectors"),
    ],
)
def test_errors_of_the_environment(name, words):
    with pytest.raises(UserError) as caught:
        environment_spec(name)
    assert words in str(caught.value)


def test_continuous_actions_are_named_with_a_cure():
    with pytest.raises(UserError) as caught:
        environment_spec("Pendulum-v1")
    assert "Box(-2.0, 2.0, (1,), float32)" in str(caught.value)
    assert "cure:" in str(caught.value)


def test_without_gymnasium(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "gymnasium":
            raise ModuleNotFoundError(name, name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'chainrule\[rl\]'"):
        environment_spec("CartPole-v1")


def test_without_box2d(monkeypatch):
    monkeypatch.setitem(sys.modules, "Box2D", None)  # as where it is not installed
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UserError, match=r"pip install 'chainrule\[box2d\]'"):
        environment_spec("LunarLander-v3")


@pytest.mark.parametrize("capacity", [5, 8, 11])
def test_memory_holds_the_last_transitions_as_a_list_would(capacity):
    memory, oracle, draw = ReplayMemory(capacity, 2), [], np.random.default_rng(capacity)
    for count in [3, 1, 4, 5, 2, 3, 5, 1]:
        obs, following = draw.random((2, count, 2), dtype=np.float32)
        action, reward = torch.from_numpy(draw.integers(0, 4, count)), draw.random(count, dtype=np.float32)
        terminated = draw.random(count) < 0.5
        memory.add(obs, action, reward, terminated, following)
        for i in range(count):
            oracle.append((*obs[i], action[i].item(), reward[i], terminated[i], *following[i]))
        del oracle[:-capacity]
        stored = memory.stored()
        rows = [tuple(map(float, (*o, a, r, t, *n))) for o, a, r, t, n in zip(*stored, strict=True)]
        assert len(memory) == len(oracle)
        assert sorted(rows) == sorted(tuple(map(float, row)) for row in oracle)


def test_memory_samples_whole_transitions_uniformly():
    memory = ReplayMemory(10, 1)
    for x in range(7):  # of ten places, three are still empty
        memory.add(*_transition(x))
    torch.manual_seed(0)
    drawn = memory.sample(70_000)
    assert torch.equal(drawn.obs[:, 0], drawn.next_obs[:, 0] - 1)
    assert torch.equal(drawn.obs[:, 0], drawn.reward)
    assert torch.equal(drawn.obs[:, 0].long() % 2, drawn.action)
    assert torch.equal(drawn.obs[:, 0] == 6, drawn.terminated)
    counts = torch.bincount(drawn.obs[:, 0].long(), minlength=10)
    assert counts[7:].sum() == 0
    assert ((counts[:7] - 10_000).abs() < 5 * (10_000 * 6 / 7) ** 0.5).all()
    torch.manual_seed(0)
    assert torch.equal(drawn.obs, memory.sample(70_000).obs)


def test_memory_saves_the_filled_part_and_goes_on():
    for filled in (4, 13):  # before and after it was full once
        memory = ReplayMemory(10, 1)
        for x in range(filled):
            memory.add(*_transition(x))
        state = {
            name: value.clone() if torch.is_tensor(value) else value for name, value in memory.state_dict().items()
        }
        assert len(state["obs"]) == min(filled, 10)
        other = ReplayMemory(10, 1)
        other.load_state_dict(state)
        for x in range(filled, filled + 5):
            memory.add(*_transition(x))
            other.add(*_transition(x))
        for one, two in zip(memory.stored(), other.stored(), strict=True):
            assert torch.equal(one, two)
    with pytest.raises(RunFailed, match="holds 10 transitions, not 3"):
        ReplayMemory(3, 1).load_state_dict(state)


def _transition(x: int):
    obs = np.array([[x]], np.float32)
    return obs, torch.tensor([x % 2]), np.array([x], np.float32), np.array([x == 6]), obs + 1
