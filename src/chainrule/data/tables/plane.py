"""Problems in the plane: two classes of points that no straight line tells apart, and one that a line does.

Each is made of `count` points, half of each class, with uniform or normal `noise`; the same seed gives the same points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from chainrule.core.errors import UserError, unknown

COUNT, NOISE, SEED = 500, 0.05, 0  # of the sets that `--data NAME` gives
Points = tuple[np.ndarray, np.ndarray]
Generator = np.random.Generator


def make(name: str, count: int = COUNT, noise: float = NOISE, seed: int = SEED) -> Points:
    """Points x (count, 2) float64 and their classes y (count,), 0 or 1.

    Args:
        name: a name of `PROBLEMS`.
        count: points, an even number of 4 or more.
        noise: standard deviation of what is added to both coordinates, in their unit; 0 is none.
        seed: decides the draw.

    Errors: a UserError for an unknown name, an odd or small count, or noise below 0.

    >>> x, y = make("circle", 100)
    >>> x.shape, y.sum().item()
    ((100, 2), 50)
    """
    if name not in PROBLEMS:
        raise unknown("there is no problem in the plane", name, PROBLEMS)
    if count < 4 or count % 2:
        raise UserError("the number of points is wrong", expected="an even number, 4 or more", found=count)
    if not (noise >= 0 and math.isfinite(noise)):
        raise UserError("the noise is out of range", expected="a finite number, 0 or more", found=noise)
    generator = np.random.default_rng(seed)
    each = count // 2
    x = np.concatenate([PROBLEMS[name](each, label, generator) for label in (0, 1)])
    return x + noise * generator.standard_normal(x.shape), np.repeat([0, 1], each)


def xor(count: int, label: int, generator: Generator) -> np.ndarray:
    """Squares at (+-1/2, +-1/2): class 1 where the signs differ, as the exclusive or."""
    corner = generator.integers(0, 2, count) * 2 - 1
    other = -corner if label else corner
    centre = np.stack([corner, other], 1) * 0.55
    return centre + generator.uniform(-0.45, 0.45, (count, 2))


def circle(count: int, label: int, generator: Generator) -> np.ndarray:
    """A disc of radius 0.5 (class 1) within a ring from 0.75 to 1.25 (class 0), both evenly filled."""
    low, high = (0.0, 0.5) if label else (0.75, 1.25)
    radius = np.sqrt(generator.uniform(low**2, high**2, count))
    return _polar(radius, generator.uniform(0, 2 * math.pi, count))


def spiral(count: int, label: int, generator: Generator) -> np.ndarray:
    """Two arms that wind one and a half times about the origin, half a turn apart (after Lang and Witbrock 1988)."""
    along = np.sqrt(generator.uniform(0.01, 1.0, count))  # evenly along the arm, which is longer outside
    return _polar(2.0 * along, 3.0 * math.pi * along + math.pi * label)


def moons(count: int, label: int, generator: Generator) -> np.ndarray:
    """Two half circles that reach into each other."""
    angle = generator.uniform(0, math.pi, count)
    arc = _polar(np.ones(count), angle)
    return arc if label == 0 else np.array([1.0, 0.5]) - arc


def blobs(count: int, label: int, generator: Generator) -> np.ndarray:
    """Two round clouds about (-1, -1) and (1, 1): the one problem here that a line solves."""
    return (2 * label - 1) * np.ones((count, 2)) + 0.4 * generator.standard_normal((count, 2))


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


PROBLEMS: dict[str, Callable[[int, int, Generator], np.ndarray]] = {
    f.__name__: f for f in (xor, circle, spiral, moons, blobs)
}
