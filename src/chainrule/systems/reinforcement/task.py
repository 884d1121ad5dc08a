"""The task of reinforcement learning: an agent that acts in an environment, whatever agent it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.core.settings import Count, Fraction, Size
from chainrule.core.task import COMPARED, Deployable, Figure
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import answer_to, chunks
from chainrule.data.layout import Place
from chainrule.run.run import Run
from chainrule.systems.reinforcement import recorder
from chainrule.systems.reinforcement.agent import Agent, Foresees, HasActionValues
from chainrule.systems.reinforcement.environments import EnvironmentSpec, Episodes, Takes, environment_spec
from chainrule.systems.reinforcement.figures import images_of_episode, lines_of_episode
from chainrule.systems.reinforcement.loop import learn_by_acting
from chainrule.systems.reinforcement.observations import asked_observations
from chainrule.systems.reinforcement.recorder import Episode
from chainrule.systems.reinforcement.spaces import ContinuousSpace, DiscreteSpace

TEST_EPISODES = CONFIRMING_EPISODES = 100
CHUNK = 4096  # observations that are in memory at a time, in predict


class Acting:
    """An agent in an environment.

    Args:
        run: the run it belongs to.
        data: what `load_environment` gave.
        agent: what acts and learns.
        environments: how many copies of the environment it acts in at once.
        total_steps: steps over all of them.
        evaluate_every: steps between two validations.
        evaluation_episodes: episodes of a validation.
        stop_at: mean return over 100 validation episodes at which training ends; none is never.
    """

    def __init__(
        self,
        run: Run,
        *,
        data: Dataset[EnvironmentSpec, Episodes],
        agent: Agent,
        environments: int,
        total_steps: int,
        evaluate_every: int,
        evaluation_episodes: int,
        stop_at: float | None,
    ) -> None:
        run.require_one_process()
        agent.expect(environments)
        self.run, self.data, self.agent = run, data, agent
        self.environments, self.total_steps = environments, total_steps
        self.evaluate_every, self.evaluation_episodes, self.stop_at = evaluate_every, evaluation_episodes, stop_at

    def modules(self) -> dict[str, nn.Module]:
        return self.agent.modules()

    def train(self, run: Run) -> None:
        if not run.step and isinstance(self.agent, Foresees):
            for remark in self.agent.foresee(self.environments):
                run.progress.line(remark)
        learn_by_acting(
            run,
            self.agent,
            self.data.train.environments(self.environments),
            total_steps=self.total_steps,
            evaluate_every=self.evaluate_every,
            validate=self.validate,
        )

    def validate(self) -> tuple[dict[str, float], bool]:
        """Mean return on the first validation episodes, and whether the task is solved.

        Where these few reach `stop_at`, a hundred are played, and their mean is reported and decides.
        """
        returns, lengths = self.data.val.play(self.agent.act, range(self.evaluation_episodes))
        solved = self._reaches(returns)
        if solved and self.evaluation_episodes < CONFIRMING_EPISODES:
            more = self.data.val.play(self.agent.act, range(self.evaluation_episodes, CONFIRMING_EPISODES))
            returns, lengths = torch.cat([returns, more[0]]), torch.cat([lengths, more[1]])
            solved = self._reaches(returns)
        return {"return": float(returns.mean()), "episodes": len(returns)}, solved

    def _reaches(self, returns: Tensor) -> bool:
        return self.stop_at is not None and bool(returns.mean() >= self.stop_at)

    def evaluate(self, data: Place | None = None) -> dict[str, float]:
        episodes = self.data.test if data is None else self._other(str(data))
        returns, lengths = episodes.play(self.agent.act, range(TEST_EPISODES))
        return {
            "return": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "episode_length": float(lengths.double().mean()),
        }

    def protocol(self) -> str:
        solved = self.stop_at is not None
        ended = f", and ended training where {CONFIRMING_EPISODES} reached {self.stop_at:g}" if solved else ""
        return (
            f"mean return of the greedy policy on {self.evaluation_episodes} validation episodes, every "
            f"{self.evaluate_every} environment steps, chose the weights{ended}; {TEST_EPISODES} test episodes "
            "(other reset seeds, the same for every run) measured once, at the end"
        )

    def example(self) -> dict[str, tuple[Tensor, ...]]:
        return self.agent.example(self._observations(1))

    # -- answers ------------------------------------------------------------------------------------------------------

    def predict(self, inputs: Iterable[str], out: Path | None) -> Iterator[dict[str, Any]]:
        """The greedy action for each observation, and the value of each action where the agent has such."""
        spec, start = self.data.spec, self.data.spec.action_start
        for part in chunks(asked_observations(inputs, spec), CHUNK):
            obs = torch.stack([asked.value for asked in part])
            values = self.agent.values(obs) if isinstance(self.agent, HasActionValues) else None
            taken = spec.actions.for_environment(self.agent.act(obs))
            for i, (asked, action) in enumerate(zip(part, taken, strict=True)):
                discrete = isinstance(spec.actions, DiscreteSpace)
                answer = {"action": action if discrete else [round(float(a), 6) for a in action.ravel()]}
                if values is not None:
                    answer["value"] = round(float(values[i].max()), 6)
                    answer["values"] = {str(k + start): round(v, 6) for k, v in enumerate(values[i].tolist())}
                yield answer_to(asked, answer)

    def generate(
        self,
        count: int,
        out: Path,
        *,
        video: Literal["no", "gif", "png"] = "no",
        fps: Count = 30,
        form: Literal["csv", "jsonl"] = "csv",
        epsilon: Fraction = 0.0,
        max_steps: Size = 0,
    ) -> list[dict[str, Any]]:
        """Episodes of the agent, a file each: observation, action, values and reward of every step.

        With `video` a film of each beside it, an animated GIF or PNG of `fps` images a second. With probability
        `epsilon` an action is drawn at random in the place of the agent's. `max_steps` cuts an episode off; 0 leaves
        its end to the environment.
        """
        spec, made = self.data.spec, []
        if video != "no":
            recorder.expect_images(spec)
        with atomic.explain_os_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(torch.randint(2**31, (count,)).tolist(), 1):
            episode = self.episode(seed, epsilon=epsilon, max_steps=max_steps)
            file = out / f"episode-{number}.{form}"
            recorder.write_table(episode, spec, file)
            answer = {"file": str(file), "return": episode.total, "length": len(episode)}
            if video != "no":
                film = file.with_suffix(f".{video}")
                recorder.write_film(recorder.Frames(spec, episode), film, fps)
                answer["video"] = str(film)
            made.append(answer)
        return made

    def episode(self, seed: int, *, epsilon: float = 0.0, max_steps: int = 0) -> Episode:
        """An episode of the agent after a reset with this seed."""
        values = self.agent.values if isinstance(self.agent, HasActionValues) else None
        return recorder.play(self.data.spec, self.agent.act, seed, values=values, epsilon=epsilon, max_steps=max_steps)

    def deployable(self) -> Deployable:
        spec = self.data.spec
        module, output, notes = self.agent.deployable()
        seen, done = spec.observations, spec.actions
        if isinstance(done, ContinuousSpace):
            module = nn.Sequential(module, WithinBounds(done))
            notes = {**notes, output: f"float32 (B, {', '.join(map(str, done.shape))}), the action to take"}
        elif isinstance(done, DiscreteSpace):
            notes = {**notes, "action_start": done.start}
        shape = f"(B, {', '.join(map(str, seen.shape))})" if seen.shape else "(B,)"
        form = "float32" if isinstance(seen, ContinuousSpace) else "int64"
        return Deployable(
            module.cpu().eval(),
            lambda count: (self._observations(count, random=True),),
            ("obs",),
            (output,),
            {"obs": f"{form} {shape}, as {spec.id} gives them", **notes},
            lambda: (self._observations_met(),),
        )

    def figures(self) -> list[Figure]:
        spec, episode = self.data.spec, self._test_episode
        title = f"the first test episode in {spec.id} (return {episode.total:g})"
        found = lines_of_episode(episode, spec, title)
        if recorder.can_draw(spec):
            found.append(images_of_episode(episode, spec, f"Images of {title}"))
        return found

    # -- inside -------------------------------------------------------------------------------------------------------

    @cached_property
    def _test_episode(self) -> Episode:
        return self.episode(self.data.test.seed_of(0))

    def _observations(self, count: int, random: bool = False) -> Tensor:
        """Observations (count, ...), of zeros or at random, as the agent has them."""
        seen = self.data.spec.observations
        if isinstance(seen, DiscreteSpace):
            return seen.draw(count) if random else torch.zeros(count, dtype=torch.int64)
        return torch.randn(count, *seen.shape) if random else torch.zeros(count, *seen.shape)

    def _observations_met(self) -> Tensor:
        """Some of what the agent sees in a test episode, from its beginning on; UserError where it cannot be played."""
        episode = self.episode(self.data.test.seed_of(0), max_steps=8 * COMPARED)
        return torch.from_numpy(np.stack(episode.obs[:: -(-len(episode) // COMPARED)]))

    def _other(self, name: str) -> Episodes:
        """The test episodes of another environment, which must have this one's observations and actions."""
        own, spec = self.data.spec, environment_spec(name, Takes())
        pairs = (
            ("observations of another size", own.observations, spec.observations, own.obs_size, spec.obs_size),
            ("another number of actions", own.actions, spec.actions, own.num_actions, spec.num_actions),
        )
        for what, mine, other, expected, found in pairs:
            if (mine.kind, mine.shape, expected) != (other.kind, other.shape, found):
                raise UserError(
                    f"{name} has {what} than {own.id}, where the agent learnt", expected=expected, found=found
                )
        return Episodes(spec, "test", 0)


class WithinBounds(nn.Module):
    """Actions (B, ...) brought back within the bounds of a space."""

    low: Tensor
    high: Tensor

    def __init__(self, space: ContinuousSpace) -> None:
        super().__init__()
        for name, bound in zip(("low", "high"), space.bounds, strict=True):
            self.register_buffer(name, torch.tensor(bound.tolist(), dtype=torch.float32))

    def forward(self, action: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(action, self.low), self.high)
