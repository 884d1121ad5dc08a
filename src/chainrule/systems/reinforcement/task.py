"""The task of deep Q-learning: an agent that acts in an environment by the values of its actions."""

from __future__ import annotations

import copy
import csv
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.task import Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.reporting import plots as figures
from chainrule.run.run import Run
from chainrule.systems.reinforcement.environments import EnvironmentSpec, Episodes, environment_spec, make
from chainrule.systems.reinforcement.loop import DQNConfig, q_learning
from chainrule.systems.reinforcement.replay import ReplayMemory

TEST_EPISODES = CONFIRMING_EPISODES = 100


class QAgent:
    """A network that gives the value of each action (B, A) for observations (B, D); the agent takes the largest.

    Args:
        run: the run it belongs to.
        data: what `load_environment` gave.
        q: the network.
        optimizer: its update rule.
        config: of the learning algorithm.
        environments: how many copies of the environment it acts in at once.
        memory_size: transitions that the replay memory holds.
        evaluation_episodes: episodes of a validation.
        stop_at: mean return over 100 validation episodes at which training ends; 0 is never.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[EnvironmentSpec, Episodes],
        q: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: DQNConfig,
        environments: int,
        memory_size: int,
        evaluation_episodes: int,
        stop_at: float,
    ) -> None:
        run.require_one_process()
        if config.train_every % environments:
            raise UserError(
                "a learning phase would begin in the middle of a round of the environments",
                expected=f"train_every a multiple of envs={environments}",
                found=f"train_every={config.train_every}",
                cure=f"train_every={-(-config.train_every // environments) * environments}",
            )
        if memory_size < environments:
            raise UserError(
                "the memory is smaller than one round of the environments",
                expected=f"memory={environments} or more",
                found=f"memory={memory_size}",
            )
        self.run, self.data, self.q, self.optimizer, self.config = run, data, q, optimizer, config
        self.environments, self.memory_size = environments, memory_size
        self.evaluation_episodes, self.stop_at = evaluation_episodes, stop_at

    def modules(self) -> dict[str, nn.Module]:
        return {"q": self.q}

    def train(self, run: Run) -> None:
        capacity = min(self.memory_size, self.config.total_steps + self.environments)
        q_learning(
            run,
            q=self.q,
            target=copy.deepcopy(self.q),
            optimizer=self.optimizer,
            environments=self.data.train.environments(self.environments),
            memory=ReplayMemory(capacity, self.data.spec.obs_size, run.device),
            config=self.config,
            validate=self.validate,
        )

    def validate(self) -> tuple[dict[str, float], bool]:
        """Mean return on the first validation episodes, and whether the task is solved.

        Where these few reach `stop_at`, a hundred are played, and their mean is reported and decides.
        """
        returns, lengths = self.data.val.play(self.act, range(self.evaluation_episodes))
        solved = bool(self.stop_at and returns.mean() >= self.stop_at)
        if solved and self.evaluation_episodes < CONFIRMING_EPISODES:
            more = self.data.val.play(self.act, range(self.evaluation_episodes, CONFIRMING_EPISODES))
            returns, lengths = torch.cat([returns, more[0]]), torch.cat([lengths, more[1]])
            solved = bool(returns.mean() >= self.stop_at)
        return {"return": float(returns.mean()), "episodes": len(returns)}, solved

    def evaluate(self, data: str | None = None) -> dict[str, float]:
        episodes = self.data.test if data is None else self._other(data)
        returns, lengths = episodes.play(self.act, range(TEST_EPISODES))
        return {
            "return": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "episode_length": float(lengths.double().mean()),
        }

    def protocol(self) -> str:
        ended = f", and ended training where {CONFIRMING_EPISODES} reached {self.stop_at:g}" if self.stop_at else ""
        return (
            f"mean return of the greedy policy on {self.evaluation_episodes} validation episodes, every "
            f"{self.config.evaluate_every} environment steps, chose the weights{ended}; {TEST_EPISODES} test episodes "
            "(other reset seeds, the same for every run) measured once, at the end"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return {"q": (torch.zeros(1, self.data.spec.obs_size, device=self.run.device),)}

    @torch.inference_mode()
    def values(self, obs: Tensor) -> Tensor:
        """The value of each action (n, A), on the CPU."""
        return self.q(obs.to(self.run.device)).cpu()

    def act(self, obs: Tensor) -> Tensor:
        """The greedy action int64 (n,) for observations (n, D)."""
        return self.values(obs).argmax(1)

    def predict(self, inputs: list[str], out: Path | None) -> list[dict[str, Any]]:
        obs = torch.tensor([self._observation(text) for text in inputs])
        values, start = self.values(obs), self.data.spec.action_start
        return [
            {
                "input": text,
                "action": int(row.argmax()) + start,
                "value": round(float(row.max()), 6),
                "values": {str(i + start): round(float(value), 6) for i, value in enumerate(row)},
            }
            for text, row in zip(inputs, values, strict=True)
        ]

    def generate(self, count: int, out: Path) -> list[dict[str, Any]]:
        """Greedy episodes, a CSV each: observation, action, values and reward of every step."""
        spec, made = self.data.spec, []
        out.mkdir(parents=True, exist_ok=True)
        header = [
            "step",
            *(f"obs_{i}" for i in range(spec.obs_size)),
            "action",
            "reward",
            *(f"value_{i + spec.action_start}" for i in range(spec.num_actions)),
        ]
        for index, seed in enumerate(torch.randint(2**31, (count,)).tolist()):
            rows = self._episode(seed)
            file = out / f"episode-{index + 1}.csv"
            with file.open("w", newline="", encoding="utf-8") as handle:
                csv.writer(handle).writerows(
                    [header, *([i, *r["obs"], r["action"], r["reward"], *r["values"]] for i, r in enumerate(rows))]
                )
            made.append({"file": str(file), "return": sum(r["reward"] for r in rows), "length": len(rows)})
        return made

    def deployable(self) -> Deployable:
        spec = self.data.spec
        return Deployable(
            self.q.cpu().eval(),
            lambda count: (torch.randn(count, spec.obs_size),),
            ("obs",),
            ("q_values",),
            {
                "obs": f"float32 (B, {spec.obs_size}), as {spec.id} gives them",
                "q_values": "the action to take is the index of the largest",
                "action_start": spec.action_start,
            },
        )

    def figures(self) -> list[Figure]:
        name, rows = self.data.spec.id, self._test_episode
        steps = range(len(rows))
        total = sum(row["reward"] for row in rows)

        def lines(key: str, label: str, first: int) -> dict[str, tuple[list[float], list[float]]]:
            columns = zip(*(row[key] for row in rows), strict=True)
            return {f"{label} {first + i}": (list(steps), list(column)) for i, column in enumerate(columns)}

        title = f"the first test episode in {name} (return {total:g})"
        result = [
            figures.curves(lines("values", "action", self.data.spec.action_start), f"Value of each action, {title}"),
            figures.curves(lines("obs", "component", 0), f"Observation, {title}"),
        ]
        frames = self._frames()
        if frames is not None:
            result.append(figures.gallery(*frames, f"Images of {title}"))
        return result

    @cached_property
    def _test_episode(self) -> list[dict[str, Any]]:
        return self._episode(self.data.test.seed_of(0))

    def _episode(self, seed: int) -> list[dict[str, Any]]:
        """A greedy episode, step by step: obs, values, action, reward."""
        env, start = make(self.data.spec.id), self.data.spec.action_start
        obs, ended, rows = env.reset(seed=seed)[0], False, []
        while not ended:
            values = self.values(torch.as_tensor(obs, dtype=torch.float32)[None])[0]
            action = int(values.argmax()) + start
            following, reward, terminated, truncated, _ = env.step(action)
            rows.append({"obs": obs.tolist(), "values": values.tolist(), "action": action, "reward": float(reward)})
            obs, ended = following, terminated or truncated
        return rows

    def _frames(self, count: int = 6) -> tuple[Tensor, list[str]] | None:
        """Images (n, 3, H, W) of the test episode at even distances, or None where gymnasium cannot draw here."""
        from gymnasium.error import DependencyNotInstalled

        env = make(self.data.spec.id)
        if "rgb_array" not in env.metadata.get("render_modes", ()):
            return None
        env, rows = make(self.data.spec.id, images=True), self._test_episode
        wanted = {round(i * (len(rows) - 1) / max(1, count - 1)) for i in range(count)}
        env.reset(seed=self.data.test.seed_of(0))
        images, titles = [], []
        for step, row in enumerate(rows):
            if step in wanted:
                try:
                    frame = env.render()
                except DependencyNotInstalled:  # pygame is no dependency of ours; the curves say the same
                    return None
                images.append(torch.from_numpy(frame.copy()).permute(2, 0, 1))
                titles.append(f"step {step}")
            env.step(row["action"])
        return torch.stack(images), titles

    def _observation(self, text: str) -> list[float]:
        size = self.data.spec.obs_size
        try:
            row = [float(word) for word in text.split(",")]
        except ValueError:
            row = []
        if len(row) != size or not all(map(math.isfinite, row)):
            raise UserError(
                "the observation cannot be read",
                where=text,
                expected=f"{size} comma-separated numbers, as {self.data.spec.id} gives them",
                found=f"{len(row)} numbers" if row else "text that is not numeric",
            )
        return row

    def _other(self, name: str) -> Episodes:
        """The test episodes of another environment, which must have this one's observations and actions."""
        own, spec = self.data.spec, environment_spec(name)
        for key, what in (("obs_size", "observations of another size"), ("num_actions", "another number of actions")):
            expected, found = getattr(own, key), getattr(spec, key)
            if found != expected:
                raise UserError(
                    f"{name} has {what} than {own.id}, where the agent learnt", expected=expected, found=found
                )
        return Episodes(spec, "test", 0)
