"""Other agents than DQN in the same task, loop, environments and recorder: a table of values, a continuous actor-critic."""

from __future__ import annotations

import contextlib
import copy
import csv
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chainrule.api import training
from chainrule.core.errors import UserError
from chainrule.core.recipe import Recipe
from chainrule.introspection.explain import explain_run
from chainrule.reporting.export import export_system
from chainrule.run.run import Run
from chainrule.systems.reinforcement.agent import Learnt
from chainrule.systems.reinforcement.environments import ANYTHING, load_environment
from chainrule.systems.reinforcement.spaces import ContinuousSpace
from chainrule.systems.reinforcement.task import Acting
from tests.run.toy import COMMON, weights_of

GAMMA = 0.9


class Table(nn.Module):
    """Q(s, a) as numbers (S, A)."""

    def __init__(self, states: int, actions: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(states, actions))

    def forward(self, obs: Tensor) -> Tensor:
        return self.values[obs]  # type: ignore[index]


class TableAgent:
    """Q-learning (Watkins 1989) in a deterministic world: Q(s, a) = r + gamma max Q(s', .), at once."""

    def __init__(self, states: int, actions: int) -> None:
        self.table = Table(states, actions)

    def modules(self) -> dict[str, nn.Module]:
        return {"table": self.table}

    def example(self, obs: Tensor) -> dict[str, tuple[Tensor, ...]]:
        return {"table": (obs,)}

    def expect(self, environments: int) -> None:
        pass

    def start(self, environments: Any) -> dict[str, Any]:
        return self.modules()

    def values(self, obs: Tensor) -> Tensor:
        return self.table(obs)

    def act(self, obs: Tensor) -> Tensor:
        return self.values(obs).argmax(1)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        return torch.randint(4, (len(obs),))

    def learn(self, obs: np.ndarray, action: Tensor, seen: Any, step: int) -> Learnt:
        following = (
            self.values(torch.from_numpy(seen.next_obs)).amax(1).masked_fill(torch.from_numpy(seen.terminated), 0)
        )
        target = torch.from_numpy(seen.reward) + GAMMA * following
        error = target - self.values(torch.from_numpy(obs)).gather(1, action[:, None])[:, 0]
        self.table.values[torch.from_numpy(obs), action] = target  # type: ignore[index]
        return Learnt(error.square().mean())

    def deployable(self) -> tuple[nn.Module, str, dict[str, Any]]:
        return self.table, "q_values", {}


class Policy(nn.Module):
    """tanh of a linear map, stretched to the bounds of the actions."""

    def __init__(self, size: int, space: ContinuousSpace) -> None:
        super().__init__()
        self.linear, self.space = nn.Linear(size, space.size), space
        nn.init.zeros_(self.linear.weight)

    def forward(self, obs: Tensor) -> Tensor:
        return self.space.from_unit(self.linear(obs).tanh()) * 1.5  # now and then beyond the bounds, on purpose


class LinearActorCritic:
    """CACLA (van Hasselt, Wiering 2007): the actor follows an action that was better than expected."""

    def __init__(self, size: int, space: ContinuousSpace) -> None:
        self.actor, self.critic = Policy(size, space), nn.Linear(size, 1)
        self.optimizers = {
            "actor_optimizer": torch.optim.Adam(self.actor.parameters(), 0.01),
            "critic_optimizer": torch.optim.Adam(self.critic.parameters(), 0.01),
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"actor": self.actor, "critic": self.critic}

    def example(self, obs: Tensor) -> dict[str, tuple[Tensor, ...]]:
        return {"actor": (obs,), "critic": (obs,)}

    def expect(self, environments: int) -> None:
        if environments > 100:
            raise UserError("too many")

    def start(self, environments: Any) -> dict[str, Any]:
        return {**self.modules(), **self.optimizers}

    @torch.no_grad()
    def act(self, obs: Tensor) -> Tensor:
        return self.actor(obs)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        action = self.act(obs)
        return action + 0.5 * torch.randn(action.shape)

    def learn(self, obs: np.ndarray, action: Tensor, seen: Any, step: int) -> Learnt:
        x, reward = torch.from_numpy(obs), torch.from_numpy(seen.reward) / 10
        with torch.no_grad():
            y = reward + GAMMA * self.critic(torch.from_numpy(seen.next_obs))[:, 0] * ~torch.from_numpy(seen.terminated)
        error = y - self.critic(x)[:, 0]
        better = (error.detach() > 0).float()
        loss = error.square().mean()
        follow = (better[:, None] * (self.actor(x) - action).square()).mean()
        for optimizer, objective in zip(self.optimizers.values(), (follow, loss), strict=True):
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
        return Learnt(loss.detach(), {"better": better.mean()}, rerun=lambda: self.critic(x))

    def deployable(self) -> tuple[nn.Module, str, dict[str, Any]]:
        return self.actor, "action", {"by": "CACLA"}


def build(run: Run) -> Acting:
    data = load_environment(run.data, ANYTHING)
    spec = data.spec
    agent: Any = (
        LinearActorCritic(spec.obs_size, spec.actions)
        if isinstance(spec.actions, ContinuousSpace)
        else TableAgent(spec.obs_size, spec.num_actions)
    )
    steps = 600 if spec.id == "Pendulum-v1" else 6000
    return Acting(
        run, data=data, agent=agent, environments=4, total_steps=steps, evaluate_every=steps // 2,
        evaluation_episodes=2, stop_at=None,
    )  # fmt: skip


RECIPE = Recipe("agents", "acting", "Pendulum-v1", "a test", build, "none")


def train(folder: Path, data: str, **common: Any) -> Run:
    run = Run.create(
        RECIPE, {}, COMMON | common, seed=3, data=data, target=None, device="cpu", out=folder
    )  # fmt: skip
    return training._train(run)


@pytest.fixture(scope="module", autouse=True)
def quick():
    """A lake of nine fields that is not slippery, no report, and few test episodes: each is a thousand numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.api.training._report", lambda run: None)
        patch.setattr("chainrule.systems.reinforcement.task.TEST_EPISODES", 3)
        gymnasium.register(
            "Lake-v0", entry_point="gymnasium.envs.toy_text.frozen_lake:FrozenLakeEnv",
            kwargs={"desc": ["SFF", "FHF", "FFG"], "is_slippery": False}, max_episode_steps=20,
        )  # fmt: skip
        yield
        del gymnasium.registry["Lake-v0"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("lake") / "run", "Lake-v0")


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("pendulum") / "run", "Pendulum-v1")


def test_a_table_learns_the_values_that_the_world_itself_says(lake: Run) -> None:
    """Against value iteration over the transitions that FrozenLake lists."""
    world = gymnasium.make("Lake-v0").unwrapped.P  # type: ignore[attr-defined]
    q = np.zeros((9, 4))
    for _ in range(100):
        for s, actions in world.items():
            for a, ((_, following, reward, ended),) in actions.items():
                q[s, a] = reward + (0 if ended else GAMMA * q[following].max())
    inner = [s for s in range(9) if s not in (4, 8)]  # neither the hole nor the goal, where an episode is over
    np.testing.assert_allclose(lake.task.agent.table.values.numpy()[inner], q[inner], atol=1e-6)
    assert lake.result()["metrics"] == {"return": 1.0, "return_std": 0.0, "return_min": 1.0, "episode_length": 4.0}


def test_a_continuous_agent_learns_something(pendulum: Run) -> None:
    result = pendulum.result()
    lines = [line for line in pendulum.log_lines() if "loss" in line]
    assert result["metrics"]["episode_length"] == 200.0 and result["metrics"]["return"] < 0
    assert lines[-1]["loss"] < lines[0]["loss"] and pendulum.task.agent.actor.linear.weight.abs().sum() > 0.01


@pytest.mark.parametrize("data", ["Pendulum-v1", "Lake-v0"])
def test_a_run_that_died_resumes_exactly(
    data: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Run = request.getfixturevalue("pendulum" if data == "Pendulum-v1" else "lake")
    kind = type(whole.task.agent)
    learn = kind.learn

    def die(self: Any, obs: Any, action: Any, seen: Any, step: int) -> Any:
        if step == 404:
            raise SystemError("killed")
        return learn(self, obs, action, seen, step)

    monkeypatch.setattr(kind, "learn", die)
    with contextlib.suppress(SystemError):
        train(tmp_path / "r", data, checkpoint_s=0)
    monkeypatch.undo()
    monkeypatch.setattr("chainrule.api.training._report", lambda run: None)
    monkeypatch.setattr("chainrule.systems.reinforcement.task.TEST_EPISODES", 3)
    record = tmp_path / "r" / "run.json"  # from here on it need not be saved after every step
    record.write_text(record.read_text("utf-8").replace('"checkpoint_s": 0', '"checkpoint_s": 1e9'), "utf-8")
    again = training._train(Run.load(tmp_path / "r", "cpu", trains=True, recipe=RECIPE), resume=True)
    assert again.result()["metrics"] == whole.result()["metrics"]
    one, other = weights_of(tmp_path / "r"), weights_of(whole.folder)
    for name, part in one.items():
        for key, value in part.items():
            assert torch.equal(value, other[name][key]), (name, key)


def test_what_they_answer(pendulum: Run, lake: Run) -> None:
    (low, high) = pendulum.task.predict(["1,0,0", "-1,0,8"], None)
    assert all(abs(number) <= 2 for answer in (low, high) for number in answer["action"]) and "value" not in low
    Path("obs.csv").write_text("name,obs\nstart,0\nlast,7\n")
    start, last = lake.task.predict(["obs.csv"], None)
    assert (last["name"], last["action"], last["value"]) == ("last", 2, 1.0) and set(start["values"]) == set("0123")
    for task, wrong in (
        (pendulum.task, "1,2"),
        (pendulum.task, "1,0,inf"),
        (lake.task, "9"),
        (lake.task, "1.5"),
        (lake.task, "x"),
    ):
        with pytest.raises(UserError, match="the observation cannot be read"):
            list(task.predict([wrong], None))


def test_what_they_do_is_recorded(pendulum: Run, lake: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    (made,) = pendulum.task.generate(1, tmp_path / "p")
    with Path(made["file"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "obs_0", "obs_1", "obs_2", "action_0", "reward"] and len(rows) == 200
    assert made["return"] == pytest.approx(sum(float(row["reward"]) for row in rows))
    assert max(abs(float(row["action_0"])) for row in rows) <= 2
    (made,) = lake.task.generate(1, tmp_path / "l", form="jsonl", max_steps=3)
    lines = [json.loads(line) for line in Path(made["file"]).read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2] and lines[0]["obs"] == 0
    assert set(lines[0]) == {"step", "obs", "action", "reward", "value_0", "value_1", "value_2", "value_3"}


def test_what_is_exported_acts_within_the_bounds(pendulum: Run, lake: Run, tmp_path: Path) -> None:
    given = copy.deepcopy(pendulum.task).deployable()
    action = given.module(torch.tensor([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert action.shape == (2, 1) and action.abs().max() <= 2 and given.output_names == ("action",)
    for run in (pendulum, lake):
        found = export_system(copy.deepcopy(run.task).deployable(), "torch", tmp_path / run.folder.parent.name, run)
        assert found["largest_difference"] <= found["tolerance"]


def test_reports_and_explanations_show_them(pendulum: Run, lake: Run, tmp_path: Path) -> None:
    titles = [figure.title.split(",")[0] for figure in pendulum.task.figures()]
    assert titles[:2] == ["Action", "Observation"]
    assert lake.task.figures()[0].title.startswith("Value of each action")
    for run in (pendulum, lake):
        assert explain_run(run, None, [], tmp_path / "e.html", None).is_file()
    assert "chose the weights" in pendulum.task.protocol() and "ended training" not in pendulum.task.protocol()
