"""What an agent does, written down: episodes as tables or JSON lines, and as films.

A film needs no package beyond Pillow: an animated GIF or PNG. It is drawn by taking the same actions after the same reset
once more, image by image, so that no episode's images are in memory together with it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chainrule.core.errors import UserError
from chainrule.core.files import atomic
from chainrule.core.files.finite_json import to_json
from chainrule.systems.reinforcement.environments import EnvironmentSpec, make
from chainrule.systems.reinforcement.spaces import DiscreteSpace, Space

Policy = Callable[[Tensor], Tensor]


@dataclass
class Episode:
    """An episode: the seed of its reset, and of each step what was seen, valued, done and got.

    Attributes:
        obs: as the agent has them.
        actions: as the environment took them.
        values: of each action, where the agent has such.
        rewards: one a step.
        terminated: whether it ended by itself, and was not cut off.
    """

    seed: int
    obs: list[np.ndarray] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        """The undiscounted return."""
        return sum(self.rewards)


def play(
    spec: EnvironmentSpec,
    policy: Policy,
    seed: int,
    *,
    values: Policy | None = None,
    epsilon: float = 0.0,
    max_steps: int = 0,
) -> Episode:
    """Plays one episode.

    Args:
        spec: of the environment.
        policy: actions (1, ...) for observations (1, ...).
        seed: of the reset.
        values: the value of each action (1, A), to be recorded; None where the agent has none.
        epsilon: the probability of a random action in the place of the policy's, by torch's generator.
        max_steps: after which it is cut off; 0 leaves that to the environment.
    """
    env, seen, done = make(spec.id), spec.observations, spec.actions
    episode, shown, ended = Episode(seed), env.reset(seed=seed)[0], False
    while not ended:
        obs = seen.read(shown)
        given = torch.from_numpy(obs[None])
        action = done.draw(1) if epsilon and float(torch.rand(())) < epsilon else policy(given)
        (taken,) = done.for_environment(action)
        shown, reward, episode.terminated, truncated, _ = env.step(taken)
        episode.obs.append(obs)
        episode.actions.append(taken)
        episode.rewards.append(float(reward))
        if values is not None:
            episode.values.append(values(given)[0].tolist())
        ended = episode.terminated or truncated or len(episode) == max_steps
    env.close()
    return episode


# -- tables -----------------------------------------------------------------------------------------------------------


def rows_of(episode: Episode, spec: EnvironmentSpec) -> Iterator[dict[str, Any]]:
    """A row a step: step, what was seen, the action taken, the reward, the values where there are any."""
    seen, done = spec.observations, spec.actions
    start = done.start if isinstance(done, DiscreteSpace) else 0
    for i, (obs, action, reward) in enumerate(zip(episode.obs, episode.actions, episode.rewards, strict=True)):
        row = {"step": i, **columns_of("obs", obs, seen), **columns_of("action", action, done), "reward": reward}
        if episode.values:
            row |= {f"value_{start + k}": value for k, value in enumerate(episode.values[i])}
        yield row


def columns_of(name: str, value: Any, space: Space) -> dict[str, Any]:
    """A value in a column each number: obs_0, obs_1, ...; of a discrete space in one: obs."""
    if isinstance(space, DiscreteSpace):
        return {name: int(value)}
    return {f"{name}_{i}": number for i, number in enumerate(np.asarray(value, np.float32).ravel().tolist())}


def write_table(episode: Episode, spec: EnvironmentSpec, file: Path) -> None:
    """A CSV, or JSON lines where the file is called so."""
    text, rows = io.StringIO(), list(rows_of(episode, spec))
    if file.suffix == ".jsonl":
        text.writelines(to_json(row) + "\n" for row in rows)
    else:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
    atomic.write_bytes(file, text.getvalue().encode())


# -- films ------------------------------------------------------------------------------------------------------------


def can_draw(spec: EnvironmentSpec) -> bool:
    """Whether the environment draws itself, here: it says that it can, and what it needs to is installed."""
    from gymnasium.error import DependencyNotInstalled

    if "rgb_array" not in make(spec.id).metadata.get("render_modes", ()):
        return False
    env = make(spec.id, images=True)
    try:
        env.reset(seed=0)
        return env.render() is not None
    except DependencyNotInstalled:  # pygame is no dependency of ours
        return False
    finally:
        env.close()


def expect_images(spec: EnvironmentSpec) -> None:
    """UserError where the environment cannot be drawn."""
    if not can_draw(spec):
        raise UserError(
            f"{spec.id} cannot be drawn here",
            expected="an environment that draws itself, and what it needs to",
            cure="pip install 'gymnasium[classic-control]' for CartPole and its like, or video=no",
        )


@dataclass(frozen=True)
class Frames:
    """The images uint8 (H, W, 3) of an episode, before each step and after the last.

    They are drawn while the same actions are taken after the same reset, each time that they are asked for.
    """

    spec: EnvironmentSpec
    episode: Episode

    def __iter__(self) -> Iterator[np.ndarray]:
        env = make(self.spec.id, images=True)
        env.reset(seed=self.episode.seed)
        yield np.asarray(env.render())
        for action in self.episode.actions:
            env.step(action)
            yield np.asarray(env.render())
        env.close()


@dataclass(frozen=True)
class _Film:
    """Images as Pillow takes them, one by one and as often as it asks: from the second on, where the first is apart."""

    frames: Iterable[np.ndarray]
    colours: int | None  # of an image's own palette

    def __iter__(self) -> Iterator[Image.Image]:
        return islice(self.all(), 1, None)

    def all(self) -> Iterator[Image.Image]:
        for frame in self.frames:
            image = Image.fromarray(np.ascontiguousarray(frame))
            yield image if self.colours is None else image.quantize(self.colours)


def write_film(images: Iterable[np.ndarray], file: Path, fps: int) -> None:
    """An animated .gif, each image in 256 colours of its own, or a .png, which loses nothing.

    `images` are uint8 (H, W, 3); they are gone through more than once, and not kept.
    """
    form, buffer = file.suffix.removeprefix("."), io.BytesIO()
    film = _Film(images, 256 if form == "gif" else None)
    first = next(film.all())
    first.save(buffer, format=form, save_all=True, append_images=film, duration=round(1000 / fps), loop=0)
    atomic.write_bytes(file, buffer.getvalue())
