"""Deep Q-learning: its targets by hand, its updates against a plain reference, values that are known in closed form."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from chainrule import api
from chainrule.core.device import World
from chainrule.core.errors import UserError
from chainrule.run.run import Run
from chainrule.systems.reinforcement.agent import is_due
from chainrule.systems.reinforcement.dqn import DQNConfig, bellman_target, epsilon_greedy, improve, update_target
from chainrule.systems.reinforcement.q_network import QNetwork
from chainrule.systems.reinforcement.recipes import dqn
from chainrule.systems.reinforcement.replay import ReplayMemory

pytestmark = pytest.mark.usefixtures("no_report")

TINY = dict(dqn.tiny)
NUMBERS = {
    "total_steps": 1000,
    "learning_starts": 100,
    "train_every": 8,
    "gradient_steps": 4,
    "batch_size": 3,
    "gamma": 0.9,
    "target_every": 3,
    "tau": 1.0,
    "epsilon": (1.0, 0.1),
    "epsilon_fraction": 0.5,
    "double": False,
    "loss": "huber",
    "clip_norm": 0.0,
}


class Chain(gymnasium.Env):
    """Five places in a row, shown one-hot. Right of the last is the goal: reward 1 and the end. Left of the first is
    the first."""

    places = 5
    observation_space = gymnasium.spaces.Box(0, 1, (places,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def _show(self):
        return np.eye(self.places, dtype=np.float32)[min(self.place, self.places - 1)]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(self.places))
        return self._show(), {}

    def step(self, action):
        self.place = self.place + 1 if action else max(0, self.place - 1)
        goal = self.place == self.places
        return self._show(), float(goal), goal, False, {}


class Wheel(gymnasium.Env):
    """One place; action 1 has reward 1, action 0 none; it never ends, but is cut off after three steps."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), float(action), False, False, {}


@pytest.fixture(scope="module", autouse=True)
def registered():
    gymnasium.register("Chain-v0", entry_point=Chain, max_episode_steps=12)
    gymnasium.register("Wheel-v0", entry_point=Wheel, max_episode_steps=3)
    yield
    del gymnasium.registry["Chain-v0"], gymnasium.registry["Wheel-v0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return api.train("dqn", out=tmp_path_factory.mktemp("dqn") / "run", **TINY)


def test_the_target_by_hand():
    """Four transitions: one continues, one terminated, one whose online network chooses the lesser value, both."""
    values = torch.tensor([[1.0, 3.0], [1.0, 3.0], [5.0, 2.0], [5.0, 2.0]])
    reward, terminated = torch.tensor([0.0, 1.0, 2.0, -1.0]), torch.tensor([False, True, False, True])
    y = bellman_target(reward, terminated, values, values.argmax(1), 0.5)
    assert y.tolist() == [1.5, 1.0, 4.5, -1.0]
    online = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert bellman_target(reward, terminated, values, online.argmax(1), 0.5).tolist() == [1.5, 1.0, 3.0, -1.0]
    endless = values.masked_fill(terminated[:, None], float("inf"))  # what is never reached is never multiplied by 0
    assert bellman_target(reward, terminated, endless, values.argmax(1), 0.5).tolist() == [1.5, 1.0, 4.5, -1.0]


def test_epsilon_falls_linearly():
    config = DQNConfig(**NUMBERS)
    steps = [0, 99, 100, 250, 499, 500, 999]
    expected = [1.0, 1.0, 1.0 - 0.9 * 100 / 500, 0.55, 1.0 - 0.9 * 499 / 500, 0.1, 0.1]
    assert [config.epsilon_at(step) for step in steps] == pytest.approx(expected)
    assert DQNConfig(**{**NUMBERS, "epsilon_fraction": 0.0}).epsilon_at(100) == pytest.approx(0.1)


@pytest.mark.parametrize(("starts", "every", "stride"), [(100, 8, 4), (0, 8, 8), (96, 8, 2), (3, 16, 16)])
def test_updates_are_counted_as_a_counter_would(starts, every, stride):
    config = DQNConfig(**{**NUMBERS, "learning_starts": starts, "train_every": every})
    counter = 0
    for step in range(stride, 400, stride):
        if step % every == 0 and step >= starts:
            assert is_due(every, step, stride)
            assert config.updates_before(step) == counter
            counter += config.gradient_steps
    assert counter


def test_epsilon_greedy_takes_the_largest_or_any():
    torch.manual_seed(0)
    q = nn.Linear(3, 3, bias=False)
    q.weight.data = torch.eye(3)
    obs = torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
    assert epsilon_greedy(q, obs, 0.0).tolist() == [1, 0, 2]
    drawn = torch.stack([epsilon_greedy(q, obs, 0.6) for _ in range(3000)])
    share = torch.stack([(drawn == action).double().mean(0) for action in range(3)], 1)
    expected = torch.full((3, 3), 0.2, dtype=torch.float64) + 0.4 * torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert ((share - expected).abs() < 5 * (0.25 / 3000) ** 0.5).all()


def test_the_target_network_moves():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    old, new = one.weight.detach().clone(), other.weight.detach().clone()
    update_target(one, other, 0.25)
    assert torch.allclose(one.weight, 0.75 * old + 0.25 * new)
    update_target(one, other, 1.0)
    assert torch.equal(one.weight, new)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("tau", [1.0, 0.5])
@pytest.mark.parametrize(("loss", "clip_norm"), [("huber", 0.0), ("mse", 0.5)])
def test_updates_equal_a_plain_reference(double, tau, loss, clip_norm):
    """Transition by transition, in float64, with Adam written out; three phases, the target moving between minibatches."""
    config = DQNConfig(**{**NUMBERS, "double": double, "tau": tau, "loss": loss, "clip_norm": clip_norm})
    torch.manual_seed(1)
    q = QNetwork(2, 3, (5,))
    target = QNetwork(2, 3, (5,))
    memory, draw = _filled(ReplayMemory(40, 2)), torch.get_rng_state()
    plain_q, plain_target = copy.deepcopy(q).double(), copy.deepcopy(target).double()

    optimizer = torch.optim.Adam(q.parameters(), 0.01, fused=True)
    torch.set_rng_state(draw)
    means = [float(improve(q, target, optimizer, memory, config, phase * 4)) for phase in range(3)]

    torch.set_rng_state(draw)
    expected, moments, updates = [], None, 0
    for _ in range(3):
        losses = []
        for _ in range(config.gradient_steps):
            index = torch.randint(len(memory), (config.batch_size,))
            total = torch.zeros((), dtype=torch.float64)
            for i in index.tolist():
                obs, action, reward, terminated, next_obs = (part[i] for part in memory.stored())
                y = float(reward)
                if not terminated:
                    after = plain_target(next_obs.double()).tolist()
                    chooser = plain_q(next_obs.double()).tolist() if double else after
                    y += config.gamma * after[chooser.index(max(chooser))]
                error = plain_q(obs.double())[action] - y
                if loss == "mse":
                    total = total + error**2
                else:
                    total = total + (0.5 * error**2 if float(error.detach().abs()) < 1 else error.abs() - 0.5)
            mean = total / config.batch_size
            gradients = torch.autograd.grad(mean, list(plain_q.parameters()))
            norm = sum(float((g**2).sum()) for g in gradients) ** 0.5
            if clip_norm and norm > clip_norm:
                gradients = [g * (clip_norm / norm) for g in gradients]
            moments = moments or [(torch.zeros_like(g), torch.zeros_like(g)) for g in gradients]
            updates += 1
            for p, g, (m, v) in zip(plain_q.parameters(), gradients, moments, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g**2)
                p.data -= 0.01 * (m / (1 - 0.9**updates)) / ((v / (1 - 0.999**updates)).sqrt() + 1e-8)
            if updates % config.target_every == 0:
                for old, new in zip(plain_target.parameters(), plain_q.parameters(), strict=True):
                    old.data = (1 - tau) * old.data + tau * new.data
            losses.append(float(mean.detach()))
        expected.append(sum(losses) / len(losses))

    assert means == pytest.approx(expected, rel=1e-4)
    for fast, slow in ((q, plain_q), (target, plain_target)):
        for one, other in zip(fast.parameters(), slow.parameters(), strict=True):
            assert torch.allclose(one.double(), other, atol=2e-5)


@pytest.mark.parametrize("double", [False, True])
def test_values_of_the_chain_are_those_of_its_closed_form(tmp_path, double):
    """V(s) = gamma^(4-s); Q(s, right) = V(s), Q(s, left) = gamma V(max(s-1, 0)): with a linear network, a table."""
    gamma = 0.8
    run = api.train(
        "dqn",
        data="Chain-v0",
        out=tmp_path / "r",
        hidden=(),
        gamma=gamma,
        double=double,
        total_steps=4000,
        envs=4,
        memory=4000,
        learning_starts=200,
        train_every=16,
        gradient_steps=4,
        batch_size=64,
        target_every=20,
        lr=0.02,
        epsilon_end=1.0,
        loss="mse",
        evaluate_every=4000,
        stop_at=0.0,
    )
    found = run.task.agent.values(torch.eye(5))
    v = [gamma ** (4 - s) for s in range(5)]
    expected = torch.tensor([[gamma * v[max(s - 1, 0)], v[s]] for s in range(5)])
    assert (found - expected).abs().max() < 0.03
    assert run.result()["metrics"]["return"] == 1.0
    assert run.result()["metrics"]["episode_length"] < 5


def test_values_go_on_beyond_the_time_limit(tmp_path):
    """The wheel is cut off every three steps and never terminates: Q(1) = 1 / (1 - gamma) = 5, not what 3 steps give."""
    run = api.train(
        "dqn", data="Wheel-v0", out=tmp_path / "r", hidden=(), gamma=0.8, total_steps=3000, envs=2, memory=3000,
        learning_starts=100, train_every=16, gradient_steps=8, batch_size=16, target_every=20, lr=0.02,
        epsilon_end=1.0, loss="mse", evaluate_every=3000, stop_at=0.0,
    )  # fmt: skip
    assert run.task.agent.values(torch.ones(1, 1))[0].tolist() == pytest.approx([4.0, 5.0], abs=0.1)
    assert run.result()["metrics"] == {"return": 3.0, "return_std": 0.0, "return_min": 3.0, "episode_length": 3.0}


def test_training_ends_when_the_task_is_solved(tmp_path):
    run = api.train("dqn", data="Wheel-v0", out=tmp_path / "r", **{**TINY, "hidden": (), "stop_at": 3.0, "lr": 0.1})
    assert run.step < 600 // 16
    (last,) = [line for line in run.log_lines() if "val_return" in line]
    assert run.result()["chosen"]["value"] == last["val_return"] == 3.0
    assert last["val_episodes"] == 100  # the five of a validation reached it, so a hundred decided
    assert "100 reached 3" in run.result()["protocol"]


def test_a_run_opens_and_predicts_without_gymnasium(trained, monkeypatch):
    expected = trained.task.agent.values(torch.tensor([[0.1, 0.0, -0.02, 0.0]]))[0]
    monkeypatch.setattr(
        "chainrule.systems.reinforcement.environments.make", lambda *a: pytest.fail("the environment was asked for")
    )
    (answer,) = api.predict(trained.folder, ["0.1, 0, -0.02, 0"])
    assert answer["action"] == int(expected.argmax())
    assert answer["values"] == {
        "0": pytest.approx(float(expected[0]), abs=1e-5),
        "1": pytest.approx(float(expected[1]), abs=1e-5),
    }
    assert answer["value"] == max(answer["values"].values())


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "1,2,3,nan", ","])
def test_an_observation_that_is_none(trained, text):
    with pytest.raises(UserError, match="4 comma-separated numbers"):
        api.predict(trained.folder, [text])


def test_evaluate_is_on_test_episodes_and_on_other_environments(trained):
    assert api.evaluate(trained.folder) == trained.result()["metrics"]
    other = api.evaluate(trained.folder, data="CartPole-v1")
    assert other == trained.result()["metrics"]
    with pytest.raises(UserError, match="observations of another size"):
        api.evaluate(trained.folder, data="Chain-v0")
    with pytest.raises(UserError, match="did you mean"):
        api.evaluate(trained.folder, data="CartPol-v1")


def test_generated_episodes_are_what_the_agent_does(trained, tmp_path):
    made = api.generate(trained.folder, count=2, seed=5, out=tmp_path / "g")
    again = api.generate(trained.folder, count=2, seed=5, out=tmp_path / "h")
    assert [m["return"] for m in made] == [m["return"] for m in again]
    with Path(made[0]["file"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == made[0]["length"] == made[0]["return"]
    obs = torch.tensor([[float(row[f"obs_{i}"]) for i in range(4)] for row in rows])
    values = trained.task.agent.values(obs)
    assert [int(row["action"]) for row in rows] == values.argmax(1).tolist()
    assert torch.allclose(values[:, 1], torch.tensor([float(row["value_1"]) for row in rows]), atol=1e-5)


def test_figures_and_what_is_deployed(trained):
    titles = [figure.title for figure in trained.task.figures()]
    assert titles[0].startswith("Value of each action") and titles[1].startswith("Observation")
    made = trained.task.deployable()
    (obs,) = made.inputs(7)
    assert torch.equal(made.module(obs), trained.task.agent.q(obs))
    (met,) = made.own()  # by the agent, in the first test episode
    episode = torch.tensor(np.stack(trained.task._test_episode.obs))
    assert len(met) >= 8 and torch.equal(met[0], episode[0]) and all((episode == row).all(1).any() for row in met)


def test_the_run_says_what_it_did(trained):
    spec = json.loads((trained.folder / "run.json").read_text())["data"]
    assert spec["source"] == "CartPole-v1"
    assert (spec["spec"]["obs_size"], spec["spec"]["num_actions"], spec["spec"]["max_episode_steps"]) == (4, 2, 500)
    steps = [line["environment_steps"] for line in trained.log_lines() if "val_return" in line]
    assert steps == [208, 400, 608]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train_every": 100, "envs": 8}, "train_every=104"),
        ({"memory": 4, "envs": 8, "train_every": 8}, "memory=8 or more"),
        ({"total_steps": 400}, "total_steps=512 or more"),  # learning_starts=500, train_every=128
        ({"total_steps": 600, "learning_starts": 10_000}, "learning_starts=10000"),
        ({"total_steps": 600, "learning_starts": 0, "train_every": 640}, "before the first update"),
        ({"memory": 64}, "memory=128 or more"),
        ({"doubl": True}, "did you mean 'double'"),
        ({"hidden": "64,0"}, "hidden"),
        ({"gamma": 1.5}, "at most 1"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, words):
    with pytest.raises(UserError, match=words):
        api.train("dqn", out=tmp_path / "r", **settings)
    assert not (tmp_path / "r").exists()


def test_what_is_odd_about_a_short_training_is_said():
    usual = {"total_steps": 600, "learning_starts": 200, "train_every": 128, "gradient_steps": 4, "target_every": 16}
    config = DQNConfig(**{**NUMBERS, **usual, "epsilon_fraction": 0.05})
    # Learning phases at 256, 384, 512: twelve updates, none of them the sixteenth; epsilon has fallen at step 30.
    assert config.updates_before(608) + 4 == 12
    said = config.remarks(16)
    assert "12 updates" in said[0] and "target_every=16" in said[0] and "30 steps" in said[1] and len(said) == 2
    assert not DQNConfig(**{**NUMBERS, **usual, "target_every": 12, "epsilon_fraction": 0.5}).remarks(16)


def test_an_environment_that_cannot_be(tmp_path):
    with pytest.raises(UserError, match="Pendulum-v1"):
        api.train("dqn", data="Pendulum-v1", out=tmp_path / "r")


def test_several_processes_are_refused(trained):
    run = Run.load(trained.folder)
    run.world = World(0, 2)
    with pytest.raises(UserError, match="trains in one process"):
        _ = run.task


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_cartpole_is_solved(tmp_path, seed):
    run = api.train("dqn", out=tmp_path / "r", seed=seed)
    assert run.result()["metrics"]["return"] >= 475.0


def _filled(memory: ReplayMemory) -> ReplayMemory:
    """Thirty transitions with rewards large enough for both branches of the Huber loss."""
    draw = np.random.default_rng(3)
    obs, following = draw.standard_normal((2, 30, 2), dtype=np.float32)
    action, reward = torch.from_numpy(draw.integers(0, 3, 30)), 3 * draw.standard_normal(30, dtype=np.float32)
    memory.add(obs, action, reward, draw.random(30) < 0.3, following)
    return memory
