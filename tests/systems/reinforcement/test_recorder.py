"""Films of episodes: as many images as steps, those that the environment drew, and nothing where it cannot draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from chainrule import api
from chainrule.core.errors import UserError
from chainrule.systems.reinforcement.environments import environment_spec
from chainrule.systems.reinforcement.recipes import dqn
from chainrule.systems.reinforcement.recorder import Episode, Frames, can_draw, play, write_film

pytestmark = pytest.mark.usefixtures("no_report")


class Lamp(gymnasium.Env):
    """Grows brighter by 10 a step, and ends at 50; what it shows is what it draws."""

    metadata: ClassVar[Any] = {"render_modes": ["rgb_array"], "render_fps": 5}
    observation_space = gymnasium.spaces.Box(0, 255, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.light = int(self.np_random.integers(3))
        return np.array([self.light], np.float32), {}

    def step(self, action):
        self.light += 10
        return np.array([self.light], np.float32), float(action), self.light >= 50, False, {}

    def render(self):
        return np.full((4, 6, 3), self.light, np.uint8)


class Dark(Lamp):
    metadata: ClassVar[Any] = {"render_modes": ["human"]}


@pytest.fixture(scope="module", autouse=True)
def registered():
    for kind in (Lamp, Dark):
        gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
    yield
    for kind in (Lamp, Dark):
        del gymnasium.registry[f"{kind.__name__}-v0"]


def images_of(file: Path) -> list[int]:
    """The one value of each image's pixels."""
    with Image.open(file) as film:
        found = [np.unique(np.array(image.convert("RGB"))) for image in ImageSequence.Iterator(film)]
    assert all(len(values) == 1 for values in found)
    return [int(values[0]) for values in found]


def test_an_episode_and_its_images() -> None:
    spec = environment_spec("Lamp-v0")
    episode = play(spec, lambda obs: torch.ones(1, dtype=torch.int64), seed=4)
    begun = int(episode.obs[0][0])
    assert len(episode) == 5 and episode.total == 5.0 and episode.terminated and episode.actions == [1] * 5
    assert [int(image[0, 0, 0]) for image in Frames(spec, episode)] == [begun + 10 * i for i in range(6)]
    short = play(spec, lambda obs: torch.ones(1, dtype=torch.int64), seed=4, max_steps=2)
    assert len(short) == 2 and not short.terminated


def test_random_actions_by_epsilon() -> None:
    spec = environment_spec("Lamp-v0")

    def share(epsilon: float) -> float:
        torch.manual_seed(0)
        played = [
            play(spec, lambda obs: torch.zeros(1, dtype=torch.int64), seed, epsilon=epsilon) for seed in range(60)
        ]
        return sum(episode.total for episode in played) / 300

    assert (
        share(0.0) == 0.0 and share(1.0) == pytest.approx(0.5, abs=0.1) and share(0.5) == pytest.approx(0.25, abs=0.1)
    )


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_films_play_what_was_drawn(suffix: str) -> None:
    file = Path(f"film.{suffix}")
    values = [0, 40, 80, 255, 7]
    write_film([np.full((4, 6, 3), value, np.uint8) for value in values], file, fps=20)
    assert images_of(file) == values
    with Image.open(file) as film:
        assert film.is_animated and film.size == (6, 4) and film.info["duration"] == 50  # type: ignore[attr-defined]


def test_generate_films(tmp_path: Path) -> None:
    run = api.train("dqn", data="Lamp-v0", out=tmp_path / "r", **{**dqn.tiny, "hidden": ()})
    made = api.generate(run.folder, count=2, seed=1, out=tmp_path / "g", video="png", form="jsonl", fps=5)
    assert [Path(m["video"]).name for m in made] == ["episode-1.png", "episode-2.png"]
    for one in made:
        lines = [json.loads(line) for line in Path(one["file"]).read_text().splitlines()]
        assert (
            images_of(Path(one["video"]))[:-1] == [line["obs_0"] for line in lines] and len(lines) == one["length"] == 5
        )
    (gif,) = api.generate(run.folder, out=tmp_path / "h", video="gif", max_steps=1)
    assert len(images_of(Path(gif["video"]))) == 2
    for wrong in ({"video": "mp4"}, {"fps": 0}, {"epsilon": 2}):
        with pytest.raises(UserError, match="wrong type or range"):
            api.generate(run.folder, out=tmp_path / "i", **wrong)
    figures = [figure.title for figure in run.task.figures()]
    assert figures[2].startswith("Images of the first test episode") and not (tmp_path / "i").exists()


def test_an_environment_that_cannot_be_drawn(tmp_path: Path) -> None:
    assert not can_draw(environment_spec("Dark-v0"))
    run = api.train("dqn", data="Dark-v0", out=tmp_path / "r", **{**dqn.tiny, "hidden": ()})
    with pytest.raises(UserError, match=r"Dark-v0 cannot be drawn here[\s\S]*video=no"):
        api.generate(run.folder, out=tmp_path / "g", video="gif")
    assert not (tmp_path / "g").exists() and len(run.task.figures()) == 2
    assert Episode(0).total == 0
