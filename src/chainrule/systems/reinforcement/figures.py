"""An episode in the report: values, actions and observations as lines, and images at even distances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from chainrule.core.task import Figure
from chainrule.reporting import plots
from chainrule.systems.reinforcement.environments import EnvironmentSpec
from chainrule.systems.reinforcement.recorder import Episode, Frames
from chainrule.systems.reinforcement.spaces import ContinuousSpace, Space

SHOWN_IMAGES = 6


def lines_of_episode(episode: Episode, spec: EnvironmentSpec, title: str) -> list[Figure]:
    """What an agent valued, or did where it has no values, and what it saw, over the steps."""
    found = []
    if episode.values:
        lines = _lines(np.array(episode.values), "action", spec.action_start)
        found.append(plots.curves(lines, f"Value of each action, {title}"))
    else:
        found.append(plots.curves(_of_space(episode.actions, spec.actions, "action"), f"Action, {title}"))
    lines = _of_space(episode.obs, spec.observations, "component")
    return [*found, plots.curves(lines, f"Observation, {title}")]


def images_of_episode(episode: Episode, spec: EnvironmentSpec, title: str) -> Figure:
    """A few images of an episode, of steps at even distances."""
    wanted = {round(i * (len(episode) - 1) / max(1, SHOWN_IMAGES - 1)) for i in range(SHOWN_IMAGES)}
    shown = {step: image for step, image in enumerate(Frames(spec, episode)) if step in wanted}
    images = torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in shown.values()])  # (n, 3, H, W)
    return plots.gallery(images, [f"step {step}" for step in shown], title)


def _of_space(values: Sequence[object], space: Space, label: str) -> dict[str, tuple[list[float], list[float]]]:
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    return _lines(rows, label, 0) if isinstance(space, ContinuousSpace) else {label: _line(rows[:, 0])}


def _lines(rows: np.ndarray, label: str, first: int) -> dict[str, tuple[list[float], list[float]]]:
    """A line for each column of rows (T, D)."""
    return {f"{label} {first + i}": _line(column) for i, column in enumerate(rows.T)}


def _line(column: np.ndarray) -> tuple[list[float], list[float]]:
    return list(range(len(column))), column.tolist()
